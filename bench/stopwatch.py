"""A closed loop of callers, warmed up, then watched for a while. Only the standard library: rivals run it in a venv of their own.

The parent and a runner speak in lines. The runner says `ready` and is told `go`; it says `window` when it begins to count, and its
result, one line of JSON, when it stops. It keeps its connections until it is told `leave`, because the parent has still to read how
much CPU they used.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

READY, GO, WINDOW, LEAVE = "ready", "go", "window", "leave"


class Stopwatch:
    """Counts what ends inside the window. `running` is false afterwards: then callers begin nothing new."""

    def __init__(self, warm_seconds: float, seconds: float) -> None:
        self._from = time.perf_counter() + warm_seconds
        self._until = self._from + seconds
        self._done = 0
        self._latencies_us: list[int] = []

    @property
    def running(self) -> bool:
        return time.perf_counter() < self._until

    def finished(self, began: float | None) -> None:
        """`began`: time.perf_counter() when it was begun; None when it was begun in another process."""
        now = time.perf_counter()
        if self._from <= now < self._until:
            self._done += 1
            if began is not None:
                self._latencies_us.append(int((now - began) * 1e6))

    async def watch(self) -> None:
        """Until the window is over; tells the parent what came of it."""
        await asyncio.sleep(self._from - time.perf_counter())
        cpu_seconds, began = time.process_time(), time.perf_counter()
        print(WINDOW, flush=True)
        await asyncio.sleep(self._until - time.perf_counter())
        cpu_seconds, seconds = time.process_time() - cpu_seconds, time.perf_counter() - began
        print(
            json.dumps({"done": self._done, "seconds": seconds, "cpu_seconds": cpu_seconds, "latencies_us": self._latencies_us}), flush=True
        )


async def closed_loop(stopwatch: Stopwatch, callers: int, once: Callable[[], Awaitable[object]]) -> None:
    """`callers` callers, each of which does the thing again as soon as it is done."""

    async def caller() -> None:
        while stopwatch.running:
            began = time.perf_counter()
            await once()
            stopwatch.finished(began)

    watching = asyncio.create_task(stopwatch.watch())
    await asyncio.gather(*(caller() for _ in range(callers)))
    await watching


def wait_for_go() -> None:
    print(READY, flush=True)
    _hear(GO)


def wait_to_leave() -> None:
    _hear(LEAVE)


def _hear(word: str) -> None:
    if sys.stdin.readline().strip() != word:
        raise SystemExit("the parent is gone")
