"""A hint that something may have changed. Missing one costs a moment, never correctness: whoever waits also looks by the clock."""

from __future__ import annotations

import asyncio


class Bell:
    """Rung by whoever has just committed something; wakes everybody who is waiting in this process."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, timeout_seconds: float) -> None:
        """Returns at the next ring, or when the time is up."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait([waiter], timeout=timeout_seconds)
        finally:
            self._waiters.discard(waiter)
