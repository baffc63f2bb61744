"""What the shapes on the wire are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="32 bytes in lower-case hex.")]
NotNegative = Annotated[int, Field(ge=0)]
Dollars = Annotated[float, Field(ge=0, description="US dollars, as an exact decimal.")]


class Shape(BaseModel):
    """What we answer may gain members later; nobody should choke on one they do not know."""


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Invoice(Shape):
    paymentRequest: str = Field(description="BOLT11, to be paid.")
    paymentHash: Hash
    amountSats: NotNegative
    expiresAt: AwareDatetime


class PricingBreakdown(Shape):
    """Why the work costs what it costs: amountSats is (1 + marginPct/100) × estimatedCostUsd at btcPriceUsd, rounded up, at least 1.

    It is the full price, whatever the pool takes over."""

    estimatedCostUsd: Dollars
    infraCostUsd: Dollars = Field(description="The share of the machine, part of estimatedCostUsd.")
    marginPct: float = Field(ge=0)
    btcPriceUsd: float = Field(gt=0)
    btcPriceSource: str
    model: str
    estimatedInputTokens: NotNegative
    estimatedOutputTokens: NotNegative
    amountSats: int = Field(ge=1)
