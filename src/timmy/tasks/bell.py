"""A hint that something may have changed. Missing one costs a moment, never correctness: whoever waits also looks by the clock."""

from __future__ import annotations

import asyncio

Waiters = set[asyncio.Future[None]]


class Bell:
    """Rung by whoever has just committed something; wakes those who are waiting in this process."""

    def __init__(self) -> None:
        self._workers: Waiters = set()
        self._readers: Waiters = set()

    def ring(self) -> None:
        """There may be something to do, or to read."""
        _wake(self._workers)
        _wake(self._readers)

    def tell(self) -> None:
        """There is something to read, and nothing to do. A busy server says so a thousand times a second: if workers woke up for it, most
        of its transactions would be theirs, and would find nothing."""
        _wake(self._readers)

    async def wait(self, timeout_seconds: float) -> None:
        """For whoever follows what happens. Returns at the next ring or word, or when the time is up."""
        await _wait(self._readers, timeout_seconds)

    async def wait_for_work(self, timeout_seconds: float) -> None:
        """Returns at the next ring, or when the time is up."""
        await _wait(self._workers, timeout_seconds)


def _wake(waiters: Waiters) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


async def _wait(waiters: Waiters, timeout_seconds: float) -> None:
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiters.add(waiter)
    try:
        await asyncio.wait([waiter], timeout=timeout_seconds)
    finally:
        waiters.discard(waiter)
