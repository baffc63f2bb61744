"""(b) Jobs per second: ours in one process beside DBOS and Procrastinate, then ours in 1, 2 and 4 processes."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from bench import books
from bench.cluster import Cluster
from bench.contest import Board, Patience, Turn, Variant, compete
from bench.peers import venv
from bench.runners import run_together

AT_ONCE = 64
PROCESSES = (1, 2, 4)
LINGER_SECONDS = 1.0
PEER_SECONDS_MIN = 4.0  # they are slower: a shorter window would count too little

DBOS, PROCRASTINATE = "bench.peers.dbos_workflow", "bench.peers.procrastinate_chain"
OURS, BARE = "bench.jobs.ours", "bench.jobs.bare"


def ours(engine: str, processes: int = 1) -> str:
    many = f"{processes} processes, {AT_ONCE} at once each" if processes > 1 else f"1 process, {AT_ONCE} at once"
    return f"Timmy's jobs, {engine}, {many}"


def bare(engine: str) -> str:
    return f"Timmy's tasks, {engine}, five bare steps, {AT_ONCE} at once"


def dbos(engine: str, callers: int, *, same_rows: bool = False) -> str:
    return f"DBOS, {engine}, {'steps that write the same rows' if same_rows else 'five bare steps'}, {callers} at once"


def procrastinate(callers: int, *, same_rows: bool = False) -> str:
    return f"Procrastinate, PostgreSQL, {'tasks that write the same rows' if same_rows else 'five bare tasks'}, {callers} at once"


def run(cluster: Cluster, folder: Path, out: Path, patience: Patience, *, quick: bool) -> Board:
    python = venv.python_of(out)
    on_postgres, on_sqlite = partial(_on_postgres, cluster, patience, python), partial(_on_sqlite, folder, patience, python)
    variants = [
        Variant(ours("PostgreSQL"), partial(on_postgres, OURS, AT_ONCE)),
        Variant(bare("PostgreSQL"), partial(on_postgres, BARE, AT_ONCE)),
    ]
    # Each rival at several settings: the ratio is to the best of them.
    for callers in (16,) if quick else (16, AT_ONCE):
        for same in (False, True):
            variants += [
                Variant(dbos("PostgreSQL", callers, same_rows=same), partial(on_postgres, DBOS, callers, same_rows=same)),
                Variant(procrastinate(callers, same_rows=same), partial(on_postgres, PROCRASTINATE, callers, same_rows=same)),
            ]
    variants += [Variant(ours("SQLite"), partial(on_sqlite, OURS, AT_ONCE)), Variant(bare("SQLite"), partial(on_sqlite, BARE, AT_ONCE))]
    variants += [Variant(dbos("SQLite", callers), partial(on_sqlite, DBOS, callers)) for callers in ((1,) if quick else (1, 16))]
    variants += [Variant(ours("PostgreSQL", n), partial(on_postgres, OURS, AT_ONCE, processes=n)) for n in PROCESSES if n > 1]
    return compete(variants, patience)


def _order(module: str, url: str, callers: int, patience: Patience, *, same_rows: bool) -> dict[str, Any]:
    seconds = patience.seconds if module in (OURS, BARE) else max(PEER_SECONDS_MIN, patience.seconds)
    order = {"url": url, "callers": callers, "concurrency": callers, "warm_seconds": patience.warm_seconds, "seconds": seconds}
    return {**order, "linger_seconds": LINGER_SECONDS, "same_rows": same_rows}


def _on_postgres(
    cluster: Cluster, patience: Patience, python: Path, module: str, callers: int, *, same_rows: bool = False, processes: int = 1
) -> Turn:
    with_schema = same_rows or module in (OURS, BARE)
    url = cluster.fresh("bench_jobs", empty=not with_schema)
    if with_schema:
        books.fill_pool(url)
    orders = [_order(module, url, callers, patience, same_rows=same_rows)] * processes
    turn = run_together(module, orders, server_pid=cluster.pid, python=None if module in (OURS, BARE) else python)
    if with_schema:
        books.check(url, jobs_complete=0 if module == BARE else round(turn.per_second * patience.seconds))
    cluster.drop("bench_jobs")
    return turn


def _on_sqlite(folder: Path, patience: Patience, python: Path, module: str, callers: int) -> Turn:
    place = folder / "sqlite-jobs"
    place.mkdir()
    url = f"sqlite://{place / 'timmy.db'}" if module in (OURS, BARE) else f"sqlite:///{place / 'dbos.sqlite'}"
    if module in (OURS, BARE):
        books.fill_pool(url)
    order = _order(module, url, callers, patience, same_rows=False)
    turn = run_together(module, [order], python=None if module in (OURS, BARE) else python)
    if module in (OURS, BARE):
        books.check(url, jobs_complete=0 if module == BARE else round(turn.per_second * patience.seconds))
    shutil.rmtree(place)
    return turn
