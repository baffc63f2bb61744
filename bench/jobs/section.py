"""(b) Jobs per second: ours beside DBOS and Procrastinate, in one server process and in several, at several numbers of jobs at once."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import books
from bench.cluster import Cluster
from bench.contest import Board, Patience, Turn, Variant, compete
from bench.peers import venv
from bench.runners import run_together

LINGER_SECONDS = 1.0
PEER_SECONDS_MIN = 4.0  # they are slower: a shorter window would count too little

DBOS, PROCRASTINATE = "bench.peers.dbos_workflow", "bench.peers.procrastinate_chain"
OURS, BARE = "bench.jobs.ours", "bench.jobs.bare"
WORK = {
    OURS: "Timmy, whole jobs",
    BARE: "Timmy, five bare tasks",
    DBOS: "DBOS, five bare steps",
    PROCRASTINATE: "Procrastinate, five bare tasks",
}
SAME_ROWS = {DBOS: "DBOS, steps that write the same rows", PROCRASTINATE: "Procrastinate, tasks that write the same rows"}


@dataclass(frozen=True, slots=True)
class Entrant:
    """One way of running one of them. `callers`: jobs at once in each process."""

    module: str
    engine: str
    processes: int
    callers: int
    same_rows: bool = False

    @property
    def name(self) -> str:
        work = (SAME_ROWS if self.same_rows else WORK)[self.module]
        many = f"{self.processes} processes, {self.callers} at once each" if self.processes > 1 else f"1 process, {self.callers} at once"
        return f"{work}, {self.engine}, {many}"

    @property
    def is_ours(self) -> bool:
        return self.module in (OURS, BARE)


PG, LITE = "PostgreSQL", "SQLite"
# Everybody at several settings, because the ratio is that of the best to the best: more at once is where ours groups, and where a rival's
# pool is full; more processes than cores help nobody, but show what it costs.
RIVALS = (DBOS, PROCRASTINATE)
ENTRANTS = (
    *(Entrant(OURS, PG, processes, callers) for processes, callers in ((1, 64), (1, 256), (1, 512), (2, 256), (2, 512), (4, 256))),
    *(Entrant(BARE, PG, 1, callers) for callers in (64, 256)),
    *(Entrant(rival, PG, processes, callers) for rival in RIVALS for processes, callers in ((1, 16), (1, 64), (2, 16))),
    *(Entrant(rival, PG, processes, 16, same_rows=True) for rival in RIVALS for processes in (1, 2)),
    Entrant(OURS, LITE, 1, 256),
    Entrant(BARE, LITE, 1, 256),
    Entrant(DBOS, LITE, 1, 1),
    Entrant(DBOS, LITE, 1, 16),
)
QUICK = tuple(entrant for entrant in ENTRANTS if entrant.processes <= 2 and entrant.callers != 64)


def named(module: str, engine: str, *, processes: int | None = None, same_rows: bool = False) -> list[str]:
    """The entrants of a kind: to find the best of them on the board."""
    return [
        entrant.name
        for entrant in ENTRANTS
        if (entrant.module, entrant.engine, entrant.same_rows) == (module, engine, same_rows) and processes in (None, entrant.processes)
    ]


def run(cluster: Cluster, folder: Path, out: Path, patience: Patience, *, quick: bool) -> Board:
    python = venv.python_of(out)
    turns = {PG: partial(_on_postgres, cluster, patience, python), LITE: partial(_on_sqlite, folder, patience, python)}
    entrants = QUICK if quick else ENTRANTS
    return compete([Variant(entrant.name, partial(turns[entrant.engine], entrant)) for entrant in entrants], patience)


def _order(entrant: Entrant, url: str, patience: Patience) -> dict[str, Any]:
    seconds = patience.seconds if entrant.is_ours else max(PEER_SECONDS_MIN, patience.seconds)
    order = {
        "url": url,
        "callers": entrant.callers,
        "concurrency": entrant.callers,
        "warm_seconds": patience.warm_seconds,
        "seconds": seconds,
    }
    return {**order, "linger_seconds": LINGER_SECONDS, "same_rows": entrant.same_rows}


def _on_postgres(cluster: Cluster, patience: Patience, python: Path, entrant: Entrant) -> Turn:
    with_schema = entrant.same_rows or entrant.is_ours
    url = cluster.fresh("bench_jobs", empty=not with_schema)
    if with_schema:
        books.fill_pool(url)
    orders = [_order(entrant, url, patience)] * entrant.processes
    turn = run_together(entrant.module, orders, server_pid=cluster.pid, python=None if entrant.is_ours else python)
    if with_schema:
        books.check(url, jobs_complete=0 if entrant.module == BARE else round(turn.per_second * patience.seconds))
    cluster.drop("bench_jobs")
    return turn


def _on_sqlite(folder: Path, patience: Patience, python: Path, entrant: Entrant) -> Turn:
    place = folder / "sqlite-jobs"
    place.mkdir()
    url = f"sqlite://{place / 'timmy.db'}" if entrant.is_ours else f"sqlite:///{place / 'dbos.sqlite'}"
    if entrant.is_ours:
        books.fill_pool(url)
    turn = run_together(entrant.module, [_order(entrant, url, patience)], python=None if entrant.is_ours else python)
    if entrant.is_ours:
        books.check(url, jobs_complete=0 if entrant.module == BARE else round(turn.per_second * patience.seconds))
    shutil.rmtree(place)
    return turn
