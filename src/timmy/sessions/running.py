"""Requests while they run: each in a task of its own, which goes on when its caller leaves, and which holds what is reserved for as long
as it lives.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from timmy import tasks
from timmy.clock import Clock
from timmy.db import Database, DatabaseDown, Tx
from timmy.generosity import Gift, reserve_up_to
from timmy.generosity import store as generosity_store
from timmy.idempotency import Key
from timmy.sessions import store
from timmy.sessions.begin import REAP, REAP_AFTER_MS, Beginning, Begun, KeyTaken, Outcome, Replayed, begin_all
from timmy.sessions.finish import Ending, finish_all, request_view
from timmy.sessions.holding import NOTHING
from timmy.sessions.protocol import Permit, RequestState, RequestView
from timmy.sessions.refusals import RequestInProgress
from timmy.sessions.terms import Terms
from timmy.sessions.work import Work
from timmy.tasks import AskAgainLater, Bell, Task

BEAT_SECONDS = 30.0
FINISH_AGAIN_SECONDS = (0.2, 1.0, 3.0)
KEY_TRIES_MAX = 3
DAYS_REMEMBERED_MAX = 10_000
DIED = "The server stopped while it worked on this. It cost nothing; ask again."

log = structlog.get_logger("timmy.sessions")


class Running:
    def __init__(self, db: Database, clock: Clock, bell: Bell, work: Work, terms: Terms) -> None:
        self._db = db
        self._clock = clock
        self._bell = bell
        self._work = work
        self._terms = terms
        self._tasks: set[asyncio.Task[RequestView]] = set()
        self._alive: set[str] = set()  # requests that this process holds
        self._days: dict[str, int] = {}  # allowance account → how much this process knows it to have been given
        self.handlers = {REAP: self.reap}

    async def request(self, permit: Permit, text: str, key: Key | None) -> RequestView:
        """See SessionsDesk.request. A caller who is cancelled leaves; the work, and the accounting for it, do not notice."""
        working = asyncio.create_task(self._request(permit, text, key), name="session request")
        self._tasks.add(working)
        working.add_done_callback(self._done)
        return await asyncio.shield(working)

    def _done(self, working: asyncio.Task[RequestView]) -> None:
        self._tasks.discard(working)
        if not working.cancelled():
            working.exception()  # seen: its caller may be gone

    async def aclose(self, patience_seconds: float) -> None:
        working = list(self._tasks)
        if not working:
            return
        _, late = await asyncio.wait(working, timeout=patience_seconds)
        for one in late:
            one.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _request(self, permit: Permit, text: str, key: Key | None) -> RequestView:
        beginning = self._work.priced(permit, text, key)
        if beginning.gift is not None:
            await self._open_day(beginning.gift)
        outcome = await self._begin(beginning)
        if isinstance(outcome, Replayed):
            return await self._replay(outcome.request_id)
        assert isinstance(outcome, Begun), "a refusal is raised, not answered"
        self._alive.add(beginning.request_id)
        try:
            return await self._finish(await self._see_through(outcome))
        finally:
            self._alive.discard(beginning.request_id)

    async def _open_day(self, gift: Gift) -> None:
        """Hand the day's allowance out, before it is needed and in a transaction of its own: in the one that decides, it would have to
        lock accounts out of their order. A refused request has then changed what may be used today, which is the same for all."""
        budget = self._terms.gifts.budget(gift.tier)
        if self._days.get(gift.allowance, 0) >= budget.value:
            return
        if len(self._days) >= DAYS_REMEMBERED_MAX:
            self._days.clear()
        self._days[gift.allowance] = await self._db.write(_open_day, gift, self._terms, self._clock.now_ms())

    async def _begin(self, beginning: Beginning) -> Outcome:
        for tries in range(1, KEY_TRIES_MAX + 1):
            try:
                return await self._db.write_grouped(self._begin_together, beginning)
            except KeyTaken:
                if tries == KEY_TRIES_MAX:
                    raise RequestInProgress("The request with this Idempotency-Key has begun. Ask again in a moment.") from None
        raise AssertionError("the last try answers or raises")

    async def _replay(self, request_id: str) -> RequestView:
        row = await self._db.read(store.find_request, request_id)
        assert row is not None, "a key is bound in the transaction that writes its request"
        if row["state"] == RequestState.RUNNING:
            raise RequestInProgress(
                "The request with this Idempotency-Key is being worked on. Ask again in a moment.", runningRequestId=request_id
            )
        return request_view(row, row["left_msat"])

    async def _see_through(self, begun: Begun) -> Ending:
        """Work, and be heard of while it takes long."""
        request_id = begun.beginning.request_id
        working = asyncio.create_task(self._work.carry_out(begun), name=request_id)
        try:
            while not (await asyncio.wait({working}, timeout=BEAT_SECONDS))[0]:
                with contextlib.suppress(DatabaseDown):  # the next beat may get through, long before anybody gives this up
                    await self._db.write(store.hear, request_id, self._clock.now_ms())
            return working.result()
        except asyncio.CancelledError:
            working.cancel()
            await self._finish(Ending(request_id, RequestState.FAILED, self._clock.now_ms(), reason=DIED, blames=False))
            raise

    async def _finish(self, ending: Ending) -> RequestView:
        for pause_seconds in (*FINISH_AGAIN_SECONDS, None):
            try:
                view = await self._db.write_grouped(self._finish_together, ending)
                break
            except DatabaseDown:
                # Whether it was committed is not known; finishing twice is finishing once. If the database stays away, the reaper
                # returns everything when it is back.
                if pause_seconds is None:
                    raise
                await asyncio.sleep(pause_seconds)
        self._bell.tell()
        assert view is not None, "only a reaper can have lost its claim"
        return view

    async def reap(self, task: Task) -> None:
        """Handler: if nothing was heard of this request's owner for a while, what it holds is returned, and it has failed."""
        if task.subject in self._alive or not await self._db.write(self._reap, task):
            raise AskAgainLater("it is being worked on", after_seconds=BEAT_SECONDS)
        log.warning("sessions.reaped", request=task.subject)
        self._bell.ring()

    def _reap(self, tx: Tx, task: Task) -> bool:
        """False: its owner lives, so no clock takes its reservation."""
        now_ms = self._clock.now_ms()
        if tasks.held(tx, [task]):
            row = store.lock_requests(tx, [task.subject])[task.subject]
            if row["state"] == RequestState.RUNNING and now_ms < row["heard_at_ms"] + REAP_AFTER_MS:
                return False
            finish_all(tx, [Ending(task.subject, RequestState.FAILED, now_ms, reason=DIED, blames=False, reaper=task)], self._terms)
        return True

    def _begin_together(self, tx: Tx, beginnings: Sequence[Beginning]) -> Sequence[Outcome]:
        return begin_all(tx, beginnings, self._terms)

    def _finish_together(self, tx: Tx, endings: Sequence[Ending]) -> Sequence[RequestView | None]:
        return finish_all(tx, endings, self._terms)


def _open_day(tx: Tx, gift: Gift, terms: Terms, at_ms: int) -> int:
    """How much the day has been given, in millisats: nothing while the pool is frozen."""
    reserve_up_to(tx, gift, NOTHING, terms.gifts, at_ms)
    return generosity_store.budgets(tx, [gift.allowance]).get(gift.allowance, 0)
