"""The operator's desk: what is shown there, read from the same books as everything else, and the few things that can be done there.

All of it is read by the slow reader, so that a look at the desk never stands before a payment. Days that are over do not change any more,
and are added up once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import structlog

from timmy import tasks
from timmy.app import operator_store as store
from timmy.app.vitals import Vitals
from timmy.bootstrap import machine as nodes
from timmy.clock import SECOND_MS, Clock
from timmy.db import Database, DatabaseDown, Row, Tx
from timmy.generosity import day_of
from timmy.generosity import store as pool_store
from timmy.jobs.desk import JobNotFound
from timmy.jobs.machine import REFUND_TO
from timmy.ledger import Code, chart
from timmy.ledger import store as ledger_store
from timmy.lightning import payouts, strays
from timmy.lightning import store as lightning_store
from timmy.models import Usage
from timmy.money import Msats, NanoUsd
from timmy.pricing import BtcOracle, Quote
from timmy.tasks import Bell
from timmy.web.operator.alerts import alerts
from timmy.web.operator.protocol import (
    Audit,
    Breaker,
    Day,
    JobLine,
    Moved,
    Owed,
    Payout,
    Refunds,
    Standing,
    Stray,
    Summary,
    Sums,
    Tasks,
    Upstream,
)
from timmy.web.operator.protocol import Task as ParkedTask

DAY_MS = 24 * 3_600 * SECOND_MS
WEEK_DAYS, MONTH_DAYS = 7, 30
LATE_MS = 3_600 * SECOND_MS  # a transaction that began yesterday has ended by then: until then yesterday is added up anew
SLOW_MS = 10 * 60 * SECOND_MS  # on its way for longer than this, somebody should look
READ_WITHIN_SECONDS = 20.0  # the slow reader does one thing at a time, and an audit may take minutes
DONE_LOOKED_AT = 100  # of the last jobs, for what came to more than its price
TRANSFERS_SHOWN = 200
COUNTED_MAX = 1_000  # refunds and tasks that an alert counts

EARNED = (Code.EVAL_FEE, Code.WORK_CHARGE, Code.SESSION_CHARGE, Code.BOOTSTRAP_FEE)
RECEIVED = (Code.PAYMENT_RECEIVED, Code.STRAY_PAYMENT)
P = ParamSpec("P")
R = TypeVar("R")

log = structlog.get_logger("timmy.app")


@dataclass(frozen=True, slots=True)
class _Now:
    """What a summary reads in one snapshot."""

    kinds: dict[str, int]
    pool_reserved: int
    sessions_open: int
    breakers: list[Row]
    parked: int
    attention: list[Row]
    done: list[Row]


class Operator:
    """The `OperatorsDesk` of the house."""

    def __init__(self, db: Database, clock: Clock, bell: Bell, vitals: Vitals, oracle: BtcOracle) -> None:
        self._db = db
        self._clock = clock
        self._bell = bell
        self._vitals = vitals
        self._oracle = oracle
        self._over: dict[int, Sums] = {}  # days that are over, by the millisecond that they began at
        self._audit: asyncio.Task[None] | None = None

    # read ------------------------------------------------------------------------------------------------

    async def summary(self) -> Summary:
        now_ms = self._clock.now_ms()
        days = [day.sums for day in await self.days(MONTH_DAYS)]
        now = await self._read(_now, now_ms)
        health = await self._vitals.health()
        upstreams = [
            Upstream(part.name, part.kind, part.condition.value, self._vitals.latency_ms.get(part.name), part.detail)
            for part in health.parts
        ]
        standing, breakers, audit = _standing(now), _breakers(now), self._audited()
        over = [over_msat for row in now.done if (over_msat := _over_msat(row)) > 0]
        told = alerts(
            upstreams=upstreams,
            audit=audit,
            breakers=breakers,
            parked=now.parked,
            refunds=(len(now.attention), Msats(sum(row["amount_msat"] for row in now.attention))),
            unallocated=standing.unallocated,
            over=(len(over), len(now.done), Msats(sum(over))),
        )
        return Summary(
            at_ms=now_ms,
            today=days[-1],
            week=sum(days[-WEEK_DAYS:-1], days[-1]),
            month=sum(days[:-1], days[-1]),
            cents_per_btc=self._oracle.price().cents_per_btc,
            standing=standing,
            upstreams=upstreams,
            audit=audit,
            breakers=breakers,
            alerts=told,
            stand_ins=[part.stand_in for part in health.parts if part.stand_in],
        )

    async def days(self, count: int) -> Sequence[Day]:
        """See OperatorsDesk.days."""
        now_ms = self._clock.now_ms()
        today_ms = now_ms - now_ms % DAY_MS
        starts = range(today_ms - (count - 1) * DAY_MS, today_ms + DAY_MS, DAY_MS)
        missing = [start for start in starts if start not in self._over]
        found = await self._read(_sums_of_days, missing)
        self._over |= {start: sums for start, sums in found.items() if start + DAY_MS + LATE_MS <= now_ms}
        return [Day(day_of(start), found[start] if start in found else self._over[start]) for start in starts]

    async def jobs(self, limit: int) -> Sequence[JobLine]:
        return [_line(row) for row in await self._read(store.newest_jobs, limit)]

    async def job(self, job_id: str) -> tuple[JobLine, Sequence[Moved]]:
        """See OperatorsDesk.job."""
        return await self._read(_job, job_id)

    async def refunds(self, limit: int) -> Refunds:
        return await self._read(_refunds, self._clock.now_ms(), limit)

    async def tasks(self, limit: int) -> Tasks:
        return await self._read(_tasks, limit)

    async def strays(self, limit: int) -> Sequence[Stray]:
        found = await self._read(strays.listed)
        return [Stray(one.payment_hash, one.amount, one.at_ms, one.state) for one in found[:limit]]

    async def _read(self, fn: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            async with asyncio.timeout(READ_WITHIN_SECONDS):
                return await self._db.read_slowly(fn, *args, **kwargs)
        except TimeoutError:
            raise DatabaseDown("The books are being read through right now; the desk waits its turn. Look again in a minute.") from None

    def _audited(self) -> Audit:
        running = self._audit is not None and not self._audit.done()
        if self._vitals.audited is None:
            return Audit(None, False, (), 0, running)
        at_ms, whole, checks = self._vitals.audited
        broken = [f"{check.name}: {check.found}" for check in checks if not check.holds]
        return Audit(at_ms, whole, broken, len(checks), running)

    # done ------------------------------------------------------------------------------------------------

    async def retry_task(self, task_id: str) -> bool:
        done = await self._db.write(tasks.unpark, task_id, self._clock.now_ms())
        return self._told("retry_task", done, task=task_id)

    async def retry_refunds(self) -> int:
        """See OperatorsDesk.retry_refunds."""
        count = await self._db.write(_unpark_refunds, self._clock.now_ms())
        self._told("retry_refunds", bool(count), count=count)
        return count

    async def stop(self, name: str, reason: str) -> None:
        """See OperatorsDesk.stop."""
        if name in RESETS:
            await self._db.write(lightning_store.trip, name, reason, self._clock.now_ms())
            self._told("stop", True, breaker=name)

    async def go_on(self, name: str) -> bool:
        """See OperatorsDesk.go_on."""
        return name in RESETS and self._told("go_on", await self._db.write(RESETS[name]), breaker=name)

    def begin_audit(self) -> None:
        """See OperatorsDesk.begin_audit."""
        if self._audit is None or self._audit.done():
            self._audit = asyncio.create_task(self._vitals.whole_audit(), name="audit")
            self._audit.add_done_callback(_audit_ended)

    def _told(self, act: str, done: bool, **facts: object) -> bool:
        log.warning("operator.acted", act=act, done=done, **facts)
        self._bell.ring()
        return done


def _audit_ended(audit: asyncio.Task[None]) -> None:
    if not audit.cancelled() and audit.exception() is not None:
        log.error("operator.audit_broke", exc_info=audit.exception())


def _resume_payouts(tx: Tx) -> bool:
    return lightning_store.reset(tx, payouts.BREAKER)


RESETS: dict[str, Callable[[Tx], bool]] = {payouts.BREAKER: _resume_payouts, pool_store.FROZEN: pool_store.thaw}


# from rows ------------------------------------------------------------------------------------------------


def _sums_of_days(tx: Tx, starts: Sequence[int]) -> dict[int, Sums]:
    return {start: _sums(store.moved(tx, start, start + DAY_MS), store.cost(tx, start, start + DAY_MS)) for start in starts}


def _sums(moved: dict[str, int], cost_nano_usd: int) -> Sums:
    return Sums(
        received=Msats(sum(moved.get(code, 0) for code in RECEIVED)),
        paid=Msats(sum(moved.get(code, 0) for code in EARNED)),
        free=Msats(moved.get(Code.GIFT, 0)),
        absorbed=Msats(moved.get(Code.ROUTING_FEE, 0)),
        refunded=Msats(moved.get(Code.PAYOUT_SENT, 0)),
        cost=NanoUsd(cost_nano_usd),
    )


def _now(tx: Tx, now_ms: int) -> _Now:
    pool = ledger_store.accounts_like(tx, [chart.POOL]).get(chart.POOL)
    return _Now(
        kinds=ledger_store.balances_by_kind(tx),
        pool_reserved=pool["reserved_msat"] if pool else 0,
        sessions_open=store.sessions_open(tx),
        breakers=store.breakers(tx),
        parked=len(tasks.parked(tx)),
        attention=lightning_store.payouts_for_attention(tx, now_ms - SLOW_MS, None, COUNTED_MAX),
        done=store.last_done(tx, DONE_LOOKED_AT),
    )


def _standing(now: _Now) -> Standing:
    def of(kind: str) -> Msats:
        return Msats(max(0, now.kinds.get(kind, 0)))

    return Standing(
        revenue=of(chart.REVENUE),
        pool=of(chart.POOL),
        pool_reserved=Msats(now.pool_reserved),
        owed=of("owed"),
        in_flight=of("in_flight"),
        sessions=of("session"),
        sessions_open=now.sessions_open,
        jobs=of("job"),
        bootstrap=of("bootstrap"),
        unallocated=of(chart.UNALLOCATED),
    )


def _breakers(now: _Now) -> list[Breaker]:
    may_move = {
        payouts.BREAKER: Msats(max(0, now.kinds.get("owed", 0)) + max(0, now.kinds.get("in_flight", 0))),
        pool_store.FROZEN: Msats(max(0, now.kinds.get(chart.POOL, 0) - now.pool_reserved)),
    }
    return [
        Breaker(row["name"], row["reason"], row["at_ms"], row["name"] in RESETS, may_move.get(row["name"], Msats(0)))
        for row in now.breakers
    ]


def _usage(row: Row) -> Usage:
    known: dict[str, Any] = json.loads(row["usage"])
    return Usage(**known)


def _over_msat(row: Row) -> int:
    """By how much the work came to more than was charged for it: nobody's sats moved for that, the house has borne it."""
    quote, usage = Quote.from_json(row["quote"]), _usage(row)
    charged_msat: int = row["charged_msat"] + (row["absorbed_msat"] or 0)
    return max(0, quote.charge(usage.input, usage.output, usage.cached).value - charged_msat)


