"""The pool against both databases: what it decides, reserves, gives and takes back, and what it never does."""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timmy.app.books import all_checks
from timmy.clock import iso
from timmy.db import Database, Tx, open_database
from timmy.generosity import Ask, Decision, Free, Gate, Gift, Partial, Terms, day_of, decide_all, preview, reserve_up_to, store
from timmy.generosity.model import DAY_MS
from timmy.generosity.pool import EMPTY, FROZEN, NO_BUDGET, ONE_SAT, USED_UP, _offer, budget_left, record_grants, seed, top_up
from timmy.generosity.status import PoolStatus, status
from timmy.ledger import chart, commit
from timmy.ledger.commit import available
from timmy.money import Msats, Sats

NOON = 1_700_000_000_000 // DAY_MS * DAY_MS + DAY_MS // 2
TODAY = day_of(NOON)
TERMS = Terms({"established": Sats(50).msats, "trusted": Sats(200).msats, "elite": Sats(1_000).msats})
KEY = "ab" * 32


def sats(amount: int) -> Msats:
    return Sats(amount).msats


def gift(id: object, tier: str = "established", key: str = KEY, day: str = TODAY) -> Gift:
    return Gift(f"job/{id}/gift", str(id), key, tier, day)


def ask(id: object, amount: int, tier: str = "established", key: str = KEY, at_ms: int = NOON) -> Ask:
    return Ask(gift(id, tier, key, day_of(at_ms)), sats(amount), at_ms)


async def decide(db: Database, *asks: Ask, terms: Terms = TERMS) -> list[Decision]:
    return await db.write(decide_all, asks, terms)


def give(tx: Tx, given: Sequence[tuple[Gift, Msats]]) -> None:
    """The work is done, and this is what it came to."""
    for one, absorbed in given:
        commit(tx, NOON, *one.post(absorbed))
    record_grants(tx, given, NOON)


def take_back(tx: Tx, gifts: Sequence[Gift]) -> None:
    for one in gifts:
        commit(tx, NOON, *one.void())


async def left(db: Database, one: Gift | None = None) -> tuple[int, int]:
    """In sats: what the pool has, and what the identity may still use of it today."""
    pool, budget = await db.read(budget_left, one or gift("look"), TERMS)
    return pool.value // 1_000, budget.value // 1_000


async def pool_status(db: Database) -> PoolStatus:
    return await db.read(status, TODAY)


