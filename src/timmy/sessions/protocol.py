"""What the hallways may ask of the sessions room. `Sessions` in desk.py is the one that does it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from timmy.idempotency import Key
from timmy.identity.caveats import Grant, Use
from timmy.models import Usage
from timmy.money import Msats, NanoUsd, Sats
from timmy.pricing import Quote

__all__ = [
    "Destination", "InvoiceView", "Key", "Offer", "Permit", "Prepaid", "PrepaidDesk", "RefundState", "RefundStatus", "RefundView",
    "Refunded", "RequestCost", "RequestState", "RequestView", "SessionNews", "SessionState", "SessionView", "SessionsDesk", "ToInvoice",
    "ToLightningAddress", "Use",
]  # fmt: skip


class SessionState(StrEnum):
    AWAITING_PAYMENT = "awaiting_payment"
    ACTIVE = "active"
    PAUSED = "paused"  # the balance is under the minimum: a top-up wakes it
    EXPIRED = "expired"  # closed, or unused for too long, or never paid; what is left can be claimed by closing it


class RequestState(StrEnum):
    RUNNING = "running"
    COMPLETE = "complete"
    REJECTED = "rejected"  # judged, and declined: the judging is charged
    FAILED = "failed"  # it cost nothing


class RefundState(StrEnum):
    NOT_APPLICABLE = "not_applicable"
    PENDING = "pending"  # owed, or on its way
    PAID = "paid"


@dataclass(frozen=True, slots=True)
class InvoiceView:
    payment_request: str
    payment_hash: str
    amount: Sats
    expires_at_ms: int
    settled: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """An invoice, with the key that spends from the session whose balance its payment will be: what a 402 has to say."""

    macaroon: str = field(repr=False)
    invoice: InvoiceView
    seal: bytes = field(repr=False)  # what a challenge for it is signed with
    idle_seconds: int  # how long it may lie unused
    opens: bool = True  # the payment opens the session; False: it tops it up


@dataclass(frozen=True, slots=True)
class Prepaid:
    """A session as whoever has paid its deposit finds it, by the payment's hash."""

    session_id: str = field(repr=False)
    macaroon: str = field(repr=False)  # the session's own
    seals: tuple[bytes, ...] = field(repr=False)  # any of them may have signed its challenge
    is_open: bool  # the preimage alone spends from it
    is_closed: bool


class RefundStatus(StrEnum):
    """What became of the rest of a prepaid session, in the words of the `Payment` scheme, and one of ours."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"  # it did not arrive: it is owed, and can be claimed by closing the session with another invoice
    SKIPPED = "skipped"  # nothing was left
    PENDING = "pending"  # ours: on its way, and nobody can tell yet


@dataclass(frozen=True, slots=True)
class Refunded:
    amount: Sats
    status: RefundStatus


@dataclass(frozen=True, slots=True)
class RefundView:
    """What a closed session is paid back, and how far that has got."""

    state: RefundState
    owed: Sats  # still to be claimed or on its way
    paid: Sats  # arrived
    destination: str | None  # "invoice", "lightning_address": where the live or last payout goes
    trouble: str | None  # why the last attempt did not arrive, for a person


@dataclass(frozen=True, slots=True)
class SessionView:
    """Everything that belongs to a session, as whoever knows its id may see it."""

    id: str
    state: SessionState
    created_at_ms: int
    expires_at_ms: int  # before the deposit: its invoice's expiry; then the last use and the time to live
    closed_at_ms: int | None
    trust_tier: str
    deposit: InvoiceView
    balance: Msats  # the customer's, what running requests hold included
    held: Msats  # the part of it that running requests hold
    minimum_balance: Sats
    pending_topup: InvoiceView | None
    refund: RefundView
    macaroon: str | None = field(repr=False)  # once the deposit is settled; a secret, though whoever knows the id may have it


@dataclass(frozen=True, slots=True)
class RequestCost:
    """The honest account of a request that ended: `charged` is the judging and the work after the margin, and never above `reserved`;
    the pool's part of it is `RequestView.absorbed`, the customer's part `RequestView.debited`."""

    eval_quote: Quote
    work_quote: Quote
    eval_usage: Usage
    work_usage: Usage | None  # None: it was not worked on
    actual_cost: NanoUsd  # before the margin
    charged: Msats
    reserved: Msats


@dataclass(frozen=True, slots=True)
class RequestView:
    id: str
    session_id: str  # knowing it is being allowed to see the session's macaroon: not for those who hold a narrowed key only
    state: RequestState
    started_at_ms: int
    ended_at_ms: int | None
    result: str | None
    truncated: bool  # the answer was cut because what is reserved for it was used up
    reason: str | None  # why it was rejected or failed
    debited: Msats
    absorbed: Msats  # what the pool gave
    balance_remaining: Msats  # of the session when this request ended; while it runs, as it is now
    cost: RequestCost | None  # None while it runs, and when it failed
    request: str = field(default="", repr=False)  # what was asked

    @property
    def free_tier(self) -> bool:
        """The pool gave something."""
        return bool(self.absorbed)


@dataclass(frozen=True, slots=True)
class Permit:
    """Proof that somebody brought a macaroon that allows a certain use: which session it spends from, and within what limits."""

    session_id: str
    pubkey: str | None
    trust_tier: str
    grant: Grant


@dataclass(frozen=True, slots=True)
class SessionNews:
    """One thing that happened to a session. `kind`: "balance" (`balanceMsat`, `reason`), "state", "payment", "refund". `state` is the
    session's as it is now. `seq` grows; a reader that comes back asks for what came after it."""

    seq: int
    kind: str
    body: Mapping[str, Any]
    state: SessionState


