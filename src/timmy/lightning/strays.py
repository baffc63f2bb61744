"""Payments that belong to nothing we know: what an operator does with them once it is known whose they are.

    unallocated ──▶ owed/stray_<hash> ──▶ a payout (timmy refunds pay), a customer's own obligation, or revenue

Both steps are transfers. The first has the payment's name, so one stray is taken out of `unallocated` once; the second has the reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from timmy import events
from timmy.db import Tx
from timmy.errors import NotFound, Refusal
from timmy.events import NewEvent
from timmy.ledger import Code, Move, chart, commit
from timmy.ledger.commit import hold_still
from timmy.lightning import store
from timmy.money import Msats

PREFIX = "stray/"  # and the payment's hash: the transfer by which it came in


class NoSuchStray(NotFound):
    code = "no_such_stray"
    title = "There is no such payment"


class StrayAllocated(Refusal):
    status = 409
    code = "stray_allocated"
    title = "That payment has found its place"


@dataclass(frozen=True, slots=True)
class Stray:
    payment_hash: str
    amount: Msats
    at_ms: int
    state: str  # unallocated; owed: to its own obligation; allocated: to somebody, or to us


def subject_of(payment_hash: str) -> str:
    """To whom it is owed, while nobody better is known."""
    return f"stray_{payment_hash}"


def listed(tx: Tx) -> list[Stray]:
    """The newest first. Reads every transfer."""
    return [
        Stray(row["id"].removeprefix(PREFIX), Msats(row["amount_msat"]), row["at_ms"], _state(row["taken"], row["owed_msat"]))
        for row in store.strays(tx)
    ]


def owe(tx: Tx, payment_hash: str, at_ms: int) -> str:
    """Owed to its own obligation from here on, from where it can be paid out: whose it is. Raises NoSuchStray, StrayAllocated."""
    subject, _ = _take(tx, payment_hash, at_ms)
    return subject


def give(tx: Tx, payment_hash: str, subject: str, why: str, at_ms: int) -> Msats:
    """It was meant for this job or session: its customer can claim it there. Raises NoSuchStray, StrayAllocated."""
    mine, amount = _take(tx, payment_hash, at_ms)
    note = f"{mine}/given: {why}"
    commit(tx, at_ms, Move(note, chart.owed(mine), chart.owed(subject), amount, Code.OPERATOR_CORRECTION))
    events.append(tx, at_ms, [NewEvent(subject, "refund", {"state": "pending"})])
    return amount


def book(tx: Tx, payment_hash: str, why: str, at_ms: int) -> Msats:
    """Nobody will claim it: earned. Raises NoSuchStray, StrayAllocated."""
    mine, amount = _take(tx, payment_hash, at_ms)
    commit(tx, at_ms, Move(f"{mine}/booked: {why}", chart.owed(mine), chart.REVENUE, amount, Code.OPERATOR_CORRECTION))
    return amount


def _take(tx: Tx, payment_hash: str, at_ms: int) -> tuple[str, Msats]:
    """Out of `unallocated`, once. Done before, it goes on from there, as long as all of it is still there."""
    row = store.transfer(tx, f"{PREFIX}{payment_hash}")
    if row is None:
        raise NoSuchStray(f"No stray payment has the hash {payment_hash}; timmy strays lists them.")
    subject, amount = subject_of(payment_hash), Msats(row["amount_msat"])
    owed = chart.owed(subject)
    hold_still(tx, {chart.UNALLOCATED, owed})
    commit(tx, at_ms, Move(f"{subject}/found", chart.UNALLOCATED, owed, amount, Code.OPERATOR_CORRECTION))
    if hold_still(tx, {owed})[owed] < amount:
        raise StrayAllocated("It was paid out, given or booked before; timmy ledger verify accounts for it.")
    return subject, amount


def _state(taken: int, owed_msat: int) -> str:
    if not taken:
        return "unallocated"
    return "owed" if owed_msat >= 1_000 else "allocated"  # the part of a sat that cannot be sent stays behind
