"""What waits to be written or read, in the order in which it came, and how it is handed to the threads that do it.

Callers wait on the event loop; worker threads take *units*: one function, or all the items that wait for one grouped function.
Grouping is natural: while one group is being committed, the next one gathers. Who was told an outcome together has the next wish at about
the same time, so where several are about, the thread is let loose once the loop has gone round without bringing anybody new: it would only
have fought with the loop for Python's lock before. A lone caller waits for nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from timmy.db.protocol import DatabaseDown, Tx

WAITING_MAX = 20_000  # beyond this, callers are told to come back instead of being queued
GROUP_MAX = 512
QUIET_ROUNDS = 4  # of the loop, that bring nobody new: an answer of a provider that is near takes about three to become a wish
GATHER_SECONDS_MAX = 0.01
LOOP_AWAY_SECONDS = 0.05  # a loop that does not come round for so long is busy with something else


@dataclass(slots=True)
class Caller:
    """Someone on an event loop who waits for an outcome."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    outcome: Any = None  # a result, or a BaseException
    settled: bool = False  # it was committed: nothing that happens later changes the outcome

    def deliver(self) -> None:
        if self.future.done():  # the caller gave up; what was committed stays committed
            return
        if isinstance(self.outcome, BaseException):
            self.future.set_exception(self.outcome)
        else:
            self.future.set_result(self.outcome)


@dataclass(slots=True)
class Single:
    """One function, for one caller."""

    call: Callable[[Tx], Any]
    caller: Caller

    @property
    def callers(self) -> Sequence[Caller]:
        return (self.caller,)


@dataclass(slots=True)
class Group:
    """One set-based function, and everybody who waits for it."""

    fn: Callable[[Tx, Sequence[Any]], Sequence[Any]]
    items: list[Any] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)


Unit = Single | Group


class Waiting:
    """The queue between the event loop and the threads."""

    def __init__(self, *, take_all: bool, gathers: bool = False) -> None:
        self._take_all = take_all
        self._gathers = gathers
        self._gathering = False  # the threads wait for those who are about to come
        self._units: deque[Unit] = deque()
        self._open: dict[Any, Group] = {}  # the group of each function that still takes items
        self._running: set[Any] = set()  # functions whose group is being committed: the next one gathers meanwhile
        self._ready = threading.Condition()
        self._size = 0
        self._closed: BaseException | None = None

    def add(self, call: Callable[[Tx], Any]) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        caller = Caller(loop, loop.create_future())
        with self._ready:
            self._admit()
            self._units.append(Single(call, caller))
            self._announce(loop)
        return caller.future

    def add_grouped(self, fn: Callable[[Tx, Sequence[Any]], Sequence[Any]], item: Any) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        caller = Caller(loop, loop.create_future())
        with self._ready:
            self._admit()
            group = self._open.get(fn)
            if group is None or len(group.items) >= GROUP_MAX:
                group = self._open[fn] = Group(fn)
                self._units.append(group)
            group.items.append(item)
            group.callers.append(caller)
            if fn not in self._running:
                self._announce(loop)
        return caller.future

    def _announce(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._gathers or self._size == 1 or not self._grows():
            self._ready.notify()
        elif not self._gathering:
            self._gathering = True
            loop.call_soon(self._gather, loop, self._size, QUIET_ROUNDS, loop.time() + GATHER_SECONDS_MAX)

    def _gather(self, loop: asyncio.AbstractEventLoop, size: int, rounds: int, until: float) -> None:
        """Once in each round of the loop. `size`: how many there were in the last one."""
        with self._ready:
            rounds = QUIET_ROUNDS if self._size > size else rounds - 1
            if rounds and self._closed is None and loop.time() < until:
                loop.call_soon(self._gather, loop, self._size, rounds, until)
            else:
                self._gathering = False
                self._ready.notify()

    def _admit(self) -> None:
        if self._closed is not None:
            raise DatabaseDown("the database has been closed") from self._closed
        if self._size >= WAITING_MAX:
            raise DatabaseDown("too much is waiting to be written; try again in a few seconds")
        self._size += 1

    def take(self) -> list[Unit] | None:
        """What to do next (blocks until there is something); None when closed. Several units share one transaction."""
        with self._ready:
            while True:
                units = [] if self._gathering else self._next()
                if units:
                    for unit in units:
                        if isinstance(unit, Group):
                            self._running.add(unit.fn)
                            if self._open.get(unit.fn) is unit:
                                del self._open[unit.fn]
                    return units
                if self._closed is not None and not self._units:
                    return None
                if not self._ready.wait(LOOP_AWAY_SECONDS if self._gathering else None):
                    self._gathering = False

    def _next(self) -> list[Unit]:
        if self._take_all:
            units = list(self._units)[:GROUP_MAX]
            for _ in units:
                self._units.popleft()
            return units
        for place, unit in enumerate(self._units):
            if isinstance(unit, Single) or unit.fn not in self._running:
                del self._units[place]
                return [unit]
        return []

    def _grows(self) -> bool:
        """Whether what is next would be more if it waited. Without this, each of many single functions would be waited for in vain: on a
        busy loop, for fifty milliseconds."""
        if not self._units or self._take_all:
            return bool(self._units)
        head = self._units[0]
        return isinstance(head, Group) and len(head.items) < GROUP_MAX

    def done(self, units: Sequence[Unit]) -> None:
        """The outcomes are in: tell the callers, one wake-up per event loop."""
        told: dict[asyncio.AbstractEventLoop, list[Caller]] = {}
        with self._ready:
            for unit in units:
                if isinstance(unit, Group):
                    self._running.discard(unit.fn)
                self._size -= len(unit.callers)
                for caller in unit.callers:
                    told.setdefault(caller.loop, []).append(caller)
            self._gathering = self._gathers and self._closed is None and self._grows()
            if self._units:
                self._ready.notify()
        for loop, callers in told.items():
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody is left there to be told
                loop.call_soon_threadsafe(self._deliver, loop, callers)

    def _deliver(self, loop: asyncio.AbstractEventLoop, callers: Sequence[Caller]) -> None:
        for caller in callers:
            caller.deliver()
        if self._gathering:
            loop.call_soon(self._gather, loop, self._size, QUIET_ROUNDS, loop.time() + GATHER_SECONDS_MAX)

    def close(self, why: BaseException) -> None:
        """Nothing more is admitted. What was admitted before is still done, unless `fail` says otherwise."""
        with self._ready:
            self._closed = why
            self._gathering = False
            self._ready.notify_all()

    def fail(self, why: BaseException) -> None:
        """The threads are gone: everyone who still waits is told so."""
        self.close(why)
        with self._ready:
            left = list(self._units)
            self._units.clear()
            self._open.clear()
        for unit in left:
            for caller in unit.callers:
                caller.outcome = why
        self.done(left)
