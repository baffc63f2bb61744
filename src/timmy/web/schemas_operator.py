"""The shapes of the operator's desk, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field

from timmy.web.shapes import Dollars, NotNegative, Shape

DayText = Annotated[str, Field(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="UTC.")]


class OperatorSums(Shape):
    """Money that moved in some time. The four kinds are paid by different people, and never added up."""

    receivedMsat: NotNegative = Field(description="Came in over Lightning, for whatever.")
    paidMsat: NotNegative = Field(description="Earned from customers.")
    freeMsat: NotNegative = Field(description="Earned from the pool, which paid in customers' stead.")
    absorbedMsat: NotNegative = Field(description="Paid by the house: what the network took for payouts.")
    refundedMsat: NotNegative = Field(description="Arrived back with customers.")
    costUsd: Dollars = Field(description="Of the models, before the margin; without the judging of jobs.")


class OperatorDay(OperatorSums):
    day: DayText


class OperatorDays(Shape):
    days: list[OperatorDay] = Field(description="The oldest first; the last is today, which is not over.")


class OperatorStanding(Shape):
    revenueMsat: NotNegative
    poolMsat: NotNegative
    poolReservedMsat: NotNegative
    owedMsat: NotNegative = Field(description="To customers, not yet on its way.")
    inFlightMsat: NotNegative
    sessionsMsat: NotNegative
    sessionsOpen: NotNegative
    jobsMsat: NotNegative = Field(description="Paid in for jobs, not yet earned or owed.")
    bootstrapMsat: NotNegative = Field(description="Paid in for nodes that are being made, not yet earned or owed.")
    unallocatedMsat: NotNegative


class OperatorUpstream(Shape):
    name: str
    kind: str
    status: Literal["ok", "degraded", "down"]
    latencyMs: NotNegative | None = Field(description="Of the last answer.")
    detail: str | None


class OperatorAudit(Shape):
    at: AwareDatetime | None = Field(description="Null: not since this process was started.")
    whole: bool = Field(description="Every transfer was read, and not the balances only.")
    holds: bool
    broken: list[str]
    checks: NotNegative
    running: bool


class OperatorBreaker(Shape):
    name: str
    reason: str
    since: AwareDatetime
    amountMsat: NotNegative = Field(description="What may move again when it is reset.")


class OperatorAlert(Shape):
    grave: bool
    words: str


class OperatorSummary(Shape):
    at: AwareDatetime
    today: OperatorSums
    last7Days: OperatorSums
    last30Days: OperatorSums
    btcPriceUsd: float = Field(gt=0)
    standing: OperatorStanding
    upstreams: list[OperatorUpstream]
    audit: OperatorAudit
    breakers: list[OperatorBreaker]
    alerts: list[OperatorAlert]
    standIns: list[str]


class OperatorJob(Shape):
    jobId: str
    state: str
    createdAt: AwareDatetime
    evalFeeMsat: NotNegative
    quotedMsat: NotNegative | None = Field(description="The whole price of the work.")
    paidMsat: NotNegative | None = Field(description="What the customer was charged for the work.")
    absorbedByPoolMsat: NotNegative
    realCostMsat: NotNegative | None = Field(description="Of the work, at the quote's price of a bitcoin.")
    marginMsat: int | None = Field(description="Below zero, the house has paid.")


class OperatorJobs(Shape):
    jobs: list[OperatorJob] = Field(description="The newest first.")


class OperatorOwed(Shape):
    to: str
    msat: NotNegative


class OperatorPayout(Shape):
    id: str
    subject: str
    msat: NotNegative
    state: Literal["planned", "sent", "failed"]
    tries: NotNegative
    since: AwareDatetime
    needsYou: bool = Field(description="It does not get on by itself.")
    laidAside: bool
    says: str


class OperatorRefunds(Shape):
    owed: list[OperatorOwed]
    payouts: list[OperatorPayout]
    laidAsideMsat: NotNegative


class OperatorTask(Shape):
    id: str
    attempts: NotNegative
    trouble: str


class OperatorTasks(Shape):
    parked: list[OperatorTask]
    waiting: dict[str, NotNegative] = Field(description="How many of each kind.")


class NodeCheck(Shape):
    name: str = Field(pattern="^[a-z_]+$")
    status: Literal["ok", "warn", "fail", "unknown"] = Field(description="`unknown`: the backend does not tell. That is no trouble.")
    value: str = Field(description="For a person, without secrets.")
    latencyMs: NotNegative | None
    lastGood: AwareDatetime | None = Field(description="When this process last saw it `ok`.")
    hint: str | None = Field(description="What to do.")


class NodeWallet(Shape):
    kind: str
    network: str | None = Field(description="Null: it did not answer.")


class NodeBooks(Shape):
    """What the ledger says that the wallet must hold, and for whom."""

    holdsMsat: NotNegative
    jobsMsat: NotNegative
    sessionsMsat: NotNegative
    bootstrapMsat: NotNegative
    owedMsat: NotNegative
    inFlightMsat: NotNegative
    poolMsat: NotNegative
    unallocatedMsat: NotNegative
    revenueMsat: NotNegative


class NodeStatus(Shape):
    at: AwareDatetime
    status: Literal["ok", "warn", "fail"] = Field(description="The worst of the checks.")
    wallet: NodeWallet
    books: NodeBooks | None = Field(description="Null: the database did not answer.")
    checks: list[NodeCheck]


ALL: tuple[type[BaseModel], ...] = (OperatorSummary, OperatorDays, OperatorJobs, OperatorRefunds, OperatorTasks, NodeStatus)
