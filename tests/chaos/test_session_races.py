"""A thousand callers in four processes on one PostgreSQL, all at the same moment, who spend from sessions and from the pool at once.

TIMMY_HEAVY=1 runs a hundred rounds instead of a few.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.chaos.pool_racer import key
from tests.chaos.test_pool_races import HEADSTART_SECONDS, PROCESSES, answer, end
from tests.contract.session_house import DEPOSIT, TERMS, House
from tests.tidy.tree import ROOT
from timmy.app.books import all_checks
from timmy.clock import ManualClock
from timmy.db import Tx, open_database
from timmy.generosity import Gift, day_of, pool
from timmy.ledger import Code, Move, chart, commit
from timmy.ledger.commit import available, available_all
from timmy.money import Msats, Sats
from timmy.sessions import SessionView

ROUNDS = 100 if os.environ.get("TIMMY_HEAVY") else 1
ANONYMOUS, KNOWN = 10, 20  # sessions
CALLERS_OF_ANONYMOUS, CALLERS_OF_KNOWN = 50, 25  # of each: a thousand in all
SHARE = 10  # of what a customer pays, one part in so many goes to the pool
ONE_IDENTITYS_SESSIONS, ONE_IDENTITYS_CALLERS = 5, 500


@dataclass
class Track:
    house: House
    racers: list[asyncio.subprocess.Process]

    async def order(self, op: str, callers: Sequence[Sequence[str]] = ()) -> list[Any]:
        """Each process carries it out for its share of the callers, at the same moment."""
        at = time.time() + HEADSTART_SECONDS
        for n, racer in enumerate(self.racers):
            assert racer.stdin is not None
            racer.stdin.write(json.dumps({"op": op, "callers": callers[n :: len(self.racers)], "at": at}).encode() + b"\n")
        return await asyncio.gather(*(answer(racer) for racer in self.racers))

    async def ask(self, callers: Sequence[SessionView]) -> Counter[str]:
        """How many are at work now, and how the others were refused."""
        said = await self.order("ask", [(view.id, view.macaroon or "") for view in callers])
        return sum((Counter(each) for each in said), Counter())

    async def let_go(self) -> list[tuple[str, int, int]]:
        return [(id, debited, absorbed) for each in await self.order("let go") for id, debited, absorbed in each]

    async def worth(self) -> Msats:
        """The most that the request can come to: what is held for it."""
        cost = (await self.house.ask(await self.house.opened())).cost
        assert cost is not None
        return cost.reserved

    async def opened(self, pubkeys: Sequence[str | None]) -> list[SessionView]:
        return [await self.house.opened(pubkey=pubkey) for pubkey in pubkeys]

    async def fill(self, round: int, amount: Msats) -> None:
        await self.house.db.write(_fill, round, amount)

    async def left(self, view: SessionView) -> Msats:
        return (await self.house.sessions.view(view.id)).balance


def _fill(tx: Tx, round: int, amount: Msats) -> None:
    """The pool holds exactly this."""
    left = available(tx, chart.POOL)
    if left:
        commit(tx, 0, Move(f"emptied before {round}", chart.POOL, chart.OPERATOR, left, Code.OPERATOR_CORRECTION))
    pool.top_up(tx, f"round {round}", amount, 0)


def _holdings(tx: Tx, ids: Sequence[str]) -> dict[str, int]:
    return {account: msat.value for account, msat in available_all(tx, [chart.POOL, *map(chart.session, ids)]).items()}


@pytest.fixture
async def track(postgres_url: str) -> AsyncIterator[Track]:
    async with AsyncExitStack() as stack:
        db = open_database(postgres_url)
        stack.push_async_callback(db.aclose)
        house = House(db, ManualClock())
        stack.push_async_callback(house.aclose)
        racers = []
        for _ in range(PROCESSES):
            racer = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.chaos.session_racer", postgres_url),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=2**24,
                cwd=ROOT,
            )
            stack.push_async_callback(end, racer)
            racers.append(racer)
        assert await asyncio.gather(*(answer(racer) for racer in racers)) == ["ready"] * PROCESSES
        yield Track(house, racers)
        assert [check for check in await db.read(all_checks) if not check.holds] == []
        await house.check()


@pytest.mark.fault("B01", "B02", "B14")
async def test_a_thousand_requests_hold_what_sessions_and_pool_have_and_not_a_millisat_more(track: Track) -> None:
    """Anonymous sessions are asked for more than they hold. Those of people with a key are given what the pool carries, first come, first
    served; the others of them pay for themselves."""
    worth = await track.worth()
    holds = DEPOSIT.msats.value // worth.value
    for round in range(ROUNDS):
        anonymous = await track.opened([None] * ANONYMOUS)
        keys = [await track.house.known(key(round * KNOWN + n), score=200) for n in range(KNOWN)]
        known = await track.opened(keys)
        carries = 1 + round * 37 % 211
        await track.fill(round, Msats(worth.value * carries))

        said = await track.ask([*anonymous * CALLERS_OF_ANONYMOUS, *known * CALLERS_OF_KNOWN])
        begun = ANONYMOUS * holds + KNOWN * CALLERS_OF_KNOWN
        assert said == {"at work": begun, "InsufficientBalance": 1_000 - begun}, round
        held = await track.house.db.read(_holdings, [view.id for view in (*anonymous, *known)])
        assert held.pop(chart.POOL) == 0, "to the last millisat"
        assert [held[chart.session(view.id)] for view in anonymous] == [DEPOSIT.msats.value - holds * worth.value] * ANONYMOUS
        paying = KNOWN * (DEPOSIT.msats.value) - sum(held[chart.session(view.id)] for view in known)
        assert paying == (KNOWN * CALLERS_OF_KNOWN - carries) * worth.value, "as many as the pool carries hold nothing of their own"

        served = await track.let_go()
        assert len(served) == begun
        assert sum(1 for id, debited, absorbed in served if absorbed and not debited) == carries
        assert not [id for id, debited, absorbed in served if absorbed and debited]
        for view in (*anonymous, *known):
            spent = sum(debited for id, debited, _ in served if id == view.id)
            assert await track.left(view) == DEPOSIT.msats - Msats(spent)
        given = sum(absorbed for _, _, absorbed in served)
        earned = sum(debited // SHARE for _, debited, _ in served)
        assert (await track.house.balance(chart.POOL)).value == worth.value * carries - given + earned


@pytest.mark.fault("B02", "B19", "E23")
async def test_five_hundred_requests_of_one_identity_over_its_sessions_are_given_its_day_and_no_more(track: Track) -> None:
    worth = await track.worth()
    budget = TERMS.gifts.budget("trusted")
    for round in range(ROUNDS):
        pubkey = await track.house.known(key(1_000_000 + round), score=60)
        sessions = await track.opened([pubkey] * ONE_IDENTITYS_SESSIONS)
        await track.fill(round, Sats(100_000).msats)
        said = await track.ask([sessions[n % len(sessions)] for n in range(ONE_IDENTITYS_CALLERS)])
        assert said.keys() == {"at work", "InsufficientBalance"}
        today = Gift("look", "look", pubkey, "trusted", day_of(track.house.clock.now_ms()))
        assert await track.house.balance(today.allowance) == Msats(0), "all of the day is held"
        assert await track.house.balance(chart.POOL) == Sats(100_000).msats - budget
        held = await track.house.db.read(_holdings, [view.id for view in sessions])
        own = len(sessions) * DEPOSIT.msats.value - sum(held[chart.session(view.id)] for view in sessions)
        assert own + budget.value == said["at work"] * worth.value, "each is held in full, by the day or by its session"
        assert all(held[chart.session(view.id)] < worth.value for view in sessions)

        served = await track.let_go()
        absorbed = Msats(sum(absorbed for _, _, absorbed in served))
        assert absorbed <= budget
        assert await track.house.balance(today.allowance) == budget - absorbed
