"""Jobs that the pool helps, on both databases: free, in part, overtaken by others, failed; and who has paid what at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.chaos.endings import BY_NAME, Ending, Pays, When, Work
from tests.chaos.lives import EVAL_FEE, PUBKEY, REQUEST, RULES, Server, live_through, server
from tests.chaos.world import World

from timmy.app.books import all_checks
from timmy.db import Tx, open_database
from timmy.generosity import Free, Gate, Gift, Partial, day_of, pool, store
from timmy.generosity.model import DAY_MS
from timmy.generosity.pool import budget_left
from timmy.generosity.status import PoolStatus, status
from timmy.identity import trust
from timmy.jobs import JobView, State
from timmy.jobs.desk import load_all
from timmy.jobs.work import Workshop
from timmy.ledger import Code, Move, chart, commit
from timmy.ledger.commit import available
from timmy.money import Msats, Sats

NOTHING, NO_SATS = Msats(0), Sats(0)
RICH = Sats(500)
BUDGET = RULES.giving.budget("new")


@dataclass
class Shop:
    """A server with its background work in our hands, the world around it, and a pool of so many sats."""

    running: Server
    world: World
    offers: list[int] = field(default_factory=list)  # how many tokens each call of the working model was allowed

    async def fill(self, amount: Sats) -> None:
        await self.running.db.write(pool.top_up, f"{amount}", amount.msats, self.world.clock.now_ms())

    async def drain(self, keep: Sats = NO_SATS) -> None:
        """Others use the pool up."""
        left = await self.running.db.read(available, chart.POOL)
        await self.running.db.write(_drain, self.world.clock.now_ms(), left - keep.msats)

    async def judged(self, *, pubkey: str | None = PUBKEY) -> JobView:
        """A job whose evaluation was paid, and everything was done that could be done then."""
        view = await self.running.jobs.submit(REQUEST, pubkey=pubkey)
        return await self.pay(view, view.eval_invoice.payment_hash, view.eval_invoice.amount)

    async def pay_rest(self, view: JobView) -> JobView:
        assert view.work_invoice is not None
        return await self.pay(view, view.work_invoice.payment_hash, view.work_invoice.amount)

    async def pay(self, view: JobView, payment_hash: str, amount: Sats) -> JobView:
        self.world.pay(payment_hash, amount.msats)
        await self.running.receiving.look(payment_hash)
        await self.running.worker.run_due()
        return await self.view(view)

    async def view(self, view: JobView) -> JobView:
        found = (await self.running.db.read(load_all, [view.id], RULES.trust, self.world.clock.now_ms()))[0]
        assert found is not None
        return found

    async def pool(self) -> PoolStatus:
        return await self.running.db.read(status, day_of(self.world.clock.now_ms()))

    async def budget(self, day: str | None = None) -> Msats:
        gift = Gift("look", "", PUBKEY, "new", day or day_of(self.world.clock.now_ms()))
        return (await self.running.db.read(_budget, gift))[1]


def _drain(tx: Tx, at_ms: int, amount: Msats) -> None:
    commit(tx, at_ms, Move("drained", chart.POOL, chart.OPERATOR, amount, Code.OPERATOR_CORRECTION))


def _budget(tx: Tx, gift: Gift) -> tuple[Msats, Msats]:
    return budget_left(tx, gift, RULES.giving)


def _reserved(tx: Tx) -> int:
    row = tx.one("SELECT CAST(COALESCE(SUM(reserved_msat), 0) AS BIGINT) AS n FROM accounts")
    assert row is not None
    return int(row["n"])


@pytest.fixture
async def shop(database_url: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    work: Work = getattr(request, "param", Work.DONE)
    world = World(Ending("with the pool", State.COMPLETE, "", lambda _: 0, "", work=work))
    async with server(database_url, world) as running:
        shop = Shop(running, world)
        most_tokens = Workshop._most_tokens

        def noted(self: Workshop, *args: Any) -> int:
            shop.offers.append(most_tokens(self, *args))
            return shop.offers[-1]

        monkeypatch.setattr(Workshop, "_most_tokens", noted)
        yield shop
        assert [check for check in await running.db.read(all_checks) if not check.holds] == []
        assert await running.db.read(available, chart.POOL) >= NOTHING
        assert await running.db.read(_reserved) == 0, "every job of these tests has ended"


def doing(work: Work) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("shop", [work], indirect=True)


def price(view: JobView) -> Sats:
    assert view.quote is not None
    return view.quote.price


async def test_work_that_the_pool_takes_over_starts_at_once_and_costs_the_customer_the_fee(shop: Shop) -> None:
    await shop.fill(RICH)
    view = await shop.judged()
    assert (view.state, view.free, view.work_invoice) == (State.COMPLETE, True, None)
    assert view.cost is not None
    assert (view.cost.charged, view.cost.paid, view.refund.owed) == (NOTHING, NOTHING, Sats(0))
    assert NOTHING < view.absorbed < price(view).msats
    after = await shop.pool()
    assert after.available == RICH.msats - view.absorbed, "what was reserved and not used is back, and free work credits the pool nothing"
    assert after.given["new"].absorbed == view.absorbed
    assert await shop.budget() == BUDGET - view.absorbed


async def test_a_part_makes_the_invoice_smaller_and_the_customer_pays_what_the_pool_does_not(shop: Shop) -> None:
    await shop.fill(Sats(4))
    offered = await shop.judged()
    assert offered.work_invoice is not None
    assert (offered.state, offered.free, offered.absorbed) == (State.AWAITING_WORK_PAYMENT, False, Sats(4).msats)
    assert offered.work_invoice.amount == price(offered) - Sats(4)
    assert (await shop.pool()).reserved == NOTHING, "an offer is no reservation"
    view = await shop.pay_rest(offered)
    assert view.cost is not None
    actual = view.cost.charged + view.cost.absorbed
    assert view.absorbed == view.cost.absorbed == min(actual, Sats(4).msats)
    assert view.refund.owed.msats + view.refund.credit == view.cost.paid - view.cost.charged
    assert view.shortfall == NOTHING
    credit = Msats(view.cost.charged.value // 10)
    assert (await shop.pool()).available == Sats(4).msats - view.absorbed + credit


@pytest.mark.fault("A19")
async def test_of_work_that_cost_less_the_customers_part_goes_back_before_the_pools(shop: Shop) -> None:
    await shop.fill(Sats(8))
    view = await shop.pay_rest(await shop.judged())
    assert view.cost is not None
    assert view.cost.absorbed == min(Sats(8).msats, view.cost.charged + view.cost.absorbed)
    assert view.cost.charged == NOTHING or view.cost.absorbed == Sats(8).msats, "the customer pays only what the pool's part leaves"


@pytest.mark.parametrize("keep", [Sats(0), Sats(1), Sats(3)])
async def test_when_the_pool_is_drained_before_the_rest_is_paid_the_work_stays_within_what_there_is(shop: Shop, keep: Sats) -> None:
    await shop.fill(Sats(4))
    offered = await shop.judged()
    await shop.drain(keep)
    view = await shop.pay_rest(offered)
    assert view.cost is not None
    assert view.state is State.COMPLETE
    assert view.shortfall == (Sats(4) - keep).msats
    assert view.cost.absorbed <= keep.msats
    assert view.cost.charged <= view.cost.paid == (price(view) - Sats(4)).msats, "the customer pays at most what they had agreed to"
    assert view.refund.owed.msats + view.refund.credit == view.cost.paid - view.cost.charged
    after = await shop.pool()
    assert after.available == keep.msats - view.cost.absorbed + Msats(view.cost.charged.value // 10)
    await shop.fill(RICH)
    await shop.pay_rest(await shop.judged(pubkey=None))
    assert shop.offers[0] < shop.offers[1], "less was written than the whole price would have bought"


async def test_when_what_is_left_is_too_little_to_begin_all_of_it_goes_back(shop: Shop) -> None:
    await shop.fill(Sats(8))
    offered = await shop.judged()
    await shop.drain()
    view = await shop.pay_rest(offered)
    assert (view.state, view.cost, view.shortfall) == (State.FAILED, None, Sats(8).msats)
    assert view.refund.owed == price(view) - Sats(8)
    assert shop.world.calls["work"] == 0
    assert (await shop.pool()).available == NOTHING


@pytest.mark.fault("A18")
@pytest.mark.parametrize("fill", [RICH, Sats(4)])
@doing(Work.REFUSES)
async def test_work_that_fails_gives_everything_back_the_day_included(shop: Shop, fill: Sats) -> None:
    await shop.fill(fill)
    view = await shop.judged()
    if view.work_invoice:
        view = await shop.pay_rest(view)
    assert (view.state, view.absorbed) == (State.FAILED, NOTHING)
    assert view.refund.owed == (price(view) - fill if fill == Sats(4) else Sats(0))
    after = await shop.pool()
    assert (after.available, after.given) == (fill.msats, {})
    assert await shop.budget() == BUDGET


async def test_a_part_that_is_never_paid_for_takes_nothing_from_anyone(shop: Shop) -> None:
    await shop.fill(Sats(4))
    offered = await shop.judged()
    shop.world.clock.advance(seconds=3_600)
    await shop.running.receiving.sweep_once()
    view = await shop.view(offered)
    assert (view.state, view.absorbed, view.refund.owed) == (State.EXPIRED, NOTHING, Sats(0))
    assert (await shop.pool()).available == Sats(4).msats
    assert await shop.budget() == BUDGET


async def test_a_part_that_is_paid_after_midnight_is_of_the_day_on_which_it_was_paid(shop: Shop) -> None:
    now_ms = shop.world.clock.now_ms()
    shop.world.clock.advance(ms=DAY_MS - now_ms % DAY_MS - 1_000)  # a second before midnight
    yesterday = day_of(shop.world.clock.now_ms())
    await shop.fill(Sats(4))
    offered = await shop.judged()
    shop.world.clock.advance(seconds=2)
    view = await shop.pay_rest(offered)
    assert view.absorbed > NOTHING
    assert await shop.budget(yesterday) == BUDGET
    assert await shop.budget() == BUDGET - view.absorbed
    assert (await shop.pool()).given_today["new"].absorbed == view.absorbed


@pytest.mark.fault("B01")
@pytest.mark.parametrize(("keep", "because"), [(Sats(0), Gate), (Sats(3), Partial)])
async def test_free_work_that_a_race_made_impossible_is_offered_instead_and_nothing_is_lost(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, keep: Sats, because: type[Any]
) -> None:
    """The look ahead says free; before the reservation, somebody else takes the pool."""
    await shop.fill(RICH)
    look, said = Workshop._look_ahead, []

    def overtaken(self: Workshop, tx: Tx, *args: Any) -> Any:
        gift, decision = look(self, tx, *args)
        said.append(decision)
        return gift, Free(decision.absorb if isinstance(decision, Free | Partial) else NOTHING)

    monkeypatch.setattr(Workshop, "_look_ahead", overtaken)
    await shop.drain(keep)
    view = await shop.judged()
    assert view.work_invoice is not None
    assert isinstance(said[0], because)
    assert (view.state, view.absorbed) == (State.AWAITING_WORK_PAYMENT, keep.msats)
    assert view.work_invoice.amount == price(view) - keep
    after = await shop.pool()
    assert (after.available, after.reserved) == (keep.msats, NOTHING)
    assert shop.world.calls["judge"] == 1
    assert (await shop.pay_rest(view)).state is State.COMPLETE


async def test_the_anonymous_and_an_empty_or_frozen_pool_mean_the_full_price_and_nothing_else(shop: Shop) -> None:
    views = [await shop.judged()]
    await shop.fill(RICH)
    views.append(await shop.judged(pubkey=None))
    await shop.running.db.write(store.freeze, "stop", shop.world.clock.now_ms())
    views.append(await shop.judged())
    for view in views:
        assert view.work_invoice is not None
        assert (view.work_invoice.amount, view.absorbed, view.free) == (price(view), NOTHING, False)
        assert (await shop.pay_rest(view)).absorbed == NOTHING


@pytest.mark.fault("A18")
async def test_a_pool_that_is_frozen_after_the_offer_keeps_the_customer_within_their_part(shop: Shop) -> None:
    await shop.fill(Sats(4))
    offered = await shop.judged()
    await shop.running.db.write(store.freeze, "stop", shop.world.clock.now_ms())
    view = await shop.pay_rest(offered)
    assert (view.shortfall, view.absorbed) == (Sats(4).msats, NOTHING)
    assert (await shop.pool()).available >= Sats(4).msats


@pytest.mark.fault("E04")
async def test_free_work_raises_no_score_and_paid_work_does(shop: Shop) -> None:
    async def score() -> int:
        found = await shop.running.db.read(trust.standings, [PUBKEY], RULES.trust, shop.world.clock.now_ms())
        return found[PUBKEY].score

    await shop.fill(RICH)
    for _ in range(3):
        await shop.judged()
    assert await score() == 0
    await shop.drain()
    await shop.pay_rest(await shop.judged())
    assert await score() == RULES.trust.success


# who has paid what at the end --------------------------------------------------------------------------

Amount = Callable[[JobView], int]


def nothing(_: JobView) -> int:
    return 0


def the_fee(_: JobView) -> int:
    return EVAL_FEE.msats.value


def charged(view: JobView) -> int:
    return view.cost.charged.value if view.cost else 0


def fee_and_charge(view: JobView) -> int:
    return the_fee(view) + charged(view)


def given(view: JobView) -> int:
    return view.absorbed.value


ENDINGS = [  # ending, what it cost the customer, what it cost the pool (its credit for paid work not counted)
    (BY_NAME["free"], the_fee, given),
    (BY_NAME["free_refused"], the_fee, nothing),
    (BY_NAME["helped"], fee_and_charge, given),
    (BY_NAME["helped_dear"], fee_and_charge, given),
    (BY_NAME["helped_drained"], fee_and_charge, nothing),
    (BY_NAME["helped_too_little"], the_fee, nothing),
    (Ending("helped_refused", State.FAILED, "", lambda bill: bill.fee, "", pool=Sats(4), work=Work.REFUSES), the_fee, nothing),
    (Ending("helped_unpaid", State.EXPIRED, "", lambda bill: bill.fee, "", pool=Sats(4), work_pays=Pays(When.NEVER)), the_fee, nothing),
    (Ending("helped_short", State.EXPIRED, "", lambda bill: bill.fee, "", pool=Sats(4), work_pays=Pays(tenths=9)), the_fee, nothing),
    (Ending("helped_late", State.EXPIRED, "", lambda bill: bill.fee, "", pool=Sats(4), work_pays=Pays(When.LATE)), the_fee, nothing),
]


@pytest.mark.fault("A18")
@pytest.mark.parametrize(("ending", "customer", "pool_cost"), ENDINGS, ids=[ending.name for ending, _, _ in ENDINGS])
async def test_however_a_helped_job_ends_customer_pool_and_house_have_paid_what_the_table_says(
    database_url: str, ending: Ending, customer: Amount, pool_cost: Amount
) -> None:
    life = await live_through(database_url, ending)
    assert life.cost_msat == customer(life.view)
    db = open_database(database_url)
    after = await db.read(status, day_of(life.world.clock.now_ms()))
    credit = charged(life.view) // 10
    start = 0 if ending.drained else ending.pool.msats.value
    assert (after.available.value, after.reserved.value) == (start - pool_cost(life.view) + credit, 0)
    assert sum(one.absorbed.value for one in after.given.values()) == pool_cost(life.view)
    revenue = await db.read(available, chart.REVENUE)
    assert revenue.value == customer(life.view) + pool_cost(life.view) - credit, "the house has earned what the two have paid"
    await db.aclose()
