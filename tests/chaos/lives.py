"""A job's life, lived as often as the server has to be started: deterministic, in one process, without waiting.

live_through(url, ending)                      nobody dies; answers what it cost and the points at which one could have died
live_through(url, ending, crash_at=[17])       the server dies at its 17th point, is started again, and everything ends as promised
live_through(url, ending, crash_at=[17, 3])    ... and dies again at the third point of its second life
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import cast

from tests.chaos.endings import Bill, Ending, When
from tests.chaos.world import NODE_FLOAT, STRAY, Crash, Model, Node, Points, Street, World
from timmy import generosity
from timmy.app.books import all_checks
from timmy.clock import SECOND_MS
from timmy.db import Database, Tx, open_database
from timmy.db.postgres import PostgresDatabase
from timmy.generosity import pool
from timmy.idempotency import Key
from timmy.identity import trust
from timmy.jobs import Jobs, JobView, Rules, State, Terms, Workshop, on_lapsed, on_paid
from timmy.jobs.desk import load_all
from timmy.jobs.model import InvoiceView
from timmy.jobs.protocol import ToInvoice
from timmy.ledger import Code, Move, chart, commit
from timmy.lightning import payouts
from timmy.lightning import store as lightning_store
from timmy.lightning.lnurl import LnurlClient
from timmy.lightning.paying import Paying
from timmy.lightning.payouts import InvoiceUsed, PayoutInProgress
from timmy.lightning.receiving import LAPSE_GRACE_MS, Receiving
from timmy.money import Msats, NanoUsd, Sats
from timmy.pricing import BtcOracle, RateBook
from timmy.tasks import Bell, Worker
from timmy.tasks import store as task_store

EVAL_FEE = Sats(10)
TTL_SECONDS = 300
ROUNDS_MAX = 60  # of customer and server taking turns: a life that needs more hangs
REQUEST = "What is 6 * 7?"
RATES = RateBook()
PUBKEY = "ab" * 32
ADDRESS = "customer@example.com"
SUBMIT_KEY = Key("the same after every crash", "0" * 64)

PAYOUT_TERMS = payouts.Terms(
    network=Node.network,
    enabled=True,
    caps_fees=True,
    fee_limit_bp=100,
    fee_limit_min=Sats(5),
    uncapped_max=Sats(1_000),
    per_hour_max=Sats(1_000_000),
    per_day_max=Sats(1_000_000),
)
JOB_TERMS = Terms(
    eval_model="timmy-demo-small",
    work_model="timmy-demo",
    max_output_tokens=4_096,
    margin_bp=4_000,
    infra=NanoUsd.parse("0.001"),
    pool_credit_bp=1_000,
    patience_seconds=0,  # each ending has its own
)
RULES = Rules(
    giving=generosity.Terms({"new": Sats(1_000).msats}),
    trust=trust.Terms(established=10, trusted=50, elite=200, success=5, setback=3, decay_after_days=30, decay_per_day=1),
)


@dataclass(frozen=True, slots=True)
class Server:
    """One life of the server's process, with its background work in our hands."""

    db: Database
    jobs: Jobs
    receiving: Receiving
    worker: Worker
    kinds: list[str]


@dataclass(frozen=True, slots=True)
class Life:
    """What became of a job: its last view, what it cost the customer, and the points of each life of the server.

    A refund is whole sats; the rest below one stays the customer's, as the job's credit, so it is not part of the cost."""

    view: JobView
    cost_msat: int
    bill: Bill
    world: World
    points: list[list[str]]

    @property
    def crashes(self) -> int:
        return len(self.points) - 1


@asynccontextmanager
async def server(url: str, world: World) -> AsyncIterator[Server]:
    # One writer: what this life does at once, it does in one order. That several writers agree is test_races' business.
    postgres = url.startswith("postgresql")
    db: Database = PostgresDatabase(url, writers=1, probe=world.points) if postgres else open_database(url, probe=world.points)
    clock, bell, node = world.clock, Bell(), Node(world)
    terms = replace(JOB_TERMS, patience_seconds=world.ending.patience_seconds)
    try:
        paid, lapsed = on_paid(RULES), on_lapsed(RULES)
        receiving = Receiving(db, clock, node, bell, ttl_seconds=TTL_SECONDS, on_paid=paid, on_lapsed=lapsed)
        paying = Paying(db, clock, node, cast(LnurlClient, Street(world)), bell, PAYOUT_TERMS, world.random_bytes)
        jobs = Jobs(db, clock, bell, world.random_bytes, receiving, paying, eval_fee=EVAL_FEE.msats, trust_terms=RULES.trust)
        oracle = BtcOracle((), fallback_cents=100_000_00, max_age_seconds=3_600, clock=clock, fetch=_no_fetch)
        workshop = Workshop(db, clock, bell, world.random_bytes, receiving, paying, Model(world), RATES, oracle, terms, RULES)
        handlers = {**workshop.handlers, payouts.PAY: paying.pay}
        yield Server(db, jobs, receiving, Worker(db, clock, bell, handlers, concurrency=1), list(handlers))
    finally:
        await db.aclose()


