"""Asking again, within bounds: a few attempts, full jitter, the provider's own Retry-After, and an end.

Only `ProviderDown` is asked again, and only while nothing of the answer has been handed on: a second stream after half of a first one
would be shown, and paid for, twice. No attempt begins after the budget is used up; how long one attempt may take is the time-outs' matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from timmy.models.protocol import ProviderDown

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


def loop_time() -> float:
    """Seconds on the running loop's clock, which a simulation may own."""
    return asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long. Before attempt n+1 the wait is drawn from 0 … min(first * 2^(n-1), max) seconds (full jitter)."""

    attempts_max: int = 3
    first_wait_seconds: float = 0.5
    wait_seconds_max: float = 8.0
    retry_after_seconds_max: float = 20.0  # a provider that asks for more is not waited for: the caller is told instead
    budget_seconds: float = 60.0


class Retry:
    """`sleep`, `random` and `now_seconds` are given, so that a test owns them."""

    def __init__(
        self,
        patience: Patience | None = None,
        *,
        random: Random | None = None,
        sleep: Sleep = asyncio.sleep,
        now_seconds: Callable[[], float] = loop_time,
    ) -> None:
        self._patience = patience or Patience()
        # Not a secret: it only spreads retries, so that many callers do not come back at the same instant.
        self._random = random or Random()
        self._sleep = sleep
        self._now_seconds = now_seconds

    async def call(self, attempt: Callable[[], Awaitable[T]]) -> T:
        started = self._now_seconds()
        attempts = 1
        while True:
            try:
                return await attempt()
            except ProviderDown as trouble:
                wait_seconds = self._wait(attempts, started, trouble)
                if wait_seconds is None:
                    raise
            await self._sleep(wait_seconds)
            attempts += 1

    async def stream(self, attempt: Callable[[], AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
        started = self._now_seconds()
        attempts = 1
        begun = False
        while True:
            try:
                # Without `aclosing`, leaving this stream early would leave the provider's running until it is garbage.
                async with aclosing(attempt()) as items:
                    async for item in items:
                        begun = True
                        yield item
                return
            except ProviderDown as trouble:
                wait_seconds = None if begun else self._wait(attempts, started, trouble)
                if wait_seconds is None:
                    raise
            await self._sleep(wait_seconds)
            attempts += 1

    def _wait(self, attempts: int, started: float, trouble: ProviderDown) -> float | None:
        """How long to wait before asking again; None: do not."""
        patience = self._patience
        if attempts >= patience.attempts_max:
            return None
        ceiling = min(patience.first_wait_seconds * 2 ** (attempts - 1), patience.wait_seconds_max)
        wait_seconds = self._random.uniform(0, ceiling)
        if trouble.wait_seconds is not None:
            if trouble.wait_seconds > patience.retry_after_seconds_max:
                return None
            wait_seconds = max(wait_seconds, trouble.wait_seconds)
        if self._now_seconds() - started + wait_seconds > patience.budget_seconds:
            return None
        return wait_seconds
