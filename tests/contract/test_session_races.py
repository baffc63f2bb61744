"""Many at once on one session, one key, one pool; several houses on one database. On both databases."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.contract.session_house import ALICE, DEPOSIT, House, at_home

from timmy.clock import ManualClock
from timmy.db import Database, open_database
from timmy.idempotency import Key
from timmy.ledger import chart
from timmy.money import Msats, Sats
from timmy.sessions import RequestState, RequestView, SessionView, store
from timmy.sessions.begin import REAP_AFTER_MS
from timmy.sessions.protocol import ToInvoice

COST = 3_570
BODY = "0" * 64


@pytest.fixture
async def house(db: Database, clock: ManualClock) -> AsyncIterator[House]:
    async for house in at_home(db, clock):
        yield house


@asynccontextmanager
async def second_house(house: House, url: str) -> AsyncIterator[House]:
    """Another process, as far as the database can tell."""
    db = open_database(url)
    other = House(db, house.clock)
    try:
        yield other
    finally:
        await other.aclose()
        await db.aclose()


def named(outcomes: list[object]) -> Counter[str]:
    return Counter(type(outcome).__name__ for outcome in outcomes)


@pytest.mark.fault("B02", "B14")
async def test_two_hundred_requests_at_once_on_one_session_spend_no_more_than_it_has(house: House) -> None:
    view = await house.opened(DEPOSIT)
    house.agent.gate = asyncio.Event()  # all of them hold what they hold, until nobody else can begin
    asking = [asyncio.create_task(house.ask(view)) for _ in range(200)]
    while sum(task.done() for task in asking) + house.agent.calls["work"] < 200:
        await asyncio.sleep(0.02)
    running = await house.sessions.view(view.id)
    assert running.held <= running.balance
    house.agent.gate.set()
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    done = [outcome for outcome in outcomes if isinstance(outcome, RequestView)]
    assert named(list(outcomes)).keys() == {"RequestView", "InsufficientBalance"}
    assert done[0].cost is not None
    assert len(done) == DEPOSIT.msats.value // done[0].cost.reserved.value, "as many as it could hold, and not one fewer"
    assert (await house.sessions.view(view.id)).balance.value == DEPOSIT.msats.value - COST * len(done)


@pytest.mark.fault("B01", "B19")
async def test_a_pool_that_holds_so_many_requests_worth_serves_exactly_so_many_free(house: House) -> None:
    first = await house.ask(await house.opened())
    assert first.cost is not None
    worth = first.cost.reserved
    held = await house.balance(chart.POOL)
    await house.pool_holds(Sats(-(-worth.value * 5 // 1_000)))
    drained = (await house.balance(chart.POOL)).value
    keys = [f"{n:02x}" * 32 for n in range(1, 13)]
    views = [await house.opened(pubkey=await house.known(key, score=200)) for key in keys]
    house.agent.gate = asyncio.Event()
    asking = [asyncio.create_task(house.ask(view)) for view in views]
    while house.agent.calls["work"] < 1 + len(views):
        await asyncio.sleep(0.02)
    assert await house.balance(chart.POOL) == Msats(0), "to the last millisat, and never below"
    house.agent.gate.set()
    answers = await asyncio.gather(*asking)
    free = [answer for answer in answers if not answer.debited]
    assert len(free) == drained // worth.value + (drained % worth.value >= COST)
    absorbed = sum(answer.absorbed.value for answer in answers)
    shares = sum(answer.debited.value // 10 for answer in answers)
    assert (await house.balance(chart.POOL)).value == drained - absorbed + shares
    assert held.value == COST // 10


@pytest.mark.fault("B06")
async def test_a_key_that_comes_a_hundred_times_at_once_to_two_houses_is_one_request(house: House, database_url: str) -> None:
    view = await house.opened()
    async with second_house(house, database_url) as other:
        asking = [each.ask(view, key=Key("ask", BODY)) for each in (house, other) for _ in range(50)]
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert house.agent.calls["work"] + other.agent.calls["work"] == 1
        assert named(list(outcomes)).keys() <= {"RequestView", "RequestInProgress"}
        assert len({outcome.id for outcome in outcomes if isinstance(outcome, RequestView)}) == 1
        assert (await other.ask(view, key=Key("ask", BODY))).balance_remaining.value == DEPOSIT.msats.value - COST


@pytest.mark.fault("B04", "B05")
async def test_closing_asking_and_topping_up_at_once_lose_nothing(house: House, database_url: str) -> None:
    async with second_house(house, database_url) as other:
        for n in range(6):
            await _closing_meets_everything(house, other, n)
    await house.wallet_agrees()


async def _closing_meets_everything(house: House, other: House, n: int) -> None:
    view = await house.opened()
    topup = await house.sessions.topup(view.id, Sats(200))
    await house.customer.pay(topup.payment_request)
    permit = await house.permit(view)
    claims = [await house.customer.create_invoice(amount.msats) for amount in (DEPOSIT, DEPOSIT + Sats(200))]
    outcomes = await asyncio.gather(
        other.ask(view),
        house.sessions.close(permit, ToInvoice(claims[n % 2])),
        other.receiving.look(topup.payment_hash),
        house.ask(view),
        other.sessions.close(permit, ToInvoice(claims[1 - n % 2])),
        return_exceptions=True,
    )
    refusals = {"InvoiceAmountMismatch", "RequestsRunning", "PayoutInProgress", "SessionEnded", "NothingOwed"}
    assert named(list(outcomes)).keys() <= {"RequestView", "SessionView", "bool", *refusals}
    await house.receiving.look(topup.payment_hash)
    await house.worker.run_due()
    spent = sum(outcome.debited.value for outcome in outcomes if isinstance(outcome, RequestView))
    while left := await _claimable(house, view):
        await house.sessions.close(permit, ToInvoice(await house.customer.create_invoice(left.msats)))
        await house.worker.run_due()
    ended = await house.sessions.view(view.id)
    assert ended.refund.paid.msats + ended.balance == (DEPOSIT + Sats(200)).msats - Msats(spent)


async def _claimable(house: House, view: SessionView) -> Sats:
    now = await house.sessions.view(view.id)
    return now.refund.owed + now.balance.floor_sats()


@pytest.mark.fault("B09", "B10")
async def test_a_request_whose_house_is_silent_is_given_up_and_one_that_is_heard_of_is_not(house: House, database_url: str) -> None:
    view = await house.opened(pubkey=await house.known(ALICE))
    async with second_house(house, database_url) as other:
        other.agent.gate = asyncio.Event()
        asking = asyncio.create_task(other.ask(view))
        while not other.agent.calls["work"]:
            await asyncio.sleep(0.02)
        request_id = next(iter(other.sessions._running._alive))
        house.clock.advance(ms=REAP_AFTER_MS - 1)
        await other.db.write(store.hear, request_id, house.clock.now_ms())  # what its beat does
        house.clock.advance(ms=2)
        await house.worker.run_due()
        assert (await house.sessions.view(view.id)).held > Msats(0), "its owner was heard of a moment ago"
        house.clock.advance(ms=REAP_AFTER_MS)
        await other.worker.run_due()
        assert (await house.sessions.view(view.id)).held > Msats(0), "its owner itself does not give it up"
        house.clock.advance(ms=60_000)
        await house.worker.run_due()
        assert (await house.sessions.view(view.id)).held == Msats(0)
        other.agent.gate.set()  # the owner comes back, with an answer that nobody pays for any more
        answer = await asking
        assert (answer.state, answer.result, answer.debited) == (RequestState.FAILED, None, Msats(0))
        assert (await house.sessions.view(view.id)).balance == DEPOSIT.msats


@pytest.mark.fault("C23")
async def test_a_house_that_closes_lets_its_requests_end_and_gives_up_the_rest(house: House) -> None:
    quick, slow = await house.opened(), await house.opened()
    house.agent.gate = asyncio.Event()
    asking = [asyncio.create_task(house.ask(view)) for view in (quick, slow)]
    while house.agent.calls["work"] < 2:
        await asyncio.sleep(0.02)
    closing = asyncio.create_task(house.sessions.aclose(0.1))
    await closing
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert named(list(outcomes)) == {"CancelledError": 2}
    for view in (quick, slow):
        after = await house.sessions.view(view.id)
        assert (after.balance, after.held) == (DEPOSIT.msats, Msats(0))
