"""Die at every point of a series of ledger units, once and twice; open again, ask for everything again: the books close.

A point is before or after any statement, and before or after any commit. What was acknowledged before a death must be there after it;
what was not may be or not be, whole; and when all has been asked for again, everything has happened once.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from timmy.db import Database, Tx, open_database
from timmy.ledger import Code, Entry, InsufficientFunds, Move, MoveAll, Post, Reserve, Void, audit, commit, commit_all
from timmy.ledger.audit import accounts
from timmy.ledger.store import transfers
from timmy.money import Msats

AT_MS = 1_700_000_000_000
HEAVY = bool(os.environ.get("TIMMY_HEAVY"))
DOUBLE_DEATHS = 400 if HEAVY else 12
KILLS = 15 if HEAVY else 3
WHY = Code.OPERATOR_CORRECTION
lives = itertools.count()


class Death(BaseException):
    """Not an Exception: nothing in the house may catch it and go on."""


@dataclass
class Reaper:
    """Strikes at the nth point. Whoever comes to a point after that is dead already."""

    strikes_at: int
    passed: int = 0
    points: list[str] = field(default_factory=list)

    def __call__(self, point: str) -> None:
        self.passed += 1
        self.points.append(point)
        if self.passed >= self.strikes_at:
            raise Death(f"{self.passed}: {point}")


def apply_all(tx: Tx, units: Sequence[Sequence[Entry]]) -> list[InsufficientFunds | None]:
    return commit_all(tx, AT_MS, units)


@dataclass
class Story:
    """A job's money, in accounts of its own: paid, reserved, earned, the rest owed and on its way; and a neighbour's change of mind."""

    name: str
    acknowledged: list[Sequence[Entry]] = field(default_factory=list)

    def id(self, what: str) -> str:
        return f"{self.name}/{what}"

    @property
    def chapters(self) -> list[list[Sequence[Entry]]]:
        """Units of one chapter are committed as a group, a lone one as a function of its own."""
        job, owed, way, neighbour = (f"{kind}/{self.name}" for kind in ("job", "owed", "in_flight", "session"))
        return [
            [(Move(self.id("paid"), "operator", job, Msats(10_500), WHY),)],
            [
                (Reserve(self.id("work"), job, "revenue", Msats(6_000), WHY),),
                (
                    Move(self.id("funded"), "operator", neighbour, Msats(500), WHY),
                    Reserve(self.id("asked"), neighbour, job, Msats(400), WHY),
                ),
                (Move(self.id("too much"), neighbour, job, Msats(501), WHY),),
            ],
            [(Post(self.id("work"), Msats(4_200)), MoveAll(self.id("back"), job, owed, WHY))],
            [(Void(self.id("asked")),), (Reserve(self.id("payout"), owed, way, Msats(6_000), WHY), Post(self.id("payout")))],
        ]

    @property
    def expected(self) -> dict[str, tuple[int, int]]:
        kinds = {"job": 300, "owed": 0, "in_flight": 6_000, "session": 500}
        return {f"{kind}/{self.name}": (balance, 0) for kind, balance in kinds.items()}

    async def live(self, db: Database) -> None:
        for chapter in self.chapters:
            if len(chapter) == 1:
                await db.write(commit, AT_MS, *chapter[0])
                self.acknowledged += chapter
            else:
                outcomes = await asyncio.gather(*(self.ask(db, unit) for unit in chapter))
                self.acknowledged += [unit for unit, outcome in zip(chapter, outcomes, strict=True) if outcome is None]

    async def ask(self, db: Database, unit: Sequence[Entry]) -> InsufficientFunds | None:
        try:
            return await db.write_grouped(apply_all, unit)
        except InsufficientFunds as refused:
            return refused


async def one_life(url: str, story: Story, reaper: Reaper) -> bool:
    """Whether it came to its natural end."""
    db = open_database(url, probe=reaper)
    try:
        await story.live(db)
    except Death:
        return False
    finally:
        await db.aclose()
    return True


async def the_books(db: Database) -> dict[str, tuple[int, int]]:
    assert [check for check in await db.read(audit) if not check.holds] == []
    return {line.account: (line.balance_msat, line.reserved_msat) for line in await db.read(accounts)}


async def afterwards(url: str, story: Story) -> None:
    db = open_database(url)
    ids = {f"{entry.reservation}!" if isinstance(entry, Post | Void) else entry.id for unit in story.acknowledged for entry in unit}
    assert ids == set(await db.read(transfers, ids)), "what was acknowledged is gone"
    await the_books(db)
    await story.live(db)
    kept = await the_books(db)
    assert {account: kept[account] for account in story.expected} == story.expected
    await story.live(db)
    assert await the_books(db) == kept
    await db.aclose()


async def points_of_a_life(url: str) -> int:
    reaper = Reaper(strikes_at=1_000_000)
    story = Story(f"s{next(lives)}")
    assert await one_life(url, story, reaper)
    assert {"before statement", "after statement", "before commit", "after commit"} == set(reaper.points)
    await afterwards(url, story)
    return reaper.passed


@pytest.mark.fault("C05", "C16")
async def test_dead_at_any_point_and_asked_again_the_books_close(database_url: str) -> None:
    count = await points_of_a_life(database_url)
    assert count > 30
    deaths = 0
    step = 1 if HEAVY or database_url.startswith("sqlite") else 2
    for point in range(1, count + 1, step):
        story = Story(f"s{next(lives)}")
        deaths += not await one_life(database_url, story, Reaper(point))
        await afterwards(database_url, story)
    assert deaths >= count // step - 1, "every one of these lives should have ended early"


@pytest.mark.fault("C05", "C16")
async def test_dead_twice_and_asked_again_the_books_close(database_url: str) -> None:
    count = await points_of_a_life(database_url)
    chance = random.Random(21)
    for _ in range(DOUBLE_DEATHS):
        story = Story(f"s{next(lives)}")
        for point in (chance.randint(1, count), chance.randint(1, count)):
            await one_life(database_url, story, Reaper(point))
        await afterwards(database_url, story)


VICTIM = """
import asyncio, sys
from timmy.db import open_database
from timmy.ledger import Code, Move, commit
from timmy.money import Msats

async def one(db, n, account):
    while True:
        id = f"{account}/{n}"
        await db.write(commit, 1, Move(id, "operator", account, Msats(1), Code.OPERATOR_CORRECTION))
        print(id, flush=True)
        n += 100

async def main(url, account):
    db = open_database(url)
    await asyncio.gather(*(one(db, n, account) for n in range(20)))

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


@pytest.mark.fault("C22")
async def test_what_was_acknowledged_survives_a_kill(database_url: str) -> None:
    chance = random.Random(6)
    db = open_database(database_url)
    for life in range(KILLS):
        account = f"job/{life}"
        victim = await asyncio.create_subprocess_exec(sys.executable, "-c", VICTIM, database_url, account, stdout=asyncio.subprocess.PIPE)
        assert victim.stdout is not None
        said = [await victim.stdout.readline() for _ in range(chance.randint(30, 200))]
        victim.kill()
        rest, _ = await victim.communicate()
        # The last line may be torn: the kill can come in the middle of it.
        ids = {line.decode().strip() for line in [*said, *rest.splitlines(keepends=True)] if line.endswith(b"\n")}
        kept = await db.read(transfers, ids)
        assert ids == set(kept)
        assert (await the_books(db))[account][0] >= len(ids) >= 30
    await db.aclose()
