"""Sessions spent from with a preimage: joined, closed, raced for, and the server dead at any point of it. On both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest
from tests.chaos.grid import HEAVY, Shop, SqliteShop
from tests.chaos.world import Crash, Points
from tests.contract.session_house import PAYOUT_TERMS, House
from tests.contract.test_session_crashes import Cleared, started
from tests.contract.test_session_crashes import World as Mortal

from timmy.clock import ManualClock
from timmy.db import Database
from timmy.ids import system_random
from timmy.lightning.wallets.protocol import WalletDown
from timmy.money import Msats, Sats
from timmy.sessions import SessionState, SessionView, prepaid
from timmy.sessions.prepaid import PrepaidSessions
from timmy.sessions.protocol import Refunded, RefundStatus
from timmy.sessions.refusals import NotOpenYet, PaymentUsed, PrepaidClosed, PrepaidNotFound, RequestsRunning

DEPOSIT, TOPUP = Sats(1_000), Sats(300)
COST_MSAT = 3_570


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Payments are made when the test's own worker makes them: nobody waits for one."""
    monkeypatch.setattr(prepaid, "REFUND_PATIENCE_SECONDS", 0.0)


@pytest.fixture
async def house(db: Database, clock: ManualClock) -> AsyncIterator[House]:
    house = House(db, clock)
    await house.wallet.balance()
    yield house
    await house.aclose()
    await house.check()
    await house.wallet_agrees()


def paying(house: House, *, amountless: bool = True) -> PrepaidSessions:
    terms = replace(PAYOUT_TERMS, pays_amountless=amountless)
    return PrepaidSessions(house.db, house.clock, house.bell, system_random, house.sessions.keys, terms)


async def opened(house: House, desk: PrepaidSessions, amount: Sats = DEPOSIT) -> SessionView:
    view = await house.opened(amount)
    await desk.open(view.id, await house.customer.create_invoice(None, expiry_seconds=30 * 86_400))
    return view


async def test_an_unpaid_deposit_opens_nothing_and_tops_nothing_up(house: House) -> None:
    desk = paying(house)
    one, unpaid = await opened(house, desk), await house.sessions.open(TOPUP)
    back = await house.customer.create_invoice(None)
    await house.refused(desk.open(unpaid.id, back), NotOpenYet)
    await house.refused(desk.join(one.id, unpaid.id), NotOpenYet)
    await house.refused(desk.close(unpaid.id, "c"), PrepaidNotFound)


async def test_a_late_deposit_tops_up_all_the_same(house: House) -> None:
    desk = paying(house)
    one, late = await opened(house, desk), await house.sessions.open(TOPUP)
    house.clock.advance(seconds=700)
    await house.receiving.look(late.deposit.payment_hash)
    await house.paid(late)
    await desk.join(one.id, late.id)
    assert (await house.sessions.view(one.id)).balance == (DEPOSIT + TOPUP).msats


async def test_what_arrived_is_what_is_joined(house: House) -> None:
    """Too much or too little: the payment is what it is."""
    desk = paying(house)
    one = await opened(house, desk)
    for received in (Sats(7), Sats(900)):
        other = await house.paid(await house.sessions.open(TOPUP), received)
        before = (await house.sessions.view(one.id)).balance
        await desk.join(one.id, other.id)
        assert (await house.sessions.view(one.id)).balance == before + received.msats


