"""The shapes of keys, the pool and estimates, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, Field

from timmy.web import fields
from timmy.web.shapes import Body, Dollars, NotNegative, PricingBreakdown, Shape

Key = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="A Nostr public key in lower-case hex.")]
Budgets = Annotated[dict[str, NotNegative], Field(description="By tier: sats that may be given to a key in a UTC day.")]


class LoginEvent(Body):
    event: dict[str, Any] = Field(description="A signed event as NIP-01 has it: id, pubkey, created_at, kind, tags, content, sig.")
    pubkey: str | None = Field(
        None, min_length=1, max_length=fields.PUBKEY_CHARS_MAX, pattern=r"\S", description="Hex or npub: the event must be this key's."
    )


class NostrEvent(Shape):
    """As NIP-01 has it."""

    id: str = Field(pattern="^[0-9a-f]{64}$")
    pubkey: Key
    created_at: int = Field(ge=0, description="Seconds since 1970.")
    kind: int
    tags: list[list[str]]
    content: str
    sig: str = Field(pattern="^[0-9a-f]{128}$")


class NostrNames(Shape):
    names: dict[str, Key]


class Challenge(Shape):
    nonce: str
    expiresAt: AwareDatetime


class Login(Shape):
    nostr_token: str = Field(description="Proof of who you are until expiresAt. A secret.")
    pubkey: Key
    npub: str
    trust_tier: str
    expiresAt: AwareDatetime


class ScoreChange(Shape):
    why: str = Field(description="work_paid, work_given, rejected, failed")
    change: int
    score: int = Field(description="After the change.")
    at: AwareDatetime


class Decay(Shape):
    afterDays: NotNegative
    perDay: NotNegative
    lost: int = Field(ge=0, description="What absence has taken from the score so far.")
    explained: str


class NextTier(Shape):
    tier: str
    score: int = Field(description="What it needs.")
    missing: int = Field(ge=1)


class FreeToday(Shape):
    day: str = Field(description="UTC.")
    budgetSats: NotNegative
    leftSats: NotNegative


class Me(Shape):
    pubkey: Key
    npub: str
    trust_tier: str
    score: NotNegative
    why: list[ScoreChange] = Field(description="The latest changes first.")
    decay: Decay
    nextTier: NextTier | None
    today: FreeToday
    successes: NotNegative
    setbacks: NotNegative
    paidSats: NotNegative
    firstSeenAt: AwareDatetime | None


class Given(Shape):
    times: NotNegative
    givenSats: NotNegative


class GivenToday(Shape):
    givenSats: NotNegative
    byTier: dict[str, Given]


class WhyNot(Shape):
    code: str
    why: str


class Pool(Shape):
    balanceSats: int = Field(ge=0, description="All that the pool holds.")
    availableSats: int = Field(ge=0, description="What of it is not promised to work under way.")
    reservedSats: NotNegative
    earnedSats: int = Field(ge=0, description="What paid charges have put into it, ever.")
    givenSats: int = Field(ge=0, description="What was given away, ever.")
    dailyBudgets: Budgets
    byTier: dict[str, Given]
    today: GivenToday
    whyNot: list[WhyNot]


class EstimateWanted(Body):
    request: str = Field(pattern=r"\S", min_length=1, max_length=500, description="What should be done.")
    model: str | None = Field(
        None, min_length=1, max_length=fields.MODEL_CHARS_MAX, description="Another model than the server's own for work."
    )
    nostr_token: str | None = Field(None, description="Who is asking, so that the answer says what would be free for them.")


class TokenEstimate(Shape):
    input: NotNegative
    output: NotNegative


class FreeTier(Shape):
    """absorbSats and chargeSats are the price together."""

    serve: str = Field(description="free, partial or gate: all of the work, a part of it, or nothing would be given.")
    absorbSats: NotNegative
    chargeSats: NotNegative
    why: str | None = Field(description="Why nothing would be given.")


class EstimateIdentity(Shape):
    trust_tier: str
    free_tier: FreeTier


class EstimatePool(Shape):
    balanceSats: NotNegative
    availableSats: NotNegative
    dailyBudgets: Budgets


class Estimate(Shape):
    estimatedSats: int = Field(ge=1, description="The full price of the work.")
    evalFeeSats: int = Field(ge=0, description="What a job's evaluation costs besides.")
    estimatedCostUsd: Dollars
    btcPriceUsd: float = Field(gt=0)
    btcPriceSource: str
    tokenEstimate: TokenEstimate
    pricingBreakdown: PricingBreakdown
    identity: EstimateIdentity
    pool: EstimatePool


ALL: tuple[type[BaseModel], ...] = (LoginEvent, NostrEvent, NostrNames, Challenge, Login, Me, Pool, EstimateWanted, Estimate)
