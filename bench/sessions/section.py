"""Session requests: one process, both engines, over many sessions and over a single one."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from bench import books
from bench.cluster import Cluster
from bench.contest import Board, Patience, Turn, Variant, compete
from bench.runners import run_together
from bench.sessions.ours import DEPOSIT
from timmy.db import Row, Tx, open_database
from timmy.sessions import audit

CALLERS = 64
SESSIONS = (16, 1)

R = TypeVar("R")


def ours(engine: str, sessions: int) -> str:
    return f"Timmy, {engine}, {CALLERS} callers, {f'{sessions} sessions' if sessions > 1 else 'one session'}"


def run(cluster: Cluster, folder: Path, patience: Patience) -> Board:
    variants = []
    for sessions in SESSIONS:
        variants.append(Variant(ours("PostgreSQL", sessions), partial(_on_postgres, cluster, patience, sessions)))
        variants.append(Variant(ours("SQLite", sessions), partial(_on_sqlite, folder, patience, sessions)))
    return compete(variants, patience)


def _on_postgres(cluster: Cluster, patience: Patience, sessions: int) -> Turn:
    turn = _take_turn(cluster.fresh("bench_sessions"), patience, sessions, server_pid=cluster.pid)
    cluster.drop("bench_sessions")
    return turn


def _on_sqlite(folder: Path, patience: Patience, sessions: int) -> Turn:
    place = folder / "sqlite-sessions"
    place.mkdir()
    turn = _take_turn(f"sqlite://{place / 'timmy.db'}", patience, sessions, server_pid=None)
    shutil.rmtree(place)
    return turn


def _take_turn(url: str, patience: Patience, sessions: int, *, server_pid: int | None) -> Turn:
    order = {"url": url, "sessions": sessions, "callers": CALLERS, "warm_seconds": patience.warm_seconds, "seconds": patience.seconds}
    turn = run_together("bench.sessions.ours", [order], server_pid=server_pid)
    _check(url, int(turn.per_second * patience.seconds), sessions)
    return turn


def _check(url: str, answered: int, sessions: int) -> None:
    """Raises BooksWrong: a broken promise of the ledger or the sessions, fewer answers than were counted, or balances without them."""
    books.check(url)
    wrong = [f"{check.name}: {check.found}" for check in asyncio.run(_read(url, audit)) if not check.holds]
    row = asyncio.run(_read(url, _spent))
    if row["n"] < answered:
        wrong.append(f"{answered} requests were counted, {row['n']} were answered")
    if row["left_msat"] + row["debited_msat"] != sessions * DEPOSIT.msats.value:
        wrong.append(f"of the deposits {row['left_msat']} msat are left, and {row['debited_msat']} were charged")
    if wrong:
        raise books.BooksWrong("; ".join(wrong))


def _spent(tx: Tx) -> Row:
    row = tx.one(
        """SELECT (SELECT CAST(SUM(balance_msat) AS BIGINT) FROM accounts WHERE id LIKE 'session/%') AS left_msat,
                  CAST(SUM(debited_msat) AS BIGINT) AS debited_msat, COUNT(*) AS n
             FROM session_requests WHERE state = 'complete'"""
    )
    assert row is not None, "an aggregate has a row"
    return row


async def _read(url: str, fn: Callable[[Tx], R]) -> R:
    db = open_database(url)
    try:
        return await db.read(fn)
    finally:
        await db.aclose()