@dataclass(frozen=True, slots=True)
class ToInvoice:
    payment_request: str


@dataclass(frozen=True, slots=True)
class ToLightningAddress:
    address: str


Destination = ToInvoice | ToLightningAddress


class PrepaidDesk(Protocol):
    """Sessions that are spent from with a preimage alone: draft-lightning-session-00."""

    async def find(self, payment_hash: str) -> Prepaid | None:
        """The session whose deposit has this hash."""
        ...

    async def open(self, session_id: str, return_invoice: str) -> None:
        """From now on the preimage of its deposit spends from it, and what is left goes to `return_invoice`. Asked again with the same
        invoice: done. NotOpenYet (409): we have not seen the payment. ReturnInvoiceInvalid, PaymentUsed (402)."""
        ...

    async def join(self, session_id: str, from_session_id: str) -> None:
        """The deposit of the second tops up the first, once. NotOpenYet (409), PrepaidClosed, PrepaidNotFound, PaymentUsed (402),
        RequestsRunning (409)."""
        ...

    async def close(self, session_id: str, by: str) -> Refunded:
        """End it and pay the rest to its return invoice, in one try; closed by the same challenge before: how that went. PrepaidClosed,
        PrepaidNotFound (402), RequestsRunning (409)."""
        ...


class SessionsDesk(Protocol):
    @property
    def prepaid(self) -> PrepaidDesk: ...

    async def open(self, amount: Sats, *, pubkey: str | None = None, key: Key | None = None) -> SessionView:
        """A new session that waits for its deposit. `pubkey`: whose it is, proven before.

        AmountOutOfBounds (422), WalletDown, KeyReused."""
        ...

    async def offer(self, amount: Sats, *, pubkey: str | None = None) -> Offer:
        """A new session for somebody who is known by its key alone, unless `pubkey` says whose it is. The amount is brought within the
        bounds. WalletDown."""
        ...

    async def offer_into(self, session_id: str, amount: Sats) -> Offer:
        """The same for a session that there is: its deposit while that is not paid, else a top-up. The macaroon of a top-up is another key
        of the session, once it is paid. SessionNotFound (404), SessionEnded (409), WalletDown."""
        ...

    def most(self, text: str) -> Msats:
        """What a request can come to at the most, as prices are now: what `request` would hold for it."""
        ...

    async def view(self, session_id: str) -> SessionView:
        """SessionNotFound (404). A look at an unpaid invoice is also a hint to look at the wallet."""
        ...

    def follow(self, session_id: str, *, after_seq: int = 0) -> AsyncIterator[SessionNews]:
        """What has happened since `after_seq`, then what happens; ends when the session has ended and no payout is on its way."""
        ...

    async def authorize(self, macaroon: str, use: Use, *, session_id: str | None = None) -> Permit:
        """Check a macaroon for what is about to be done with it; with `session_id`, that it belongs to that session. 401: malformed,
        not ours, changed, expired, with an unknown condition. 403: not for this use, or of another session.

        Whether the session is active is not asked here: an expired one can still be closed."""
        ...

    async def request(self, permit: Permit, text: str, *, key: Key | None = None) -> RequestView:
        """Judge and work, in one call; it goes on if the caller leaves, and `request_view` then shows how it ended. `text` has been
        checked for length. InsufficientBalance or KeyLimitReached (402), SessionEnded (409), RequestInProgress (409, for a key whose
        request still runs), KeyReused (422): nothing was reserved. A request that fails is an answer, not an exception."""
        ...

    async def request_view(self, permit: Permit, request_id: str) -> RequestView:
        """RequestNotFound (404), also for a request of another session."""
        ...

    async def topup(self, session_id: str, amount: Sats, *, key: Key | None = None) -> InvoiceView:
        """An invoice whose sats go to the session. TopupPending (409) carries the one that is pending; AmountOutOfBounds, SessionEnded,
        NotOpenYet (409), WalletDown."""
        ...

    async def close(self, permit: Permit, destination: Destination, *, key: Key | None = None) -> SessionView:
        """End the session and pay what is left to `destination`, once. Needs the session's own key, not a narrowed one (403).
        RequestsRunning (409); the refusals of payouts.plan and lnurl.py: then nothing has changed. Closed or expired before: what is
        still owed is paid."""
        ...
