"""What a key has earned, on both databases."""

from __future__ import annotations

import asyncio

import nostr_sdk
import pytest

from timmy.clock import ManualClock
from timmy.db import Database, Row, Tx, open_database
from timmy.identity import Identity, Standing, Tier, Tokens, nostr, trust
from timmy.identity.trust import DAY_MS, Change, change_all, reasons, standings
from timmy.ids import system_random
from timmy.money import Msats, Sats

SECRET, OTHER = bytes(31) + b"\x07", bytes(31) + b"\x08"
SITE = "https://timmy.example"
TERMS = trust.Terms(established=10, trusted=50, elite=200, success=2, setback=1, decay_after_days=30, decay_per_day=1)
KEYS = nostr_sdk.Keys.parse(SECRET.hex())
ME = KEYS.public_key().to_hex()


@pytest.fixture
def identity(db: Database, clock: ManualClock) -> Identity:
    return Identity(db, clock, system_random, Tokens(b"the same on every process"), TERMS, public_url=SITE)


T0 = 1_700_000_000_000
PAID = Sats(30).msats


def change(n: object, *, why: str = "work_paid", success: bool = True, paid: Msats = PAID, pubkey: str = ME) -> Change:
    return Change(f"job/{n}", pubkey, why, success, paid)


async def learn(db: Database, *changes: Change, at_ms: int = T0) -> None:
    await db.write(change_all, changes, TERMS, at_ms)


async def stands(db: Database, at_ms: int = T0, pubkey: str = ME) -> Standing:
    return (await db.read(standings, [pubkey], TERMS, at_ms))[pubkey]


