"""The chart of accounts, and the codes that say why money moved.

A transfer takes from its debit account and gives to its credit account. An account's balance is what it was given less what was taken, so
everything that came in over Lightning shows as a negative balance of `lightning`: minus what our node holds for others and for us.
"""

from __future__ import annotations

from enum import StrEnum

from timmy.errors import Breach

LIGHTNING = "lightning"  # what our node holds, with the sign turned
OPERATOR = "operator"  # what the operator put in or took out
REVENUE = "revenue"  # earned
POOL = "pool"  # given back as free work
ROUTING_FEES = "routing_fees"  # paid to the network, by the house
HOUSE_LOSS = "house_loss"  # written off, by the house
UNALLOCATED = "unallocated"  # arrived, and matches nothing

# Allowance is not money: it is how much of the pool an identity may still use today, counted in the same unit and kept apart.
ALLOWANCES = "allowances"  # where all allowance comes from
ALLOWANCES_USED = "allowances_used"  # where it goes

_GUARDED = {
    LIGHTNING: False,
    OPERATOR: False,
    ROUTING_FEES: False,
    HOUSE_LOSS: False,
    REVENUE: True,
    POOL: True,
    UNALLOCATED: True,
    ALLOWANCES: False,
    ALLOWANCES_USED: True,
}
_GUARDED_KINDS = frozenset({"job", "session", "bootstrap", "owed", "in_flight", "allowance"})
_NO_MONEY = frozenset({ALLOWANCES, ALLOWANCES_USED})


class UnknownAccount(Breach):
    code = "unknown_account"


def job(job_id: str) -> str:
    """A customer's sats while their job lives, and what is left that is too small to send."""
    return f"job/{job_id}"


def owed(subject: str) -> str:
    """An obligation: theirs, claimable, not yet on its way."""
    return f"owed/{subject}"


def in_flight(payout_id: str) -> str:
    """On its way: out of reach for everybody until the payment is known to have arrived or failed."""
    return f"in_flight/{payout_id}"


def session(session_id: str) -> str:
    """A prefunded balance."""
    return f"session/{session_id}"


def bootstrap(order_id: str) -> str:
    """The fee of a node while it is being made."""
    return f"bootstrap/{order_id}"


def allowance(pubkey: str, day: str) -> str:
    """What an identity may still use of the pool on a day (UTC, `2026-01-31`)."""
    return f"allowance/{pubkey}/{day}"


def is_money(account: str) -> bool:
    """False for allowance. A transfer between the two would make money out of nothing."""
    return account not in _NO_MONEY and not account.startswith("allowance/")


def is_guarded(account: str) -> bool:
    """Whether the account may never go below zero. An account that is not on the chart is a Breach, never a new kind."""
    if account in _GUARDED:
        return _GUARDED[account]
    kind, slash, name = account.partition("/")
    if kind in _GUARDED_KINDS and slash and name:
        return True
    raise UnknownAccount(f"{account!r} is not on the chart of accounts")


class Code(StrEnum):
    """Why an amount moved. The comments are the reference page's: `debit` → `credit`."""

    PAYMENT_RECEIVED = "payment_received"  # an invoice of ours was paid: `lightning` → who it was for
    STRAY_PAYMENT = "stray_payment"  # a payment that matches nothing arrived: `lightning` → `unallocated`
    EVAL_FEE = "eval_fee"  # a request was judged: `job/…` → `revenue`
    WORK_CHARGE = "work_charge"  # work was delivered: `job/…` → `revenue`
    POOL_CREDIT = "pool_credit"  # the pool's share of what was earned: `revenue` → `pool`
    OWED_BACK = "owed_back"  # what a customer may have back: `job/…`, `session/…` or `bootstrap/…` → `owed/…`
    PAYOUT_PLANNED = "payout_planned"  # a payment is about to be sent: `owed/…` → `in_flight/…`
    PAYOUT_SENT = "payout_sent"  # it arrived: `in_flight/…` → `lightning`
    PAYOUT_RETURNED = "payout_returned"  # it failed for certain: `in_flight/…` → `owed/…`
    ROUTING_FEE = "routing_fee"  # what the network took for it: `routing_fees` → `lightning`
    SESSION_CHARGE = "session_charge"  # a request was answered from a balance: `session/…` → `revenue`
    BOOTSTRAP_FEE = "bootstrap_fee"  # a node was made, and answers: `bootstrap/…` → `revenue`
    SESSION_JOINED = "session_joined"  # a deposit topped another session up: `session/…` → `session/…`
    POOL_SEED = "pool_seed"  # what the operator gave the pool at the start: `operator` → `pool`
    POOL_TOP_UP = "pool_top_up"  # what the operator gave the pool later: `operator` → `pool`
    GIFT = "gift"  # the pool paid for somebody's work: `pool` → `revenue`
    ALLOWANCE_GRANTED = "allowance_granted"  # a day's allowance: `allowances` → `allowance/…`
    ALLOWANCE_USED = "allowance_used"  # what was used of it: `allowance/…` → `allowances_used`
    OPERATOR_CORRECTION = "operator_correction"  # a correction by a named person, with a reason