async def _no_fetch(_: str) -> bytes:
    raise AssertionError("there are no price sources")


async def live_through(url: str, ending: Ending, crash_at: Sequence[int] = ()) -> Life:
    """From the request to the last sat; every check that we know of is made at the end. `url` leads to an empty database."""
    world = World(ending)
    points: list[list[str]] = []
    random.seed(ending.name)  # the worker's pauses between attempts are drawn: the same in every run
    for at in (*crash_at, None):
        world.points = Points(at)
        try:
            async with server(url, world) as running:
                view = await _live(running, world)
                await _check(running.db, world, view)
            points.append(world.points.labels)
            break
        except Crash:
            points.append(world.points.labels)
    bill = _bill(view)
    life = Life(view, world.paid_in - world.paid_back - view.refund.credit.value, bill, world, points)
    _check_fairness(life, ending)
    return life


async def _live(running: Server, world: World) -> JobView:
    ending = world.ending
    await running.db.write(pool.seed, ending.pool.msats, world.clock.now_ms())
    refund_to, pubkey = ADDRESS if ending.refund_to else None, PUBKEY if ending.pool else None
    view = await running.jobs.submit(REQUEST, refund_to=refund_to, key=SUBMIT_KEY, pubkey=pubkey)
    strayed = False
    for _ in range(ROUNDS_MAX):
        view = await _view(running, view.id)
        if await _is_over(running, view, world):
            return view
        if ending.drained and view.work_invoice:
            await running.db.write(_drain, world.clock.now_ms(), ending.pool.msats)
        for invoice in _payable(view, world):
            await running.receiving.hint(invoice)  # push, poll ...
            await running.receiving.report(invoice, world.ours[invoice].received or Msats(0))  # ... and whoever else, at the same time
        if ending.stray and not strayed and view.state.is_final:
            strayed = True
            hash = next((hash for hash, ours in world.ours.items() if ours.received == STRAY), None) or world.stray()
            await running.receiving.look(hash)
            await running.receiving.look(hash)
        await running.receiving.sweep_once()
        done = await running.worker.run_due()
        view = await _view(running, view.id)
        if view.state.is_final and view.refund.owed.value and view.refund.destination is None and not ending.refund_to:
            await _claim(running, world, view)
            done += 1
        if not done:
            await _wait(running, world, view)
    raise AssertionError(f"{ending.name}: no end of it: {view}")


async def _view(running: Server, job_id: str) -> JobView:
    view = (await running.db.read(load_all, [job_id], RULES.trust, 0))[0]
    assert view is not None
    return view


def _drain(tx: Tx, at_ms: int, amount: Msats) -> None:
    """Others have used the pool up, between the offer and its payment."""
    commit(tx, at_ms, Move("drained", chart.POOL, chart.OPERATOR, amount, Code.OPERATOR_CORRECTION))