async def test_a_deposit_that_is_spent_from_tops_up_with_what_is_left(house: House) -> None:
    desk = paying(house)
    one, other = await opened(house, desk), await house.opened(TOPUP)
    house.agent.gate = asyncio.Event()
    asking = asyncio.create_task(house.ask(other))
    while not house.agent.calls["work"]:
        await asyncio.sleep(0.01)
    await house.refused(desk.join(one.id, other.id), RequestsRunning)
    house.agent.gate.set()
    await asking
    await desk.join(one.id, other.id)
    left_msat = TOPUP.msats.value - COST_MSAT
    assert (await house.sessions.view(one.id)).balance == DEPOSIT.msats + Msats(left_msat // 1_000 * 1_000)
    assert (await house.sessions.view(other.id)).balance == Msats(left_msat % 1_000), "less than a sat stays where it is"
    assert (await house.sessions.view(other.id)).state is SessionState.EXPIRED


async def test_of_joins_into_two_sessions_at_once_one_counts(house: House) -> None:
    desk = paying(house)
    one, two, topup = await opened(house, desk), await opened(house, desk), await house.opened(TOPUP)
    joins = [desk.join(into.id, topup.id) for into in (one, two) for _ in range(4)]
    outcomes = await asyncio.gather(*joins, return_exceptions=True)
    assert {type(outcome).__name__ for outcome in outcomes} == {"NoneType", "PaymentUsed"}
    balances = [(await house.sessions.view(view.id)).balance for view in (one, two)]
    assert sorted(balances) == [DEPOSIT.msats, (DEPOSIT + TOPUP).msats]


async def test_a_session_cannot_top_itself_up_nor_one_that_is_none(house: House) -> None:
    desk = paying(house)
    one, other = await opened(house, desk), await house.opened(TOPUP)
    await house.refused(desk.join(one.id, one.id), PaymentUsed)
    await house.refused(desk.join(other.id, one.id), PaymentUsed)
    third = await house.opened(TOPUP)
    await house.refused(desk.join(third.id, other.id), PrepaidNotFound)


async def test_joined_and_closed_at_once_no_sat_is_lost(house: House) -> None:
    desk = paying(house)
    for _ in range(5):
        one, topup = await opened(house, desk), await house.opened(TOPUP)
        await asyncio.gather(desk.join(one.id, topup.id), desk.close(one.id, "c"), return_exceptions=True)
        refunded = await desk.close(one.id, "c")
        left = (await house.sessions.view(topup.id)).balance.floor_sats()
        assert refunded.amount + left == DEPOSIT + TOPUP


async def test_closing_pays_once_however_many_ask(house: House) -> None:
    desk = paying(house)
    one = await opened(house, desk)
    before = await house.customer.balance()
    outcomes = await asyncio.gather(*(desk.close(one.id, f"c{n % 3}") for n in range(12)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Refunded, PrepaidClosed}
    await house.worker.run_due()
    assert await house.customer.balance() == before + DEPOSIT.msats
    winner = next(n % 3 for n, outcome in enumerate(outcomes) if isinstance(outcome, Refunded))
    assert await desk.close(one.id, f"c{winner}") == Refunded(DEPOSIT, RefundStatus.SUCCEEDED)


async def test_a_wallet_that_needs_an_amount_leaves_the_rest_owed(house: House) -> None:
    desk = paying(house, amountless=False)
    one = await opened(house, desk)
    assert await desk.close(one.id, "c") == Refunded(DEPOSIT, RefundStatus.FAILED)
    assert (await house.sessions.view(one.id)).refund.owed == DEPOSIT


async def test_nothing_left_is_nothing_paid(house: House) -> None:
    desk = paying(house)
    one = await house.paid(await house.sessions.open(Sats(100)), Sats(0) + Sats(1))
    await desk.open(one.id, await house.customer.create_invoice(None))
    topup = await opened(house, desk)
    joined = await house.paid(await house.sessions.open(TOPUP))
    await desk.join(topup.id, joined.id)
    await house.refused(desk.close(joined.id, "c"), PrepaidNotFound)
    assert await desk.close(one.id, "c") == Refunded(Sats(1), RefundStatus.PENDING)


# dead at any point -----------------------------------------------------------------------------------


@dataclass
class World(Mortal):
    """`back`: the customer's return invoice, which outlives the server."""

    back: str = ""
    ids: list[str] = field(default_factory=list)


async def deposits(house: House, world: World) -> None:
    if not world.back:
        world.back = await house.customer.create_invoice(None, expiry_seconds=30 * 86_400)
    while len(world.ids) < 2:
        world.ids.append((await house.sessions.open((DEPOSIT, TOPUP)[len(world.ids)])).id)
    for id in world.ids:
        await house.paid(await house.sessions.view(id))


async def opens(house: House, world: World) -> None:
    await paying(house).open(world.ids[0], world.back)


async def joins(house: House, world: World) -> None:
    await paying(house).join(*world.ids)


async def closes(house: House, world: World) -> None:
    await paying(house).close(world.ids[0], "c")


async def pays_out(house: House, world: World) -> None:
    for _ in range(20):
        await house.worker.run_due()
        if (await paying(house).close(world.ids[0], "c")).status is RefundStatus.SUCCEEDED:
            return
        world.clock.advance(seconds=61)
    raise AssertionError("never paid out")


STEPS: tuple[Callable[[House, World], Awaitable[None]], ...] = (deposits, opens, joins, closes, pays_out)
MORTAL = (opens, joins, closes, pays_out)


async def lived(url: str, mortal: Callable[[House, World], Awaitable[None]], at: int | None) -> list[str]:
    """A whole life; the server dies at one point of one step. Answers the points of that step."""
    labels: list[str] = []
    world, died = World(), False
    async with started(url, world) as house:
        await house.wallet.balance()
    for step in STEPS:
        while True:
            world.points = Points(at) if step is mortal and not died else Points()
            try:
                async with started(url, world) as house:
                    await step(house, world)
                labels = world.points.labels if step is mortal and not died else labels
                break
            except (Crash, WalletDown):
                died = True
    world.points = Points()
    async with started(url, world) as house:
        await house.check()
        await house.wallet_agrees()
        assert await paying(house).close(world.ids[0], "c") == Refunded(DEPOSIT + TOPUP, RefundStatus.SUCCEEDED)
        assert (await house.books()).keys() <= {"lightning", "routing_fees"}, "every sat went back"
    return labels


async def dies_everywhere(shop: Shop, step: Callable[[House, World], Awaitable[None]], stride: int) -> None:
    points = await lived(await shop.empty(), step, None)
    assert len(points) > 3
    for at in range(1, len(points) + 1, stride):
        await lived(await shop.empty(), step, at)


@pytest.mark.fault("C12", "C16")
@pytest.mark.parametrize("step", MORTAL, ids=lambda step: step.__name__)
async def test_dead_at_any_point_of_a_prepaid_session_on_sqlite(step: Callable[[House, World], Awaitable[None]]) -> None:
    shop = SqliteShop()
    try:
        await dies_everywhere(shop, step, 1 if HEAVY else 7)
    finally:
        shop.close()


@pytest.mark.fault("C16")
async def test_dead_at_any_point_of_a_topup_on_postgres(postgres_url: str) -> None:
    await dies_everywhere(Cleared(postgres_url), joins, 1 if HEAVY else 13)
