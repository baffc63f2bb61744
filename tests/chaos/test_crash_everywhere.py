"""Wherever the server dies, every job ends delivered, refunded or credited, the books close, and the ending costs what the table says.

On SQLite; test_crash_on_postgres.py does the same there. `python -m tests.chaos.heavy` leaves nothing out.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.endings import ENDINGS, Ending
from tests.chaos.grid import HEAVY, Seen, SqliteShop, Tally, chosen, crash_at_each, crash_twice, pairs
from tests.chaos.lives import Life, live_through

pytestmark = [
    pytest.mark.fault("A01", "A02", "A04", "A05", "A07", "A08", "A12", "A15"),
    pytest.mark.fault("C01", "C02", "C03", "C07", "C08", "C09", "C10", "C11", "C12", "C13", "C14"),
    pytest.mark.fault("D03", "D04", "D05", "D06", "D07", "D08", "D09", "D17", "D18", "D24"),
]
STRIDE = 16  # of the endings that are not main ones, in the short run
STRIDE_MAIN = 9  # of those that are
PAIRS_STEP = 3 if HEAVY else 200

SEEN = Seen()
WHOLE: dict[str, Life] = {}


@pytest.fixture(scope="module")
def shop() -> Iterator[SqliteShop]:
    shop = SqliteShop()
    yield shop
    shop.close()


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")


async def whole(shop: SqliteShop, ending: Ending) -> Life:
    """Its life without a crash, lived once: it is the same each time."""
    if ending.name not in WHOLE:
        WHOLE[ending.name] = await live_through(await shop.empty(), ending)
    return WHOLE[ending.name]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.name)
async def test_a_crash_anywhere_changes_nothing_about_the_end(shop: SqliteShop, ending: Ending) -> None:
    tally = Tally()
    points = (await whole(shop, ending)).points[0]
    first = 1 if HEAVY else SEEN.news(points)
    await crash_at_each(shop, ending, chosen(len(points), first, 1 if HEAVY else STRIDE_MAIN if ending.main else STRIDE), tally)
    assert tally.states == {ending.state.value}


@pytest.mark.parametrize("ending", [ending for ending in ENDINGS if HEAVY or ending.main], ids=lambda ending: ending.name)
async def test_two_crashes_change_no_more_than_one(shop: SqliteShop, ending: Ending) -> None:
    tally = Tally()
    points = (await whole(shop, ending)).points[0]
    await crash_twice(shop, ending, pairs(len(points), PAIRS_STEP), tally)
    assert tally.states == {ending.state.value}
    assert tally.crashes > tally.lives, "most of these lives have died twice"


async def test_the_customer_pays_in_the_books_what_the_table_says(shop: SqliteShop) -> None:
    costs = {ending.name: (await whole(shop, ending)).cost_msat for ending in ENDINGS}
    assert {name for name, cost in costs.items() if cost == 0} == {ending.name for ending in ENDINGS if ending.cost.__name__ == "nothing"}
    assert costs["judge_refuses"] == 0 < costs["rejected"] < costs["complete"] < costs["dear"]
