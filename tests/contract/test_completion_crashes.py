"""The server dies at each point of a call's life, and another one sweeps up: the charge is what was handed over, but for the last piece."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from tests.chaos.grid import HEAVY, SqliteShop
from tests.chaos.world import Crash, Points
from tests.contract.completion_house import Chatting, Talker
from tests.contract.test_completion_streams import wordy, worth
from tests.contract.test_completions import TALK
from tests.contract.test_session_crashes import Cleared

from timmy.clock import ManualClock
from timmy.completions import CompletionView, Ending
from timmy.completions.running import UNHEARD_MS
from timmy.completions.terms import STEP_TOKENS
from timmy.db import Database, open_database
from timmy.db.postgres import PostgresDatabase
from timmy.money import Msats, Sats
from timmy.sessions import SessionView

LIMIT = "max_sats=500"
LONG = [*TALK[:2], " ".join(wordy(STEP_TOKENS * 2)), TALK[2]]  # the third piece needs a further step


@dataclass
class World:
    """What lives on: the clock, and what the customer was handed, batch by batch."""

    clock: ManualClock = field(default_factory=ManualClock)
    points: Points = field(default_factory=Points)
    handed: list[str] = field(default_factory=list)
    view: CompletionView | None = None


@asynccontextmanager
async def started(url: str, world: World) -> AsyncIterator[Chatting]:
    def probe(label: str) -> None:
        world.points(label)

    db: Database = PostgresDatabase(url, writers=1, probe=probe) if url.startswith("postgresql") else open_database(url, probe=probe)
    street = open_database(url)
    agent = Talker()
    agent.words = LONG
    house = Chatting(db, world.clock, agent, street=street)
    try:
        yield house
    finally:
        await put_away(house)
        await db.aclose()
        await street.aclose()


async def put_away(house: Chatting) -> None:
    """A dead process has no tasks."""
    running = house.completions.running
    tasks = [*running._calls.values(), *(live._writer for live in running._lives.values() if live._writer is not None)]
    tasks += [running._heart] if running._heart is not None else []
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def streamed(house: Chatting, world: World, session: SessionView) -> None:
    house.agent.gates = asyncio.Semaphore(1)
    live = await house.stream(session, LIMIT)
    while batch := await live.take():
        world.handed.append("".join(piece.text for piece in batch))
        house.agent.gates.release()
    world.view = await live.ended()


async def whole(house: Chatting, world: World, session: SessionView) -> None:
    world.view = await house.complete(session, LIMIT)


async def lived(url: str, how: str, at: int | None) -> tuple[World, list[str]]:
    world = World()
    async with started(url, world) as house:
        await house.wallet.balance()
        session = await house.opened(Sats(1_000))
    world.points = Points(at)
    async with started(url, world) as house:
        with contextlib.suppress(Crash):
            async with asyncio.timeout(30):
                await (streamed if how == "stream" else whole)(house, world, session)
    labels = world.points.labels
    world.points = Points()
    world.clock.advance(ms=UNHEARD_MS + 1)
    async with started(url, world) as house:
        await house.completions.running.sweep_once()
        await house.check()
        await house.stands_still()
        charged = session.balance - (await house.sessions.view(session.id)).balance
        assert charged in expected(world, how), (world.handed, charged)
        if world.view is not None:
            assert (world.view.ending, world.view.charged) == (Ending.COMPLETE, charged)
    return world, labels


def expected(world: World, how: str) -> set[Msats]:
    """What the customer may have been charged."""
    everything = worth("".join(LONG))
    if world.view is not None:
        return {everything}
    if how == "whole":
        return {Msats(0), everything}  # the end was committed, and nobody was told: it is kept, and a retry finds it
    known = [
        worth("".join(world.handed[:place])) if place else Msats(0) for place in (len(world.handed) - 1, len(world.handed)) if place >= 0
    ]
    return {*known, everything} if len(world.handed) == len(LONG) else set(known)


async def dies_everywhere(shop: SqliteShop | Cleared, how: str, stride: int) -> None:
    _, points = await lived(await shop.empty(), how, None)
    assert len(points) > 20
    cut = 0
    for at in range(1, len(points) + 1, stride):
        world, _ = await lived(await shop.empty(), how, at)
        cut += world.view is None
    assert cut > len(points) // stride // 3


@pytest.mark.fault("C07", "C08", "C09", "C10", "C11")
@pytest.mark.parametrize("how", ["stream", "whole"])
async def test_dead_at_any_point_of_a_call_on_sqlite(how: str) -> None:
    shop = SqliteShop()
    try:
        await dies_everywhere(shop, how, 1 if HEAVY else 6)
    finally:
        shop.close()


@pytest.mark.fault("C09", "C10")
async def test_dead_at_any_point_of_a_stream_on_postgres(postgres_url: str) -> None:
    await dies_everywhere(Cleared(postgres_url), "stream", 1 if HEAVY else 27)
