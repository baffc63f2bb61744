"""Requests ended: charged for what they really cost, or given up and charged nothing. Whoever comes second finds it done.

A request's owner ends it. If the owner's process dies, a task that was written with the reservation ends it, some time after the owner was
last heard of: everything is returned. Both come through here, and the guarded row lets one of them pass.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import structlog

from timmy import events, tasks
from timmy.db import Row, Tx
from timmy.errors import Breach
from timmy.events import NewEvent
from timmy.generosity import Gift
from timmy.generosity.pool import record_grants
from timmy.identity import trust
from timmy.ledger import commit_all
from timmy.ledger.commit import Still
from timmy.models import Usage
from timmy.money import Msats, NanoUsd
from timmy.pricing import Quote
from timmy.sessions import store
from timmy.sessions.begin import REAP
from timmy.sessions.flow import balances
from timmy.sessions.holding import NOTHING, Holding, holding_of
from timmy.sessions.protocol import RequestCost, RequestState, RequestView
from timmy.sessions.terms import Terms
from timmy.tasks import Task

WHOLE_BP = 10_000

log = structlog.get_logger("timmy.sessions")


@dataclass(frozen=True, slots=True)
class Ending:
    """How a request ended. `charged` is what its tokens came to; a failed one charges nothing. `reaper`: the task that gives it up, None
    when its owner ends it. `blames`: the customer's key learns from it; it does not when our server or our model broke down."""

    request_id: str
    state: RequestState
    at_ms: int
    charged: Msats = NOTHING
    cost: NanoUsd | None = None
    result: str | None = None
    truncated: bool = False
    reason: str | None = None
    eval_usage: Usage | None = None
    work_usage: Usage | None = None
    blames: bool = True
    reaper: Task | None = None


@dataclass(frozen=True, slots=True)
class _Settled:
    """An ending that came first, and what it does to the money."""

    ending: Ending
    row: Row
    holding: Holding
    absorbed: Msats
    debited: Msats


def finish_all(tx: Tx, endings: Sequence[Ending], terms: Terms) -> list[RequestView | None]:
    """End requests that still run. Answers how each has ended: by this, or before it; None for a reaper that lost its claim."""
    if len({ending.request_id for ending in endings}) < len(endings):
        raise Breach("two endings of one request in one group: each is to be tried alone")
    at_ms = endings[0].at_ms
    ours = tasks.finish(tx, [ending.reaper for ending in endings if ending.reaper is not None])
    heard = [ending for ending in endings if ending.reaper is None or ending.reaper.id in ours]
    # A reaper that has the task in its hands right now finds it gone, and writes nothing.
    tasks.cross_off(tx, [f"{REAP}/{ending.request_id}" for ending in heard if ending.reaper is None])
    rows = store.lock_requests(tx, [ending.request_id for ending in heard])
    settled = [
        _settled(ending, rows[ending.request_id])
        for ending in heard
        if ending.request_id in rows and rows[ending.request_id]["state"] == RequestState.RUNNING
    ]
    if settled:
        _write(tx, settled, terms, at_ms)
    ended = store.lock_requests(tx, [ending.request_id for ending in heard])
    for ending in heard:
        if ending.reaper is None and ended[ending.request_id]["state"] != ending.state:
            log.warning("sessions.ending_dropped", request=ending.request_id)  # it was given up: our process was away for too long
    return [request_view(row, row["left_msat"]) if (row := ended.get(ending.request_id)) else None for ending in endings]


def _settled(ending: Ending, row: Row) -> _Settled:
    holding = holding_of(row)
    return _Settled(ending, row, holding, *holding.split(ending.charged))


def _write(tx: Tx, settled: Sequence[_Settled], terms: Terms, at_ms: int) -> None:
    units = [each.holding.settle(each.ending.charged, pool_share(each.debited, terms)) for each in settled]
    still = Still()
    for refusal in commit_all(tx, at_ms, units, still=still):
        if refusal is not None:
            raise Breach("what a request held was not there when it ended") from refusal
    left = balances(tx, {each.holding.session_id for each in settled}, still)
    if store.end_requests(tx, [_ended(each, left[each.holding.session_id][0], at_ms) for each in settled]) != len(settled):
        raise Breach("a request ended while it was locked")
    record_grants(tx, list(_gifts(settled)), at_ms)
    trust.change_all(tx, list(_lessons(settled)), terms.trust, at_ms)
    events.append(tx, at_ms, list(_news(settled, left, terms)))