@pytest.fixture(params=[100])
async def pool(db: Database, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """A pool of so many sats; at the end, the books hold."""
    await db.write(seed, sats(request.param), NOON)
    yield db
    assert [check for check in await db.read(all_checks) if not check.holds] == []


def holding(amount: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("pool", [amount], indirect=True)


async def test_what_pool_and_day_can_carry_is_free_and_reserved_at_once(pool: Database) -> None:
    assert await decide(pool, ask(1, 30)) == [Free(sats(30))]
    assert await left(pool) == (70, 20)
    assert (await pool_status(pool)).reserved == sats(30)


async def test_what_the_work_did_not_cost_returns_to_the_pool_and_to_the_day(pool: Database) -> None:
    await decide(pool, ask(1, 30))
    await pool.write(give, [(gift(1), Msats(12_345))])
    assert await left(pool) == (87, 37)
    after = await pool_status(pool)
    assert after.available == Msats(100_000 - 12_345)
    assert after.reserved == Msats(0)
    assert {tier: (given.times, given.absorbed) for tier, given in after.given.items()} == {"established": (1, Msats(12_345))}


@pytest.mark.fault("A18")
async def test_work_that_does_not_happen_gives_everything_back(pool: Database) -> None:
    await decide(pool, ask(1, 30))
    await pool.write(take_back, [gift(1)])
    assert await left(pool) == (100, 50)
    assert (await pool_status(pool)).given == {}


async def test_work_that_cost_nothing_is_no_grant(pool: Database) -> None:
    await decide(pool, ask(1, 30))
    await pool.write(give, [(gift(1), Msats(0))])
    assert await left(pool) == (100, 50)
    assert (await pool_status(pool)).given == {}


async def test_more_than_the_day_has_is_a_part_and_nothing_is_reserved(pool: Database) -> None:
    assert await decide(pool, ask(1, 80)) == [Partial(sats(50), sats(30))]
    assert await left(pool) == (100, 50)


@holding(20)
async def test_more_than_the_pool_has_is_a_part(pool: Database) -> None:
    assert await decide(pool, ask(1, 30)) == [Partial(sats(20), sats(10))]


@holding(0)
async def test_an_empty_pool_says_so(pool: Database) -> None:
    assert await decide(pool, ask(1, 30)) == [Gate(EMPTY)]


async def test_a_day_that_is_used_up_says_so_and_the_next_one_is_new(pool: Database) -> None:
    await decide(pool, ask(1, 50))
    assert await decide(pool, ask(2, 1)) == [Gate(USED_UP)]
    assert await decide(pool, ask(3, 1, at_ms=NOON + DAY_MS)) == [Free(sats(1))]


@pytest.mark.fault("E03")
async def test_a_thousand_fresh_keys_get_nothing_and_leave_no_row(pool: Database) -> None:
    asks = [ask(n, 1, "new", f"{n:064x}") for n in range(1_000)]
    assert await decide(pool, *asks) == [Gate(NO_BUDGET)] * 1_000
    assert {await pool.read(preview, one, TERMS) for one in asks[:5]} == {Gate(NO_BUDGET)}
    assert await left(pool) == (100, 50)
    assert await pool.read(store.budgets, [gift(n, key=f"{n:064x}").allowance for n in range(1_000)]) == {}


async def test_the_anonymous_and_tiers_that_nobody_named_get_nothing(pool: Database) -> None:
    anonymous, unheard = await decide(pool, Ask(None, sats(1), NOON), ask(1, 1, "emperor"))
    assert isinstance(anonymous, Gate)
    assert "log in" in anonymous.why
    assert unheard == Gate(NO_BUDGET)


async def test_a_frozen_pool_gives_nothing_and_keeps_what_it_has_promised(pool: Database) -> None:
    await decide(pool, ask(1, 30))
    await pool.write(store.freeze, "too much at once", NOON)
    assert await decide(pool, ask(2, 1)) == [Gate(FROZEN)]
    assert await pool.read(preview, ask(2, 1), TERMS) == Gate(FROZEN)
    assert await pool.write(reserve_up_to, gift(2), sats(1), TERMS, NOON) == Msats(0)
    await pool.write(give, [(gift(1), sats(30))])
    assert await pool.write(store.thaw)
    assert await decide(pool, ask(2, 1)) == [Free(sats(1))]


async def test_a_look_promises_and_changes_nothing(pool: Database) -> None:
    for amount, said in ((30, Free(sats(30))), (80, Partial(sats(50), sats(30)))):
        assert [await pool.read(preview, ask(1, amount), TERMS) for _ in range(3)] == [said] * 3
    assert await pool.read(store.budgets, [gift(1).allowance]) == {}
    assert await left(pool) == (100, 50)


async def test_asking_again_for_the_same_gift_reserves_it_once(pool: Database) -> None:
    for _ in range(3):
        assert await decide(pool, ask(1, 30), ask(1, 30)) == [Free(sats(30))] * 2
    assert await left(pool) == (70, 20)


async def test_of_those_who_ask_together_the_first_are_served_and_the_rest_is_offered_what_is_left(pool: Database) -> None:
    others = [ask(n, 40, key=f"{n:064x}") for n in range(4)]
    assert await decide(pool, *others) == [Free(sats(40)), Free(sats(40)), Partial(sats(20), sats(20)), Partial(sats(20), sats(20))]


@pytest.mark.parametrize(
    ("estimate", "pool", "budget", "said"),
    [
        (10_000, 3_999, 9_000, Partial(Msats(3_000), Msats(7_000))),
        (10_000, 9_000, 3_999, Partial(Msats(3_000), Msats(7_000))),
        (10_000, 999, 9_000, Gate(EMPTY)),
        (10_000, 9_000, 999, Gate(USED_UP)),
        (10_000, 0, 0, Gate(USED_UP)),
        (10_500, 10_499, 99_000, Partial(Msats(10_000), Msats(1_000))),
        (10_000, 99_000, 99_000, Partial(Msats(9_000), Msats(1_000))),
        (2_000, 2_000, 2_000, Partial(Msats(1_000), Msats(1_000))),
        (1_000, 99_000, 99_000, Gate(ONE_SAT)),
    ],
)
def test_a_part_is_whole_sats_on_both_sides(estimate: int, pool: int, budget: int, said: Decision) -> None:
    assert _offer(Msats(estimate), Msats(pool), Msats(budget)) == said


MSATS = st.integers(0, 5_000) | st.integers(0, 5).map(lambda sats: sats * 1_000)


@given(MSATS, MSATS, MSATS)
def test_a_part_never_exceeds_what_there_is_and_covers_the_price(estimate: int, pool: int, budget: int) -> None:
    offered = _offer(Msats(estimate), Msats(pool), Msats(budget))
    assert not isinstance(offered, Free)
    if isinstance(offered, Partial):
        assert Msats(1_000) <= offered.absorb <= Msats(min(pool, budget))
        assert Msats(1_000) <= offered.charge
        assert estimate <= offered.absorb.value + offered.charge.value < estimate + 1_000
        assert (offered.absorb.value % 1_000, offered.charge.value % 1_000) == (0, 0)


async def test_when_a_part_is_paid_for_as_much_is_reserved_as_there_is(pool: Database) -> None:
    await decide(pool, ask("other", 90, "trusted", "cd" * 32))
    assert await pool.write(reserve_up_to, gift(1), sats(30), TERMS, NOON) == sats(10)
    assert await pool.write(reserve_up_to, gift(2), sats(30), TERMS, NOON) == Msats(0)
    assert await left(pool) == (0, 40)


@pytest.mark.fault("E23")
async def test_no_identity_takes_more_than_its_day_however_rich_the_pool(pool: Database) -> None:
    await pool.write(top_up, "more", sats(100_000), NOON)
    served = [one for n in range(300) for one in await decide(pool, ask(n, 7, "elite"))]
    assert served.count(Free(sats(7))) == 1_000 // 7
    assert await pool.write(reserve_up_to, gift("part", "elite"), sats(99), TERMS, NOON) == sats(1_000 % 7)
    assert await pool.write(reserve_up_to, gift("part 2", "elite"), sats(99), TERMS, NOON) == Msats(0)


async def test_a_reservation_that_outlives_midnight_stays_in_its_day(pool: Database) -> None:
    late = NOON + DAY_MS // 2 - 1
    tomorrow = late + 1
    assert (iso(late)[:10], iso(tomorrow)[:10]) == (day_of(late), day_of(tomorrow))
    assert day_of(late) != day_of(tomorrow)
    assert await decide(pool, ask(1, 20, at_ms=late), ask(2, 30, at_ms=late)) == [Free(sats(20)), Free(sats(30))]
    assert await decide(pool, ask(3, 50, at_ms=tomorrow)) == [Free(sats(50))], "the new day is whole, whatever is in flight"
    await pool.write(take_back, [gift(1)])
    await pool.write(give, [(gift(2), sats(10))])
    assert await left(pool, gift("look", day=day_of(late))) == (40, 40)
    assert await left(pool, gift("look", day=day_of(tomorrow))) == (40, 0), "what returned from yesterday is yesterday's"
    assert (await pool.read(status, day_of(tomorrow))).given_today == {}


async def test_a_tier_that_rises_during_the_day_brings_the_difference_once_and_falling_takes_nothing(pool: Database) -> None:
    await decide(pool, ask(1, 50))
    assert await left(pool, gift("look", "trusted")) == (50, 150)
    assert await decide(pool, ask(2, 30, "trusted")) == [Free(sats(30))]
    assert await left(pool, gift("look", "trusted")) == (20, 120)
    assert await left(pool, gift("look", "established")) == (20, 120), "already handed out"
    assert await decide(pool, ask(3, 1, "established"), ask(4, 1, "elite"), ask(5, 1, "trusted")) == [Free(sats(1))] * 3
    assert await left(pool, gift("look", "elite")) == (17, 1_000 - 83)


async def test_the_pool_is_seeded_once_and_topped_up_once_per_name(db: Database) -> None:
    assert not await db.write(seed, Msats(0), NOON)
    assert [await db.write(seed, sats(amount), NOON) for amount in (100, 100, 200)] == [True, False, False]
    for _ in range(2):
        await db.write(top_up, "march", sats(5), NOON)
    assert await db.read(available, chart.POOL) == sats(105)


async def test_the_audit_notices_a_gift_that_nobody_can_explain(db: Database) -> None:
    await db.write(seed, sats(100), NOON)
    await decide(db, ask(1, 10), ask(2, 10))
    await db.write(lambda tx: commit(tx, NOON, *gift(1).post(sats(10))))
    await db.write(lambda tx: record_grants(tx, [(gift(2), sats(3))], NOON))
    strange = [check for check in await db.read(all_checks) if not check.holds]
    assert len(strange) == 1
    assert {"job/1/gift/pool", "job/2/gift"} == set(strange[0].found.split(", "))


@pytest.mark.fault("B01", "B19")
async def test_callers_at_once_share_the_pool_and_the_day_to_the_sat(database_url: str) -> None:
    """Three servers on one database: 500 requests of one identity, and 300 of others."""
    servers = [open_database(database_url) for _ in range(3)]
    await servers[0].write(seed, sats(400), NOON)

    async def one(n: int) -> bool:
        asked = ask(n, 3) if n < 500 else ask(n, 3, key=f"{n % 40:064x}")
        decisions = await servers[n % 3].write_grouped(_decide, asked)
        return isinstance(decisions, Free)

    served = await asyncio.gather(*(one(n) for n in range(800)))
    assert sum(served[:500]) == 50 // 3
    assert sum(served) == 400 // 3
    await servers[0].write(give, [(ask(n, 3).gift or gift(n), sats(2)) for n in range(500) if served[n]])
    await servers[0].write(give, [(gift(n, key=f"{n % 40:064x}"), sats(2)) for n in range(500, 800) if served[n]])
    after = await pool_status(servers[0])
    assert after.available == sats(400 - 2 * sum(served))
    assert after.given["established"].absorbed == sats(2 * sum(served)) == after.given_today["established"].absorbed
    assert [check for check in await servers[0].read(all_checks) if not check.holds] == []
    for server in servers:
        await server.aclose()


def _decide(tx: Tx, asks: Sequence[Ask]) -> Sequence[Decision]:
    return decide_all(tx, asks, TERMS)


# against a small model ---------------------------------------------------------------------------------

TIERS = ("new", "established", "trusted")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "part", "done", "void", "credit", "look"]), st.integers(0, 2), st.integers(0, 2), st.integers(1, 130)
    ),
    max_size=40,
)


