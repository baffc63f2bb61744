"""Free work out of one pool: our groups against one interactive transaction each."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from bench.cluster import Cluster
from bench.contest import Board, Patience, Turn, Variant, compete
from bench.pool import people
from bench.runners import run_together

CALLERS = (64, 256)
CONNECTIONS = (4, 8, 16, 64)


def ours(engine: str, callers: int, *, whole: bool = False) -> str:
    return f"Timmy, {engine}, {'decided and granted in two commits' if whole else 'decided'}, {callers} callers"


def interactive(callers: int, connections: int) -> str:
    return f"interactive FOR UPDATE, {callers} callers on {connections} connections"


def run(cluster: Cluster, folder: Path, patience: Patience, *, quick: bool) -> Board:
    variants = []
    for callers in CALLERS:
        for whole in (False, True):
            take_turn = partial(_ours_on_postgres, cluster, patience, callers, whole=whole)
            variants.append(Variant(ours("PostgreSQL", callers, whole=whole), take_turn))
        variants += [
            Variant(interactive(callers, connections), partial(_interactive, cluster, patience, callers, connections))
            for connections in ((8,) if quick else CONNECTIONS)
        ]
    for callers in CALLERS:
        variants.append(Variant(ours("SQLite", callers), partial(_ours_on_sqlite, folder, patience, callers)))
    return compete(variants, patience)


def _order(url: str, patience: Patience, callers: int, **more: object) -> dict[str, object]:
    return {"url": url, "callers": callers, "warm_seconds": patience.warm_seconds, "seconds": patience.seconds, **more}


def _ours_on_postgres(cluster: Cluster, patience: Patience, callers: int, *, whole: bool) -> Turn:
    url = cluster.fresh("bench_pool")
    people.hand_out_budgets(url)
    turn = run_together("bench.pool.ours", [_order(url, patience, callers, whole=whole)], server_pid=cluster.pid)
    people.check(url, given_least=_counted(turn, patience), whole_books=True)
    cluster.drop("bench_pool")
    return turn


def _interactive(cluster: Cluster, patience: Patience, callers: int, connections: int) -> Turn:
    url = cluster.fresh("bench_pool")
    people.hand_out_budgets(url)
    turn = run_together("bench.pool.interactive", [_order(url, patience, callers, connections=connections)], server_pid=cluster.pid)
    people.check(url, given_least=_counted(turn, patience), whole_books=False)
    cluster.drop("bench_pool")
    return turn


def _ours_on_sqlite(folder: Path, patience: Patience, callers: int) -> Turn:
    place = folder / "sqlite-pool"
    place.mkdir()
    url = f"sqlite://{place / 'timmy.db'}"
    people.hand_out_budgets(url)
    turn = run_together("bench.pool.ours", [_order(url, patience, callers, whole=False)])
    people.check(url, given_least=_counted(turn, patience), whole_books=True)
    shutil.rmtree(place)
    return turn


def _counted(turn: Turn, patience: Patience) -> int:
    return int(turn.per_second * patience.seconds)
