"""How those who wait are handed to the thread that writes: alone at once, together when nobody else is about to come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from timmy.db import DatabaseDown, Tx
from timmy.db.waiting import Group, Single, Waiting


def together(_tx: Tx, items: Sequence[Any]) -> Sequence[Any]:
    return items


def items_of(units: Any) -> list[Any]:
    return [item for unit in units for item in unit.items] if units else []


async def done(waiting: Waiting, units: list[Any]) -> None:
    for unit in units:
        for caller in unit.callers:
            caller.outcome, caller.settled = "well", True
    waiting.done(units)


async def test_a_lone_caller_waits_for_nobody() -> None:
    waiting = Waiting(take_all=False, gathers=True)
    waiting.add_grouped(together, "alone")
    assert items_of(waiting.take()) == ["alone"]  # although the loop has not come round


async def test_those_who_come_in_the_same_moment_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timmy.db.waiting.LOOP_AWAY_SECONDS", 60.0)
    monkeypatch.setattr("timmy.db.waiting.GATHER_SECONDS_MAX", 60.0)
    waiting = Waiting(take_all=False, gathers=True)
    first = waiting.add_grouped(together, "first")
    taken = waiting.take()
    assert taken is not None
    waiting.add_grouped(together, "second")
    thread = asyncio.create_task(asyncio.to_thread(waiting.take))
    await asyncio.sleep(0)
    waiting.add_grouped(together, "third")
    await done(waiting, taken)
    assert await first == "well"
    waiting.add_grouped(together, "fourth")  # the next wish of whoever has just been told
    assert items_of(await thread) == ["second", "third", "fourth"]


async def test_what_cannot_grow_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of a hundred payouts would wait for nobody, and a busy loop makes that long."""
    waiting = Waiting(take_all=False, gathers=True)
    for n in range(3):
        waiting.add(lambda _tx, n=n: n)  # type: ignore[misc]
    waiting.add_grouped(together, "a group behind them")

    def waited(_timeout: object = None) -> bool:
        raise AssertionError("it waited")

    monkeypatch.setattr(waiting._ready, "wait", waited)
    for _ in range(3):
        units = waiting.take()
        assert units is not None
        assert isinstance(units[0], Single)
        await done(waiting, units)


async def test_a_loop_that_never_comes_round_keeps_nobody_waiting() -> None:
    waiting = Waiting(take_all=False, gathers=True)
    waiting.add_grouped(together, "first")
    waiting.add_grouped(together, "second")
    assert items_of(waiting.take()) == ["first", "second"]  # here, on the loop's own thread: it cannot come round


async def test_what_gathers_when_the_house_closes_is_still_done() -> None:
    waiting = Waiting(take_all=False, gathers=True)
    waiting.add_grouped(together, "first")
    waiting.add_grouped(together, "second")
    waiting.close(DatabaseDown("closed"))
    with pytest.raises(DatabaseDown):
        waiting.add_grouped(together, "third")
    units = waiting.take()
    assert isinstance(units and units[0], Group)
    assert items_of(units) == ["first", "second"]
    assert waiting.take() is None
