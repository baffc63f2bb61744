"""Gifts as data: what the pool does for a piece of work, and for whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from timmy.ledger import Code, Entry, Post, Reserve, Void, chart
from timmy.money import Msats

DAY_MS = 86_400_000


def day_of(at_ms: int) -> str:
    """The UTC day, `2026-01-31`: it is fixed when an allowance is reserved, and a reservation that outlives midnight stays in its day."""
    return datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%Y-%m-%d")


@dataclass(frozen=True, slots=True)
class Terms:
    """The daily budget of each tier; a tier that is not named has none."""

    daily: Mapping[str, Msats]

    def budget(self, tier: str) -> Msats:
        return self.daily.get(tier, Msats(0))


@dataclass(frozen=True, slots=True)
class Gift:
    """Help for one piece of work. `id` names it for ever: both reservations and the grant carry it."""

    id: str
    subject: str
    pubkey: str
    tier: str
    day: str

    @property
    def allowance(self) -> str:
        return chart.allowance(self.pubkey, self.day)

    @property
    def pool_reservation(self) -> str:
        return f"{self.id}/pool"

    @property
    def allowance_reservation(self) -> str:
        return f"{self.id}/allowance"

    def reserve(self, amount: Msats) -> tuple[Entry, ...]:
        """Pool and day's budget together, or neither."""
        return (
            Reserve(self.pool_reservation, chart.POOL, chart.REVENUE, amount, Code.GIFT),
            Reserve(self.allowance_reservation, self.allowance, chart.ALLOWANCES_USED, amount, Code.ALLOWANCE_USED),
        )

    def post(self, absorbed: Msats) -> tuple[Entry, ...]:
        """What was really absorbed leaves; the rest returns to the pool and to the day's budget."""
        return Post(self.pool_reservation, absorbed), Post(self.allowance_reservation, absorbed)

    def void(self) -> tuple[Entry, ...]:
        """The work did not happen: everything returns."""
        return Void(self.pool_reservation), Void(self.allowance_reservation)


@dataclass(frozen=True, slots=True)
class Free:
    """All of it is given, and reserved already."""

    absorb: Msats


@dataclass(frozen=True, slots=True)
class Partial:
    """A part could be given. Nothing is reserved: that happens when the customer has paid the rest."""

    absorb: Msats
    charge: Msats


@dataclass(frozen=True, slots=True)
class Gate:
    """Full price, and why."""

    why: str


Decision = Free | Partial | Gate
