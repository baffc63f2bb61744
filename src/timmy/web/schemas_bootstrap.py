"""The shapes of nodes on the wire."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field

from timmy.bootstrap.keys import PUBLIC_KEY_CHARS_MAX
from timmy.bootstrap.model import KeyKind, KeyState, RefundState
from timmy.bootstrap.model import State as OrderState
from timmy.web import fields
from timmy.web.shapes import Body, Invoice, NotNegative, Shape


class BootstrapState(StrEnum):
    AWAITING_PAYMENT = OrderState.AWAITING_PAYMENT.value
    PROVISIONING = OrderState.PROVISIONING.value
    READY = OrderState.READY.value
    FAILED = OrderState.FAILED.value
    EXPIRED = OrderState.EXPIRED.value


class BootstrapRefundState(StrEnum):
    NOT_APPLICABLE = RefundState.NOT_APPLICABLE.value
    PENDING = RefundState.PENDING.value
    PAID = RefundState.PAID.value


class NewBootstrap(Body):
    """All of it may be left out."""

    keyType: Literal["ed25519", "rsa-4096"] | None = Field(None, description="The pair that is made for the machine. `ed25519`.")
    sshPublicKey: str | None = Field(
        None,
        min_length=1,
        max_length=PUBLIC_KEY_CHARS_MAX,
        description="A public key of your own, one line as in a .pub file. Then none is made, and there is nothing to hand over.",
    )
    refundTo: str | None = Field(
        None,
        min_length=1,
        max_length=fields.ADDRESS_CHARS_MAX,
        description="A Lightning address. If there is no node, the fee is sent there without being asked for.",
    )


class CallHome(BaseModel):
    """What a machine says of itself. It may say more."""

    state: Literal["ready"]
    bitcoin: dict[str, Any] = Field(description="What Bitcoin Core has just answered there.")
    lnd: dict[str, Any] = Field(description="What LND has just answered there.")
    lnbitsUrl: str = Field(pattern="^https?://", max_length=300, description="Where LNbits has just answered.")
    tailscaleName: str | None = Field(None, description="The machine's name in the private network.")


class CalledHome(Shape):
    state: BootstrapState


class BootstrapCreated(Shape):
    bootstrapJobId: str = Field(description="Unguessable: whoever knows it may see the order, collect its key and claim its refund.")
    state: BootstrapState
    createdAt: AwareDatetime
    rehearsal: bool = Field(description="No machine is rented: the node is only played.")
    invoice: Invoice
    claimToken: str = Field(description="With it the private key can be had again for ten minutes. It is told nowhere else: keep it.")


class SshKey(Shape):
    type: KeyKind
    state: KeyState
    publicKey: str | None
    deliveredAt: AwareDatetime | None
    againUntil: AwareDatetime | None = Field(description="Until then, X-Claim-Token gets it again.")
    note: str


class BootstrapRefund(Shape):
    state: BootstrapRefundState
    owedSats: NotNegative = Field(description="What an invoice for the refund must ask for.")
    paidSats: NotNegative
    creditMsat: NotNegative
    destination: str | None
    trouble: str | None


class Bootstrap(Shape):
    """Everything about an order of a node. What does not exist, or not yet, is null."""

    bootstrapJobId: str
    state: BootstrapState
    createdAt: AwareDatetime
    completedAt: AwareDatetime | None
    rehearsal: bool
    rehearsalNote: str | None
    invoice: Invoice
    progress: str | None = Field(description="How far it has got, for a person.")
    reason: str | None = Field(description="Why it has failed or expired.")
    trouble: str | None = Field(description="What became of a ready machine later: the cloud has stopped it, or lost it.")
    address: str | None
    tailscaleName: str | None
    lnbitsUrl: str | None
    sshUser: str | None
    sshKey: SshKey
    sshPrivateKey: str | None = Field(description="In OpenSSH's format, in one answer: see sshKey. Never in a stream of events.")
    nextSteps: list[str]
    refund: BootstrapRefund
    refundTo: str | None


ALL: tuple[type[BaseModel], ...] = (NewBootstrap, CallHome, CalledHome, BootstrapCreated, Bootstrap)
