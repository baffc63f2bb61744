"""What belongs to a key besides how it stands, from one look into the database."""

from __future__ import annotations

from timmy import generosity
from timmy.clock import Clock
from timmy.db import Database, Tx
from timmy.generosity import Gift
from timmy.generosity.pool import budget_left
from timmy.generosity.store import is_frozen
from timmy.identity import Standing, trust
from timmy.web import Profile


class People:
    def __init__(self, db: Database, clock: Clock, giving: generosity.Terms) -> None:
        self._db = db
        self._clock = clock
        self._giving = giving

    async def profile(self, standing: Standing) -> Profile:
        """Why its score is what it is, and what is left for it today. Changes nothing: a budget that was not used yet is not opened."""
        return await self._db.read(self._profile, standing, generosity.day_of(self._clock.now_ms()))

    async def pool_frozen(self) -> bool:
        return await self._db.read(is_frozen)

    def _profile(self, tx: Tx, standing: Standing, day: str) -> Profile:
        asked = Gift("profile", "profile", standing.pubkey, standing.tier.value, day)
        _, left = budget_left(tx, asked, self._giving)
        return Profile(trust.reasons(tx, standing.pubkey), day, self._giving.budget(standing.tier.value), left)
