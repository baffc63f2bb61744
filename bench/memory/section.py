"""(c) Memory: one server process with nothing to do, and with many jobs that wait for their payment."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from bench import books
from bench.cluster import Cluster
from bench.memory.server import serving

OPEN_JOBS, OPEN_JOBS_QUICK = 10_000, 1_000
FIRST_JOBS = 500  # before the baseline: what a process takes once, for its first requests, is not the jobs' own
SETTLE_SECONDS = 5.0
WATCH_SECONDS = 10.0


def run(cluster: Cluster, folder: Path, *, quick: bool) -> dict[str, Any]:
    jobs = OPEN_JOBS_QUICK if quick else OPEN_JOBS
    place = folder / "memory"
    place.mkdir()
    file = place / "timmy.db"
    url = cluster.fresh("bench_memory")
    found = {
        "SQLite": _measure(f"sqlite://{file}", place, jobs, lambda: _sqlite_bytes(file)),
        "PostgreSQL": _measure(url, place, jobs, lambda: _postgres_bytes(url)),
    }
    cluster.drop("bench_memory")
    shutil.rmtree(place)
    return found


def _measure(url: str, folder: Path, jobs: int, bytes_on_disk: Callable[[], int]) -> dict[str, float]:
    found: dict[str, float] = {"jobs": jobs, "first_jobs": FIRST_JOBS}
    with serving(url, folder) as server:
        time.sleep(SETTLE_SECONDS)
        found["idle_rss_kib"] = server.rss_kib()
        found["idle_cores"] = server.cores_over(SETTLE_SECONDS)
    empty_bytes = bytes_on_disk()
    with serving(url, folder) as server:
        server.open_jobs(FIRST_JOBS)
        time.sleep(SETTLE_SECONDS)
        found["first_rss_kib"] = server.rss_kib()
        began = time.monotonic()
        server.open_jobs(jobs - FIRST_JOBS)
        found["opening_seconds"] = time.monotonic() - began
        time.sleep(SETTLE_SECONDS)
        found["open_cores"] = server.cores_over(WATCH_SECONDS)
        found["open_rss_kib"] = server.rss_kib()
    found["disk_bytes"] = bytes_on_disk() - empty_bytes
    with serving(url, folder) as server:  # what a process needs that did not see them come
        time.sleep(SETTLE_SECONDS + WATCH_SECONDS)
        found["restarted_rss_kib"] = server.rss_kib()
    books.check(url)
    print(f"  {url.partition(':')[0]}: {found}", flush=True)
    return found


def _sqlite_bytes(file: Path) -> int:
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return file.stat().st_size


def _postgres_bytes(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    size: int = row[0]
    return size
