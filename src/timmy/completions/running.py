"""Calls while they run: begun, worked on in a task of their own, ended, and found again by whoever asks a second time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace

import orjson
import structlog

from timmy.clock import Clock
from timmy.completions import store
from timmy.completions.begin import Beginning, Begun, Extension, Funds, KeyTaken, Outcome, Replayed, begin_all, extend_all, funds_of
from timmy.completions.finish import End, completion_view, died, end_all
from timmy.completions.holding import Holding
from timmy.completions.live import Live, told_to_the_caller
from timmy.completions.protocol import CompletionView, Ending
from timmy.completions.refusals import CompletionForgotten, CompletionInProgress
from timmy.completions.terms import Terms
from timmy.db import Database, DatabaseDown, Row, Tx
from timmy.errors import Outage
from timmy.models import ProviderDown, ProviderRefused
from timmy.models.chat import ChatProvider, Piece
from timmy.tasks import AskAgainLater, Bell, NewTask, Task

SWEEP = "sweep_completions"
SWEEP_EVERY_SECONDS = 30.0
SWEEP_MAX = 200
UNHEARD_MS = 90_000
BEAT_SECONDS = 20.0
KEPT_MS = 24 * 3_600_000
FINISH_AGAIN_SECONDS = (0.2, 1.0, 3.0)
KEY_TRIES_MAX = 3
KEYS_KNOWN_MAX = 10_000
AGAIN = "The call that this repeats is being worked on. Ask again in a moment."
FORGOTTEN = "The call that this repeats was answered more than a day ago, and its answer is no longer kept. Ask with a new Idempotency-Key."

log = structlog.get_logger("timmy.completions")


class Running:
    def __init__(self, db: Database, clock: Clock, bell: Bell, provider: ChatProvider, terms: Terms) -> None:
        self._db = db
        self._clock = clock
        self._bell = bell
        self._provider = provider
        self._terms = terms
        self._calls: dict[str, asyncio.Task[CompletionView]] = {}  # of this process, by id; streams are here while they are written
        self._lives: dict[str, Live] = {}
        self._funds: dict[str, Funds] = {}  # by key, of those that have bought something of late
        self._heart: asyncio.Task[None] | None = None
        self.handlers = {SWEEP: self.sweep}

    async def complete(self, beginning: Beginning) -> CompletionView:
        """See CompletionsDesk.complete. A caller who is cancelled leaves; the call, and the accounting for it, do not notice."""
        call = asyncio.create_task(self._complete(beginning), name=beginning.completion_id)
        self._holds(beginning.completion_id, call)
        return await asyncio.shield(call)

    async def stream(self, beginning: Beginning) -> Live | CompletionView:
        begun = await self._begin(beginning)
        if isinstance(begun, Replayed):
            return await self._replay(begun)
        live = Live(begun, self._provider, self._clock, self._extend, self._mark, self._finish)
        self._lives[live.id] = live
        self._holds(live.id, asyncio.create_task(self._see_through(live), name=live.id))
        return live

    async def _see_through(self, live: Live) -> CompletionView:
        try:
            return await live.write()
        finally:
            self._lives.pop(live.id, None)

    async def aclose(self, patience_seconds: float) -> None:
        """Streams are broken off, what they produced is charged; answers in one piece may come to their end."""
        for live in list(self._lives.values()):
            live.stop()
        if calls := list(self._calls.values()):
            _, late = await asyncio.wait(calls, timeout=patience_seconds)
            for call in late:
                call.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.gather(self._heart, return_exceptions=True)

    def _holds(self, id: str, call: asyncio.Task[CompletionView]) -> None:
        self._calls[id] = call
        call.add_done_callback(lambda done: self._lets_go(id, done))
        if self._heart is None:
            self._heart = asyncio.create_task(self._beat(), name="completions heard of")

    def _lets_go(self, id: str, call: asyncio.Task[CompletionView]) -> None:
        self._calls.pop(id, None)
        if not call.cancelled():
            call.exception()  # seen: its caller may be gone

    async def _beat(self) -> None:
        """As long as this process lives, so do its calls, however long a provider thinks about one."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            if self._calls:
                try:
                    await self._db.write(store.hear, list(self._calls), self._clock.now_ms())
                except Exception:  # whatever it is, the next beat may get through; without any, calls that live would be given up
                    log.exception("completions.beat_failed")

    # one call --------------------------------------------------------------------------------------------

    async def _complete(self, beginning: Beginning) -> CompletionView:
        begun = await self._begin(beginning)
        if isinstance(begun, Replayed):
            return await self._replay(begun)
        wanted, id = beginning.wanted, beginning.completion_id
        try:
            reply = await self._provider.chat(wanted.chat, model=wanted.model, max_output_tokens=begun.limit)
        except (ProviderDown, ProviderRefused) as trouble:
            await self._finish(End(id, Ending.FAILED, self._clock.now_ms()))
            raise told_to_the_caller(trouble, wanted.model) from None
        except BaseException:  # a bug of ours, or the server stops: what is held must be let go, now and not when the sweep comes
            await self._finish(End(id, Ending.FAILED, self._clock.now_ms()))
            raise
        short = reply.finish == "length" and begun.limit < beginning.cap
        ending = Ending.BUDGET if short else Ending.COMPLETE
        end = End(id, ending, self._clock.now_ms(), reply.usage, reply.message, reply.finish, quote=beginning.quote, holding=begun.holding)
        return await self._finish(end)

    async def _begin(self, beginning: Beginning) -> Begun | Replayed:
        beginning = replace(beginning, funds=self._funds.get(beginning.caller))
        begun = await self._begin_once(beginning)
        if beginning.funds is None and isinstance(begun, Begun):
            if len(self._funds) >= KEYS_KNOWN_MAX:
                self._funds.clear()  # whoever is still there is known again with the next call
            self._funds[beginning.caller] = funds_of(begun.permit)
        return begun

    async def _begin_once(self, beginning: Beginning) -> Begun | Replayed:
        for tries in range(1, KEY_TRIES_MAX + 1):
            try:
                outcome = await self._db.write_grouped(self._begin_together, beginning)
            except KeyTaken:
                if tries == KEY_TRIES_MAX:
                    raise CompletionInProgress(AGAIN) from None
                continue
            assert isinstance(outcome, Begun | Replayed), "a refusal is raised, not answered"
            return outcome
        raise AssertionError("the last try answers or raises")

    async def _replay(self, replayed: Replayed) -> CompletionView:
        """What the earlier call came to. If it runs in this process, its end is waited for."""
        running = self._calls.get(replayed.completion_id)
        if running is not None:
            with contextlib.suppress(Outage):  # it is told below how that one ended
                return await asyncio.shield(running)
        row = await self._db.read(store.find, replayed.completion_id)
        assert row is not None, "a call is never deleted"
        if row["state"] == "running" or row["ending"] == Ending.FAILED:  # one that failed makes room: asked again, it is a new call
            raise CompletionInProgress(AGAIN)
        if row["output"] is None:
            raise CompletionForgotten(FORGOTTEN)
        return completion_view(row)

    async def _extend(self, extension: Extension) -> Holding:
        return await self._db.write_grouped(self._extend_together, extension)

    async def _mark(self, id: str, place: int, pieces: Sequence[Piece]) -> None:
        """Write down that these were handed over."""
        deltas = orjson.dumps([piece.delta for piece in pieces]).decode()
        await self._db.write_grouped(_mark_together, {"id": id, "place": place, "deltas": deltas})

    async def _finish(self, end: End) -> CompletionView:
        for pause_seconds in (*FINISH_AGAIN_SECONDS, None):
            try:
                view = await self._db.write_grouped(self._end_together, end)
                break
            except DatabaseDown:
                # Whether it was committed is not known; ending twice is ending once. If the database stays away, the sweep ends it.
                if pause_seconds is None:
                    raise
                await asyncio.sleep(pause_seconds)
        self._bell.tell()
        return view

    def _begin_together(self, tx: Tx, beginnings: Sequence[Beginning]) -> Sequence[Outcome]:
        return begin_all(tx, beginnings, self._terms)

    def _extend_together(self, tx: Tx, extensions: Sequence[Extension]) -> Sequence[Holding]:
        return extend_all(tx, extensions)

    def _end_together(self, tx: Tx, ends: Sequence[End]) -> Sequence[CompletionView]:
        return end_all(tx, ends, self._terms)

    # those whose server has died -------------------------------------------------------------------------

    @staticmethod
    def first_sweep(at_ms: int) -> NewTask:
        """One task for all processes; it puts itself back for ever."""
        return NewTask(SWEEP, "completions", at_ms)

    async def sweep(self, _task: Task) -> None:
        """Handler: end the calls whose server was not heard of for a while; forget answers that are a day old."""
        await self.sweep_once()
        raise AskAgainLater("sweeping", after_seconds=SWEEP_EVERY_SECONDS)

    async def sweep_once(self) -> int:
        """One round; how many calls were ended."""
        now_ms = self._clock.now_ms()
        unheard = await self._db.read(store.unheard, now_ms - UNHEARD_MS, SWEEP_MAX)
        ended = 0
        for id in unheard:
            if id not in self._calls:
                ended += await self._try_to_end(id)
        await self._db.write(store.forget_outputs, now_ms - KEPT_MS)
        if ended:
            self._bell.tell()
        return ended

    async def _try_to_end(self, id: str) -> int:
        try:
            return await self._db.write(self._end_dead, id)
        except DatabaseDown:
            raise
        except Exception:  # a Breach of its books is its own: what the others hold must be let go all the same
            log.exception("completions.sweep_failed", completion=id)
            return 0

    def _end_dead(self, tx: Tx, id: str) -> int:
        now_ms = self._clock.now_ms()
        row = store.lock(tx, [id]).get(id)
        if row is None or row["heard_at_ms"] >= now_ms - UNHEARD_MS:
            return 0  # its owner lives after all
        end = died(tx, id, now_ms)
        if end is None:
            return 0
        end_all(tx, [end], self._terms)
        log.warning("completions.swept", completion=id)
        return 1


def _mark_together(tx: Tx, rows: Sequence[Row]) -> list[None]:
    store.add_pieces(tx, rows)
    return [None] * len(rows)