def pool_share(debited: Msats, terms: Terms) -> Msats:
    """The pool's part of what a customer pays."""
    return Msats(debited.value * terms.pool_credit_bp // WHOLE_BP)


def _gifts(settled: Sequence[_Settled]) -> Iterator[tuple[Gift, Msats]]:
    for each in settled:
        if each.holding.gift is not None and each.absorbed:
            yield each.holding.gift, each.absorbed


def _lessons(settled: Sequence[_Settled]) -> Iterator[trust.Change]:
    """Only what a customer pays themselves raises a score; a setback of our own makes does not lower it."""
    for each in settled:
        pubkey, done = each.row["pubkey"], each.ending.state is RequestState.COMPLETE
        if pubkey is None or not each.ending.blames:
            continue
        why = ("work_paid" if each.debited else "work_given") if done else each.ending.state.value
        yield trust.Change(f"request/{each.holding.request_id}", pubkey, why, done, each.debited if done else NOTHING)


def _news(settled: Sequence[_Settled], left: dict[str, tuple[int, int]], terms: Terms) -> Iterator[NewEvent]:
    spent: dict[str, int] = {}
    for each in settled:
        id = each.holding.session_id
        body = {"reason": "request", "requestId": each.holding.request_id, "state": each.ending.state.value}
        yield NewEvent(id, "balance", {"balanceMsat": left[id][0], **body, "debitedMsat": each.debited.value})
        spent[id] = spent.get(id, 0) + each.debited.value
    yield from paused(spent, left, terms)


def paused(spent: Mapping[str, int], left: Mapping[str, tuple[int, int]], terms: Terms) -> Iterator[NewEvent]:
    """The sessions that have come below the minimum by this. `spent`, in millisats, by session."""
    least_msat = terms.minimum_balance.msats.value
    for id, spent_msat in spent.items():
        if left[id][0] < least_msat <= left[id][0] + spent_msat:
            yield NewEvent(id, "state")


def _ended(each: _Settled, left_msat: int, at_ms: int) -> Row:
    ending = each.ending
    return {
        "id": ending.request_id,
        "state": ending.state.value,
        "result": ending.result,
        "truncated": int(ending.truncated),
        "reason": ending.reason,
        "eval_usage": _kept(ending.eval_usage),
        "work_usage": _kept(ending.work_usage),
        "cost_nano_usd": None if ending.cost is None else ending.cost.value,
        "debited_msat": each.debited.value,
        "absorbed_msat": each.absorbed.value,
        "left_msat": left_msat,
        "at_ms": at_ms,
    }


def _kept(usage: Usage | None) -> str | None:
    return None if usage is None else json.dumps(asdict(usage))


def request_view(row: Row, balance_msat: int) -> RequestView:
    """A request as it is kept. `balance_msat`: the session's, at its end, or now."""
    debited, absorbed = Msats(row["debited_msat"]), Msats(row["absorbed_msat"])
    return RequestView(
        id=row["id"],
        session_id=row["session_id"],
        state=RequestState(row["state"]),
        started_at_ms=row["started_at_ms"],
        ended_at_ms=row["ended_at_ms"],
        result=row["result"],
        truncated=bool(row["truncated"]),
        reason=row["reason"],
        debited=debited,
        absorbed=absorbed,
        balance_remaining=Msats(balance_msat),
        cost=_cost(row, debited + absorbed),
        request=row["request"],
    )


def _cost(row: Row, charged: Msats) -> RequestCost | None:
    if row["eval_usage"] is None or row["cost_nano_usd"] is None:
        return None
    return RequestCost(
        eval_quote=Quote.from_json(row["eval_quote"]),
        work_quote=Quote.from_json(row["work_quote"]),
        eval_usage=Usage(**json.loads(row["eval_usage"])),
        work_usage=Usage(**json.loads(row["work_usage"])) if row["work_usage"] else None,
        actual_cost=NanoUsd(row["cost_nano_usd"]),
        charged=charged,
        reserved=Msats(row["held_msat"] + row["gift_msat"]),
    )
