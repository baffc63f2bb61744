"""Payments that belonged to nothing: each finds its place once, by two entries in the books, and none is lost on the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.contract.payout_counter import Counter, counter

from timmy.db import Tx
from timmy.errors import Refusal
from timmy.ledger import chart
from timmy.ledger.commit import available_all
from timmy.lightning import invoices, strays
from timmy.lightning.invoices import Report
from timmy.lightning.payouts import Leave
from timmy.lightning.strays import NoSuchStray, StrayAllocated
from timmy.money import Msats, Sats

__all__ = ["counter"]

HASH = "ab" * 32
SUBJECT = strays.subject_of(HASH)
AMOUNT = Sats(70)
WHY = "the customer wrote"


@pytest.fixture
async def found(counter: Counter) -> Counter:
    await counter.db.write(invoices.settle_all, [Report(HASH, AMOUNT.msats, 5)], {})
    return counter


async def sats(counter: Counter, *accounts: str) -> list[int]:
    have = await counter.db.read(available_all, accounts)
    return [have[account].floor_sats().value for account in accounts]


async def refused(counter: Counter, asking: Any, kind: type[Refusal]) -> None:
    before = await counter.books()
    with pytest.raises(kind):
        await asking
    assert await counter.books() == before


async def state(counter: Counter) -> str:
    (stray,) = await counter.db.read_slowly(strays.listed)
    assert (stray.payment_hash, stray.amount, stray.at_ms) == (HASH, AMOUNT.msats, 5)
    return stray.state


@pytest.mark.fault("A07")
async def test_it_is_paid_back_once_to_whom_it_belongs(found: Counter) -> None:
    assert await state(found) == "unallocated"
    assert await found.db.write(strays.owe, HASH, 6) == await found.db.write(strays.owe, HASH, 7) == SUBJECT
    assert await state(found) == "owed"
    assert await sats(found, chart.UNALLOCATED, chart.owed(SUBJECT)) == [0, 70]
    paying = found.paying.with_leave(Leave(WHY))
    payout = await paying.to_invoice(chart.owed(SUBJECT), SUBJECT, await found.invoice(AMOUNT))
    await refused(found, found.db.write(strays.owe, HASH, 8), StrayAllocated)
    await refused(found, found.db.write(strays.book, HASH, WHY, 8), StrayAllocated)
    await found.work()
    assert (await found.payout(SUBJECT)).id == payout.id
    assert await found.received() == AMOUNT
    assert await state(found) == "allocated"


@pytest.mark.fault("A07", "A20")
async def test_it_is_booked_as_earned_once_with_its_reason(found: Counter) -> None:
    assert await found.db.write(strays.book, HASH, WHY, 6) == AMOUNT.msats
    assert await sats(found, chart.UNALLOCATED, chart.owed(SUBJECT), chart.REVENUE) == [0, 0, 70]
    assert await found.db.read(ids_of_transfers) == [f"stray/{HASH}", f"{SUBJECT}/booked: {WHY}", f"{SUBJECT}/found"]
    for again in (WHY, "another reason"):
        await refused(found, found.db.write(strays.book, HASH, again, 7), StrayAllocated)
    await refused(found, found.db.write(strays.give, HASH, "job_1", WHY, 7), StrayAllocated)


@pytest.mark.fault("A07")
async def test_it_is_owed_to_the_job_that_it_was_meant_for(found: Counter) -> None:
    assert await found.db.write(strays.give, HASH, "job_1", WHY, 6) == AMOUNT.msats
    await refused(found, found.db.write(strays.give, HASH, "job_2", WHY, 7), StrayAllocated)
    await found.claim(await found.invoice(AMOUNT))
    await found.work()
    assert await found.received() == AMOUNT


async def test_many_decisions_at_once_are_one(found: Counter) -> None:
    decisions = [found.db.write(strays.give, HASH, f"job_{n}", WHY, n) for n in range(5)]
    decisions += [found.db.write(strays.book, HASH, f"{n}", n) for n in range(5)]
    outcomes = await asyncio.gather(*decisions, return_exceptions=True)
    assert sum(isinstance(outcome, Msats) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, StrayAllocated) for outcome in outcomes) == 9


async def test_what_never_arrived_cannot_be_given(found: Counter) -> None:
    await refused(found, found.db.write(strays.book, "cd" * 32, WHY, 6), NoSuchStray)


def ids_of_transfers(tx: Tx) -> list[str]:
    return sorted(row["id"] for row in tx.all("SELECT id FROM transfers"))
