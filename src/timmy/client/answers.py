"""What a Timmy answers, read with care: the server is somebody else's, and a field may be missing or be something else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from timmy.client.errors import AnswerInvalid
from timmy.money import MSATS_MAX, Msats, Sats

Document = Mapping[str, Any]
FINAL = frozenset({"complete", "rejected", "failed", "expired"})
SATS_MAX = MSATS_MAX // 1_000


def text(document: Document, name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise AnswerInvalid(f"The answer has no text `{name}`. Is a Timmy running there?")
    return value


def maybe_text(document: Document, name: str) -> str | None:
    value = document.get(name)
    return value if isinstance(value, str) else None


def whole(document: Document, name: str, most: int = MSATS_MAX) -> int:
    value = document.get(name)
    if type(value) is not int or not 0 <= value <= most:
        raise AnswerInvalid(f"The answer's `{name}` is no amount. Is a Timmy running there?")
    return value


def sats(document: Document, name: str) -> Sats:
    return Sats(whole(document, name, SATS_MAX))


def part(document: Document, name: str) -> Document:
    value = document.get(name)
    if not isinstance(value, dict):
        raise AnswerInvalid(f"The answer has no part `{name}`. Is a Timmy running there?")
    return value


def moment_ms(document: Document, name: str) -> int:
    try:
        return int(datetime.fromisoformat(text(document, name)).timestamp() * 1_000)
    except (ValueError, OverflowError):
        raise AnswerInvalid(f"The answer's `{name}` is no time.") from None


@dataclass(frozen=True, slots=True)
class Offer:
    """An invoice as the server describes it. It is compared with what the invoice says before anything is paid."""

    payment_request: str = field(repr=False)
    payment_hash: str
    amount: Sats
    expires_at_ms: int


def offer(document: Document) -> Offer:
    return Offer(
        text(document, "paymentRequest"), text(document, "paymentHash"), sats(document, "amountSats"), moment_ms(document, "expiresAt")
    )


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a request would cost now. `work` is what would be asked for the work, what the pool takes over left out."""

    eval_fee: Sats
    work: Sats
    price: Sats  # of the work, the pool's part included
    model: str
    tier: str
    serve: str  # "free", "partial", "gate"
    document: Document = field(repr=False)

    @property
    def total(self) -> Sats:
        return self.eval_fee + self.work


def estimate(document: Document) -> Estimate:
    identity = part(document, "identity")
    free = part(identity, "free_tier")
    return Estimate(
        eval_fee=sats(document, "evalFeeSats"),
        work=sats(free, "chargeSats"),
        price=sats(document, "estimatedSats"),
        model=text(part(document, "pricingBreakdown"), "model"),
        tier=text(identity, "trust_tier"),
        serve=text(free, "serve"),
        document=document,
    )


@dataclass(frozen=True, slots=True)
class Refund:
    state: str  # "not_applicable", "pending", "paid"
    owed: Sats
    paid: Sats
    destination: str | None
    trouble: str | None


def refund(document: Document) -> Refund:
    return Refund(
        text(document, "state"),
        sats(document, "owedSats"),
        sats(document, "paidSats"),
        maybe_text(document, "destination"),
        maybe_text(document, "trouble"),
    )


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the server shows it; `document` is all that it said (docs/reference/http.md)."""

    id: str
    state: str
    result: str | None = field(repr=False)
    truncated: bool
    reason: str | None
    waiting: str | None
    eval_invoice: Offer
    work_invoice: Offer | None
    charged: Sats | None  # for the work, in whole sats rounded up; None until it is done
    refund: Refund
    document: Document = field(repr=False)

    @property
    def is_over(self) -> bool:
        return self.state in FINAL


def job(document: Document) -> Job:
    work = document.get("workInvoice")
    cost = document.get("costLedger")
    return Job(
        id=text(document, "jobId"),
        state=text(document, "state"),
        result=maybe_text(document, "result"),
        truncated=document.get("truncated") is True,
        reason=maybe_text(document, "reason"),
        waiting=maybe_text(document, "waiting"),
        eval_invoice=offer(part(document, "evalInvoice")),
        work_invoice=offer(work) if isinstance(work, dict) else None,
        charged=sats(cost, "actualAmountSats") if isinstance(cost, dict) else None,
        refund=refund(part(document, "refund")),
        document=document,
    )


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """A session as the server shows it."""

    id: str
    state: str  # "awaiting_payment", "active", "paused", "expired"
    balance: Msats
    held: Msats
    expires_at_ms: int
    deposit: Offer
    pending_topup: Offer | None
    refund: Refund
    macaroon: str | None = field(repr=False)
    document: Document = field(repr=False)


def session(document: Document) -> SessionStatus:
    pending = document.get("pendingTopup")
    return SessionStatus(
        id=text(document, "sessionId"),
        state=text(document, "state"),
        balance=Msats(whole(document, "balanceMsat")),
        held=Msats(whole(document, "heldMsat")),
        expires_at_ms=moment_ms(document, "expiresAt"),
        deposit=offer(part(document, "invoice")),
        pending_topup=offer(pending) if isinstance(pending, dict) else None,
        refund=refund(part(document, "refund")),
        macaroon=maybe_text(document, "macaroon"),
        document=document,
    )


@dataclass(frozen=True, slots=True)
class Reply:
    """How a session's request ended."""

    id: str
    state: str  # "complete", "rejected", "failed"
    result: str | None = field(repr=False)
    reason: str | None
    debited: Msats
    absorbed: Msats  # what the pool gave
    balance: Msats
    document: Document = field(repr=False)


def reply(document: Document) -> Reply:
    return Reply(
        id=text(document, "requestId"),
        state=text(document, "state"),
        result=maybe_text(document, "result"),
        reason=maybe_text(document, "reason"),
        debited=Msats(whole(document, "debitedMsat")),
        absorbed=Msats(whole(document, "absorbedMsat")),
        balance=Msats(whole(document, "balanceRemainingMsat")),
        document=document,
    )