@dataclasses.dataclass
class Model:
    """The pool in twenty lines of whole sats."""

    pool: int = 100
    used: dict[tuple[int, int], int] = dataclasses.field(default_factory=dict)
    granted: dict[tuple[int, int], int] = dataclasses.field(default_factory=dict)
    open: list[tuple[Gift, tuple[int, int], int]] = dataclasses.field(default_factory=list)
    absorbed: int = 0

    def room(self, who: int, day: int, tier: int) -> int:
        handed_out = max(self.granted.get((who, day), 0), (0, 50, 200)[tier])
        return min(self.pool, handed_out - self.used.get((who, day), 0))

    def hold(self, one: Gift, who: int, day: int, amount: int) -> None:
        self.pool -= amount
        self.used[who, day] = self.used.get((who, day), 0) + amount
        self.open.append((one, (who, day), amount))

    def end(self, at: int, absorbed: int) -> tuple[Gift, int]:
        one, place, amount = self.open.pop(at % len(self.open))
        absorbed = min(absorbed, amount)
        self.pool += amount - absorbed
        self.used[place] -= amount - absorbed
        self.absorbed += absorbed
        return one, absorbed


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_is_asked_the_pool_does_what_twenty_lines_of_arithmetic_do(steps: list[tuple[str, int, int, int]]) -> None:
    asyncio.run(_walk(steps))