def _line(row: Row) -> JobLine:
    quote = Quote.from_json(row["quote"]) if row["quote"] else None
    cost = NanoUsd(row["cost_nano_usd"]) if row["cost_nano_usd"] is not None else None
    return JobLine(
        id=row["id"],
        state=row["state"],
        at_ms=row["created_at_ms"],
        eval_fee=Msats(row["eval_fee_msat"]),
        quoted=quote.price.msats if quote else None,
        paid=Msats(row["charged_msat"]) if row["charged_msat"] is not None else None,
        absorbed=Msats(row["absorbed_msat"] or 0),
        real=cost.at(cents_per_btc=quote.btc.cents_per_btc) if cost is not None and quote else None,
    )


def _job(tx: Tx, job_id: str) -> tuple[JobLine, Sequence[Moved]]:
    row = store.job(tx, job_id)
    if row is None:
        raise JobNotFound("There is no job with this id.")
    account = chart.job(job_id)
    found = store.transfers_of(tx, f"{account}/", f"{account}0", TRANSFERS_SHOWN)  # `0` is what comes after `/`
    moved = [Moved(t["id"], t["kind"], t["debit"], t["credit"], Msats(t["amount_msat"]), t["code"], t["at_ms"]) for t in found]
    return _line(row), moved


def _refunds(tx: Tx, now_ms: int, limit: int) -> Refunds:
    attention = lightning_store.payouts_for_attention(tx, now_ms - SLOW_MS, None, limit)
    seen = {row["id"] for row in attention}
    others = [row for row in lightning_store.payouts_listed(tx, ["planned", "failed", "sent"], None, limit) if row["id"] not in seen]
    owed = lightning_store.obligations_open(tx, None, limit)
    return Refunds(
        owed=[Owed(row["id"].removeprefix("owed/"), Msats(row["balance_msat"])) for row in owed],
        payouts=[*(_payout(row, needs_you=True) for row in attention), *(_payout(row, needs_you=False) for row in others)][:limit],
        laid_aside=Msats(sum(row["amount_msat"] for row in attention if row["parked"])),
    )


def _payout(row: Row, *, needs_you: bool) -> Payout:
    planned = row["state"] == "planned"
    says = " · ".join(part for part in ((row["waits_for"] if planned else None), row["trouble"], row["approved"]) if part)
    return Payout(
        id=row["id"],
        subject=row["subject"],
        amount=Msats(row["amount_msat"]),
        state=row["state"],
        tries=row["tries"],
        since_ms=row["planned_at_ms"],
        needs_you=needs_you,
        laid_aside=planned and bool(row["parked"]),
        says=says,
    )


def _tasks(tx: Tx, limit: int) -> Tasks:
    parked = [ParkedTask(task.id, task.attempts, task.trouble) for task in tasks.parked(tx)[:limit]]
    return Tasks(parked, {row["kind"]: row["n"] for row in tasks.waiting(tx) if not row["parked"]})


def _unpark_refunds(tx: Tx, now_ms: int) -> int:
    return sum(tasks.unpark(tx, task.id, now_ms) for task in tasks.parked(tx) if task.kind in (payouts.PAY, REFUND_TO, nodes.REFUND_TO))
