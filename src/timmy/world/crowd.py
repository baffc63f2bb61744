"""Those who are watching from this process: one encoding and one pass for all of them, and nobody waits for the slowest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from timmy.clock import SECOND_MS, Clock
from timmy.world.frames import frame

FRAMES_AT_ONCE, FRAMES_PER_SECOND = 12, 4  # messages of any kind that one connection may send
WORDS_AT_ONCE, WORDS_PER_SECOND = 5, 1  # of those, what is said to all
ADDRESS_AT_ONCE, ADDRESS_PER_SECOND = 10, 1  # the same, by all connections of an address together
ALL_AT_ONCE, ALL_PER_SECOND = 60, 20  # and by everybody in front of one process: more than that nobody could read
STRIKES_MAX = 20  # a page that is only too quick stops when it is told so; after this many it is no page

GOING_AWAY, POLICY, TRY_LATER = 1001, 1008, 1013  # RFC 6455 section 7.4.1, and the IANA registry for the last


class Line(Protocol):
    """A WebSocket that belongs to a viewer, as the server has it."""

    def push(self, frames: bytes) -> bool:
        """Write whole frames, now or as soon as the reader takes them; False: it takes nothing any more, and was let go."""
        ...

    def close(self, code: int, reason: str) -> None: ...


class Bucket:
    """So many at once, and then so many a second. Counted in whole numbers, as the web room's turnstile does."""

    __slots__ = ("_at_once", "_clear_at", "_per_second")

    def __init__(self, at_once: int, per_second: int) -> None:
        self._at_once = at_once
        self._per_second = per_second
        self._clear_at = 0

    def take(self, now_ms: int) -> bool:
        now, whole = now_ms * self._per_second, self._at_once * SECOND_MS
        clear_at = min(max(self._clear_at, now), now + whole)
        if clear_at + SECOND_MS > now + whole:
            self._clear_at = clear_at
            return False
        self._clear_at = clear_at + SECOND_MS
        return True

    def is_full(self, now_ms: int) -> bool:
        """Nothing of what was taken counts any more."""
        return self._clear_at <= now_ms * self._per_second


class Viewer:
    __slots__ = ("address", "frames", "is_gone", "line", "strikes", "told_off_at_ms", "words")

    def __init__(self, address: str, line: Line) -> None:
        self.address = address
        self.line = line
        self.frames = Bucket(FRAMES_AT_ONCE, FRAMES_PER_SECOND)
        self.words = Bucket(WORDS_AT_ONCE, WORDS_PER_SECOND)
        self.strikes = 0
        self.told_off_at_ms = 0
        self.is_gone = False

    def push(self, message: Mapping[str, object]) -> None:
        self.line.push(frame(message))


class Crowd:
    def __init__(self, clock: Clock, *, viewers_max: int, per_address_max: int) -> None:
        self._clock = clock
        self._viewers_max = viewers_max
        self._per_address_max = per_address_max
        self._viewers: set[Viewer] = set()
        self._places: Counter[str] = Counter()  # by address, from the handshake on
        self._taken = 0  # by those who watch, and by those who are being let in or out
        self._words: dict[str, Bucket] = {}
        self._all_words = Bucket(ALL_AT_ONCE, ALL_PER_SECOND)

    def __len__(self) -> int:
        return len(self._viewers)

    def room_for(self, address: str) -> tuple[int, str] | None:
        """None: come in. Otherwise the code to close with, and why."""
        if self._taken >= self._viewers_max:
            return TRY_LATER, "The workshop is full. Come back in a while; the API works all the same."
        if self._places[address] >= self._per_address_max:
            return POLICY, f"There are {self._per_address_max} connections from your address already: close one."
        return None

    def take(self, viewer: Viewer) -> None:
        self._taken += 1
        self._places[viewer.address] += 1

    def give_up(self, viewer: Viewer) -> None:
        """It is gone, whether it had come in or not."""
        if viewer.is_gone:
            return
        viewer.is_gone = True
        self._viewers.discard(viewer)
        self._taken -= 1
        self._places[viewer.address] -= 1
        if not self._places[viewer.address]:
            del self._places[viewer.address]

    def show(self, viewer: Viewer, first: bytes) -> None:
        """From here on it is told what all are told; `first` comes before that."""
        if not viewer.is_gone and viewer.line.push(first):
            self._viewers.add(viewer)

    def tell(self, frames: bytes, *, but: Mapping[Viewer, bytes]) -> None:
        """`but`: who gets other frames instead."""
        for viewer in list(self._viewers):
            viewer.line.push(but.get(viewer, frames) if but else frames)

    def may_speak(self, address: str, now_ms: int) -> bool:
        bucket = self._words.get(address)
        if bucket is None:
            if len(self._words) > self._viewers_max:
                self._words = {at: kept for at, kept in self._words.items() if not kept.is_full(now_ms)}
            bucket = self._words[address] = Bucket(ADDRESS_AT_ONCE, ADDRESS_PER_SECOND)
        return bucket.take(now_ms)

    def may_be_heard(self, now_ms: int) -> bool:
        """Whoever speaks: all of them together are not too loud."""
        return self._all_words.take(now_ms)

    def close_all(self, code: int, reason: str) -> None:
        for viewer in list(self._viewers):
            viewer.line.close(code, reason)
