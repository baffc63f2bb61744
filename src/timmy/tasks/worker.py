"""The worker: claims due tasks, hands each to its handler, keeps its lease alive, and puts back or parks what failed."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping

import structlog

from timmy.clock import SECOND_MS, Clock
from timmy.db import Database, DatabaseDown, Row, Tx
from timmy.errors import Breach, Outage
from timmy.tasks import book, store
from timmy.tasks.bell import Bell
from timmy.tasks.book import Task

LEASE_SECONDS = 30
POLL_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 60
FAILURES_BEFORE_PARKING = 8

Handler = Callable[[Task], Awaitable[None]]
"""Does the task and commits its outcome together with `book.finish`. Returning without that puts nothing back: the lease runs out."""

log = structlog.get_logger("timmy.tasks")


class AskAgainLater(Exception):
    """Not an error: the answer is not known yet (a payment on its way, a model that is down). Never parked, however often."""

    def __init__(self, why: str, *, after_seconds: float | None = None) -> None:
        super().__init__(why)
        self.after_seconds = after_seconds


class Worker:
    """Works through the tasks of the kinds it knows, several at a time, in any number of processes."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        bell: Bell,
        handlers: Mapping[str, Handler],
        *,
        concurrency: int,
        lease_seconds: int = LEASE_SECONDS,
        on_parked: Callable[[Task, str], None] = lambda task, trouble: None,
    ) -> None:
        self._db = db
        self._clock = clock
        self._bell = bell
        self._handlers = dict(handlers)
        self._free = concurrency
        self._lease_ms = lease_seconds * SECOND_MS
        self._on_parked = on_parked
        self._working: set[asyncio.Task[None]] = set()
        self._held: dict[str, Task] = {}

    async def run(self) -> None:
        """Until cancelled. What was claimed and not finished then is given back; after a crash it is found when its lease runs out."""
        heart = asyncio.create_task(self._beat(), name="leases")
        try:
            while True:
                claimed = 0
                if self._free > 0:
                    try:
                        claimed = await self._claim()
                    except DatabaseDown as down:
                        log.warning("tasks.claim_failed", why=str(down))
                    except Exception:  # a bug in claiming, once: a worker that ended here would leave every payment unnoticed
                        log.exception("tasks.claim_broke")
                if not claimed:
                    await self._bell.wait_for_work(POLL_SECONDS)
        finally:
            heart.cancel()
            await self._stop()

    async def run_due(self) -> int:
        """Do, one after the other, everything that is due now; how much that was. For tests and for simulations."""
        count = 0
        while tasks := await self._db.write(self._take, 1):
            await self._do(tasks[0])
            count += 1
        return count

    async def _claim(self) -> int:
        tasks = await self._db.write(self._take, self._free)
        for task in tasks:
            self._free -= 1
            work = asyncio.create_task(self._do(task), name=task.id)
            self._working.add(work)
            work.add_done_callback(self._done)
        return len(tasks)

    def _done(self, work: asyncio.Task[None]) -> None:
        self._free += 1
        self._working.discard(work)
        self._bell.ring()

    def _take(self, tx: Tx, limit: int) -> list[Task]:
        now_ms = self._clock.now_ms()
        rows = store.claim(tx, list(self._handlers), now_ms, now_ms + self._lease_ms, limit)
        return [Task(row["id"], row["kind"], row["subject"], row["attempts"], row["fence"], row["failures"]) for row in rows]

    async def _do(self, task: Task) -> None:
        self._held[task.id] = task
        try:
            await self._handlers[task.kind](task)
        except asyncio.CancelledError:
            # The server is being stopped in an orderly way: whoever is next need not wait until the lease has run out.
            await self._put_back(task, "its server was stopped", 0.0)
            raise
        except AskAgainLater as later:
            await self._put_back(task, str(later), later.after_seconds)
        except Outage as outage:
            await self._put_back(task, outage.message, None)
        except Breach as breach:
            await self._park(task, breach.message)
        except Exception as bug:  # a handler's bug must not take the worker, and everybody else's tasks, with it
            log.exception("tasks.handler_failed", task=task.id, attempts=task.attempts)
            # Not `attempts`: a payment that was asked about a hundred times is not given up at its first hiccup.
            if task.failures + 1 >= FAILURES_BEFORE_PARKING:
                await self._park(task, f"{type(bug).__name__} in {task.kind}; see the log")
            else:
                await self._put_back(task, type(bug).__name__, None, failed=True)
        finally:
            if self._held.get(task.id) is task:  # not the lease of a later claim, after this one had run out under us
                del self._held[task.id]

    async def _beat(self) -> None:
        """While a handler lives, its lease does: nobody else may start the same work meanwhile."""
        while True:
            await asyncio.sleep(self._lease_ms / SECOND_MS / 3)
            held: list[Row] = [{"id": task.id, "fence": task.fence} for task in self._held.values()]
            if held:
                with contextlib.suppress(DatabaseDown):
                    await self._db.write(store.extend, held, self._clock.now_ms() + self._lease_ms)

    async def _put_back(self, task: Task, why: str, after_seconds: float | None, *, failed: bool = False) -> None:
        if after_seconds is None:
            after_seconds = min(BACKOFF_MAX_SECONDS, 2 ** min(task.attempts - 1, 10)) * (0.5 + random.random() / 2)
        with contextlib.suppress(DatabaseDown):  # then the lease runs out instead
            await self._db.write(book.put_back, task, self._clock.now_ms() + int(after_seconds * SECOND_MS), why, failed=failed)
        log.debug("tasks.put_back", task=task.id, attempts=task.attempts, why=why)

    async def _park(self, task: Task, why: str) -> None:
        with contextlib.suppress(DatabaseDown):
            await self._db.write(book.park, task, why)
        log.error("tasks.parked", task=task.id, attempts=task.attempts, why=why)
        self._on_parked(task, why)

    async def _stop(self) -> None:
        for work in self._working:
            work.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)
