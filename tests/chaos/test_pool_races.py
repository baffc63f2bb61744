"""A thousand callers in several processes on one PostgreSQL, all at the same moment, for what the pool has left.

TIMMY_HEAVY=1 runs a hundred rounds instead of a few.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.chaos.pool_racer import NOON, TERMS, TODAY, gift, key
from tests.tidy.tree import ROOT
from timmy.app.books import all_checks
from timmy.db import Database, Tx, open_database
from timmy.generosity import pool
from timmy.generosity.status import PoolStatus, status
from timmy.ledger import Code, Move, chart, commit
from timmy.ledger.commit import available_all
from timmy.money import Msats, Sats

PROCESSES, CALLERS = 4, 1_000
ROUNDS = 100 if os.environ.get("TIMMY_HEAVY") else 1
HEADSTART_SECONDS = 0.3
PATIENCE_SECONDS = 120.0


@dataclass
class Track:
    db: Database
    racers: list[asyncio.subprocess.Process]

    async def race(self, round: int, callers: Sequence[Sequence[Any]], then: str) -> list[list[Any]]:
        """Each process calls for its share of the callers at the same moment; answers the callers that were served, and with how much."""
        at = time.time() + HEADSTART_SECONDS
        for n, racer in enumerate(self.racers):
            order = {"round": round, "callers": callers[n :: len(self.racers)], "then": then, "at": at}
            assert racer.stdin is not None
            racer.stdin.write(json.dumps(order).encode() + b"\n")
        return [served for answers in await asyncio.gather(*(answer(racer) for racer in self.racers)) for served in answers]

    async def fill(self, round: int, amount: Sats) -> None:
        await self.db.write(_empty, round)
        await self.db.write(pool.top_up, f"round {round}", amount.msats, NOON)

    async def status(self) -> PoolStatus:
        return await self.db.read(status, TODAY)

    async def given(self) -> Msats:
        return Msats(sum(one.absorbed.value for one in (await self.status()).given.values()))


def _empty(tx: Tx, round: int) -> None:
    left = available_all(tx, [chart.POOL])[chart.POOL]
    if left:
        commit(tx, NOON, Move(f"emptied before {round}", chart.POOL, chart.OPERATOR, left, Code.OPERATOR_CORRECTION))


def _day(tx: Tx, pubkey: str) -> Msats:
    return pool.budget_left(tx, gift("look", pubkey), TERMS)[1]


async def answer(racer: asyncio.subprocess.Process) -> Any:
    assert racer.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        line = await racer.stdout.readline()
    assert line, "a racer died"
    return json.loads(line)


@pytest.fixture
async def track(postgres_url: str) -> AsyncIterator[Track]:
    async with AsyncExitStack() as stack:
        db = open_database(postgres_url)
        stack.push_async_callback(db.aclose)
        racers = []
        for _ in range(PROCESSES):
            racer = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.chaos.pool_racer", postgres_url),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=2**24,
                cwd=ROOT,
            )
            stack.push_async_callback(end, racer)
            racers.append(racer)
        assert await asyncio.gather(*(answer(racer) for racer in racers)) == ["ready"] * PROCESSES
        yield Track(db, racers)
        assert [check for check in await db.read(all_checks) if not check.holds] == []


async def end(racer: asyncio.subprocess.Process) -> None:
    if racer.returncode is None:
        racer.kill()
    await racer.communicate()


@pytest.mark.fault("B01", "B14")
async def test_of_a_thousand_callers_exactly_as_many_are_served_as_the_pool_can_carry(track: Track) -> None:
    for round in range(ROUNDS):
        carries, price = 1 + round * 37 % 211, 2 + round % 5
        await track.fill(round, Sats(carries * price + round % price))
        before = await track.given()
        callers = [(n, key(round * CALLERS + n), price) for n in range(CALLERS)]
        served = await track.race(round, callers, "give")
        assert len(served) == carries, round
        absorbed = Msats(sum(msat for _, msat in served))
        after = await track.status()
        assert await track.given() - before == absorbed == Sats(carries * price).msats
        assert (after.available, after.reserved) == (Sats(round % price).msats, Msats(0))


@pytest.mark.fault("B19", "E23")
async def test_five_hundred_requests_of_one_identity_never_exceed_its_day(track: Track) -> None:
    """At first they reserve and give back, in between, so that the day is used up and free again all the time."""
    for round in range(ROUNDS):
        one, price, before = key(round), 1 + round % 9 * 6, await track.given()
        await track.fill(round, Sats(100_000))
        assert await track.race(2 * round, [(n, one, price) for n in range(500)], "take back")
        assert await track.db.read(_day, one) == Sats(50).msats
        assert (await track.status()).available == Sats(100_000).msats
        served = await track.race(2 * round + 1, [(n, one, price) for n in range(500)], "give")
        assert len(served) == 50 // price, round
        assert await track.db.read(_day, one) == Sats(50 % price).msats
        assert await track.given() - before == Sats(50 // price * price).msats


@pytest.mark.fault("B01", "B14", "B19")
async def test_free_work_parts_and_returns_all_at_once_neither_deadlock_nor_lose_a_millisat(track: Track) -> None:
    """Few identities, many requests: some for free, some for a part, half of which do not happen. The pool runs dry on the way."""
    for round in range(ROUNDS):
        await track.fill(round, Sats(300))
        before = await track.given()
        callers = [(n, key(10_000 + round * 20 + n % 20), 3 + n % 11, n % 3 == 0) for n in range(CALLERS)]
        served = await track.race(round, callers, "both")
        absorbed = Msats(sum(msat for _, msat in served))
        after = await track.status()
        assert await track.given() - before == absorbed
        assert (after.available + absorbed, after.reserved) == (Sats(300).msats, Msats(0))
        each: dict[str, int] = {}
        for n, msat in served:
            each[callers[n][1]] = each.get(callers[n][1], 0) + msat
        assert max(each.values()) <= Sats(50).msats.value
