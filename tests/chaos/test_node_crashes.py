"""Wherever the server dies, every order of a node ends in one node or in its fee owed back, with nothing left at the cloud, and the key
reaches whoever ordered it and then nobody.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.grid import HEAVY, PostgresShop, SqliteShop, chosen, pairs
from tests.chaos.node_endings import NODE_ENDINGS, NodeEnding
from tests.chaos.node_lives import live_through
from timmy.bootstrap import machine

pytestmark = [pytest.mark.fault("C17", "C18", "C19", "D31", "D32", "G05", "A04", "A05", "A08")]
STRIDE_MAIN, STRIDE = (1, 1) if HEAVY else (53, 401)
PAIRS_STEP = 12 if HEAVY else 380


@pytest.fixture(scope="module")
def shop() -> Iterator[SqliteShop]:
    shop = SqliteShop()
    yield shop
    shop.close()


@pytest.fixture
def postgres_shop(postgres_url: str) -> Iterator[PostgresShop]:
    shop = PostgresShop(postgres_url)
    yield shop
    shop.close()


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")


@pytest.mark.parametrize("ending", NODE_ENDINGS, ids=lambda ending: ending.name)
async def test_a_crash_anywhere_changes_nothing_about_the_end(shop: SqliteShop, ending: NodeEnding) -> None:
    points = (await live_through(await shop.empty(), ending)).points[0]
    for at in chosen(len(points), 1, STRIDE_MAIN if ending.main else STRIDE):
        life = await live_through(await shop.empty(), ending, [at])
        assert life.crashes == 1, f"{ending.name}: nothing died at point {at}"


@pytest.mark.parametrize("ending", [ending for ending in NODE_ENDINGS if HEAVY or ending.main], ids=lambda ending: ending.name)
async def test_two_crashes_change_no_more_than_one(shop: SqliteShop, ending: NodeEnding) -> None:
    points = (await live_through(await shop.empty(), ending)).points[0]
    for both in pairs(len(points), PAIRS_STEP):
        await live_through(await shop.empty(), ending, both)


@pytest.mark.parametrize("ending", [ending for ending in NODE_ENDINGS if HEAVY or ending.main], ids=lambda ending: ending.name)
async def test_the_same_on_postgresql(postgres_shop: PostgresShop, ending: NodeEnding) -> None:
    points = (await live_through(await postgres_shop.empty(), ending)).points[0]
    for at in chosen(len(points), 1, 1 if HEAVY else 263):
        await live_through(await postgres_shop.empty(), ending, [at])


def test_every_row_of_the_table_and_every_end_is_lived() -> None:
    lived = {ending.state for ending in NODE_ENDINGS}
    assert lived == {to for to, _ in machine.TABLE.values() if to.is_final}
    assert len({ending.name for ending in NODE_ENDINGS}) == len(NODE_ENDINGS)
