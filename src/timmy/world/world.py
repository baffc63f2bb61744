"""The world as this process shows it: read from the database while somebody watches, and asleep while nobody does."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from timmy import events
from timmy.clock import SECOND_MS, Clock, iso
from timmy.db import Database, DatabaseDown, Tx
from timmy.events import Event
from timmy.ids import RandomBytes, new_id
from timmy.tasks import Bell
from timmy.world import store
from timmy.world.agents import Agents, UnderWay
from timmy.world.crowd import GOING_AWAY, TRY_LATER, Crowd, Viewer
from timmy.world.frames import frame, frames
from timmy.world.free_words import FreeWords
from timmy.world.talk import Talk
from timmy.world.terms import MESSAGE_CHARS_MAX, Terms
from timmy.world.told import KINDS, Message, Told, told

RECENT_MAX = 50
LOOK_BACK = 2_000  # events: who was away for longer than these does not go through all of them
LOOK_SECONDS = 0.5  # other processes ring no bell here
LOOK_GAP_SECONDS = 0.05  # a busy house is told of twenty times a second, and no oftener
LEASE_MS = 90 * SECOND_MS
LEASE_AGAIN_MS = 30 * SECOND_MS
COUNT_AGAIN_MS = 1 * SECOND_MS  # a crowd that streams in is not a row written for each
POOL_AGAIN_MS = 1 * SECOND_MS
STATE_KEPT_MS = 1 * SECOND_MS  # while nobody watches, for whoever only asks
POOL_SAID = ("balanceSats", "reservedSats", "earnedSats", "givenSats")

log = structlog.get_logger("timmy.world")


@dataclass(frozen=True, slots=True)
class Sight:
    """One look into the database."""

    seq: int
    news: Sequence[Event]
    under_way: UnderWay
    visitors_elsewhere: int


class World:
    def __init__(
        self,
        db: Database,
        clock: Clock,
        bell: Bell,
        random_bytes: RandomBytes,
        free_words: FreeWords,
        terms: Terms,
        under_way: Callable[[Tx], UnderWay],
        pool: Callable[[], Awaitable[Mapping[str, object]]],
    ) -> None:
        """`under_way` and `pool`: how much is being done, and how the pool stands as /api/pool shows it."""
        self._db = db
        self._clock = clock
        self._bell = bell
        self._terms = terms
        self._under_way = under_way
        self._ask_pool = pool
        self._process = new_id("process", random_bytes)
        self.crowd = Crowd(clock, viewers_max=terms.viewers_max, per_address_max=terms.viewers_per_address)
        self.talk = Talk(db, clock, bell, random_bytes, free_words, self.crowd, terms)
        self._waking = asyncio.Lock()
        self._presence = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._seq = 0
        self._agents = Agents(0)
        self._recent: deque[Message] = deque(maxlen=RECENT_MAX)
        self._pool: Mapping[str, object] = {}
        self._pool_stale_ms = 0  # money moved: the pool is asked about again until then
        self._pool_asked_ms = 0
        self._elsewhere = 0
        self._visitors = 0
        self._told_count = 0  # of our visitors, in the database
        self._told_count_ms = 0
        self._refreshed_ms: int | None = None
        self._first: bytes | None = None

    @property
    def is_awake(self) -> bool:
        """Whether it looks into the database now and then."""
        return self._watching is not None

    # asked --------------------------------------------------------------------------------------------------

    async def state(self) -> Mapping[str, object]:
        """All of it, as a viewer gets it first. DatabaseDown."""
        if not self.is_awake:
            async with self._waking:
                now_ms = self._clock.now_ms()
                if not self.is_awake and (self._refreshed_ms is None or not 0 <= now_ms - self._refreshed_ms < STATE_KEPT_MS):
                    await self._refresh()
        return self._state()

    async def join(self, viewer: Viewer) -> None:
        """It gets the whole state first, and then whatever happens. DatabaseDown."""
        if not self.is_awake:
            async with self._waking:
                if not self.is_awake:
                    await self._refresh()
                    self._watching = asyncio.create_task(self._watch(), name="world")
                    self._watching.add_done_callback(self._stopped)
        # From here to the end nothing is awaited: no event can fall between the state and what follows it.
        if self._first is None:
            self._first = frame(self._state())
        self.crowd.show(viewer, self._first)

    def leave(self, viewer: Viewer) -> None:
        self.crowd.give_up(viewer)
        self.talk.forget(viewer)

    async def aclose(self) -> None:
        self.crowd.close_all(GOING_AWAY, "the server is stopping")
        await self.talk.aclose()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None
            await self._tell_presence(0)

    # watching -----------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """As long as somebody is here. Every look is one short transaction; a bell that rings here makes it come sooner."""
        is_down = False
        while True:
            await asyncio.gather(asyncio.sleep(LOOK_GAP_SECONDS), self._bell.wait(LOOK_SECONDS))
            if not len(self.crowd):
                break
            try:
                await self._look()
                is_down = False
            except DatabaseDown as down:
                if not is_down:
                    log.warning("world.cannot_look", why=down.message)
                is_down = True
        self._watching = None
        await self._tell_presence(0)

    def _stopped(self, watching: asyncio.Task[None]) -> None:
        """By a bug: whoever watches is sent away, comes back, and wakes the world anew. Without this they would look at a still picture."""
        if not watching.cancelled() and watching.exception() is not None:
            log.error("world.stopped", exc_info=watching.exception())
            self._watching = None
            self.crowd.close_all(TRY_LATER, "The workshop has to be tidied. Come back in a moment.")

    async def _look(self) -> None:
        sight = await self._db.read(self._see, self._seq, self._clock.now_ms())
        now_ms = self._clock.now_ms()
        found = self._take_in(sight, now_ms)
        news = found[-RECENT_MAX:]
        own = self._own(found, news)
        messages: list[Message] = [each.message for each in news]
        after: list[Message] = [agent.news(now_ms) for agent in self._agents.look(sight.under_way, now_ms)]
        after += await self._pool_news(now_ms)
        after += self._visitors_news(now_ms)
        if messages or after:
            self._first = None
            rest = frames(after)
            but = {viewer: frames(theirs) + rest for viewer, theirs in own.items()}
            self.crowd.tell(frames(messages) + rest, but=but)
        await self._keep_presence(now_ms)

    def _own(self, found: Sequence[Told], news: Sequence[Told]) -> dict[Viewer, list[Message]]:
        """The news for those whose words are among them: there it says so. What was found and is not told is nobody's from here on."""
        speakers = {each: speaker for each in found if (speaker := self.talk.whose(each)) is not None}

        def as_seen_by(speaker: Viewer) -> list[Message]:
            return [{**each.message, "mine": True} if speakers.get(each) is speaker else each.message for each in news]

        return {speaker: as_seen_by(speaker) for speaker in set(speakers.values())}

    def _see(self, tx: Tx, seq: int, now_ms: int) -> Sight:
        last = events.last(tx)
        news = events.latest(tx, max(seq, last - LOOK_BACK), KINDS, LOOK_BACK) if last > seq else []
        return Sight(last, news, self._under_way(tx), store.visitors_elsewhere(tx, self._process, now_ms))

    def _take_in(self, sight: Sight, now_ms: int, *, anew: bool = False) -> list[Told]:
        """`anew`: it happened before anybody watched here. What is news is seen to happen now, however late a busy machine tells of it."""
        found = []
        for event in sight.news:
            for each in told(event):
                found.append(each)
                self._agents.hear(each, event.at_ms if anew else now_ms)
                self._recent.append(each.message)
            if event.kind != "chat":
                self._pool_stale_ms = now_ms + 2 * POOL_AGAIN_MS
        self._seq = sight.seq
        self._elsewhere = sight.visitors_elsewhere
        return found

    async def _refresh(self) -> None:
        """Anew, from what the database holds now: whatever this process knew before it fell asleep is old."""
        now_ms = self._clock.now_ms()
        sight = await self._db.read(self._see, 0, now_ms)
        self._recent.clear()
        self._agents = Agents(now_ms)
        self._take_in(sight, now_ms, anew=True)
        self._agents.look(sight.under_way, now_ms)
        self._pool = await self._ask_pool()
        self._pool_asked_ms = now_ms
        self._visitors = self._elsewhere
        self._refreshed_ms = now_ms
        self._first = None

    async def _pool_news(self, now_ms: int) -> list[Message]:
        if now_ms > self._pool_stale_ms or 0 <= now_ms - self._pool_asked_ms < POOL_AGAIN_MS:
            return []
        self._pool_asked_ms = now_ms
        pool = await self._ask_pool()
        changed = any(pool[name] != self._pool.get(name) for name in POOL_SAID)
        self._pool = pool
        return [{"type": "pool", **{name: pool[name] for name in POOL_SAID}, "at": iso(now_ms)}] if changed else []

    def _visitors_news(self, now_ms: int) -> list[Message]:
        count = self._elsewhere + len(self.crowd)
        if count == self._visitors:
            return []
        self._visitors = count
        return [{"type": "visitors", "count": count, "at": iso(now_ms)}]

    # counted ------------------------------------------------------------------------------------------------

    async def _keep_presence(self, now_ms: int) -> None:
        since_ms = now_ms - self._told_count_ms
        if since_ms >= LEASE_AGAIN_MS or (len(self.crowd) != self._told_count and not 0 <= since_ms < COUNT_AGAIN_MS):
            await self._tell_presence(len(self.crowd))

    async def _tell_presence(self, count: int) -> None:
        """How many are here, for the other processes. A lease: who dies without a word is not counted for long."""
        async with self._presence:
            if not count and len(self.crowd):
                return  # somebody came while the last one's leaving was waiting to be told
            now_ms = self._clock.now_ms()
            try:
                if count:
                    await self._db.write(store.note_presence, self._process, count, now_ms + LEASE_MS)
                else:
                    await self._db.write(store.drop_presence, self._process, now_ms)
            except DatabaseDown as down:
                log.warning("world.not_counted", why=down.message)
                return
            self._told_count, self._told_count_ms = count, now_ms

    def _state(self) -> Mapping[str, object]:
        return {
            "type": "world_state",
            "at": iso(self._clock.now_ms()),
            "cursor": self._seq,
            "agents": self._agents.shown(),
            "pool": self._pool,
            "visitors": self._elsewhere + len(self.crowd),
            "recent": list(self._recent),
            "limits": {"messageCharsMax": MESSAGE_CHARS_MAX, "repliesPerMinute": self._terms.replies_per_minute},
        }
