"""What is old and nobody's money goes; what a payment ever reached stays, can be claimed, and the books close before and after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.real_house import SITE

from timmy import events, tasks
from timmy.app import App, build, old_store, pruning
from timmy.app.books import all_checks
from timmy.clock import ManualClock
from timmy.db import Tx
from timmy.events import NewEvent
from timmy.idempotency import Key
from timmy.jobs import JobNotFound, State
from timmy.jobs.protocol import ToInvoice
from timmy.ledger import chart
from timmy.ledger.commit import available
from timmy.lightning import invoices, strays
from timmy.lightning.invoices import Report
from timmy.lightning.receiving import NEVER_MS, Receiving
from timmy.money import Sats
from timmy.settings import Settings

DAY_SECONDS = 24 * 3_600
KEY = Key("k", "a" * 64)


@pytest.fixture
async def app(database_url: str, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[App]:
    """Whatever is pruned, the whole audit holds."""
    monkeypatch.setattr(pruning, "PAUSE_SECONDS", 0)
    given = {"DATABASE_URL": database_url, "DATA_DIR": str(tmp_path), "BTC_PRICE_SOURCES": "", "PUBLIC_URL": SITE}
    async with build(Settings.load(given, dotenv=None), clock=clock, background=False) as app:
        await app.db.write(tasks.add, [Receiving.first_sweep(clock.now_ms()), pruning.Pruning.first(clock.now_ms())])
        yield app
        assert [check for check in await app.db.read(all_checks) if not check.holds] == []


async def pay(app: App, payment_hash: str) -> None:
    assert app.house.dev is not None
    await app.house.dev.pay(payment_hash)


async def time_passes(app: App, clock: ManualClock, days: int) -> None:
    """With its sweeps, which look at unpaid invoices ever more rarely, and its prunings."""
    for _ in range(days):
        clock.advance(seconds=DAY_SECONDS)
        await app.run_due()


def count(tx: Tx, table: str, column: str, value: str) -> int:
    return len(tx.all(f"SELECT 1 AS one FROM {table} WHERE {column} = :value", value=value))


async def test_what_nobody_paid_for_goes_when_it_is_old(app: App, clock: ManualClock) -> None:
    job = await app.jobs.submit("Why?", key=KEY)
    session = await app.sessions.open(Sats(500))
    await time_passes(app, clock, 29)
    assert (await app.jobs.view(job.id)).state is State.EXPIRED
    assert (await app.sessions.view(session.id)).id == session.id
    young = await app.jobs.submit("And why now?", key=KEY)
    assert young.id != job.id, "a key of a month ago is forgotten"
    await time_passes(app, clock, 3)
    with pytest.raises(JobNotFound):
        await app.jobs.view(job.id)
    for table, column, id in (("invoices", "subject", job.id), ("invoices", "subject", session.id), ("sessions", "id", session.id)):
        assert await app.db.read(count, table, column, id) == 0
    assert await app.db.read(count, "events", "subject", job.id) == 0
    assert (await app.jobs.view(young.id)).state is State.EXPIRED
    assert (await app.jobs.submit("And why now?", key=KEY)).id == young.id, "a key is not forgotten before its time"


async def test_what_a_payment_has_reached_stays_and_is_claimed_after_years(app: App, clock: ManualClock) -> None:
    late, done, session = await app.jobs.submit("Late"), await app.jobs.submit("Done"), await app.sessions.open(Sats(500))
    await pay(app, done.eval_invoice.payment_hash)
    await app.run_due()
    given = await app.jobs.submit("Never paid for, and an operator gave it a stray")
    await app.db.write(invoices.settle_all, [Report("ef" * 32, Sats(10).msats, clock.now_ms())], {})
    await app.db.write(strays.give, "ef" * 32, given.id, "she wrote", clock.now_ms())
    work = (await app.jobs.view(done.id)).work_invoice
    assert work is not None
    await pay(app, work.payment_hash)
    await app.run_due()
    await pay(app, session.deposit.payment_hash)
    half = await app.jobs.submit("Judged, and the work not paid for")
    await pay(app, half.eval_invoice.payment_hash)
    await app.run_due()
    await time_passes(app, clock, 2)
    await app.receiving.report(late.eval_invoice.payment_hash, Sats(10).msats)  # after its invoice had expired
    before = {id: await app.jobs.view(id) for id in (late.id, done.id, half.id, given.id)}
    await time_passes(app, clock, 60)
    clock.advance(seconds=900 * DAY_SECONDS)
    await app.run_due()
    await app.run_due()
    assert {id: await app.jobs.view(id) for id in before} == before
    assert before[late.id].refund.owed == Sats(10)
    assert before[done.id].state is State.COMPLETE
    assert (await app.sessions.view(session.id)).balance == Sats(500).msats
    assert app.house.dev is not None
    invoice = await app.house.dev.customer_invoice(Sats(10))
    claimed = await app.jobs.refund(late.id, ToInvoice(invoice))
    assert claimed.refund.owed == Sats(10)
    assert await app.db.read(available, chart.owed(late.id)) == Sats(0).msats, "it is on its way"


async def test_what_was_told_long_ago_goes_and_what_is_told_now_stays(app: App, clock: ManualClock) -> None:
    await app.db.write(events.append, clock.now_ms(), [NewEvent("job_x", "told", {"n": n}) for n in range(2 * pruning.BATCH + 7)])
    clock.advance(seconds=30 * DAY_SECONDS)
    await app.db.write(events.append, clock.now_ms(), [NewEvent("job_x", "told", {"n": -1})])
    last = await app.db.read(events.last)
    await prune(app)
    assert [event.body["n"] for event in await app.db.read(events.of_subject, "job_x")] == [*range(2 * pruning.BATCH + 7)][:500]
    clock.advance(ms=1)
    assert (await prune(app))["events"] >= 2 * pruning.BATCH + 7
    assert [event.body["n"] for event in await app.db.read(events.of_subject, "job_x")] == [-1]
    await app.db.write(events.append, clock.now_ms(), [NewEvent("job_x", "told", {"n": 8})])
    assert [event.body["n"] for event in await app.db.read(events.after, last)] == [8], "cursors go on"


@pytest.mark.fault("A07", "A08")
async def test_a_payment_that_arrives_while_its_invoice_is_removed_is_credited_or_kept_apart(app: App, clock: ManualClock) -> None:
    jobs = [await app.jobs.submit(f"{n}") for n in range(6)]
    await time_passes(app, clock, 25)
    found = await app.db.read(old_store.unpaid_invoices, NEVER_MS, clock.now_ms(), 100)
    assert len(found) == len(jobs)
    reports = [app.receiving.report(job.eval_invoice.payment_hash, Sats(10).msats) for job in jobs]
    both: list[Any] = [app.db.write(old_store.forget_unpaid, [id]) for id in found]
    await asyncio.gather(*(one for pair in zip(reports, both, strict=True) for one in pair))
    owed = 0
    for job in jobs:
        try:
            owed += (await app.jobs.view(job.id)).refund.owed.value
        except JobNotFound:
            continue
    strays = (await app.db.read(available, chart.UNALLOCATED)).floor_sats().value
    assert owed + strays == 10 * len(jobs)


async def test_a_removed_invoice_that_is_paid_after_all_is_a_stray(app: App, clock: ManualClock) -> None:
    job = await app.jobs.submit("Why?")
    await time_passes(app, clock, 40)
    await app.db.write(invoices.settle_all, [Report(job.eval_invoice.payment_hash, Sats(10).msats, clock.now_ms())], {})
    with pytest.raises(JobNotFound):
        await app.jobs.view(job.id)
    assert await app.db.read(available, chart.UNALLOCATED) == Sats(10).msats


async def test_pruning_comes_again_every_hour(app: App, clock: ManualClock) -> None:
    await app.run_due()
    await app.db.write(events.append, clock.now_ms() - 40 * DAY_SECONDS * 1_000, [NewEvent("job_x", "told")])
    clock.advance(seconds=int(pruning.EVERY_SECONDS))
    await app.run_due()
    assert await app.db.read(events.of_subject, "job_x") == []


async def test_a_server_that_was_started_prunes_by_itself(database_url: str, tmp_path: Path) -> None:
    given = {"DATABASE_URL": database_url, "DATA_DIR": str(tmp_path), "BTC_PRICE_SOURCES": "", "PUBLIC_URL": SITE}
    settings = Settings.load(given, dotenv=None)
    async with build(settings, background=False) as app:
        await app.db.write(events.append, app.clock.now_ms() - 40 * DAY_SECONDS * 1_000, [NewEvent("job_x", "told")])
    async with build(settings) as app, asyncio.timeout(60):
        while await app.db.read(events.of_subject, "job_x"):
            await asyncio.sleep(0.05)


async def prune(app: App) -> dict[str, int]:
    return await pruning.Pruning(app.db, app.clock, pruning.keep_of(app.settings)).prune_once()
