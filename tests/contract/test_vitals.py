"""Those who watch: an audit holds nobody up, and sums that are asked for often do not read the whole history."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.contract.real_house import PATIENCE_SECONDS, SITE

from timmy import generosity
from timmy.app import build, vitals
from timmy.db import Answer, Database, Row, Tx
from timmy.generosity import store as gifts
from timmy.ledger import Check
from timmy.lightning import store
from timmy.models import ProviderDown
from timmy.models.builtin import BuiltinAgent
from timmy.settings import Settings
from timmy.web import Condition


class Away(BuiltinAgent):
    away = False

    async def check(self) -> None:
        if self.away:
            raise ProviderDown("The model is away.")


async def test_while_an_audit_takes_its_time_the_rest_of_the_house_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = threading.Event(), threading.Event()

    def long_audit(tx: Tx) -> list[Check]:
        begun.set()
        assert ended.wait(PATIENCE_SECONDS)
        return []

    monkeypatch.setattr(vitals, "quick_audit", long_audit)
    monkeypatch.setattr(vitals, "ASK_EVERY_SECONDS", 0)
    monkeypatch.setattr(vitals, "FIGURES_EVERY_SECONDS", 0.01)
    model = Away()
    given = {"DATA_DIR": str(tmp_path), "BTC_PRICE_SOURCES": "", "PUBLIC_URL": SITE}
    async with build(Settings.load(given, dotenv=None), provider=model) as app, asyncio.timeout(PATIENCE_SECONDS):
        assert await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
        model.away = True
        while next(part for part in (await app.vitals.health()).parts if part.name == "provider").condition is not Condition.DOWN:
            await asyncio.sleep(0.01)
        ended.set()


class Explained:
    """A `Tx` that asks how each statement would be done instead of doing it."""

    def __init__(self, tx: Tx, engine: str) -> None:
        self._tx, self._explain = tx, "EXPLAIN QUERY PLAN " if engine == "sqlite" else "EXPLAIN "
        self.plans: list[str] = []

    def run(self, sql: str, **params: object) -> int:
        raise AssertionError("these sums only read")

    def ask(self, sql: str, **params: object) -> Answer:
        raise AssertionError("these sums look at every answer at once")

    def one(self, sql: str, **params: object) -> Row | None:
        self.plans.append(" / ".join(str(row) for row in self._tx.all(self._explain + sql, **params)))
        return {"total_msat": 0, "msat": 0}

    def all(self, sql: str, **params: object) -> list[Row]:
        self.one(sql, **params)
        return []


SUMS: dict[str, Callable[[Tx], object]] = {
    "payouts_tried_at": lambda tx: store.out_since(tx, 1, besides="pay_x"),
    "payouts_live": store.leaving,
    "payouts_fee_not_told": store.fees_not_told,
    "transfers_pool_credit": gifts.credited,
    "grants_day": lambda tx: gifts.given_by_tier(tx, generosity.day_of(0)),
}


@pytest.mark.parametrize("index", SUMS)
async def test_a_sum_that_is_asked_for_often_reads_its_index(db: Database, index: str) -> None:
    def plans(tx: Tx) -> list[str]:
        if db.engine == "postgres":
            tx.one("SELECT set_config('enable_seqscan', 'off', true) AS x")  # so small a table would be read whole
        explained = Explained(tx, db.engine)
        SUMS[index](explained)
        return explained.plans

    (plan,) = await db.read(plans)
    assert index in plan, plan
