"""The shapes of sessions, for the OpenAPI document."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, Field

from timmy.sessions.protocol import RefundState, RequestState, SessionState
from timmy.web import fields
from timmy.web.shapes import Body, Dollars, Invoice, NotNegative, Shape


class NewSession(Body):
    amountSats: int = Field(strict=True, description="The deposit. The bounds are the server's SESSION_MIN_SATS and SESSION_MAX_SATS.")
    nostr_token: str | None = Field(None, description="Whose the session is. Anything that is no valid token of ours is 401.")


class TopupWanted(Body):
    amountSats: int = Field(strict=True, description="What is to be added; within the same bounds as a deposit.")


class SessionRequestWanted(Body):
    request: str = Field(pattern=r"\S", min_length=1, max_length=500, description="What should be done.")


class PayTo(Body):
    """Exactly one of the two."""

    invoice: str | None = Field(
        None, min_length=1, max_length=fields.INVOICE_CHARS_MAX, description="A BOLT11 invoice of exactly balanceSats."
    )
    lightningAddress: str | None = Field(None, min_length=1, max_length=fields.ADDRESS_CHARS_MAX, description="name@domain")


class SessionRefund(Shape):
    state: RefundState
    owedSats: int = Field(ge=0, description="Still to be claimed, or on its way.")
    paidSats: NotNegative
    destination: str | None = Field(description="invoice or lightning_address: the kind of place, never the place.")
    trouble: str | None = Field(description="Why the last attempt did not arrive.")


class SessionOpened(Shape):
    sessionId: str = Field(description="Unguessable: whoever knows it may see the session and its macaroon.")
    state: SessionState
    createdAt: AwareDatetime
    invoice: Invoice
    trust_tier: str


class Session(SessionOpened):
    expiresAt: AwareDatetime = Field(description="Before the deposit: its invoice's. Then: the end of its time without use.")
    closedAt: AwareDatetime | None
    balanceSats: NotNegative
    balanceMsat: int = Field(ge=0, description="What is there, the part that requests under way hold included.")
    heldMsat: int = Field(ge=0, description="What requests under way hold.")
    minimumBalanceSats: int = Field(ge=0, description="With less the session is paused.")
    pendingTopup: Invoice | None
    refund: SessionRefund
    macaroon: str | None = Field(description="What spends from the session, once its deposit is settled. A secret.")


class RequestCost(Shape):
    """chargedMsat is what the customer and the pool have paid together, and never above reservedMsat."""

    evalModel: str
    workModel: str
    inputTokens: NotNegative
    outputTokens: NotNegative
    usageEstimated: bool
    actualCostUsd: Dollars
    marginPct: float = Field(ge=0)
    btcPriceUsd: float = Field(gt=0)
    btcPriceSource: str
    chargedMsat: NotNegative
    reservedMsat: NotNegative


class SessionRequest(Shape):
    requestId: str
    state: RequestState
    startedAt: AwareDatetime
    endedAt: AwareDatetime | None
    result: str | None
    truncated: bool = Field(description="The answer was cut because what was held for it was used up.")
    reason: str | None = Field(description="Why it was rejected or has failed.")
    debitedSats: int = Field(ge=0, description="debitedMsat, rounded up.")
    debitedMsat: NotNegative
    balanceRemaining: int = Field(ge=0, description="Whole sats that are left in the session.")
    balanceRemainingMsat: NotNegative
    cost: RequestCost | None
    free_tier: bool = Field(description="The pool gave something.")
    absorbed_sats: int = Field(ge=0, description="absorbedMsat, rounded up.")
    absorbedMsat: NotNegative


ALL: tuple[type[BaseModel], ...] = (NewSession, TopupWanted, SessionRequestWanted, PayTo, SessionOpened, Session, SessionRequest)
