"""What a model says for nothing: the one place where the house pays for a call, a few at a time and each of them short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from timmy.errors import Outage
from timmy.models import Accepted, Completion, Declined, Prompt, Provider, ProviderDown, judge

AT_ONCE = 4
WAITING_MAX = 16
SECONDS_MAX = 30.0


class TooBusy(Outage):
    code = "too_busy"
    title = "Too many are asking for free answers at once"
    retry_after_seconds = 30


class FreeWords:
    def __init__(self, provider: Provider, model: str, *, seconds_max: float = SECONDS_MAX) -> None:
        self._provider = provider
        self._model = model
        self._seconds_max = seconds_max
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def say(self, prompt: Prompt, *, max_output_tokens: int) -> Completion:
        """TooBusy, ProviderDown, ProviderRefused."""
        async with self._turn():
            return await self._provider.complete(prompt, model=self._model, max_output_tokens=max_output_tokens)

    async def judge(self, request: str) -> Accepted | Declined:
        """Whether it should be done at all. Raises as `say` does."""
        async with self._turn():
            return await judge(self._provider, request, self._model)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._waiting >= AT_ONCE + WAITING_MAX:
            raise TooBusy("Too many are asking at once. Ask again in half a minute.")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._seconds_max), self._turns:
                yield
        except TimeoutError:
            raise ProviderDown("The language model took too long. Try again in a moment.") from None
        finally:
            self._waiting -= 1
