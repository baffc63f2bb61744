"""(a) The hot row: our groups against one interactive transaction each and against pgbench."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg

from bench import books
from bench.cluster import Cluster
from bench.contest import Board, Patience, Turn, Variant, compete
from bench.hot import pgbench
from bench.runners import run_together

CALLERS = 64
POOLS = (4, 16, 64)
CLIENTS = (2, 4, 8)

OURS_PG = "Timmy, PostgreSQL, 64 callers"
OURS_LITE = "Timmy, SQLite, 64 callers"
INTERACTIVE_LITE = "interactive, SQLite, 64 callers"


def interactive(pool: int) -> str:
    return f"interactive FOR UPDATE, 64 callers on {pool} connection{'s' if pool > 1 else ''}"


def pgbench_named(script: str, clients: int) -> str:
    what = {"two_commits": "pgbench, two functions, two commits", "one_commit": "pgbench, one function, one commit"}[script]
    return f"{what}, {clients} client{'s' if clients > 1 else ''}"


def run(cluster: Cluster, folder: Path, patience: Patience, *, quick: bool) -> Board:
    pools, clients = ((4,), (4, 64)) if quick else (POOLS, (*CLIENTS, CALLERS))
    variants = [Variant(OURS_PG, partial(_on_postgres, cluster, "bench.hot.ours", patience, {}))]
    variants += [
        Variant(interactive(pool), partial(_on_postgres, cluster, "bench.hot.interactive", patience, {"pool": pool})) for pool in pools
    ]
    variants += [
        Variant(pgbench_named(script, number), partial(_pgbench, cluster, script, number, patience, folder))
        for script in ("two_commits", "one_commit")
        for number in clients
    ]
    variants.append(Variant(OURS_LITE, partial(_on_sqlite, folder, "bench.hot.ours", patience, {})))
    variants.append(Variant(INTERACTIVE_LITE, partial(_on_sqlite, folder, "bench.hot.interactive", patience, {"pool": 1})))
    return compete(variants, patience)


def _order(url: str, patience: Patience, more: dict[str, int]) -> dict[str, object]:
    return {"url": url, "callers": CALLERS, "warm_seconds": patience.warm_seconds, "seconds": patience.seconds, **more}


def _on_postgres(cluster: Cluster, module: str, patience: Patience, more: dict[str, int]) -> Turn:
    return _in_order(cluster, lambda url: run_together(module, [_order(url, patience, more)], server_pid=cluster.pid))


def _pgbench(cluster: Cluster, script: str, clients: int, patience: Patience, folder: Path) -> Turn:
    def turn(url: str) -> Turn:
        with psycopg.connect(url) as connection:
            connection.execute((Path(__file__).parent / "functions.sql").read_bytes())
        return pgbench.take_turn(
            cluster,
            url,
            f"{script}.pgbench",
            clients=clients,
            warm_seconds=patience.warm_seconds,
            seconds=patience.seconds,
            scratch=folder,
        )

    return _in_order(cluster, turn)


def _in_order(cluster: Cluster, take_turn: Callable[[str], Turn]) -> Turn:
    """On a fresh database with a full pool; its books are right afterwards."""
    url = cluster.fresh("bench_hot")
    books.fill_pool(url)
    turn = take_turn(url)
    books.check(url)
    cluster.drop("bench_hot")
    return turn


def _on_sqlite(folder: Path, module: str, patience: Patience, more: dict[str, int]) -> Turn:
    place = folder / "sqlite-hot"
    place.mkdir()
    url = f"sqlite://{place / 'timmy.db'}"
    books.fill_pool(url)
    turn = run_together(module, [_order(url, patience, more)])
    books.check(url)
    shutil.rmtree(place)
    return turn
