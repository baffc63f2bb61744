"""Several server processes on one PostgreSQL, all at the same moment: what is to happen once, happens once."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.racer import CountedAgent
from tests.tidy.tree import ROOT
from timmy import events
from timmy.app import App, build
from timmy.db import Tx
from timmy.ids import system_random
from timmy.jobs import State
from timmy.jobs import store as job_store
from timmy.ledger import audit, chart
from timmy.ledger.commit import available
from timmy.lightning import payouts
from timmy.lightning import store as lightning_store
from timmy.lightning.wallets.builtin import BuiltinCustomer
from timmy.money import Sats
from timmy.settings import Settings

PROCESSES = 4
HEADSTART_SECONDS = 0.3  # so that all have their order when the moment comes
PATIENCE_SECONDS = 120.0


class Track:
    """The processes that race, and a house of our own, that does no background work, to look at what they did."""

    def __init__(self, app: App, calls: Path, racers: list[asyncio.subprocess.Process]) -> None:
        self.app, self.calls, self.racers = app, calls, racers
        self.customer = BuiltinCustomer(app.db, app.clock, system_random)

    async def race(self, *orders: dict[str, Any]) -> list[Any]:
        """Each process carries out its order (or all the same one), at the same moment."""
        at = time.time() + HEADSTART_SECONDS
        each = orders if len(orders) > 1 else orders * len(self.racers)
        for racer, order in zip(self.racers, each, strict=True):
            assert racer.stdin is not None
            racer.stdin.write(json.dumps({**order, "at": at}).encode() + b"\n")
        return await asyncio.gather(*(answer(racer) for racer in self.racers))

    async def job(self, request: str = "What is 6 * 7?") -> str:
        return (await self.app.jobs.submit(request)).id

    async def pay(self, job: str, *, work: bool = False, notice: bool = True) -> str:
        """The customer pays the job's invoice; answers its hash. `notice`: and we are told."""
        view = await self.app.jobs.view(job)
        invoice = view.work_invoice if work else view.eval_invoice
        assert invoice is not None
        await self.customer.pay(invoice.payment_request)
        if notice:
            await self.app.receiving.look(invoice.payment_hash)
        return invoice.payment_hash

    async def ended(self, request: str = "please fail") -> str:
        """A job whose price is owed back."""
        job = await self.job(request)
        await self.pay(job)
        await self.app.run_due()
        await self.pay(job, work=True)
        await self.app.run_due()
        assert (await self.app.jobs.view(job)).refund.owed.value
        return job

    async def refund_invoice(self, job: str) -> str:
        owed = (await self.app.jobs.view(job)).refund.owed
        return await self.customer.create_invoice(owed.msats)

    async def states(self, job: str) -> list[str]:
        """The states that the job has been told to be in, in order."""
        return [event.body["state"] for event in await self.app.db.read(events.of_subject, job) if event.kind == "state"]

    async def sent(self) -> Sats:
        return Sats((await self.app.db.read(_paid_out)) // 1_000)


async def answer(racer: asyncio.subprocess.Process) -> Any:
    assert racer.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        line = await racer.stdout.readline()
    assert line, "a racer died"
    return json.loads(line)


def _paid_out(tx: Tx) -> int:
    row = tx.one(
        "SELECT CAST(COALESCE(SUM(amount_msat), 0) AS BIGINT) AS n FROM builtin_payments WHERE payer = 'timmy' AND state = 'succeeded'"
    )
    assert row is not None
    return int(row["n"])


def _asked(tx: Tx) -> int:
    row = tx.one("SELECT COUNT(*) AS n FROM jobs")
    assert row is not None
    return int(row["n"])


@pytest.fixture
async def track(postgres_url: str, tmp_path: Path) -> AsyncIterator[Track]:
    environ = {
        "DATABASE_URL": postgres_url,
        "DATA_DIR": str(tmp_path),
        "BTC_PRICE_SOURCES": "none",
        "LOG_LEVEL": "error",
        "PAYOUTS_MAX_SATS_PER_HOUR": "300",
    }
    calls = tmp_path / "calls"
    async with AsyncExitStack() as stack:
        settings = Settings.load(environ, dotenv=None)
        app = await stack.enter_async_context(build(settings, provider=CountedAgent(calls), background=False))
        racers = [await start(environ, calls) for _ in range(PROCESSES)]
        for racer in racers:
            stack.push_async_callback(_end, racer)
        assert await asyncio.gather(*(answer(racer) for racer in racers)) == ["ready"] * PROCESSES
        track = Track(app, calls, racers)
        yield track
        assert [check for check in await app.db.read(audit) if not check.holds] == []
        for look in (lightning_store.live_and_owed, lightning_store.uncredited, job_store.unfair):
            assert await app.db.read(look) == []


async def start(environ: dict[str, str], calls: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.chaos.racer", json.dumps(environ), str(calls)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )


async def _end(racer: asyncio.subprocess.Process) -> None:
    if racer.returncode is None:
        racer.kill()
    await racer.communicate()


@pytest.mark.fault("A06", "B12")
async def test_an_invoice_that_push_poll_view_and_sweep_find_paid_at_once_is_credited_once(track: Track) -> None:
    for _ in range(3):
        job = await track.job()
        hash = await track.pay(job, notice=False)
        await asyncio.sleep(1.1)  # until the sweep would look for the first time
        orders = [{"op": "settle", "how": how, "what": job if how == "view" else hash} for how in ("push", "poll", "view", "sweep")]
        await track.race(*orders)
        await track.app.receiving.look(hash)
        assert await track.states(job) == ["awaiting_eval_payment", "evaluating"]
        account = await track.app.db.read(available, chart.job(job))
        assert account == Sats(0).msats, "the fee is reserved, once; there is no second credit"


@pytest.mark.fault("B03", "B08")
async def test_of_fifty_refund_calls_with_different_invoices_one_pays_and_the_others_are_told_why_not(track: Track) -> None:
    job = await track.ended()
    owed = (await track.app.jobs.view(job)).refund.owed
    invoices = [await track.refund_invoice(job) for _ in range(52)]
    orders = [{"op": "refund", "job": job, "invoices": invoices[n::PROCESSES]} for n in range(PROCESSES)]
    answers = Counter(answer for answers in await track.race(*orders) for answer in answers)
    assert answers == {"202": 1, "409 refund_in_progress": 51}
    await track.race({"op": "work", "jobs": [job]})
    assert await track.sent() == owed
    again = Counter(answer for answers in await track.race(*orders) for answer in answers)
    assert again == {"202": 1, "409 nothing_owed": 51}, "the same invoice is the same refund; the others come too late"
    await track.race({"op": "work", "jobs": [job]})
    assert await track.sent() == owed


@pytest.mark.fault("B08")
async def test_a_job_is_judged_once_and_worked_once_however_many_workers_wait_for_it(track: Track) -> None:
    requests = [f"What is {n} * 7?" for n in range(12)]
    jobs = [await track.job(request) for request in requests]
    for job in jobs:
        await track.pay(job)
    await track.race({"op": "work", "jobs": jobs})
    for job in jobs:
        await track.pay(job, work=True)
    await track.race({"op": "work", "jobs": jobs})
    for job in jobs:
        assert (await track.app.jobs.view(job)).state is State.COMPLETE
    calls = Counter(track.calls.read_text().splitlines())
    assert calls == {f"{what} {request}": 1 for what in ("judge", "work") for request in requests}


@pytest.mark.fault("B06")
async def test_the_same_idempotency_key_at_the_same_moment_is_one_job(track: Track) -> None:
    for n in range(3):
        before = await track.app.db.read(_asked)
        ids = {id for ids in await track.race({"op": "submit", "key": f"key {n}", "times": 10}) for id in ids}
        assert len(ids) == 1
        assert await track.app.db.read(_asked) == before + 1


@pytest.mark.fault("B13")
async def test_an_invoice_that_several_processes_let_expire_expires_once(track: Track) -> None:
    jobs = [await track.job() for _ in range(10)]
    ahead_ms = (track.app.settings.invoice_ttl_seconds + 60) * 1_000
    await track.race({"op": "sweep", "ahead_ms": ahead_ms})
    for job in jobs:
        assert await track.states(job) == ["awaiting_eval_payment", "expired"]


@pytest.mark.fault("A08", "B13")
async def test_a_payment_that_comes_while_its_invoice_expires_goes_on_or_is_owed_back(track: Track) -> None:
    ahead_ms = (track.app.settings.invoice_ttl_seconds + 60) * 1_000
    jobs = [await track.job() for _ in range(8)]
    hashes = [(await track.app.jobs.view(job)).eval_invoice.payment_hash for job in jobs]

    async def pay_all() -> None:
        await asyncio.sleep(HEADSTART_SECONDS)
        for job in jobs:
            await track.pay(job, notice=False)

    await asyncio.gather(track.race({"op": "sweep", "ahead_ms": ahead_ms}), pay_all())
    for hash in hashes:
        await track.app.receiving.look(hash)
    for job in jobs:
        view = await track.app.jobs.view(job)
        owed = view.refund.owed == Sats(10)
        assert (view.state is State.EXPIRED and owed) or (view.state is State.EVALUATING and not owed), view


async def test_processes_that_send_at_once_keep_the_limit_of_the_hour_together(track: Track) -> None:
    jobs = [await track.ended(f"please fail {n}, in 30000 words") for n in range(8)]
    owed = [(await track.app.jobs.view(job)).refund.owed.value for job in jobs]
    limit = track.app.settings.payouts_max_per_hour.value
    assert sum(owed) > limit > max(owed), "the limit is somewhere among them"
    for job in jobs:
        await track.race({"op": "refund", "job": job, "invoices": [await track.refund_invoice(job)]})
    await track.race({"op": "work", "jobs": jobs})
    sent = (await track.sent()).value
    assert limit - max(owed) < sent <= limit
    waiting = [payouts.payout_of(row) for row in await track.app.db.read(lightning_store.payouts_listed, ["planned"], None, len(jobs))]
    assert sum(payout.amount.floor_sats().value for payout in waiting) == sum(owed) - sent, "the others wait for the next hour"
