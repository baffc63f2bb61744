"""Asking again: how often, how long, and when not."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from random import Random

import pytest

from timmy.models import Completion, Delta, Finish, ProviderDown, ProviderRefused, Usage
from timmy.models.retry import Patience, Retry

DONE = Completion("hi", Usage(1, 1), Finish.STOP)


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def retry(time: Time, patience: Patience | None = None, seed: int = 1) -> Retry:
    return Retry(patience, random=Random(seed), sleep=time.sleep, now_seconds=lambda: time.now)


def failing(times: int, *, wait_seconds: float | None = None) -> tuple[Callable[[], Awaitable[str]], list[int]]:
    calls: list[int] = []

    async def attempt() -> str:
        calls.append(len(calls))
        if len(calls) <= times:
            down = ProviderDown("no")
            down.wait_seconds = wait_seconds
            raise down
        return "yes"

    return attempt, calls


@pytest.mark.fault("D17")
async def test_two_failures_are_survived_and_three_are_not() -> None:
    attempt, calls = failing(2)
    assert await retry(Time()).call(attempt) == "yes"
    assert len(calls) == 3
    attempt, calls = failing(3)
    with pytest.raises(ProviderDown):
        await retry(Time()).call(attempt)
    assert len(calls) == 3


async def test_a_refusal_is_not_asked_again() -> None:
    time, calls = Time(), []

    async def attempt() -> str:
        calls.append(1)
        raise ProviderRefused("no")

    with pytest.raises(ProviderRefused):
        await retry(time).call(attempt)
    assert len(calls) == 1
    assert not time.slept


async def test_the_wait_is_spread_below_a_growing_ceiling() -> None:
    patience = Patience(attempts_max=6, first_wait_seconds=1, wait_seconds_max=4, budget_seconds=1_000)
    waits: list[list[float]] = []
    for seed in range(50):
        time = Time()
        attempt, _ = failing(5)
        await retry(time, patience, seed).call(attempt)
        waits.append(time.slept)
    for position, ceiling in enumerate([1, 2, 4, 4, 4]):
        drawn = [wait[position] for wait in waits]
        assert 0 <= min(drawn) < ceiling / 4
        assert ceiling * 3 / 4 < max(drawn) <= ceiling


async def test_what_the_provider_asks_for_is_the_least_wait() -> None:
    time = Time()
    attempt, _ = failing(2, wait_seconds=9)
    await retry(time).call(attempt)
    assert time.slept == [9, 9]


async def test_a_wait_that_is_too_long_is_not_waited() -> None:
    time = Time()
    attempt, calls = failing(2, wait_seconds=21)
    with pytest.raises(ProviderDown):
        await retry(time).call(attempt)
    assert (len(calls), time.slept) == (1, [])


@pytest.mark.fault("D17")
async def test_no_attempt_begins_after_the_budget() -> None:
    time = Time()
    patience = Patience(attempts_max=100, first_wait_seconds=2, wait_seconds_max=2, budget_seconds=10)
    attempt, calls = failing(100)
    with pytest.raises(ProviderDown):
        await retry(time, patience).call(attempt)
    assert time.now <= 10
    assert len(calls) < 40


# ---- streams


def streams(*plays: list[Delta | Completion | Exception]) -> tuple[Callable[[], AsyncGenerator[Delta | Completion, None]], list[str]]:
    """Each call plays the next list; what is closed is written down."""
    left, log = list(plays), []

    async def stream() -> AsyncGenerator[Delta | Completion, None]:
        log.append("open")
        try:
            for item in left.pop(0):
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            log.append("close")

    return stream, log


async def test_a_stream_is_asked_for_again_only_before_its_first_piece() -> None:
    attempt, log = streams([ProviderDown("no")], [Delta("hi"), DONE])
    assert [item async for item in retry(Time()).stream(attempt)] == [Delta("hi"), DONE]
    assert log == ["open", "close", "open", "close"]

    attempt, log = streams([Delta("hi"), ProviderDown("no")], [Delta("hi"), DONE])
    heard: list[object] = []

    async def hear() -> None:
        async for item in retry(Time()).stream(attempt):
            heard.append(item)

    with pytest.raises(ProviderDown):
        await hear()
    assert heard == [Delta("hi")]
    assert log == ["open", "close"]


async def test_leaving_a_stream_closes_the_one_behind_it() -> None:
    attempt, log = streams([Delta("hi"), Delta("ho"), DONE])
    async with aclosing(retry(Time()).stream(attempt)) as items:
        await anext(items)
    assert log == ["open", "close"]
