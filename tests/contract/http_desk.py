"""A jobs desk in memory, small but honest: it keeps the promises of `JobsDesk` without a ledger, a wallet or a model."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import httpx
from tests.contract.http_completions import Talk
from tests.contract.http_people import Gifts, Keys, Till, not_frozen, profile
from tests.contract.http_world import Sights, Treats

from timmy.clock import ManualClock
from timmy.errors import Refusal
from timmy.idempotency import KeyReused
from timmy.identity.signing import SigningKey
from timmy.ids import new_id
from timmy.jobs.desk import JobNotFound, JobUnderWay
from timmy.jobs.model import CostLedger, InvoiceView, JobNews, JobView, RefundState, RefundView, State
from timmy.jobs.protocol import Destination, Key, ToInvoice, ToLightningAddress, ToLnurl
from timmy.lightning.lnurl import LightningAddressMalformed, is_lightning_address
from timmy.models import Usage
from timmy.money import Msats, NanoUsd, Sats
from timmy.pricing import Quote
from timmy.pricing.quote import BtcPrice, Rate
from timmy.settings import Settings
from timmy.web import Condition, Health, Part, WebHouse, create_app, server

PATIENCE_SECONDS = 60  # for what must happen at all; nothing here is about speed

EVAL_FEE, WORK_PRICE, CHARGED = Sats(10), Sats(21), Msats(10_640)
NOTHING_OWED = RefundView(RefundState.NOT_APPLICABLE, Sats(0), Sats(0), Msats(0), None, None)
QUOTE = Quote(
    model="timmy-demo",
    rate=Rate(3_000_000_000, 15_000_000_000, 300_000_000),
    btc=BtcPrice(10_000_000, "fallback", 1_700_000_000_000),
    margin_bp=4_000,
    infra=NanoUsd.parse("0.001"),
    estimated_input_tokens=120,
    estimated_output_tokens=900,
    estimated_cost=NanoUsd.parse("0.015"),
    price=WORK_PRICE,
)


class RefundRefused(Refusal):
    status = 422
    code = "refund_refused_in_test"
    title = "That destination will not do"


class RefundElsewhere(Refusal):
    status = 409
    code = "refund_elsewhere_in_test"
    title = "The refund goes somewhere else already"


@dataclass
class Desk:
    """`JobsDesk`, and the wallet that its invoices are paid with."""

    clock: ManualClock
    jobs: dict[str, JobView] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)  # principal, key → body, job
    news: dict[str, list[JobNews]] = field(default_factory=dict)
    owners: dict[str, tuple[str, str]] = field(default_factory=dict)  # payment hash → "eval" or "work", job
    customer: dict[str, Sats] = field(default_factory=dict)  # invoices of the built-in customer
    paid_to: dict[str, Destination] = field(default_factory=dict)
    readers: int = 0
    nobody_reads: asyncio.Event = field(default_factory=asyncio.Event)
    steps: bool = False  # True: nothing happens by itself, a test calls judge() and work()
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    running: set[asyncio.Task[None]] = field(default_factory=set)
    till: Till = field(init=False)  # the sessions, paid from the same wallet

    def __post_init__(self) -> None:
        self.till = Till(self.clock, QUOTE, self.customer.get)

    # JobsDesk ---------------------------------------------------------------------------------------------

    async def submit(self, request: str, *, refund_to: str | None = None, key: Key | None = None, pubkey: str | None = None) -> JobView:
        if key is not None and (known := self.keys.get((key.principal, key.key))):
            if known[0] != key.body_sha256:
                raise KeyReused("Use a new key for a new request.")
            return self.jobs[known[1]]
        if refund_to is not None and not is_lightning_address(refund_to):
            raise LightningAddressMalformed("refundTo must be a Lightning address.")
        job_id = new_id("job")
        if key is not None:
            self.keys[key.principal, key.key] = (key.body_sha256, job_id)
        self.jobs[job_id] = JobView(
            id=job_id,
            state=State.AWAITING_EVAL_PAYMENT,
            request=request,
            created_at_ms=self.clock.now_ms(),
            completed_at_ms=None,
            trust_tier="new" if pubkey else "anonymous",
            eval_invoice=self._invoice("eval", job_id, EVAL_FEE),
            work_invoice=None,
            quote=None,
            reason=None,
            waiting=None,
            result=None,
            truncated=False,
            cost=None,
            refund=NOTHING_OWED,
            refund_to=refund_to,
        )
        self.news[job_id] = [JobNews(1, "state", None)]
        return self.jobs[job_id]

    async def view(self, job_id: str) -> JobView:
        if job_id not in self.jobs:
            raise JobNotFound("There is no job with this id.")
        return self.jobs[job_id]

    async def follow(self, job_id: str, *, after_seq: int = 0) -> AsyncGenerator[JobNews, None]:
        self.readers += 1
        self.nobody_reads.clear()
        try:
            while True:
                fresh = [item for item in self.news[job_id] if item.seq > after_seq]
                for item in fresh:
                    after_seq = item.seq
                    yield item
                async with self.changed:
                    if any(item.seq > after_seq for item in self.news[job_id]):
                        continue
                    if self.jobs[job_id].state.is_final:
                        return
                    await self.changed.wait()
        finally:
            self.readers -= 1
            if not self.readers:
                self.nobody_reads.set()

    async def so_far(self, job_id: str) -> str:
        return "".join(item.text or "" for item in self.news[job_id] if item.kind == "progress")

    async def refund(self, job_id: str, destination: Destination, *, key: Key | None = None) -> JobView:
        job = await self.view(job_id)
        if job_id in self.paid_to:
            if self.paid_to[job_id] != destination:
                raise RefundElsewhere("It has been paid already.")
            return job
        if not job.state.is_final:
            raise JobUnderWay("The job has not ended yet.")
        if not job.refund.owed:
            raise RefundRefused("Nothing is owed.")
        match destination:
            case ToInvoice(payment_request=text):
                kind, fits = "invoice", self.customer.get(text) == job.refund.owed
            case ToLightningAddress(address=text):
                kind, fits = "lightning_address", text.endswith("@wallet.example")
            case ToLnurl(lnurl=text):
                kind, fits = "lnurl", text.lower().startswith("lnurl1dp68")
        if not fits:
            raise RefundRefused(f"Give a BOLT11 invoice of exactly {job.refund.owed.value} sats.", owedSats=job.refund.owed)
        self.paid_to[job_id] = destination
        refund = replace(job.refund, state=RefundState.PAID, owed=Sats(0), paid=job.refund.owed, destination=kind)
        await self.move(job_id, replace(job, refund=refund), kind="refund")
        return self.jobs[job_id]

    # The wallet's side --------------------------------------------------------------------------------------

    async def pay(self, payment_hash: str) -> bool:
        if payment_hash not in self.owners:
            return await self.till.pay(payment_hash)
        purpose, job_id = self.owners[payment_hash]
        job = self.jobs[job_id]
        if purpose == "eval" and job.state is State.AWAITING_EVAL_PAYMENT:
            await self.move(job_id, replace(job, state=State.EVALUATING))
            self._soon(self.judge(job_id))
        if purpose == "work" and job.state is State.AWAITING_WORK_PAYMENT:
            await self.move(job_id, replace(job, state=State.EXECUTING))
            self._soon(self.work(job_id))
        return True

    async def preimage(self, payment_hash: str) -> str | None:
        return hashlib.sha256(payment_hash.encode()).hexdigest()  # as good as any: nothing here asks for it

    async def customer_invoice(self, amount: Sats) -> str:
        text = f"lnbcrt{amount.value}fake{len(self.customer)}"
        self.customer[text] = amount
        return text

    async def judge(self, job_id: str) -> None:
        job = self.jobs[job_id]
        if "please reject this" in job.request:
            end = self.clock.now_ms()
            await self.move(job_id, replace(job, state=State.REJECTED, reason="You asked for it.", completed_at_ms=end))
        else:
            asked = self._invoice("work", job_id, WORK_PRICE)
            await self.move(job_id, replace(job, state=State.AWAITING_WORK_PAYMENT, work_invoice=asked, quote=QUOTE))

    async def work(self, job_id: str) -> None:
        job = self.jobs[job_id]
        await self.say(job_id, "progress", "An ")
        await self.say(job_id, "progress", "answer.")
        failed = "please fail" in job.request
        charged = Msats(0) if failed else CHARGED
        left = WORK_PRICE.msats - charged
        owed = left.floor_sats()
        done = replace(
            job,
            state=State.FAILED if failed else State.COMPLETE,
            reason="The model refused." if failed else None,
            result=None if failed else "An answer.",
            completed_at_ms=self.clock.now_ms(),
            cost=CostLedger(Usage(118, 420), NanoUsd.parse("0.0076"), charged, WORK_PRICE.msats),
            refund=RefundView(RefundState.PENDING, owed, Sats(0), left - owed.msats, None, None),
        )
        await self.move(job_id, done)

    async def move(self, job_id: str, job: JobView, *, kind: str = "state") -> None:
        self.jobs[job_id] = job
        await self.say(job_id, kind, None)

    async def say(self, job_id: str, kind: str, text: str | None) -> None:
        async with self.changed:
            self.news[job_id].append(JobNews(len(self.news[job_id]) + 1, kind, text))
            self.changed.notify_all()

    def _invoice(self, purpose: str, job_id: str, amount: Sats) -> InvoiceView:
        payment_hash = hashlib.sha256(f"{purpose} {job_id}".encode()).hexdigest()
        self.owners[payment_hash] = (purpose, job_id)
        return InvoiceView(f"lnbcrt{amount.value}{purpose}{job_id}", payment_hash, amount, self.clock.now_ms() + 600_000, settled=False)

    def _soon(self, step: Coroutine[None, None, None]) -> None:
        if self.steps:
            step.close()
            return
        task = asyncio.create_task(step)
        self.running.add(task)
        task.add_done_callback(self.running.discard)


class Counted:
    """`WebMetrics` that a test can read."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, int]] = []

    def http_request(self, *, method: str, route: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.requests.append((method, route, status))

    def exposition(self) -> tuple[bytes, str]:
        lines = [f'timmy_http_requests_total{{method="{m}",route="{r}",status="{s}"}} 1' for m, r, s in self.requests]
        return ("\n".join(lines) + "\n").encode(), "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class World:
    """A house full of stand-ins, and its app."""

    house: WebHouse
    desk: Desk
    metrics: Counted
    hints: list[str]
    parts: list[Part]

    @classmethod
    def build(
        cls, settings: Settings | None = None, *, dev: bool = True, hook_secret: str | None = None, steps: bool = False, talks: bool = False
    ) -> World:
        desk, metrics, hints = Desk(ManualClock(), steps=steps), Counted(), list[str]()
        parts = [
            Part("wallet", Condition.OK, "builtin", stand_in="Its sats are not real. Set WALLET to earn."),
            Part("database", Condition.OK, "memory"),
            Part("provider", Condition.OK, "builtin"),
            Part("price", Condition.OK, "fallback"),
        ]

        async def health() -> Health:
            return Health(tuple(parts))

        async def hint(payment_hash: str) -> None:
            hints.append(payment_hash)

        house = WebHouse(
            settings=settings or Settings(),
            jobs=desk,
            sessions=desk.till,
            identity=Keys(desk.clock),
            profile=profile,
            giving=Gifts(QUOTE, EVAL_FEE),
            pool_frozen=not_frozen,
            clock=desk.clock,
            metrics=metrics,
            health=health,
            ready=health,
            version="0.0.0-test",
            wallet_hint=hint,
            receipt_key=SigningKey(b"\x03" * 32, lambda size: bytes(size)),
            hook_secret=hook_secret,
            completions=Talk(desk.clock, QUOTE) if talks else None,
            world=Sights(desk.clock),
            demo=Treats(desk.clock),
            dev=desk if dev else None,
        )
        return cls(house, desk, metrics, hints, parts)

    def client(self) -> httpx.AsyncClient:
        """Speaks to the app without a socket; unexpected exceptions come through, so that no test overlooks one."""
        return httpx.AsyncClient(transport=httpx.ASGITransport(create_app(self.house)), base_url="http://timmy.test")


@dataclass
class Open:
    world: World
    url: str
    session: aiohttp.ClientSession

    async def order(self, request: str = "Why?") -> dict[str, Any]:
        async with self.session.post(f"{self.url}/api/jobs", json={"request": request}) as answer:
            assert answer.status == 201
            shown: dict[str, Any] = await answer.json()
            return shown

    async def pay(self, payment_hash: str) -> None:
        async with self.session.post(f"{self.url}/api/dev/stub/pay/{payment_hash}") as answer:
            assert answer.status == 200

    def events(self, job_id: str, last_id: str | None = None) -> Any:
        headers = {"Last-Event-ID": last_id} if last_id else {}
        return self.session.get(f"{self.url}/api/jobs/{job_id}/events", headers=headers)


@asynccontextmanager
async def opened(world: World | None = None, *, steps: bool = False) -> AsyncIterator[Open]:
    world = world or World.build(steps=steps)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = server(create_app(world.house), world.house, host="127.0.0.1", port=0)
        serving = asyncio.create_task(running.serve(sockets=[listening]))
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as session:
            try:
                yield Open(world, f"http://127.0.0.1:{listening.getsockname()[1]}", session)
            finally:
                running.should_exit = True
                await asyncio.wait_for(serving, PATIENCE_SECONDS)
