"""Requests while they run: what is heard of them, what happens when the database is away, and who may give them up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from tests.contract.session_house import DEPOSIT, House, at_home

from timmy.clock import ManualClock
from timmy.db import Database, DatabaseDown, Row, Tx
from timmy.money import Msats
from timmy.sessions import RequestState, finish, running
from timmy.sessions.begin import REAP_AFTER_MS, begin_all

COST = Msats(3_570)


@pytest.fixture
async def house(sqlite_db: Database, clock: ManualClock) -> AsyncIterator[House]:
    async for house in at_home(sqlite_db, clock):
        yield house


def requests(tx: Tx) -> list[Row]:
    return tx.all("SELECT * FROM session_requests ORDER BY id")


async def working(house: House, count: int = 1) -> None:
    while house.agent.calls["work"] < count:
        await asyncio.sleep(0.01)


@pytest.mark.fault("B10")
async def test_a_request_that_takes_long_is_heard_of_and_outlives_every_clock(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "BEAT_SECONDS", 0.01)
    view = await house.opened()
    house.agent.gate = asyncio.Event()
    asking = asyncio.create_task(house.ask(view))
    await working(house)
    reaper = House(house.db, house.clock)  # another process's worker, which does not know whose the request is
    for _ in range(3):
        house.clock.advance(ms=REAP_AFTER_MS - 1)
        while (await house.db.read(requests))[0]["heard_at_ms"] != house.clock.now_ms():
            await asyncio.sleep(0.01)
        await reaper.worker.run_due()
    house.agent.gate.set()
    assert (await asking).debited == COST


@pytest.mark.fault("C20", "C21")
@pytest.mark.parametrize("committed", [False, True])
async def test_an_ending_that_meets_a_lost_database_is_told_again_and_counts_once(
    house: House, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """Lost before the commit, or after it, when nobody can know that it happened."""
    monkeypatch.setattr(running, "FINISH_AGAIN_SECONDS", (0.0, 0.0))
    lost: list[object] = []
    view, writes = await house.opened(), house.db.write_grouped

    async def losing(fn: Any, item: Any) -> Any:
        if isinstance(item, finish.Ending) and not lost:
            lost.append(await writes(fn, item) if committed else None)
            raise DatabaseDown("the connection was lost during a commit")
        return await writes(fn, item)

    monkeypatch.setattr(house.db, "write_grouped", losing)
    answer = await house.ask(view)
    assert (answer.state, answer.debited, len(lost)) == (RequestState.COMPLETE, COST, 1)
    assert (await house.sessions.view(view.id)).balance == DEPOSIT.msats - COST


@pytest.mark.fault("C20")
async def test_a_database_that_stays_away_leaves_the_request_to_the_reaper(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "FINISH_AGAIN_SECONDS", (0.0,))
    view, writes = await house.opened(), house.db.write_grouped

    async def away(fn: Any, item: Any) -> Any:
        if isinstance(item, finish.Ending):
            raise DatabaseDown("gone")
        return await writes(fn, item)

    monkeypatch.setattr(house.db, "write_grouped", away)
    with pytest.raises(DatabaseDown):
        await house.ask(view)
    monkeypatch.setattr(house.db, "write_grouped", writes)
    assert (await house.sessions.view(view.id)).held > Msats(0)
    house.clock.advance(ms=REAP_AFTER_MS)
    await house.worker.run_due()
    after = await house.sessions.view(view.id)
    assert (after.balance, after.held) == (DEPOSIT.msats, Msats(0))
    assert [row["state"] for row in await house.db.read(requests)] == ["failed"]


async def test_requests_that_come_together_are_begun_and_ended_together(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    views = [await house.opened() for _ in range(8)]
    permits = [await house.permit(view) for view in views]
    sizes: list[int] = []

    def counted(tx: Tx, beginnings: Sequence[Any], terms: Any) -> Any:
        sizes.append(len(beginnings))
        return begin_all(tx, beginnings, terms)

    monkeypatch.setattr(running, "begin_all", counted)
    await asyncio.gather(*(house.sessions.request(permit, "What is 6 * 7?") for permit in permits for _ in range(5)))
    assert sum(sizes) == 40
    assert len(sizes) < 10, "groups, not one after the other"
