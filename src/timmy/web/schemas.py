"""The shapes on the wire, for the OpenAPI document. Bodies are checked in fields.py, answers made in views.py; tests hold them together."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, Field

from timmy.jobs.model import RefundState, State
from timmy.web import fields, schemas_bootstrap, schemas_operator, schemas_people, schemas_sessions, schemas_v1, schemas_world
from timmy.web.shapes import Body, Dollars, Invoice, NotNegative, PricingBreakdown, Shape

# What is sent to us ---------------------------------------------------------------------------------------


class NewJob(Body):
    request: str = Field(
        pattern=r"\S", min_length=1, max_length=500, description="What should be done. The limit is the server's MAX_REQUEST_CHARS."
    )
    refundTo: str | None = Field(
        None,
        min_length=1,
        max_length=fields.ADDRESS_CHARS_MAX,
        description="A Lightning address. What was paid too much is sent there without being asked for.",
    )
    nostr_token: str | None = Field(None, description="Whose the job is. Anything that is no valid token of ours is 401.")


class RefundTo(Body):
    """Exactly one of the three."""

    invoice: str | None = Field(
        None, min_length=1, max_length=fields.INVOICE_CHARS_MAX, description="A BOLT11 invoice of exactly refund.owedSats."
    )
    lightningAddress: str | None = Field(None, min_length=1, max_length=fields.ADDRESS_CHARS_MAX, description="name@domain")
    lnurl: str | None = Field(None, min_length=1, max_length=fields.LNURL_CHARS_MAX, description="An LNURL-pay code.")


class DevInvoiceWanted(Body):
    amountSats: int = Field(ge=1, le=fields.DEV_INVOICE_SATS_MAX, strict=True)


class LnbitsHook(BaseModel):
    """What LNbits sends when an invoice was paid. Only the hash is read, and only as a reason to go and look."""

    payment_hash: str = Field("", description="Which invoice to look at.")


# What is answered -------------------------------------------------------------------------------------------


class CostLedger(Shape):
    """What the work really cost. actualAmountSats is never above workAmountSats; the difference is the customer's."""

    actualInputTokens: NotNegative
    actualOutputTokens: NotNegative
    totalTokens: NotNegative
    usageEstimated: bool = Field(description="The model's provider did not count, so we did.")
    actualCostUsd: Dollars
    actualAmountSats: NotNegative = Field(description="What was charged, rounded up to whole sats.")
    workAmountSats: NotNegative = Field(description="What the customer paid for the work.")
    refundAmountSats: NotNegative = Field(description="What goes back: claimable, on its way, or paid.")
    refundState: RefundState


class Refund(Shape):
    state: RefundState
    owedSats: NotNegative = Field(description="What an invoice for the refund must ask for.")
    paidSats: NotNegative
    creditMsat: NotNegative = Field(description="The rest below a whole sat: too small to send.")
    destination: str | None = Field(description="invoice, lightning_address or lnurl: the kind of place, never the place.")
    trouble: str | None = Field(description="Why the last attempt did not arrive.")


class JobCreated(Shape):
    jobId: str = Field(description="Unguessable: whoever knows it may see the job and claim its refund.")
    state: State
    createdAt: AwareDatetime
    trust_tier: str
    evalInvoice: Invoice


class Job(JobCreated):
    """Everything about a job. What does not exist, or not yet, is null."""

    request: str
    completedAt: AwareDatetime | None
    workInvoice: Invoice | None = Field(description="Its amount is pricingBreakdown.amountSats less what the pool takes over.")
    pricingBreakdown: PricingBreakdown | None
    reason: str | None = Field(description="Why it was rejected, has failed or has expired.")
    waiting: str | None = Field(description="What it waits for, when something that Timmy depends on is down.")
    result: str | None
    truncated: bool = Field(description="The answer was cut because the payment was used up.")
    costLedger: CostLedger | None
    refund: Refund
    refundTo: str | None
    free_tier: bool = Field(description="The pool takes all of the work over: there is no workInvoice.")
    absorbed_sats: int = Field(ge=0, description="What the pool took over; before the work is done, what it has offered or set aside.")
    subsidyShortfallSats: int = Field(
        ge=0,
        description="What the pool had offered and could no longer give when the rest was paid: the work was done within what was paid.",
    )


class ConditionName(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


class PartStatus(Shape):
    status: ConditionName
    kind: str
    detail: str | None
    standIn: str | None = Field(description="Not null: this is not the real thing, and what would be.")


class HealthReport(Shape):
    status: ConditionName = Field(description="The worst of the parts.")
    version: str
    time: AwareDatetime
    parts: dict[str, PartStatus]
    standIns: list[str]


class SiteFacts(Shape):
    """What a page needs to know before it can offer anything."""

    version: str
    developmentRoutes: bool = Field(description="Invoices can be paid by HTTP here: this is a server for trying things out.")
    requestCharsMax: int = Field(ge=1, description="MAX_REQUEST_CHARS")
    sessionMinSats: int = Field(ge=1, description="SESSION_MIN_SATS")
    sessionMaxSats: int = Field(ge=1, description="SESSION_MAX_SATS")


class Paid(Shape):
    paid: bool
    preimage: str | None = Field(description="The proof of payment that L402 wants, in hex; null with a real wallet.")


class DevInvoice(Shape):
    paymentRequest: str


class HookHeard(Shape):
    heard: bool


class Problem(BaseModel):
    """RFC 9457. `code` is for programs and stays; `error` is for people and may be reworded. Some problems have further members."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    error: str
    instance: str
    requestId: str


ALL: tuple[type[BaseModel], ...] = (
    NewJob,
    RefundTo,
    DevInvoiceWanted,
    LnbitsHook,
    JobCreated,
    Job,
    HealthReport,
    SiteFacts,
    Paid,
    DevInvoice,
    HookHeard,
    Problem,
    *schemas_people.ALL,
    *schemas_sessions.ALL,
    *schemas_v1.ALL,
    *schemas_world.ALL,
    *schemas_operator.ALL,
    *schemas_bootstrap.ALL,
)
