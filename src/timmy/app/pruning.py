"""What is old and nobody's money is removed, a little at a time, so that a busy server does not notice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from timmy.app import old_store
from timmy.clock import SECOND_MS, Clock
from timmy.db import Database, Tx
from timmy.identity import store as identity_store
from timmy.lightning.receiving import NEVER_MS
from timmy.settings import Settings
from timmy.tasks import AskAgainLater, NewTask, Task

PRUNE = "prune"
EVERY_SECONDS = 3_600.0
BATCH = 500
PAUSE_SECONDS = 0.05  # between batches: customers' writes go in between
DAY_MS = 24 * 3_600 * SECOND_MS

log = structlog.get_logger("timmy.app")


@dataclass(frozen=True, slots=True)
class Keep:
    """For how long what is kept, in days."""

    events_days: int
    keys_days: int
    unpaid_days: int


def keep_of(settings: Settings) -> Keep:
    return Keep(settings.events_keep_days, settings.idempotency_keep_days, settings.unpaid_keep_days)


class Pruning:
    def __init__(self, db: Database, clock: Clock, keep: Keep) -> None:
        self._db = db
        self._clock = clock
        self._keep = keep

    @staticmethod
    def first(at_ms: int) -> NewTask:
        """One task for all processes; it puts itself back for ever."""
        return NewTask(PRUNE, "old", at_ms)

    async def prune(self, task: Task) -> None:
        """Handler. Every hour, all that has become old since."""
        await self.prune_once()
        raise AskAgainLater("pruning", after_seconds=EVERY_SECONDS)

    async def prune_once(self) -> dict[str, int]:
        """How much of what was removed. Dying on the way leaves nothing half removed: each batch is one transaction."""
        now_ms = self._clock.now_ms()
        await self._db.write(identity_store.sweep, now_ms)  # challenges and used Nostr events, which say themselves when they end
        keys_ms = now_ms - self._keep.keys_days * DAY_MS
        # Never before its key: the key would lead whoever repeats the request to a job that is not there.
        unpaid_ms = min(keys_ms, now_ms - self._keep.unpaid_days * DAY_MS)
        removed = {
            "keys": await self._all(old_store.forget_keys, keys_ms),
            "events": await self._all(old_store.forget_events, now_ms - self._keep.events_days * DAY_MS),
            "unpaid": await self._all(_forget_unpaid, unpaid_ms),
        }
        if any(removed.values()):
            log.info("app.pruned", **removed)
        return removed

    async def _all(self, forget: Callable[[Tx, int, int], int], before_ms: int) -> int:
        total = 0
        while gone := await self._db.write(forget, before_ms, BATCH):
            total += gone
            await asyncio.sleep(PAUSE_SECONDS)
        return total


def _forget_unpaid(tx: Tx, before_ms: int, limit: int) -> int:
    found = old_store.unpaid_invoices(tx, NEVER_MS, before_ms, limit)
    return old_store.forget_unpaid(tx, found) if found else 0
