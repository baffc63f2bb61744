"""What a call holds, step by step, and what becomes of it.

    completion/<id>/step/<n>               from the session, for what the answer may come to by the end of that step
    completion/<id>/limit/<place>-<n>      the same from each purse of the key that was brought

A step is reserved in one unit, or not at all; at the end all of them are posted or voided in one unit, oldest first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson

from timmy.db import Row
from timmy.identity.caveats import Budget
from timmy.ledger import Code, Entry, Move, Post, Reserve, Void, chart
from timmy.money import Msats
from timmy.sessions.holding import NOTHING, grant_id, purse_of


@dataclass(frozen=True, slots=True)
class Holding:
    completion_id: str
    session_id: str
    steps: tuple[Msats, ...]
    limits: int  # purses that hold the same

    @property
    def in_all(self) -> Msats:
        return sum(self.steps, NOTHING)

    def first(self, budgets: Sequence[Budget]) -> Iterator[Entry]:
        """Reserve what it begins with."""
        return self._reserve(0, self.steps[0], budgets)

    def further(self, amount: Msats, budgets: Sequence[Budget]) -> Iterator[Entry]:
        """Reserve the next step: `extended(amount)` is what is held then."""
        return self._reserve(len(self.steps), amount, budgets)

    def _reserve(self, step: int, amount: Msats, budgets: Sequence[Budget]) -> Iterator[Entry]:
        """A caveat's purse is filled when it is first used, once for ever."""
        if not amount:
            return
        yield Reserve(self._own(step), chart.session(self.session_id), chart.REVENUE, amount, Code.SESSION_CHARGE)
        for place, budget in enumerate(budgets):
            yield Move(grant_id(budget), chart.ALLOWANCES, purse_of(budget), budget.most, Code.ALLOWANCE_GRANTED)
            yield Reserve(self._limit(place, step), purse_of(budget), chart.ALLOWANCES_USED, amount, Code.ALLOWANCE_USED)

    def extended(self, amount: Msats) -> Holding:
        return Holding(self.completion_id, self.session_id, (*self.steps, amount), self.limits)

    def settle(self, charged: Msats, pool_share: Msats) -> Iterator[Entry]:
        """`charged` is at most what is held. `pool_share` is of it."""
        left = charged
        for step, amount in enumerate(self.steps):
            if not amount:
                continue
            part = min(left, amount)
            left = left - part
            for reservation in (self._own(step), *(self._limit(place, step) for place in range(self.limits))):
                yield Post(reservation, part) if part else Void(reservation)
        if pool_share:
            yield Move(f"completion/{self.completion_id}/pool", chart.REVENUE, chart.POOL, pool_share, Code.POOL_CREDIT)

    @property
    def reservations(self) -> list[str]:
        """All that may have been reserved for it."""
        steps = range(len(self.steps))
        return [self._own(step) for step in steps] + [self._limit(place, step) for step in steps for place in range(self.limits)]

    @property
    def held(self) -> str:
        return orjson.dumps([step.value for step in self.steps]).decode()

    def _own(self, step: int) -> str:
        return f"completion/{self.completion_id}/step/{step}"

    def _limit(self, place: int, step: int) -> str:
        return f"completion/{self.completion_id}/limit/{place}-{step}"


def holding_of(row: Row) -> Holding:
    """As it was written down."""
    return Holding(row["id"], row["session_id"], tuple(Msats(step) for step in orjson.loads(row["held"])), row["limits"])


def accounts_of(session_id: str, budgets: Sequence[Budget]) -> set[str]:
    """All that a reservation can touch."""
    purses = {chart.ALLOWANCES, chart.ALLOWANCES_USED, *map(purse_of, budgets)} if budgets else set()
    return {chart.session(session_id), chart.REVENUE} | purses
