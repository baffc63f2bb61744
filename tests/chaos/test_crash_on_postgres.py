"""The same as test_crash_everywhere.py, on PostgreSQL: fewer points in the short run, all of them in the long one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.endings import ENDINGS, Ending
from tests.chaos.grid import HEAVY, PostgresShop, Seen, Tally, chosen, crash_at_each, crash_twice, pairs
from tests.chaos.lives import live_through

pytestmark = [pytest.mark.fault("C03", "C08", "C12", "C13", "C14", "D04", "D09")]
STRIDE_MAIN, STRIDE = 60, 240
SAMPLES_MIN = 2  # of the endings that differ in what is decided: SQLite's have more
PAIRS_STEP = 5 if HEAVY else 800

SEEN = Seen()
POINTS: dict[str, list[str]] = {}


@pytest.fixture
def shop(postgres_url: str) -> Iterator[PostgresShop]:
    shop = PostgresShop(postgres_url)
    yield shop
    shop.close()


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")


async def all_points(shop: PostgresShop, ending: Ending) -> list[str]:
    """Of its life without a crash, lived once: it is the same each time."""
    if ending.name not in POINTS:
        POINTS[ending.name] = (await live_through(await shop.empty(), ending)).points[0]
    return POINTS[ending.name]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.name)
async def test_a_crash_anywhere_changes_nothing_about_the_end(shop: PostgresShop, ending: Ending) -> None:
    tally = Tally()
    points = await all_points(shop, ending)
    first, stride = (1, 1) if HEAVY else (SEEN.news(points), STRIDE_MAIN if ending.main else STRIDE)
    await crash_at_each(shop, ending, chosen(len(points), first, stride, SAMPLES_MIN), tally)
    assert tally.states == {ending.state.value}


@pytest.mark.parametrize("ending", [ending for ending in ENDINGS if HEAVY or ending.main], ids=lambda ending: ending.name)
async def test_two_crashes_change_no_more_than_one(shop: PostgresShop, ending: Ending) -> None:
    tally = Tally()
    points = await all_points(shop, ending)
    await crash_twice(shop, ending, pairs(len(points), PAIRS_STEP), tally)
    assert tally.states == {ending.state.value}
