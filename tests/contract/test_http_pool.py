"""The pool and estimates over HTTP, in a whole house: what is shown adds up, and looking changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.contract.real_house import House, Person, open_house

from timmy.db import Tx
from timmy.generosity import pool, store
from timmy.ledger import Code, Move, chart, commit
from timmy.money import Sats

TEXT = {"request": "Why is the sky blue?"}
LOOKS = 300


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, background=False) as found:
        await found.app.db.write(pool.seed, Sats(10_000).msats, found.clock.now_ms())
        yield found


def reasons(shown: Any) -> list[str]:
    return [each["code"] for each in shown["whyNot"]]


async def test_the_pool_is_shown_to_everybody(house: House) -> None:
    shown = await house.get("/api/pool")
    assert (shown["balanceSats"], shown["availableSats"], shown["reservedSats"]) == (10_000, 10_000, 0)
    assert (shown["earnedSats"], shown["givenSats"], shown["today"]["givenSats"]) == (0, 0, 0)
    assert shown["dailyBudgets"] == {"new": 0, "established": 50, "trusted": 200, "elite": 1_000}
    assert reasons(shown) == ["anonymous", "no_budget", "used_up"]


async def test_a_frozen_pool_and_an_empty_one_say_so(house: House, tmp_path: Path) -> None:
    await house.app.db.write(store.freeze, "a strange key", house.clock.now_ms())
    assert reasons(await house.get("/api/pool"))[0] == "frozen"
    assert "a strange key" not in str(await house.get("/api/pool")), "why is the operator's business"
    assert "frozen" in (await house.post("/api/estimate", TEXT))["identity"]["free_tier"]["why"]
    async with open_house(tmp_path / "poor", background=False) as poor:
        assert reasons(await poor.get("/api/pool"))[0] == "empty"


async def test_an_estimate_is_the_price_that_a_job_gets(house: House) -> None:
    shown = await house.post("/api/estimate", TEXT)
    assert shown["estimatedSats"] == shown["pricingBreakdown"]["amountSats"] > 0
    assert shown["estimatedCostUsd"] == shown["pricingBreakdown"]["estimatedCostUsd"]
    assert shown["tokenEstimate"]["input"] == shown["pricingBreakdown"]["estimatedInputTokens"]
    assert (shown["btcPriceUsd"], shown["btcPriceSource"], shown["evalFeeSats"]) == (100_000, "fallback", 10)
    assert shown["pool"] == {"balanceSats": 10_000, "availableSats": 10_000, "dailyBudgets": (await house.get("/api/pool"))["dailyBudgets"]}
    assert await house.get("/api/estimate?request=Why%20is%20the%20sky%20blue%3F") == shown
    assert await house.get("/api/estimate?request=Why+is+the+sky+blue%3F&model=timmy-demo") == shown


async def test_an_estimate_says_what_would_be_free_for_whom(house: House) -> None:
    alice = Person()
    token = await alice.log_in(house)
    price = (await house.post("/api/estimate", TEXT))["estimatedSats"]

    async def served() -> tuple[str, int, int]:
        given = (await house.post("/api/estimate", TEXT, x_nostr_token=token))["identity"]["free_tier"]
        return given["serve"], given["absorbSats"], given["chargeSats"]

    assert await served() == ("gate", 0, price)
    await house.has_earned(alice, 10)
    assert await served() == ("free", price, 0)

    def almost_empty(tx: Tx) -> None:
        commit(tx, house.clock.now_ms(), Move("drain", chart.POOL, chart.OPERATOR, Sats(10_000 - price + 1).msats, Code.POOL_TOP_UP))

    await house.app.db.write(almost_empty)
    assert await served() == ("partial", price - 1, 1)


async def test_however_often_somebody_asks_nothing_has_changed(house: House) -> None:
    alice = Person()
    token = await alice.log_in(house)
    await house.has_earned(alice, 50)
    before = await house.rows()
    for _ in range(LOOKS // 6):
        await asyncio.gather(
            house.post("/api/estimate", TEXT, x_nostr_token=token),
            house.post("/api/estimate", {**TEXT, "nostr_token": token}),
            house.post("/api/estimate", TEXT),
            house.get("/api/estimate?request=Why", x_nostr_token=token),
            house.get("/api/pool"),
            house.get("/api/identity/me", x_nostr_token=token),
        )
    assert await house.rows() == before


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 422, "request_missing"),
        ("?request=", 422, "request_empty"),
        ("?request=%20%0a", 422, "request_empty"),
        ("?request=" + "x" * 501, 422, "request_too_long"),
        ("?request=x&request=y", 422, "field_repeated"),
        ("?request=x&nostr_token=y", 422, "field_unknown"),
        ("?request=x&modell=y", 422, "field_unknown"),
        ("?request=x&model=", 422, "field_empty"),
        ("?request=x&model=" + "m" * 201, 422, "field_too_long"),
        ("?request=x&model=gpt-nonsense", 400, "unknown_model"),
        ("?request=a%00b", 422, "text_invalid"),
    ],
)
async def test_each_way_to_ask_wrongly_has_a_code_of_its_own(house: House, query: str, status: int, code: str) -> None:
    assert (await house.get(f"/api/estimate{query}", status=status))["code"] == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "request_missing"),
        ({"request": 1}, "request_wrong_type"),
        ({"request": "x", "model": 1}, "field_wrong_type"),
        ({"request": "x", "nostr_token": 1}, "field_wrong_type"),
        ({"request": "x", "identity": "me"}, "field_unknown"),
    ],
)
async def test_a_body_is_as_strict(house: House, body: dict[str, Any], code: str) -> None:
    assert (await house.post("/api/estimate", body, status=422))["code"] == code
