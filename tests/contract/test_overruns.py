"""Work that came to more than was set aside for it: the house pays the rest, and the log says so, with no word of the customer's in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import pytest
from structlog.testing import capture_logs
from tests.contract.session_house import House, at_home

from timmy.clock import ManualClock
from timmy.db import Database
from timmy.jobs import Workshop
from timmy.models import Completion, Finish, Usage
from timmy.money import NanoUsd
from timmy.pricing import BtcPrice, Rate, make_quote

QUOTE = make_quote(
    model="m", rate=Rate(3_000_000_000, 15_000_000_000, 0), btc=BtcPrice(10_000_000, "fallback", 0), margin_bp=0, infra=NanoUsd(0),
    input_tokens=1_000, output_tokens=1_000,
)  # fmt: skip


def finished(usage: Usage) -> tuple[int, list[int]]:
    """What is charged, and by how much the log says that it was too little."""
    workshop = cast(Workshop, SimpleNamespace(_terms=SimpleNamespace(pool_credit_bp=0)))
    with capture_logs() as said:
        done = Workshop._finished(workshop, Completion("words of the customer", usage, Finish.STOP), QUOTE)
    assert "words" not in str(said)
    return done.charge.value, [line["over_msat"] for line in said if line["event"] == "jobs.overrun"]


@pytest.mark.fault("A02")
def test_a_job_that_cost_more_than_its_price_is_seen() -> None:
    price_msat = QUOTE.price.msats.value
    assert finished(Usage(1_000, 1_000)) == (18_000, [])
    assert finished(Usage(1_000, 2_000)) == (price_msat, [33_000 - price_msat])


@pytest.fixture
async def house(db: Database, clock: ManualClock) -> AsyncIterator[House]:
    async for house in at_home(db, clock):
        yield house


@pytest.mark.fault("A02")
async def test_a_session_request_that_cost_more_than_was_held_is_seen(house: House) -> None:
    session = await house.opened()
    with capture_logs() as usual:
        await house.ask(session)
    house.agent.work = "dear"
    with capture_logs() as said:
        answered = await house.ask(session)
    assert [line["event"] for line in usual if "overrun" in line["event"]] == []
    (over,) = [line["over_msat"] for line in said if line["event"] == "sessions.overrun"]
    assert over > answered.debited.value