def _payable(view: JobView, world: World) -> list[str]:
    """The customer pays what they want to pay now; answers the hashes of what they have just paid."""
    ending, paid = world.ending, []
    for invoice, pays in ((view.eval_invoice, ending.eval_pays), (view.work_invoice, ending.work_pays)):
        if invoice is None or invoice.settled or pays.when is When.NEVER:
            continue
        if pays.when is When.LATE and view.state is not State.EXPIRED:
            continue
        world.pay(invoice.payment_hash, Msats(invoice.amount.msats.value * pays.tenths // 10))
        paid.append(invoice.payment_hash)
    return paid


async def _claim(running: Server, world: World, view: JobView) -> None:
    """The customer asks for what is owed, twice, and with another invoice too: one of them is paid."""
    claims = [claim for claim in world.theirs.values() if claim.amount == view.refund.owed.msats]
    try:
        request = claims[-1].request if claims else world.customer_invoice(view.refund.owed.msats)
        await running.jobs.refund(view.id, ToInvoice(request))
        await running.jobs.refund(view.id, ToInvoice(request))
    except InvoiceUsed:  # it failed before: only a new one can be paid
        await running.jobs.refund(view.id, ToInvoice(world.customer_invoice(view.refund.owed.msats)))
        return
    except PayoutInProgress:
        return
    spare = world.customer_invoice(view.refund.owed.msats)
    try:
        await running.jobs.refund(view.id, ToInvoice(spare))
        raise AssertionError("two payouts of one obligation were on their way")
    except PayoutInProgress:
        world.theirs.pop(next(hash for hash, theirs in world.theirs.items() if theirs.request == spare))


async def _wait(running: Server, world: World, view: JobView) -> None:
    """Nothing can be done now: on to the next moment at which something can."""
    now_ms = world.clock.now_ms()
    due_ms = await running.db.read(task_store.next_due, running.kinds)
    awaited: InvoiceView | None = None
    if view.state is State.AWAITING_EVAL_PAYMENT:
        awaited = view.eval_invoice
    elif view.state is State.AWAITING_WORK_PAYMENT:
        awaited = view.work_invoice
    looks_ms = await running.db.read(lightning_store.next_look) if due_ms is None else None
    expiry_ms = awaited.expires_at_ms + LAPSE_GRACE_MS if awaited else None
    moments = [at_ms for at_ms in (due_ms, expiry_ms or looks_ms) if at_ms is not None]
    world.clock.advance(ms=max(SECOND_MS, min(moments, default=now_ms) - now_ms))


async def _is_over(running: Server, view: JobView, world: World) -> bool:
    if not view.state.is_final or view.refund.owed.value or await running.db.read(task_store.next_due, running.kinds) is not None:
        return False
    late = {view.eval_invoice: world.ending.eval_pays, view.work_invoice: world.ending.work_pays}
    if any(invoice and pays.when is When.LATE and not invoice.settled for invoice, pays in late.items()):
        return False
    return not world.ending.stray or await running.db.read(_balance, chart.UNALLOCATED) == STRAY.value


# what must be true at the end ------------------------------------------------------------------------


async def _check(db: Database, world: World, view: JobView) -> None:
    broken = [check for check in await db.read(all_checks) if not check.holds]
    assert not broken, broken
    assert await db.read(task_store.waiting) == []
    assert await db.read(lightning_store.obligations_open, None, 10) == []
    assert await db.read(_reserved) == 0
    assert -await db.read(_balance, chart.LIGHTNING) == world.node - NODE_FLOAT.value, "the node and the books disagree"
    assert await db.read(_balance, chart.UNALLOCATED) == (STRAY.value if world.ending.stray else 0)
    tripped = await db.read(lightning_store.breaker, payouts.BREAKER)
    assert (tripped is not None) == any(pay.greedy for pay in world.ending.payouts)
    given = -await db.read(_balance, chart.OPERATOR)
    earned = await db.read(_balance, chart.REVENUE) + await db.read(_balance, chart.POOL) - given
    credit = await db.read(_balance, chart.job(view.id))
    assert credit == view.refund.credit.value < 1_000
    assert earned + credit == world.paid_in - world.paid_back, "the customer lost exactly what was earned, and part of a sat"


def _check_fairness(life: Life, ending: Ending) -> None:
    view, world = life.view, life.world
    assert view.state is ending.state, (view.state, view.reason)
    assert life.cost_msat == ending.cost(life.bill), (life.cost_msat, life.bill)
    assert (view.result is not None) == (view.state is State.COMPLETE)
    assert world.paid_back == sum(theirs.amount.value for theirs in world.theirs.values() if theirs.arrivals)
    assert all(theirs.arrivals <= 1 for theirs in world.theirs.values()), "one invoice was paid twice"
    assert sum(theirs.arrivals for theirs in world.theirs.values()) <= 1, "one obligation was paid twice"
    if "DOWN" not in ending.work.name:
        assert world.calls["work"] <= 1 + life.crashes, "a crash costs one call of the model at most"
    if "DOWN" not in ending.judge.name:
        assert world.calls["judge"] <= 1 + life.crashes


def _bill(view: JobView) -> Bill:
    charge = view.cost.charged.value if view.cost else 0
    return Bill(view.eval_invoice.amount.msats.value, view.quote.price.msats.value if view.quote else 0, charge)


def _balance(tx: Tx, account: str) -> int:
    row = tx.one("SELECT balance_msat FROM accounts WHERE id = :id", id=account)
    return row["balance_msat"] if row else 0


def _reserved(tx: Tx) -> int:
    row = tx.one("SELECT CAST(COALESCE(SUM(reserved_msat), 0) AS BIGINT) AS n FROM accounts")
    assert row is not None
    return int(row["n"])
