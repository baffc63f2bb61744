"""A job as data: what a customer asked, what it was judged to be worth, what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from timmy.models import Usage
from timmy.money import Msats, NanoUsd, Sats
from timmy.pricing import Quote

NOTHING = Msats(0)


class State(StrEnum):
    AWAITING_EVAL_PAYMENT = "awaiting_eval_payment"
    EVALUATING = "evaluating"
    AWAITING_WORK_PAYMENT = "awaiting_work_payment"
    EXECUTING = "executing"
    REJECTED = "rejected"
    COMPLETE = "complete"
    FAILED = "failed"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        return self in FINAL


FINAL = frozenset({State.REJECTED, State.COMPLETE, State.FAILED, State.EXPIRED})


class RefundState(StrEnum):
    NOT_APPLICABLE = "not_applicable"  # nothing is owed, or less than a whole sat
    PENDING = "pending"  # owed, or on its way
    PAID = "paid"


@dataclass(frozen=True, slots=True)
class InvoiceView:
    """What a payer needs. Shown for as long as the job lives, paid or not."""

    payment_request: str
    payment_hash: str
    amount: Sats
    expires_at_ms: int
    settled: bool


@dataclass(frozen=True, slots=True)
class CostLedger:
    """The honest account of a finished job: what it really cost, what was charged, what goes back."""

    usage: Usage
    actual_cost: NanoUsd  # before the margin
    charged: Msats  # to the customer, after the margin; never above what they paid
    paid: Msats  # what the customer paid for the work
    absorbed: Msats = NOTHING  # what the pool took over of the charge, on top of `charged`
    held: Msats = NOTHING  # the most that both together could come to: what was set aside for the work


@dataclass(frozen=True, slots=True)
class RefundView:
    """What is owed to the customer of a job, from whatever cause, and how far its payment has got."""

    state: RefundState
    owed: Sats  # still to be claimed or on its way
    paid: Sats  # arrived
    credit: Msats  # the remainder below a whole sat: the customer's, too small to send
    destination: str | None  # "invoice", "lightning_address", "lnurl": where the live or last payout goes
    trouble: str | None  # why the last attempt did not arrive, for a person


@dataclass(frozen=True, slots=True)
class JobView:
    """Everything that belongs to a job, as its owner may see it."""

    id: str
    state: State
    request: str
    created_at_ms: int
    completed_at_ms: int | None
    trust_tier: str
    eval_invoice: InvoiceView
    work_invoice: InvoiceView | None
    quote: Quote | None  # the frozen price of the work, once judged acceptable
    reason: str | None  # why it was rejected, failed or expired
    waiting: str | None  # what the job waits for when something we depend on is down
    result: str | None
    truncated: bool  # the answer was cut because the payment was used up
    cost: CostLedger | None
    refund: RefundView
    refund_to: str | None
    pubkey: str | None = None  # whose job it is
    free: bool = False  # the pool takes all of the work over
    absorbed: Msats = NOTHING  # what the pool took over, once the work is done; before that, what it has reserved or offered
    shortfall: Msats = NOTHING  # what the pool had offered and could not give when the rest was paid


@dataclass(frozen=True, slots=True)
class JobNews:
    """One thing that happened to a job. `seq` grows; a reader that comes back asks for what came after it."""

    seq: int
    kind: str  # "state" (the job moved), "progress" (a piece of the answer, in `text`), "refund", "waiting"
    text: str | None
