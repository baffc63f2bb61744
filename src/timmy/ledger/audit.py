"""The books, recomputed from the transfers alone and compared with what is kept."""

from __future__ import annotations

from dataclasses import dataclass

from timmy.db import Tx
from timmy.ledger import chart, store
from timmy.ledger.chart import Code


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant: what it promises, whether it holds, and what was found."""

    name: str
    holds: bool
    found: str


@dataclass(frozen=True, slots=True)
class AccountLine:
    account: str
    balance_msat: int
    reserved_msat: int


def accounts(tx: Tx) -> list[AccountLine]:
    return [AccountLine(row["id"], row["balance_msat"], row["reserved_msat"]) for row in store.recomputed(tx)]


def balances_by_kind(tx: Tx) -> dict[str, int]:
    """What each kind of account holds, in millisats, as kept."""
    return store.balances_by_kind(tx)


def quick_audit(tx: Tx) -> list[Check]:
    """What can be checked every minute at any size: the kept balances alone. `audit` recomputes them from the transfers."""
    total = sum(store.balances_by_kind(tx).values())
    below = store.overdrawn(tx)
    return [
        Check("all accounts sum to zero", total == 0, f"{total} msat"),
        Check("no guarded account is below zero", not below, _named(below)),
    ]


def audit(tx: Tx) -> list[Check]:
    """Every invariant of the ledger itself. Rooms that keep promises about money add their own (payouts, jobs)."""
    rows = store.recomputed(tx)
    total = sum(row["balance_msat"] for row in rows)
    below = [row["id"] for row in rows if row["guarded"] == 1 and row["balance_msat"] < row["reserved_msat"]]
    wrong = [row["id"] for row in rows if row["balance_msat"] != row["balance_should_msat"] or row["guarded"] == -1]
    held = [row["id"] for row in rows if row["reserved_msat"] != row["reserved_should_msat"]]
    strange = [row["id"] for row in rows if row["guarded"] >= 0 and bool(row["guarded"]) != _guard_of(row["id"])]
    crooked = [row["id"] for row in store.crooked_resolutions(tx)]
    return [
        Check("all accounts sum to zero", total == 0, f"{total} msat"),
        Check("no guarded account is below zero", not below, _named(below)),
        Check("every balance is the sum of its transfers", not wrong, _named(wrong)),
        Check("what is reserved is the sum of the open reservations", not held, _named(held)),
        Check("every reservation is resolved at most once, and for no more than it held", not crooked, _named(crooked)),
        Check("every account is on the chart", not strange, _named(strange)),
        _paid_in({row["id"]: row["balance_msat"] for row in rows}, store.totals_by_code(tx), store.operator_in_wallet(tx)),
    ]


def _paid_in(balances: dict[str, int], by_code: dict[str, int], operator_msat: int) -> Check:
    """What was paid in, and what the operator brought, is somewhere: earned, in the pool, with customers, owed, in flight, unallocated,
    or it has left as payouts and fees. `operator_msat`: what the operator put into the wallet, less what they took out."""
    arrived = by_code.get(Code.PAYMENT_RECEIVED, 0) + by_code.get(Code.STRAY_PAYMENT, 0) + operator_msat
    left = by_code.get(Code.PAYOUT_SENT, 0) + by_code.get(Code.ROUTING_FEE, 0)
    inside = sum(balance for account, balance in balances.items() if account != chart.LIGHTNING and chart.is_money(account))
    difference = arrived - left - inside
    return Check("paid in is earned, credited, owed, in flight, paid out or unallocated", difference == 0, f"{difference} msat unexplained")


def _guard_of(account: str) -> bool | None:
    try:
        return chart.is_guarded(account)
    except chart.UnknownAccount:
        return None


def _named(accounts: list[str]) -> str:
    return "none" if not accounts else ", ".join(accounts[:5]) + ("" if len(accounts) <= 5 else f" and {len(accounts) - 5} more")
