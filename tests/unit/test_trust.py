"""The arithmetic of trust: tiers by score, and what absence leaves. What is kept of it is in tests/contract/test_identity.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timmy.identity import Tier
from timmy.identity.trust import DAY_MS, Terms

TERMS = Terms(established=10, trusted=50, elite=200, success=2, setback=1, decay_after_days=30, decay_per_day=1)
SCORES = st.integers(0, 1_000)
MOMENTS = st.integers(0, 400 * DAY_MS)


@pytest.mark.parametrize(
    ("score", "tier", "then"),
    [
        (0, Tier.NEW, (Tier.ESTABLISHED, 10)),
        (9, Tier.NEW, (Tier.ESTABLISHED, 10)),
        (10, Tier.ESTABLISHED, (Tier.TRUSTED, 50)),
        (49, Tier.ESTABLISHED, (Tier.TRUSTED, 50)),
        (50, Tier.TRUSTED, (Tier.ELITE, 200)),
        (199, Tier.TRUSTED, (Tier.ELITE, 200)),
        (200, Tier.ELITE, None),
        (10**9, Tier.ELITE, None),
    ],
)
def test_a_tier_begins_at_its_score_and_the_next_is_named(score: int, tier: Tier, then: tuple[Tier, int] | None) -> None:
    assert TERMS.tier(score) is tier
    assert TERMS.next_tier(score) == then


@pytest.mark.parametrize(
    ("away_ms", "left"),
    [
        (0, 100),
        (30 * DAY_MS, 100),
        (31 * DAY_MS - 1, 100),
        (31 * DAY_MS, 99),
        (40 * DAY_MS, 90),
        (130 * DAY_MS, 0),
        (10_000 * DAY_MS, 0),
    ],
)
def test_a_score_fades_by_whole_days_after_the_days_of_grace_and_never_below_nothing(away_ms: int, left: int) -> None:
    assert TERMS.faded(100, 0, away_ms) == left


def test_a_clock_that_went_backwards_takes_nothing_and_gives_nothing() -> None:
    assert TERMS.faded(100, 365 * DAY_MS, 0) == 100


@given(SCORES, MOMENTS, MOMENTS)
def test_who_is_away_longer_never_has_more(score: int, one: int, other: int) -> None:
    assert TERMS.faded(score, 0, max(one, other)) <= TERMS.faded(score, 0, min(one, other)) <= score


def test_without_decay_nothing_fades() -> None:
    forever = Terms(established=10, trusted=50, elite=200, success=2, setback=1, decay_after_days=0, decay_per_day=0)
    assert forever.faded(100, 0, 10_000 * DAY_MS) == 100
