"""A key that has bought before: what it needs is asked for ahead, and nothing is taken for granted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from psycopg import pq
from tests.contract.completion_house import Chatting, at_home
from tests.contract.session_house import TERMS

from timmy.clock import ManualClock
from timmy.completions import CompletionView, running
from timmy.db import Database, open_database
from timmy.db.wire import Asked, Wire
from timmy.identity.caveats import MacaroonExpired
from timmy.models import Usage
from timmy.money import Msats, Sats
from timmy.sessions.refusals import InsufficientBalance, KeyLimitReached, MacaroonUnknown, SessionEnded


@pytest.fixture
async def house(db: Database, clock: ManualClock) -> AsyncIterator[Chatting]:
    async for home in at_home(db, clock):
        yield home


async def test_a_known_key_is_checked_every_time(house: Chatting) -> None:
    session = await house.opened()
    until = f"timmy_valid_until={house.clock.now_ms() // 1000 + 60}"
    await house.complete(session, until)
    await house.complete(session)
    house.clock.advance(ms=61_000)
    await house.refused(house.complete(session, until), MacaroonExpired)
    await house.sessions.keys.rotate()
    await house.sessions.keys.retire_old()
    await house.refused(house.complete(session), MacaroonUnknown)
    await house.stands_still()


async def test_a_known_key_of_a_session_that_has_ended_buys_nothing(house: Chatting) -> None:
    session = await house.opened()
    await house.complete(session)
    house.clock.advance(ms=TERMS.ttl_ms)
    await house.refused(house.complete(session), SessionEnded)


async def test_known_keys_together_spend_what_there_is_and_no_more(house: Chatting) -> None:
    session = await house.opened(Sats(100))
    house.agent.usage = Usage(10, 10**6)
    first = await house.complete(session, max_cost=Msats(20_000))
    assert first.charged == Msats(20_000)
    calls = [house.complete(session, max_cost=Msats(30_000)) for _ in range(8)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    bought = [outcome for outcome in outcomes if isinstance(outcome, CompletionView)]
    assert all(isinstance(outcome, InsufficientBalance) for outcome in outcomes if outcome not in bought)
    spent = first.charged + sum((view.charged for view in bought), Msats(0))
    assert (await house.sessions.view(session.id)).balance == Sats(100).msats - spent
    assert len(bought) in (2, 3)  # three, where the last got what was left
    await house.stands_still()


async def test_a_known_key_keeps_to_its_limits(house: Chatting) -> None:
    session = await house.opened()
    house.agent.usage = Usage(10, 10**6)
    assert (await house.complete(session, "max_sats=12", max_cost=Msats(5_000))).charged == Msats(5_000)
    assert (await house.complete(session, "max_sats=12")).charged == Msats(7_000)
    await house.refused(house.complete(session, "max_sats=12"), KeyLimitReached)
    await house.stands_still()


async def test_known_keys_and_new_ones_come_together(house: Chatting) -> None:
    """Some of a group are asked for ahead if all of them can be; each pays for itself in any case."""
    known, new = [await house.opened() for _ in range(3)], [await house.opened() for _ in range(3)]
    for session in known:
        await house.complete(session)
    before = [(await house.sessions.view(session.id)).balance for session in (*known, *new)]
    views = await asyncio.gather(*(house.complete(session, *more) for more in ((), ("max_sats=9",)) for session in (*known, *new)))
    charges = [one.charged + other.charged for one, other in zip(views[:6], views[6:], strict=True)]
    after = [(await house.sessions.view(session.id)).balance for session in (*known, *new)]
    assert [Msats(was.value - now.value) for was, now in zip(before, after, strict=True)] == charges
    assert Msats(0) not in charges
    await house.stands_still()


async def test_who_is_forgotten_is_served_all_the_same(house: Chatting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "KEYS_KNOWN_MAX", 2)
    sessions = [await house.opened() for _ in range(3)]
    for _ in range(2):
        for session in sessions:
            assert (await house.complete(session)).charged


async def test_a_call_of_a_known_key_goes_to_postgresql_four_times(
    postgres_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To look and to write, when it begins and when it ends: each way there and back is waited for."""
    ways: list[int] = []
    there_and_back = Wire._together

    def counted(self: Wire, waiting: Sequence[Asked], names: Sequence[bytes], then: bytes | None = None) -> list[pq.abc.PGresult]:
        ways.append(len(waiting))
        return there_and_back(self, waiting, names, then)

    db = open_database(postgres_url)
    async for house in at_home(db, clock):
        session = await house.opened()
        for _ in range(2):
            await house.complete(session)
        monkeypatch.setattr(Wire, "_together", counted)
        await house.complete(session)
        monkeypatch.undo()
        assert len(ways) == 4
    await db.aclose()