async def earn(db: Database, score: int, at_ms: int = T0) -> None:
    await learn(db, *(change(f"earned {n}") for n in range(score // TERMS.success)), at_ms=at_ms)


@pytest.mark.fault("E03", "E04")
async def test_only_work_that_was_paid_for_raises_a_score(db: Database) -> None:
    await learn(db, *(change(n, why="work_given", paid=Msats(0)) for n in range(1_000)))
    assert (await stands(db)).score == 0
    await learn(db, change("paid"))
    standing = await stands(db)
    assert (standing.score, standing.successes, standing.paid) == (TERMS.success, 1_001, PAID)


@pytest.mark.fault("E04")
async def test_many_tiny_jobs_earn_no_more_than_the_sats_that_they_cost(db: Database) -> None:
    tiny = Sats(1).msats
    await learn(db, change("first", paid=tiny))
    assert (await stands(db)).score == 1, "the first one shows"
    for n in range(9):
        await learn(db, *(change(f"{n} {m}", paid=tiny) for m in range(5)), at_ms=T0 + n)
    farmed = await stands(db)
    assert (farmed.successes, farmed.score, farmed.paid) == (46, 9, Sats(46).msats)
    assert farmed.tier is Tier.NEW
    await learn(db, *(change(f"one more {n}", paid=tiny) for n in range(4)))
    assert (await stands(db)).tier is Tier.ESTABLISHED
    await learn(db, change("setback", why="rejected", success=False, paid=Msats(0)))
    assert (await stands(db)).tier is Tier.NEW, "what was weighed already does not come again"


async def test_setbacks_take_and_a_score_never_goes_below_nothing(db: Database) -> None:
    await earn(db, 4)
    for n, why in enumerate(("rejected", "failed")):
        await learn(db, change(f"bad {n}", why=why, success=False, paid=Msats(0)))
    assert (await stands(db)).score == 2
    await learn(db, *(change(f"worse {n}", why="failed", success=False, paid=Msats(0)) for n in range(9)))
    standing = await stands(db)
    assert (standing.score, standing.setbacks) == (0, 11)
    await learn(db, change("again"))
    assert (await stands(db)).score == TERMS.success, "what was lost below nothing is no debt"


async def test_each_thing_counts_once_however_often_it_is_told(db: Database) -> None:
    await learn(db, change(1), change(1), change(2))
    await learn(db, change(1), change(3))
    await learn(db, change(1))
    standing = await stands(db)
    assert (standing.score, standing.successes, standing.paid) == (6, 3, Msats(PAID.value * 3))


async def test_what_is_told_by_many_at_once_counts_once_and_loses_nothing(database_url: str) -> None:
    servers = [open_database(database_url) for _ in range(4)]
    others = [f"{n:064x}" for n in range(5)]
    for n in range(20):
        told = (change(n), change(f"{n} other", pubkey=others[n % 5]))
        await asyncio.gather(*(learn(server, *(told if at % 2 else reversed(told))) for at, server in enumerate(servers)))
    standing = await stands(servers[0])
    assert (standing.score, standing.successes) == (40, 20)
    for server in servers:
        await server.aclose()


async def test_a_long_absent_elite_does_not_jump_back(db: Database) -> None:
    """The fading comes before the change, and is kept: a year away is a year away, also after the first job."""
    await earn(db, 300)
    assert (await stands(db)).tier is Tier.ELITE
    year = T0 + 365 * DAY_MS
    back = await stands(db, year)
    assert (back.score, back.tier, back.kept_score) == (0, Tier.NEW, 300)
    await learn(db, change("back"), at_ms=year)
    again = await stands(db, year)
    assert (again.score, again.tier, again.kept_score) == (TERMS.success, Tier.NEW, TERMS.success)


async def test_a_setback_after_an_absence_takes_from_what_absence_has_left(db: Database) -> None:
    await earn(db, 100)
    then = T0 + 80 * DAY_MS  # 50 days beyond the days of grace
    await learn(db, change("bad", why="failed", success=False, paid=Msats(0)), at_ms=then)
    assert (await stands(db, then)).score == 49


async def test_work_that_was_given_is_no_absence_and_raises_nothing(db: Database) -> None:
    await earn(db, 100)
    await learn(db, change("given", why="work_given", paid=Msats(0)), at_ms=T0 + 30 * DAY_MS)
    assert (await stands(db, T0 + 60 * DAY_MS)).score == 100
    assert (await stands(db, T0 + 61 * DAY_MS)).score == 99


async def test_looking_changes_nothing_and_fades_nothing_twice(db: Database) -> None:
    await earn(db, 100)
    then = T0 + 40 * DAY_MS
    assert [(await stands(db, then)).score for _ in range(3)] == [90, 90, 90]
    unseen = "cd" * 32
    assert (await stands(db, pubkey=unseen)).first_seen_ms is None
    assert await db.read(_count, "identities") == 1


async def test_a_clock_that_goes_backwards_neither_takes_nor_gives_back(db: Database) -> None:
    await earn(db, 100)
    await learn(db, change("early"), at_ms=T0 - 400 * DAY_MS)
    standing = await stands(db, T0)
    assert standing.score == 102
    assert (await stands(db, T0 + 31 * DAY_MS)).score == 101, "absence is counted from the later moment"


async def test_a_score_can_be_explained(db: Database) -> None:
    for n in range(12):
        await learn(db, change(n), at_ms=T0 + n)
    await learn(db, change("bad", why="rejected", success=False, paid=Msats(0)), at_ms=T0 + 20)
    told: list[Row] = await db.read(reasons, ME)
    assert len(told) == trust.REASONS_SHOWN
    assert dict(told[0]) == {"why": "rejected", "change": -1, "score": 23, "at_ms": T0 + 20}
    assert [row["score"] for row in told[1:]] == [24, 22, 20, 18, 16, 14, 12, 10, 8]


@pytest.mark.fault("E12")
async def test_a_tier_is_read_from_the_books_and_not_from_the_token(identity: Identity, db: Database, clock: ManualClock) -> None:
    tags = [["challenge", (await identity.challenge()).nonce]]
    signed = nostr.sign(SECRET, created_at=clock.now_ms() // 1_000, kind=22_242, tags=tags, content="", aux=system_random(32))
    fields = {name: getattr(signed, name) for name in ("id", "pubkey", "created_at", "kind", "content", "sig")}
    token = (await identity.verify({**fields, "tags": tags})).token
    seen = [(await identity.who(token)).tier]
    await earn(db, 50, clock.now_ms())
    seen.append((await identity.who(token)).tier)
    await learn(db, *(change(f"bad {n}", why="failed", success=False, paid=Msats(0)) for n in range(45)), at_ms=clock.now_ms())
    seen.append((await identity.who(token)).tier)
    assert seen == [Tier.NEW, Tier.TRUSTED, Tier.NEW]


def _count(tx: Tx, table: str) -> int:
    row = tx.one(f"SELECT COUNT(*) AS n FROM {table}")
    assert row is not None
    return int(row["n"])
