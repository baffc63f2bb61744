"""How often one address may ask for what is free to ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from timmy.clock import ManualClock
from timmy.web import turnstile
from timmy.web.address import networks
from timmy.web.refusals import RateLimited
from timmy.web.turnstile import MINUTE_MS, Turnstile

PROXIES = networks(("10.0.0.1",))


def asking(address: str, forwarded: str | None = None) -> Request:
    headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode())]
    return Request({"type": "http", "client": (address, 1), "headers": headers})


def passes(gate: Turnstile, request: Request) -> bool:
    try:
        with gate.passing(request):
            return True
    except RateLimited:
        return False


@pytest.mark.fault("E02")
def test_a_minutes_worth_passes_at_once_and_then_as_many_as_a_minute_has() -> None:
    clock = ManualClock()
    gate = Turnstile(6, clock, PROXIES, "orders")
    one = asking("192.0.2.7")
    assert [passes(gate, one) for _ in range(8)] == [True] * 6 + [False] * 2
    clock.advance(seconds=9)
    with pytest.raises(RateLimited, match="more than 6 orders in a minute") as refused, gate.passing(one):
        raise AssertionError
    assert refused.value.retry_after_seconds == 1
    clock.advance(seconds=refused.value.retry_after_seconds)
    assert [passes(gate, one) for _ in range(2)] == [True, False]
    clock.advance(seconds=60)
    assert [passes(gate, one) for _ in range(7)] == [True] * 6 + [False]


@given(st.integers(1, 1_000), st.lists(st.integers(0, 5_000), max_size=80))
def test_in_no_minute_pass_more_than_two_minutes_worth_and_whoever_waits_as_told_passes(per_minute: int, pauses_ms: list[int]) -> None:
    clock = ManualClock()
    gate = Turnstile(per_minute, clock, PROXIES, "orders")
    one, passed_ms = asking("192.0.2.7"), list[int]()
    for pause_ms in pauses_ms:
        clock.advance(ms=pause_ms)
        try:
            with gate.passing(one):
                passed_ms.append(clock.now_ms())
        except RateLimited as refusal:
            clock.advance(seconds=refusal.retry_after_seconds)
            assert passes(gate, one)
            passed_ms.append(clock.now_ms())
    for at_ms in passed_ms:
        assert sum(at_ms - MINUTE_MS < each <= at_ms for each in passed_ms) <= 2 * per_minute


@pytest.mark.fault("E02", "E14")
def test_each_address_has_its_own_and_nobody_can_pretend_to_be_another() -> None:
    gate = Turnstile(1, ManualClock(), PROXIES, "orders")
    assert passes(gate, asking("192.0.2.7"))
    assert not passes(gate, asking("192.0.2.7", "203.0.113.9")), "a claim of the client's own"
    assert passes(gate, asking("192.0.2.8"))
    assert passes(gate, asking("10.0.0.1", "203.0.113.9"))
    assert not passes(gate, asking("10.0.0.1", "198.51.100.1, 203.0.113.9"))
    assert passes(gate, asking("2001:db8:1:2::1"))
    assert not passes(gate, asking("2001:db8:1:2:ffff::9")), "a customer of a network has all of these"
    assert passes(gate, asking("2001:db8:1:3::1"))


def test_what_comes_to_nothing_does_not_count() -> None:
    gate = Turnstile(1, ManualClock(), PROXIES, "orders")
    one = asking("192.0.2.7")
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), gate.passing(one):
            raise ZeroDivisionError
    assert [passes(gate, one) for _ in range(2)] == [True, False]


def test_zero_lets_everybody_pass() -> None:
    gate = Turnstile(0, ManualClock(), PROXIES, "orders")
    assert all(passes(gate, asking("192.0.2.7")) for _ in range(1_000))


def test_a_clock_that_is_put_back_locks_nobody_out_for_longer_than_a_minute() -> None:
    clock = ManualClock()
    gate = Turnstile(60, clock, PROXIES, "orders")
    one = asking("192.0.2.7")
    assert passes(gate, one)
    clock.advance(seconds=-86_400)
    passes(gate, one)
    clock.advance(seconds=2)
    assert passes(gate, one)


def test_the_addresses_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "ADDRESSES_MAX", 3)
    gate = Turnstile(1, ManualClock(), PROXIES, "orders")
    for last in range(1, 5):
        assert passes(gate, asking(f"192.0.2.{last}"))
    assert not passes(gate, asking("192.0.2.4"))
    assert len(gate._clear_at) == 3
