"""What both engines have in common: who waits for which thread, and how all of it is closed.

Three queues, each with threads of its own: what is written, what is read, and what is read slowly. The last is apart because reads that are
taken together wait for each other: beside an audit, a customer's poll would wait for all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate

from timmy.db.line import Connection, Line
from timmy.db.protocol import DatabaseDown, GroupedFn, P, R, T, Tx
from timmy.db.waiting import Waiting

READERS = 2
CLOSE_SECONDS = 30.0
SLOW_CLOSE_SECONDS = 1.0  # nobody waits for an audit at the end: it has changed nothing, and goes with the process

Connect = Callable[[], Connection]


class Lines:
    """The verbs of `Database`, over the connections that an engine makes. `share_commit`: units that wait together share a transaction."""

    def __init__(self, *, write: Connect, read: Connect, read_slowly: Connect, writers: int, share_commit: bool) -> None:
        self._writing = Waiting(take_all=share_commit, gathers=True)
        self._reading = Waiting(take_all=True)
        self._reading_slowly = Waiting(take_all=False)
        self._lines = [Line(f"writer-{number}", self._writing, write) for number in range(writers)]
        self._lines += [Line(f"reader-{number}", self._reading, read) for number in range(READERS)]
        self._slow_line = Line("slow-reader", self._reading_slowly, read_slowly)

    async def write(self, fn: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._writing.add(lambda tx: fn(tx, *args, **kwargs))  # type: ignore[no-any-return]

    async def write_grouped(self, fn: GroupedFn[T, R], item: T) -> R:
        return await self._writing.add_grouped(fn, item)  # type: ignore[no-any-return]

    async def read(self, fn: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._reading.add(lambda tx: fn(tx, *args, **kwargs))  # type: ignore[no-any-return]

    async def read_grouped(self, fn: GroupedFn[T, R], item: T) -> R:
        return await self._reading.add_grouped(fn, item)  # type: ignore[no-any-return]

    async def read_slowly(self, fn: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._reading_slowly.add(lambda tx: fn(tx, *args, **kwargs))  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        for waiting in (self._writing, self._reading, self._reading_slowly):
            waiting.close(DatabaseDown("closed"))
        for line in self._lines:
            line.join(CLOSE_SECONDS)
        self._slow_line.join(SLOW_CLOSE_SECONDS)
