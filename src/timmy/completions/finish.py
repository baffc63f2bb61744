"""Calls ended: charged for what was produced, the rest released. Whoever comes second finds it done.

A call's server ends it. If that server dies, a sweep ends it, some time after the server was last heard of: what is known to have been
handed over is charged, and kept. Both come through here, and the guarded row lets one of them pass.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from timmy import events
from timmy.completions import store
from timmy.completions.holding import Holding, holding_of
from timmy.completions.protocol import CompletionView, Ending
from timmy.completions.terms import Terms
from timmy.db import Row, Tx
from timmy.errors import Breach
from timmy.events import NewEvent
from timmy.identity import trust
from timmy.ledger import chart, commit_all
from timmy.ledger.commit import Still
from timmy.models import Usage
from timmy.models.chat import Delta, message_of
from timmy.models.usage import count_tokens
from timmy.money import NANO_USD_MAX, Msats, NanoUsd
from timmy.pricing import Quote
from timmy.sessions.finish import paused, pool_share
from timmy.sessions.flow import balances
from timmy.sessions.holding import NOTHING

log = structlog.get_logger("timmy.completions")


@dataclass(frozen=True, slots=True)
class End:
    """How a call ended. `usage` None: nothing was produced, and nothing is charged."""

    completion_id: str
    ending: Ending
    at_ms: int
    usage: Usage | None = None
    message: Mapping[str, Any] | None = None
    finish: str | None = None
    was_streamed: bool = False  # so that there may be pieces, which its row tells of from now on
    quote: Quote | None = None  # that it was begun with, where that is at hand; else its row tells it
    holding: Holding | None = None  # what it held, as far as is known: so that it is looked for at once. Its row decides.


@dataclass(frozen=True, slots=True)
class _Settled:
    end: End
    row: Row
    holding: Holding
    quote: Quote
    charged: Msats
    cost: NanoUsd | None  # before the margin


def end_all(tx: Tx, ends: Sequence[End], terms: Terms) -> list[CompletionView]:
    """End calls that still run. Answers how each has ended: by this, or before it."""
    if len({end.completion_id for end in ends}) < len(ends):
        raise Breach("two ends of one call in one group: each is to be tried alone")
    locked, still = store.ask_lock(tx, [end.completion_id for end in ends]), Still()
    _ask_ahead(tx, [end.holding for end in ends], still)
    rows = {row["id"]: row for row in locked.rows}
    settled = [_settled(end, rows[end.completion_id]) for end in ends if rows[end.completion_id]["state"] == "running"]
    ended = _write(tx, settled, still, terms) if settled else {}
    for end in ends:
        if end.completion_id not in ended:
            log.warning("completions.end_dropped", completion=end.completion_id)  # given up: our process was away for too long
    return [ended.get(end.completion_id) or completion_view(rows[end.completion_id]) for end in ends]


def _ask_ahead(tx: Tx, holdings: Sequence[Holding | None], still: Still) -> None:
    """What their ends need, on the way that their rows are locked on. All or nothing: accounts are locked in one order by everybody, and a
    purse is known only from what was reserved from it."""
    known = [holding for holding in holdings if holding is not None and not holding.limits]
    if len(known) == len(holdings):
        still.seek(tx, [id for holding in known for id in holding.reservations])
        still.ask(tx, _touched(known))


def _touched(holdings: Iterable[Holding]) -> set[str]:
    return {chart.REVENUE, chart.POOL, *(chart.session(holding.session_id) for holding in holdings)}


def died(tx: Tx, completion_id: str, at_ms: int) -> End | None:
    """The end of a call whose server has died: what is known to have been handed over is charged, by our own count, and kept. None: it has
    ended meanwhile."""
    row = store.lock(tx, [completion_id]).get(completion_id)
    if row is None or row["state"] != "running":
        return None
    deltas: list[Delta] = [delta for piece in store.pieces(tx, completion_id) for delta in json.loads(piece)]
    if not deltas:
        return End(completion_id, Ending.FAILED, at_ms)
    message, text = message_of(deltas)
    usage = Usage(row["input_tokens"], count_tokens(text), estimated=True)
    return End(completion_id, Ending.DIED, at_ms, usage, message, "length", was_streamed=True)


def _settled(end: End, row: Row) -> _Settled:
    holding = holding_of(row)
    charged, cost = NOTHING, None
    quote = end.quote or Quote.from_json(row["quote"])
    if end.usage is not None:
        charged = min(holding.in_all, quote.charge(end.usage.input, end.usage.output, end.usage.cached))
        cost = quote.cost(end.usage.input, end.usage.output, end.usage.cached)
    return _Settled(end, row, holding, quote, charged, cost)


def _write(tx: Tx, settled: Sequence[_Settled], still: Still, terms: Terms) -> dict[str, CompletionView]:
    at_ms = settled[0].end.at_ms
    units = [tuple(each.holding.settle(each.charged, pool_share(each.charged, terms.sessions))) for each in settled]
    if not any(each.holding.limits for each in settled):  # else the purses would be locked after the others, which nobody else does
        still.ask(tx, _touched(each.holding for each in settled))
    for refusal in commit_all(tx, at_ms, units, still=still, fresh=True):  # their rows are locked, and have not ended
        if refusal is not None:
            raise Breach("what a call held was not there when it ended") from refusal
    left = balances(tx, {each.holding.session_id for each in settled}, still)
    rows = [_ended(each, left[each.holding.session_id][0]) for each in settled]
    store.end(tx, rows).must_touch(len(settled), Breach("a call ended while it was locked"))
    if streamed := [each.end.completion_id for each in settled if each.end.was_streamed]:
        store.drop_pieces(tx, streamed)
    trust.change_all(tx, list(_lessons(settled)), terms.sessions.trust, at_ms)
    events.append(tx, at_ms, list(_news(settled, left, terms)))
    return {each.end.completion_id: _ended_view(each, left[each.holding.session_id][0]) for each in settled}


def _ended(each: _Settled, left_msat: int) -> Row:
    end = each.end
    kept = None if end.message is None else orjson.dumps({"message": end.message, "finish": end.finish}).decode()
    return {
        "id": end.completion_id,
        "ending": end.ending.value,
        "usage": None if end.usage is None else orjson.dumps(end.usage).decode(),
        "output": kept,
        "charged_msat": each.charged.value,
        "cost_nano_usd": None if each.cost is None else each.cost.value,
        "left_msat": left_msat,
        "at_ms": end.at_ms,
    }


def _lessons(settled: Sequence[_Settled]) -> Iterator[trust.Change]:
    """What somebody has paid for themselves raises their score. Nothing here lowers it: a call is not judged."""
    for each in settled:
        pubkey = each.row["pubkey"]
        if pubkey is not None and each.charged:
            yield trust.Change(f"completion/{each.end.completion_id}", pubkey, "work_paid", True, each.charged)


def _news(settled: Sequence[_Settled], left: Mapping[str, tuple[int, int]], terms: Terms) -> Iterator[NewEvent]:
    spent: dict[str, int] = {}
    for each in settled:
        id = each.holding.session_id
        body = {"reason": "completion", "requestId": each.end.completion_id, "state": each.end.ending.value}
        yield NewEvent(id, "balance", {"balanceMsat": left[id][0], **body, "debitedMsat": each.charged.value})
        spent[id] = spent.get(id, 0) + each.charged.value
    yield from paused(spent, left, terms.sessions)


def _ended_view(each: _Settled, left_msat: int) -> CompletionView:
    """What `completion_view` would read from the row that was just written."""
    end, row = each.end, each.row
    return CompletionView(
        id=end.completion_id,
        model=row["model"],
        started_at_ms=row["started_at_ms"],
        ending=end.ending,
        message=end.message,
        finish=None if end.message is None else end.finish,
        usage=end.usage,
        charged=each.charged,
        cost=_in_dollars(each.charged, each.quote),
        balance=Msats(left_msat),
        quote=each.quote,
        held=Msats(row["held_msat"]),
        body_sha256=row["body_sha256"],
        ended_at_ms=end.at_ms,
    )


def completion_view(row: Row) -> CompletionView:
    kept = json.loads(row["output"]) if row["output"] else {}
    charged, quote = Msats(row["charged_msat"]), Quote.from_json(row["quote"])
    return CompletionView(
        id=row["id"],
        model=row["model"],
        started_at_ms=row["started_at_ms"],
        ending=None if row["ending"] is None else Ending(row["ending"]),
        message=kept.get("message"),
        finish=kept.get("finish"),
        usage=Usage(**json.loads(row["usage"])) if row["usage"] else None,
        charged=charged,
        cost=_in_dollars(charged, quote),
        balance=Msats(row["left_msat"]),
        quote=quote,
        held=Msats(row["held_msat"]),
        body_sha256=row["body_sha256"],
        ended_at_ms=row["ended_at_ms"],
    )


def _in_dollars(charged: Msats, quote: Quote) -> NanoUsd:
    """Rounded down, for showing: the millisats are what was charged."""
    return NanoUsd(min(charged.value * quote.btc.cents_per_btc // 10_000, NANO_USD_MAX))
