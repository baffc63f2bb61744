"""What each ending of a request costs the customer, the pool and the house; and how the pool helps in sessions. On both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
from tests.contract.session_house import ALICE, DEPOSIT, TERMS, House, at_home

from timmy import events, generosity
from timmy.clock import ManualClock
from timmy.db import Database, Row, Tx
from timmy.generosity import day_of
from timmy.generosity import store as generosity_store
from timmy.identity import trust
from timmy.ledger import chart
from timmy.models import Usage
from timmy.money import Msats, Sats
from timmy.sessions import RequestState, SessionState
from timmy.sessions.refusals import InsufficientBalance

JUDGED, DONE = 2_100, 3_570  # millisats: the judging, and both
ALL = -1  # all that was held
POOL_CREDIT_BP = TERMS.pool_credit_bp


@pytest.fixture
async def house(db: Database, clock: ManualClock) -> AsyncIterator[House]:
    async for house in at_home(db, clock):
        yield house


@dataclass(frozen=True, slots=True)
class Ending:
    judge: str
    work: str
    state: RequestState
    charged_msat: int
    setback: bool = False  # the customer's key learns that it failed


COMPLETE, REJECTED, FAILED = RequestState.COMPLETE, RequestState.REJECTED, RequestState.FAILED
ENDINGS = {
    "done": Ending("yes", "done", COMPLETE, DONE),
    "dear": Ending("yes", "dear", COMPLETE, ALL),
    "declined": Ending("no", "done", REJECTED, JUDGED, setback=True),
    "judge_unclear": Ending("unclear", "done", FAILED, 0),
    "judge_down": Ending("down", "done", FAILED, 0),
    "judge_refuses": Ending("refuses", "done", FAILED, 0, setback=True),
    "judge_locked_out": Ending("locked_out", "done", FAILED, 0),
    "judge_breaks": Ending("bug", "done", FAILED, 0),
    "work_down": Ending("yes", "down", FAILED, 0),
    "work_refused": Ending("yes", "refuses", FAILED, 0, setback=True),
    "work_locked_out": Ending("yes", "locked_out", FAILED, 0),
    "work_empty": Ending("yes", "empty", FAILED, 0, setback=True),
    "work_breaks": Ending("yes", "bug", FAILED, 0),
}
POOLS = {"nothing": Sats(0), "a_part": Sats(2), "all": Sats(10_000)}


@pytest.mark.fault("A01", "A02", "A18", "A19", "D17", "D18", "D24", "E16")
@pytest.mark.parametrize("given", POOLS)
@pytest.mark.parametrize("name", ENDINGS)
async def test_each_ending_costs_everyone_what_the_table_says(sqlite_db: Database, clock: ManualClock, name: str, given: str) -> None:
    async for house in at_home(sqlite_db, clock):
        await ends_as_promised(house, ENDINGS[name], POOLS[given])


@pytest.mark.parametrize("name", ENDINGS)
async def test_each_ending_that_the_pool_helps_with_costs_the_same_on_both_databases(house: House, name: str) -> None:
    await ends_as_promised(house, ENDINGS[name], POOLS["a_part"])


async def ends_as_promised(house: House, ending: Ending, pool_holds: Sats) -> None:
    pool_held = pool_holds.msats.value
    await house.pool_holds(pool_holds)
    view = await house.opened(pubkey=await house.known(score=60))
    house.agent.judge, house.agent.work = ending.judge, ending.work
    answer = await house.ask(view)
    assert (answer.state, answer.result is not None) == (ending.state, ending.state is COMPLETE)
    assert (answer.reason is None) == (ending.state is COMPLETE)
    held = answer.cost.reserved.value if answer.cost else 0
    charged = held if ending.charged_msat == ALL else ending.charged_msat
    absorbed = min(charged, pool_held)
    debited = charged - absorbed
    share = debited * POOL_CREDIT_BP // 10_000
    assert (answer.absorbed.value, answer.debited.value, answer.free_tier) == (absorbed, debited, absorbed > 0)
    books = await house.books()
    assert books[chart.session(view.id)] == (DEPOSIT.msats.value - debited, 0), "the customer pays their part, and nothing stays held"
    assert books.get(chart.POOL, (0, 0)) == (pool_held - absorbed + share, 0), "the pool gives what it absorbs, and gets its share"
    assert books.get(chart.REVENUE, (0, 0)) == (charged - share, 0), "the house gets the rest"
    assert chart.HOUSE_LOSS not in books
    today = chart.allowance(ALICE, day_of(house.clock.now_ms()))
    assert await house.balance(today) == Msats(Sats(200).msats.value - absorbed), "the day's budget shrinks by what was absorbed"
    assert [row["absorbed_msat"] for row in await house.db.read(_grants)] == ([absorbed] if absorbed else [])
    earned, _ = TERMS.trust.earned(0, Msats(debited))
    learned = earned if ending.state is COMPLETE else -TERMS.trust.setback if ending.setback else 0
    assert await score(house) == 60 + learned


async def score(house: House) -> int:
    return (await house.db.read(trust.standings, [ALICE], TERMS.trust, house.clock.now_ms()))[ALICE].score


def _grants(tx: Tx) -> list[Row]:
    return tx.all("SELECT * FROM grants ORDER BY id")


async def test_a_request_that_takes_a_session_below_the_minimum_says_so(house: House) -> None:
    view = await house.paid(await house.sessions.open(DEPOSIT), received=Sats(28))
    seen = await house.db.read(events.last)
    house.agent.work = "dear"
    answer = await house.ask(view)
    assert answer.balance_remaining < TERMS.minimum_balance.msats
    assert (await house.sessions.view(view.id)).state is SessionState.PAUSED
    told = await house.db.read(events.of_subject, view.id, seen)
    assert [event.kind for event in told] == ["balance", "state"]
    assert told[0].body["requestId"] == answer.id


# the pool in sessions --------------------------------------------------------------------------------


async def test_what_the_pool_covers_in_full_debits_nothing(house: House) -> None:
    await house.pool_holds(Sats(10_000))
    view = await house.opened(pubkey=await house.known())
    assert view.trust_tier == "trusted"
    answers = [await house.ask(view) for _ in range(3)]
    assert [(answer.debited.value, answer.absorbed.value) for answer in answers] == [(0, DONE)] * 3
    assert (await house.sessions.view(view.id)).balance == DEPOSIT.msats


@pytest.mark.fault("E03")
@pytest.mark.parametrize(("pubkey", "score"), [(None, 0), (ALICE, 0), (ALICE, 9)])
async def test_the_anonymous_and_the_new_pay_in_full_and_leave_no_trace_at_the_pool(house: House, pubkey: str | None, score: int) -> None:
    await house.pool_holds(Sats(10_000))
    if pubkey and score:
        await house.known(pubkey, score)
    answer = await house.ask(await house.opened(pubkey=pubkey))
    assert (answer.debited.value, answer.absorbed.value, answer.free_tier) == (DONE, 0, False)
    assert [account for account in await house.books() if account.startswith("allowance/")] == []


async def test_a_frozen_pool_gives_nothing_and_gives_again_when_it_is_thawed(house: House) -> None:
    await house.pool_holds(Sats(10_000))
    view = await house.opened(pubkey=await house.known())
    await house.db.write(generosity_store.freeze, "a test", house.clock.now_ms())
    assert (await house.ask(view)).absorbed == Msats(0)
    await house.db.write(generosity_store.thaw)
    assert (await house.ask(view)).absorbed.value == DONE
    await house.db.write(generosity_store.freeze, "a test", house.clock.now_ms())
    assert (await house.ask(view)).absorbed == Msats(0)


@pytest.mark.fault("B19", "E23")
async def test_a_key_gets_its_days_budget_and_no_more_however_many_requests_it_makes_at_once(db: Database, clock: ManualClock) -> None:
    terms = replace(TERMS, gifts=generosity.Terms({"trusted": Sats(50).msats}))
    house = House(db, clock, terms)
    await house.pool_holds(Sats(10_000))
    await house.known()
    house.agent.work_usage = Usage(150, 600)  # a good deal of what is held for it
    views = [await house.opened(Sats(5_000), pubkey=ALICE) for _ in range(2)]
    answers = await asyncio.gather(*(house.ask(view) for view in views for _ in range(30)))
    absorbed = sum(answer.absorbed.value for answer in answers)
    used = Sats(50).msats.value
    assert absorbed <= used
    while (answer := await house.ask(views[0])).absorbed:
        absorbed += answer.absorbed.value
    assert absorbed == used, "to the last millisat, and not one more"
    assert sum(row["absorbed_msat"] for row in await house.db.read(_grants)) == absorbed
    clock.advance(seconds=86_400)
    assert (await house.ask(views[0])).absorbed, "a new day has a new budget"
    await house.aclose()
    await house.check()


@pytest.mark.fault("F11")
async def test_a_gift_that_outlives_midnight_stays_in_its_day(house: House) -> None:
    await house.pool_holds(Sats(10_000))
    view = await house.opened(pubkey=await house.known())
    before = day_of(house.clock.now_ms())
    house.agent.gate = asyncio.Event()
    asking = asyncio.create_task(house.ask(view))
    while not house.agent.calls["work"]:
        await asyncio.sleep(0.01)
    house.clock.advance(seconds=86_400)
    house.agent.gate.set()
    assert (await asking).absorbed.value == DONE
    grant = (await house.db.read(_grants))[0]
    assert grant["day"] == before
    assert await house.balance(chart.allowance(ALICE, before)) == Msats(Sats(200).msats.value - DONE)


async def test_a_tier_that_rises_within_a_day_brings_its_budget_at_once(house: House) -> None:
    await house.pool_holds(Sats(10_000))
    view = await house.opened(pubkey=await house.known(score=10))
    await house.ask(view)
    today = chart.allowance(ALICE, day_of(house.clock.now_ms()))
    assert await house.balance(today) == Msats(Sats(50).msats.value - DONE)
    await house.known(score=50)
    await house.ask(view)
    assert await house.balance(today) == Msats(Sats(200).msats.value - 2 * DONE)


@pytest.mark.fault("E01")
async def test_a_refusal_reserves_nothing_at_the_pool(house: House) -> None:
    await house.pool_holds(Sats(2))
    view = await house.paid(await house.sessions.open(Sats(100), pubkey=await house.known()), received=Sats(21))
    assert view.state is SessionState.ACTIVE
    long = "Write an essay about the sea, in 2000 words."
    with pytest.raises(InsufficientBalance):
        await house.ask(view, long)  # this one opens the day; what may be used of it is no money, and all of it is still there
    await house.refused(house.ask(view, long), InsufficientBalance)
    assert (await house.books())[chart.POOL] == (2_000, 0)
