"""What a request holds while it runs, and what becomes of it: three purses, one outcome.

    the pool's gift     as much as pool and day allow, first
    the session         the rest of the most that the request can cost
    the key's limits    each caveat that caps what may be spent has a purse of its own, in allowance; it holds what the session holds

All of it is reserved in one unit, or nothing; all of it is posted or voided in one unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from timmy.db import Row
from timmy.generosity import Gift
from timmy.identity.caveats import Budget
from timmy.ledger import Code, Entry, Move, Post, Reserve, Void, chart
from timmy.money import Msats

NOTHING = Msats(0)
FOR_EVER = "ever"  # where other allowance has a day


def purse_of(budget: Budget) -> str:
    return chart.allowance(f"limit-{budget.id}", FOR_EVER)


def grant_id(budget: Budget) -> str:
    """The transfer that fills its purse, once for ever."""
    return f"limit/{budget.id}"


def gift_of(request_id: str, pubkey: str | None, tier: str, day: str) -> Gift | None:
    """One gift per request: its name makes it once."""
    return None if pubkey is None else Gift(f"request/{request_id}/gift", request_id, pubkey, tier, day)


@dataclass(frozen=True, slots=True)
class Holding:
    """`held` is reserved from the session, `given` from the pool; `limits` purses hold what the session holds."""

    request_id: str
    session_id: str
    held: Msats
    gift: Gift | None
    given: Msats
    limits: int

    @property
    def in_all(self) -> Msats:
        return self.held + self.given

    @property
    def _own(self) -> str:
        return f"request/{self.request_id}/session"

    def _limit(self, place: int) -> str:
        return f"request/{self.request_id}/limit/{place}"

    def reserve(self, budgets: Sequence[Budget]) -> Iterator[Entry]:
        """A caveat's purse is filled when it is first used, once for ever."""
        if self.gift is not None and self.given:
            yield from self.gift.reserve(self.given)
        if not self.held:
            return
        yield Reserve(self._own, chart.session(self.session_id), chart.REVENUE, self.held, Code.SESSION_CHARGE)
        for place, budget in enumerate(budgets):
            yield Move(grant_id(budget), chart.ALLOWANCES, purse_of(budget), budget.most, Code.ALLOWANCE_GRANTED)
            yield Reserve(self._limit(place), purse_of(budget), chart.ALLOWANCES_USED, self.held, Code.ALLOWANCE_USED)

    def settle(self, charged: Msats, pool_share: Msats) -> Iterator[Entry]:
        """The gift pays first. What nobody has to pay goes back to where it came from. `pool_share` is of what the customer pays."""
        absorbed, debited = self.split(charged)
        if self.gift is not None and self.given:
            yield from self.gift.post(absorbed) if absorbed else self.gift.void()
        if self.held:
            for reservation in (self._own, *(self._limit(place) for place in range(self.limits))):
                yield Post(reservation, debited) if debited else Void(reservation)
        if pool_share:
            yield Move(f"request/{self.request_id}/pool", chart.REVENUE, chart.POOL, pool_share, Code.POOL_CREDIT)

    def split(self, charged: Msats) -> tuple[Msats, Msats]:
        """What the pool absorbs of a charge, and what the customer pays: together the charge, and never more than is held."""
        charged = min(charged, self.in_all)
        absorbed = min(charged, self.given)
        return absorbed, charged - absorbed


def holding_of(row: Row) -> Holding:
    """As it was written down when the request began."""
    gift = gift_of(row["id"], row["pubkey"], row["tier"], row["day"]) if row["gift_msat"] else None
    return Holding(row["id"], row["session_id"], Msats(row["held_msat"]), gift, Msats(row["gift_msat"]), row["limits"])
