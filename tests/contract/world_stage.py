"""A world on a real database, with a clock, a model and visitors in our hands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.contract.visiting import Ear, eventually

from timmy import events
from timmy.clock import ManualClock
from timmy.db import Database, DatabaseDown, Tx
from timmy.events import NewEvent
from timmy.ids import system_random
from timmy.models import Completion, Finish, Prompt, Usage
from timmy.models.builtin import BuiltinAgent
from timmy.tasks import Bell
from timmy.world import FreeWords, Terms, UnderWay, World

POOL = {"balanceSats": 9_000, "reservedSats": 0, "earnedSats": 0, "givenSats": 0}
TERMS = Terms(replies_per_minute=3, replies_per_day=100, viewers_max=100, viewers_per_address=50)


class Model(BuiltinAgent):
    """A model that says what it is told to say, or fails as it is told to."""

    def __init__(self, says: str | Exception | None = None) -> None:
        super().__init__(delta_seconds=0)
        self.says = says
        self.asked: list[Prompt] = []
        self.hangs = False
        self.asks: asyncio.Event | None = None  # set when it was asked
        self.may_answer: asyncio.Event | None = None

    async def complete(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> Completion:
        self.asked.append(prompt)
        if self.asks is not None and self.may_answer is not None:
            self.asks.set()
            await self.may_answer.wait()
        if self.hangs:
            await asyncio.Event().wait()
        if isinstance(self.says, Exception):
            raise self.says
        if self.says is None:
            return await super().complete(prompt, model=model, max_output_tokens=max_output_tokens)
        return Completion(self.says, Usage(1, 1), Finish.STOP)


@dataclass
class Counting:
    """A database that counts how often it is asked."""

    inner: Database
    asked: int = 0
    down: bool = False
    engine: str = field(init=False)

    def __post_init__(self) -> None:
        self.engine = self.inner.engine

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self.inner, name)

        async def asked(*args: Any, **kwargs: Any) -> Any:
            self.asked += 1
            if self.down:
                raise DatabaseDown("away, for a test")
            return await verb(*args, **kwargs)

        return asked


@dataclass
class Stage:
    db: Counting
    clock: ManualClock
    model: Model = field(default_factory=Model)
    bell: Bell = field(default_factory=Bell)
    under_way: UnderWay = field(default_factory=UnderWay)
    pool: Mapping[str, object] = field(default_factory=lambda: dict(POOL))
    seconds_max: float = 30.0

    @asynccontextmanager
    async def world(self, terms: Terms = TERMS) -> AsyncIterator[World]:
        words = FreeWords(self.model, "small", seconds_max=self.seconds_max)
        made = World(self.db, self.clock, self.bell, system_random, words, terms, lambda _tx: self.under_way, self._pool)
        try:
            yield made
        finally:
            await made.aclose()

    async def _pool(self) -> Mapping[str, object]:
        return self.pool

    async def happen(self, *news: NewEvent) -> None:
        def write(tx: Tx) -> None:
            events.append(tx, self.clock.now_ms(), news)

        await self.db.inner.write(write)
        self.bell.ring()


def say(world: World, viewer: Any, text: str) -> None:
    world.talk.hear(viewer, json.dumps({"type": "visitor_message", "text": text}))


def said(ear: Ear, agent: str) -> list[str]:
    return [message["text"] for message in ear.of_type("chat", agentId=agent)]


async def answered(ear: Ear, count: int = 1) -> list[str]:
    await eventually(lambda: len(said(ear, "timmy")) >= count)
    return said(ear, "timmy")
