"""The arithmetic of trust: tiers by score, and what absence leaves. What is kept of it is in tests/contract/test_identity.py."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timmy.app.house import job_rules
from timmy.identity import Tier
from timmy.identity.trust import DAY_MS, Terms
from timmy.money import Msats
from timmy.settings import Settings

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


@pytest.mark.fault("E04")
@given(st.lists(st.integers(1, 50_000), max_size=60))
def test_a_score_grows_with_the_sats_that_were_paid_and_not_with_the_number_of_jobs(paid_msat: list[int]) -> None:
    score = weighed = 0
    for msat in paid_msat:
        step, weight = TERMS.earned(weighed, Msats(msat))
        score, weighed = score + step, weighed + weight
    whole = TERMS.whole_at.value
    assert weighed == sum(min(msat, whole) for msat in paid_msat)
    assert score == max(TERMS.success * weighed // whole, 1 if paid_msat else 0)


@pytest.mark.parametrize(("whole_at", "success", "paid", "step"), [(0, 2, 1, 2), (0, 2, 0, 0), (10_000, 0, 1, 0), (10_000, 2, 0, 0)])
def test_what_costs_nothing_adds_nothing_and_without_a_weight_everything_counts_whole(
    whole_at: int, success: int, paid: int, step: int
) -> None:
    assert replace(TERMS, whole_at=Msats(whole_at), success=success).earned(0, Msats(paid))[0] == step


@pytest.mark.fault("E04")
def test_no_tier_costs_less_than_a_day_of_it_gives() -> None:
    """As Timmy comes: whoever farms trust has paid for the first day's gifts beforehand."""
    rules = job_rules(Settings.load({}, dotenv=None))
    for tier in (Tier.ESTABLISHED, Tier.TRUSTED, Tier.ELITE):
        score = weighed = paid_msat = 0
        while rules.trust.tier(score) is not tier:
            step, weight = rules.trust.earned(weighed, Msats(777))
            score, weighed, paid_msat = score + step, weighed + weight, paid_msat + 777
        assert Msats(paid_msat) >= rules.giving.budget(tier)


def test_without_decay_nothing_fades() -> None:
    forever = Terms(established=10, trusted=50, elite=200, success=2, setback=1, decay_after_days=0, decay_per_day=0)
    assert forever.faded(100, 0, 10_000 * DAY_MS) == 100