async def _walk(steps: list[tuple[str, int, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        db, model = open_database(f"sqlite://{directory}/timmy.db"), Model()
        await db.write(seed, sats(100), NOON)
        for n, (verb, who, tier, amount) in enumerate(steps):
            await _step(db, model, n, verb, who, tier, amount)
            now = await pool_status(db)
            assert (now.available, now.reserved) == (sats(model.pool), sats(sum(amount for _, _, amount in model.open)))
            assert sum(given.absorbed.value for given in now.given.values()) == model.absorbed * 1_000
            assert model.pool >= 0
        assert [check for check in await db.read(all_checks) if not check.holds] == []
        await db.aclose()


async def _step(db: Database, model: Model, n: int, verb: str, who: int, tier: int, amount: int) -> None:
    day = n // 15  # the day changes on the way
    asked = ask(n, amount, TIERS[tier], f"{who:064x}", NOON + day * DAY_MS)
    assert asked.gift is not None
    match verb:
        case "ask" | "look":
            said = (await decide(db, asked))[0] if verb == "ask" else await db.read(preview, asked, TERMS)
            expected = _expected(model, who, day, tier, amount)
            assert said == expected or (isinstance(said, Gate) and expected is None), (said, expected)
            if verb == "ask" and tier:
                model.granted[who, day] = max(model.granted.get((who, day), 0), (0, 50, 200)[tier])
            if verb == "ask" and isinstance(said, Free):
                model.hold(asked.gift, who, day, amount)
        case "part":
            room = min(amount, model.room(who, day, tier))
            assert await db.write(reserve_up_to, asked.gift, sats(amount), TERMS, NOON) == sats(room)
            model.granted[who, day] = max(model.granted.get((who, day), 0), (0, 50, 200)[tier])
            if room:
                model.hold(asked.gift, who, day, room)
        case "done" | "void" if model.open:
            one, absorbed = model.end(n, amount if verb == "done" else 0)
            if verb == "done":
                await db.write(give, [(one, sats(absorbed))])
            else:
                await db.write(take_back, [one])
        case "credit":
            await db.write(top_up, str(n), sats(amount), NOON)
            model.pool += amount
        case _:
            assert verb in ("done", "void")


def _expected(model: Model, who: int, day: int, tier: int, amount: int) -> Decision | None:
    room = model.room(who, day, tier)
    if not tier or room <= 0:
        return None
    return Free(sats(amount)) if amount <= room else Partial(sats(room), sats(amount - room))
