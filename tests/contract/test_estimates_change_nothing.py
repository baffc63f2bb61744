"""What something would cost may be asked ten thousand times: afterwards every table holds what it held before. On both databases."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.contract.real_house import House, Person, open_house

from timmy.generosity import Ask, Free, Gift, day_of, decide_all, pool
from timmy.identity import Standing
from timmy.money import Msats, Sats

OVER_HTTP, DIRECTLY, AT_ONCE = 400, 9_600, 200
TEXT = "Why is the sky blue?"
MODELS = (None, "timmy-demo", "timmy-demo-small")


@pytest_asyncio.fixture
async def house(tmp_path: Path, database_url: str) -> AsyncIterator[House]:
    async with open_house(tmp_path, background=False, DATABASE_URL=database_url) as found:
        yield found


async def _lived_in(house: House) -> list[Standing | None]:
    """Somebody of every tier, a session, an unpaid job, and a gift that is reserved; the pool has less left than some work costs."""
    people = [Person() for _ in range(5)]
    for person, score in zip(people, (0, 10, 50, 200), strict=False):  # the last one was never seen
        await house.has_earned(person, score)
    session = await house.post("/api/sessions", {"amountSats": 500}, status=201)
    await house.pay(session["invoice"])
    await house.post("/api/jobs", {"request": TEXT}, status=201)
    now_ms = house.clock.now_ms()
    giving = house.app.estimates._rules.giving
    await house.app.db.write(pool.top_up, "a little", Sats(40).msats, now_ms)
    gift = Gift("job/other/gift", "other", people[2].pubkey, "trusted", day_of(now_ms))
    assert await house.app.db.write(decide_all, [Ask(gift, Msats(7_777), now_ms)], giving) == [Free(Msats(7_777))]
    return [None, *[await house.app.identity.standing(person.pubkey) for person in people]]


@pytest.mark.fault("E01")
async def test_ten_thousand_estimates_leave_every_table_as_it_was(house: House) -> None:
    people = await _lived_in(house)
    alice = Person()
    token = await alice.log_in(house)
    await house.has_earned(alice, 50)
    before = await house.rows()

    async def directly(n: int) -> str:
        text = f"{TEXT} ({n}) " + "And the sea? " * (n % 40)
        found = await house.app.estimates.estimate(text, model=MODELS[n % len(MODELS)], who=people[n % len(people)])
        return type(found.decision).__name__

    said: Counter[str] = Counter()
    for first in range(0, DIRECTLY, AT_ONCE):
        said.update(await asyncio.gather(*(directly(n) for n in range(first, first + AT_ONCE))))
    assert said.keys() == {"Free", "Partial", "Gate"}, "all that it can answer was answered"

    for _ in range(0, OVER_HTTP, 4):
        await asyncio.gather(
            house.post("/api/estimate", {"request": TEXT}, x_nostr_token=token),
            house.post("/api/estimate", {"request": TEXT, "nostr_token": token}),
            house.get("/api/estimate?request=Why&model=timmy-demo-small"),
            house.get("/api/estimate?request=", status=422),
        )
    assert await house.rows() == before


async def test_a_signed_estimate_burns_its_signature_and_nothing_else(house: House) -> None:
    """A NIP-98 event counts once, so that one is written down. It is the only thing that an estimate can leave behind."""
    alice = Person()
    target = "/api/estimate?request=Why"
    before = await house.tables()
    for seconds in range(3):
        await house.get(target, Authorization=alice.signed("GET", target, house.clock.now_ms() - seconds * 1_000))
    after = await house.tables()
    assert len(after.pop("burned_events")) == len(before.pop("burned_events")) + 3
    assert after == before
