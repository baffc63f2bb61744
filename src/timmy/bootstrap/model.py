"""An order of a node as data: what was asked for, how far it has got, and what its owner may see of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from timmy.money import Msats, Sats


class State(StrEnum):
    AWAITING_PAYMENT = "awaiting_payment"
    PROVISIONING = "provisioning"
    READY = "ready"
    FAILED = "failed"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        return self in FINAL


FINAL = frozenset({State.READY, State.FAILED, State.EXPIRED})


class KeyKind(StrEnum):
    """Whose key opens the machine."""

    ED25519 = "ed25519"
    RSA_4096 = "rsa-4096"
    OWN = "own"  # the customer's: they gave the public half, and nobody here ever has the other


class KeyState(StrEnum):
    OWN = "own"  # there is nothing to hand over
    NOT_YET = "not_yet"  # the node is not ready
    WAITING = "waiting"  # sealed here, for whoever asks first
    DELIVERED = "delivered"  # handed over, and for a few minutes had again with the claim token
    ERASED = "erased"  # nobody can read it any more


class RefundState(StrEnum):
    NOT_APPLICABLE = "not_applicable"
    PENDING = "pending"
    PAID = "paid"


@dataclass(frozen=True, slots=True)
class InvoiceView:
    payment_request: str
    payment_hash: str
    amount: Sats
    expires_at_ms: int
    settled: bool


@dataclass(frozen=True, slots=True)
class RefundView:
    """What is owed to whoever ordered, and how far its payment has got."""

    state: RefundState
    owed: Sats  # still to be claimed or on its way
    paid: Sats
    credit: Msats  # below a whole sat: theirs, too small to send
    destination: str | None
    trouble: str | None


@dataclass(frozen=True, slots=True)
class KeyView:
    """How the private key stands; never the key."""

    kind: KeyKind
    state: KeyState
    public_key: str | None
    delivered_at_ms: int | None
    again_until_ms: int | None  # while the same claimant may have it again


@dataclass(frozen=True, slots=True)
class BootstrapView:
    """Everything that belongs to an order, as its owner may see it."""

    id: str
    state: State
    is_rehearsal: bool
    created_at_ms: int
    completed_at_ms: int | None
    invoice: InvoiceView
    progress: str | None
    reason: str | None
    trouble: str | None
    address: str | None
    tailscale_name: str | None
    lnbits_url: str | None
    key: KeyView
    refund: RefundView
    refund_to: str | None
    claim_token: str  # for the answer to the order alone


@dataclass(frozen=True, slots=True)
class BootstrapNews:
    """One thing that happened to an order. `seq` grows; a reader that comes back asks for what came after it."""

    seq: int
    kind: str  # "bootstrap" (it moved), "progress", "refund", "trouble", "payment"
