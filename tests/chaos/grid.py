"""At which points to die, and on which database. The short run takes every point that no earlier ending has shown; the long run all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psycopg

from tests.chaos.endings import Ending
from tests.chaos.lives import Life, live_through
from timmy.db import open_database

HEAVY = os.environ.get("TIMMY_HEAVY") == "1"
SAMPLES_MIN = 4  # of an ending that has no point of its own: it differs in what is decided, not in when it can die
KEPT = ("schema_migrations", "counters")


class Shop(Protocol):
    """Hands out empty databases of one engine."""

    async def empty(self) -> str: ...


class SqliteShop:
    """Files in memory where there is such a place: what a crash of the process loses is the same there, and thousands of lives fsync."""

    def __init__(self) -> None:
        memory = Path("/dev/shm")
        self._folder = Path(tempfile.mkdtemp(prefix="timmy-lives-", dir=memory if os.access(memory, os.W_OK) else None))
        self._count = 0

    async def empty(self) -> str:
        template = self._folder / "template.db"
        if not template.exists():
            await open_database(f"sqlite://{template}").aclose()
        for old in self._folder.glob("life-*"):
            old.unlink()
        self._count += 1
        path = self._folder / f"life-{self._count}.db"
        shutil.copy(template, path)
        return f"sqlite://{path}"

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


class PostgresShop:
    """One database, emptied before each life."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._emptying = ""
        self._admin: psycopg.Connection[tuple[object, ...]] | None = None

    async def empty(self) -> str:
        if self._admin is None:
            with psycopg.connect(self._url, autocommit=True) as first:
                name = str(first.info.dbname)
                first.execute(f"ALTER DATABASE {name} SET synchronous_commit = off".encode())  # the server itself does not die here
            await open_database(self._url).aclose()
            self._admin = psycopg.connect(self._url, autocommit=True)
            self._admin.execute("SET session_replication_role = replica")  # transfers may not be deleted; here they may
            tables = self._admin.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            self._emptying = "; ".join(
                [f"DELETE FROM {table}" for (table,) in tables if table not in KEPT] + ["UPDATE counters SET value = 0"]
            )
        self._admin.execute(self._emptying.encode())
        return self._url

    def close(self) -> None:
        if self._admin is not None:
            self._admin.close()


@dataclass(slots=True)
class Tally:
    """How many lives were lived, and how many of their servers died."""

    lives: int = 0
    crashes: int = 0
    states: set[str] = field(default_factory=set)

    def add(self, life: Life) -> None:
        self.lives += 1
        self.crashes += life.crashes
        self.states.add(life.view.state.value)


class Seen:
    """The lives that were lived without a crash, by the points that they showed."""

    def __init__(self) -> None:
        self._lives: list[list[str]] = []

    def news(self, points: list[str]) -> int:
        """The number of the first point that no life before this one has shown after the same past."""
        alike = max((_alike(points, life) for life in self._lives), default=0)
        self._lives.append(points)
        return alike + 1


def _alike(one: Sequence[str], other: Sequence[str]) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def chosen(count: int, first: int, stride: int, samples_min: int = SAMPLES_MIN) -> list[int]:
    """Every `stride`-th point from `first` to `count`, and a few of all of them where that is next to nothing."""
    points = list(range(first, count + 1, stride))
    if len(points) < samples_min:
        points = sorted({*points, *range(max(1, count // samples_min), count + 1, max(1, count // samples_min))})
    return points


def pairs(count: int, step: int) -> Iterator[tuple[int, int]]:
    """Points of the first life, each with points of the second: a grid whose lines are shifted, so that no column is always missed."""
    step = min(step, count)  # a short life has a pair too
    for row, first in enumerate(range(1 + step // 2, count + 1, step)):
        for second in range(1 + row * 7 % step, count + 1, step):
            yield first, second


async def crash_at_each(shop: Shop, ending: Ending, points: Sequence[int], tally: Tally) -> None:
    for at in points:
        life = await live_through(await shop.empty(), ending, [at])
        assert life.crashes == 1, f"{ending.name}: nothing died at point {at}"
        tally.add(life)


async def crash_twice(shop: Shop, ending: Ending, both: Iterator[tuple[int, int]], tally: Tally) -> None:
    for first, second in both:
        tally.add(await live_through(await shop.empty(), ending, [first, second]))
