"""Whose an answer is, how long it is kept, and what becomes of calls when something in the house breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection

import pytest
from tests.contract.completion_house import Chatting, at_home

from timmy.clock import ManualClock
from timmy.completions import Terms, store
from timmy.completions import running as running_room
from timmy.completions.finish import End, end_all
from timmy.completions.refusals import CompletionForgotten, CompletionNotFound
from timmy.completions.running import KEPT_MS, UNHEARD_MS
from timmy.db import Database, DatabaseDown, Tx
from timmy.errors import Breach


@pytest.fixture
async def house(db: Database, clock: ManualClock) -> AsyncIterator[Chatting]:
    async for home in at_home(db, clock):
        yield home


# whose it is -----------------------------------------------------------------------------------------


@pytest.mark.fault("B06")
async def test_where_there_is_an_idempotency_key_it_alone_says_what_is_repeated(house: Chatting) -> None:
    session = await house.opened()
    first = await house.complete(session, key="first")
    fresh = await house.complete(session, key="second", retry=True)
    assert fresh.id != first.id, "a new key is a new call, whatever the SDK says of its connection"
    assert (await house.complete(session, key="second", retry=True)).id == fresh.id
    assert house.agent.calls["chat"] == 2


@pytest.mark.fault("B06", "B07")
@pytest.mark.parametrize("at_once", [False, True])
async def test_an_idempotency_key_says_nothing_about_the_calls_of_another_key_of_the_session(house: Chatting, at_once: bool) -> None:
    session = await house.opened()
    calls = [house.complete(session, *caveats, key="k") for caveats in ((), ("max_sats=300",), ("max_sats=200",))]
    views = await asyncio.gather(*calls) if at_once else [await call for call in calls]
    assert len({view.id for view in views}) == 3
    assert (await house.complete(session, "max_sats=300", key="k")).id == views[1].id


async def test_an_answer_is_shown_to_the_key_that_bought_it_and_to_the_whole_one(house: Chatting) -> None:
    session = await house.opened()
    narrow, other = "max_sats=300", "max_sats=200"
    view, whole = await house.complete(session, narrow), await house.complete(session)
    for key in (house.key(session), house.key(session, narrow)):
        assert (await house.completions.view(key, house.use(), view.id)).message == view.message
    for id, key in ((view.id, house.key(session, other)), (whole.id, house.key(session, narrow))):
        with pytest.raises(CompletionNotFound):
            await house.completions.view(key, house.use(), id)


# no longer kept --------------------------------------------------------------------------------------


@pytest.mark.fault("B06")
async def test_a_repetition_of_what_is_no_longer_kept_is_told_so_for_good(house: Chatting) -> None:
    session = await house.opened()
    await house.complete(session, key="k")
    house.clock.advance(ms=KEPT_MS + 1)
    await house.complete(session)  # the session is in use all the while
    await house.completions.running.sweep_once()
    refusal = await house.refused(house.complete(session, key="k"), CompletionForgotten)
    assert refusal.status == 410
    assert house.agent.calls["chat"] == 2


# what breaks -----------------------------------------------------------------------------------------


async def abandoned(house: Chatting, calls: int) -> Chatting:
    """Another server of the house, and calls whose own has not been heard of for too long."""
    house.agent.gates = asyncio.Semaphore(0)
    session = await house.opened()
    for _ in range(calls):
        await house.stream(session)
    house.clock.advance(ms=UNHEARD_MS + 1)
    return Chatting(house.db, house.clock)


@pytest.mark.fault("C09")
async def test_one_call_that_cannot_be_ended_keeps_no_other_from_its_end(house: Chatting, monkeypatch: pytest.MonkeyPatch) -> None:
    survivor = await abandoned(house, 3)
    broken = (await house.db.read(store.unheard, house.clock.now_ms(), 10))[0]

    def breach(tx: Tx, ends: Collection[End], terms: Terms) -> object:
        if any(end.completion_id == broken for end in ends):
            raise Breach("its books disagree")
        return end_all(tx, list(ends), terms)

    with monkeypatch.context() as patch:
        patch.setattr(running_room, "end_all", breach)
        assert await survivor.completions.running.sweep_once() == 2
        assert await survivor.completions.running.sweep_once() == 0
    assert await survivor.completions.running.sweep_once() == 1


async def test_a_database_that_is_away_ends_the_round_of_the_sweep(house: Chatting, monkeypatch: pytest.MonkeyPatch) -> None:
    survivor = await abandoned(house, 1)

    def away(_tx: Tx, _ids: Collection[str]) -> dict[str, object]:
        raise DatabaseDown("It is away.")

    with monkeypatch.context() as patch:
        patch.setattr(store, "lock", away)
        with pytest.raises(DatabaseDown):
            await survivor.completions.running.sweep_once()
    assert await survivor.completions.running.sweep_once() == 1


@pytest.mark.fault("B10")
async def test_a_beat_that_fails_is_followed_by_the_next(house: Chatting, monkeypatch: pytest.MonkeyPatch) -> None:
    beats, again, hear, loop = 0, asyncio.Event(), store.hear, asyncio.get_running_loop()

    def stumble(tx: Tx, ids: Collection[str], at_ms: int) -> None:
        nonlocal beats
        beats += 1
        if beats == 1:
            raise ZeroDivisionError
        hear(tx, ids, at_ms)
        loop.call_soon_threadsafe(again.set)

    monkeypatch.setattr(running_room, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(store, "hear", stumble)
    house.agent.gates = asyncio.Semaphore(0)
    live = await house.stream(await house.opened())
    async with asyncio.timeout(20):
        await again.wait()
    await live.leave()
