"""The usual way: BEGIN, SELECT … FOR UPDATE, decide in Python, UPDATE, INSERT, COMMIT; for a reservation, and again for its posting.

The same tables, the same driver, the same durability. The callers share connections, each on a thread of its own: on one hot row
a few connections do better than many, so the contest tries several numbers and counts the best.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg.rows import dict_row

from bench.stopwatch import Stopwatch, closed_loop, wait_for_go, wait_to_leave
from timmy.db.sqlite import open_connection

AMOUNT_MSAT = 1_000

LOCK = "SELECT id, guarded, balance_msat, reserved_msat FROM accounts WHERE id IN (%s, %s) ORDER BY id FOR UPDATE"
CHANGE = "UPDATE accounts SET balance_msat = %s, reserved_msat = %s WHERE id = %s"
KNOWN = "SELECT debit, credit, amount_msat, code FROM transfers WHERE id = %s"
INSERT = "INSERT INTO transfers (id, kind, debit, credit, amount_msat, code, reservation, at_ms) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"


class Session(Protocol):
    """A connection with a transaction, on either engine. Rows are mappings."""

    def begin(self) -> None: ...
    def all(self, sql: str, *values: object) -> list[Any]: ...
    def run(self, sql: str, *values: object) -> None: ...
    def commit(self) -> None: ...


class Postgres:
    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, row_factory=dict_row)
        self._cursor = self._connection.cursor()

    def begin(self) -> None:
        """psycopg begins with the first statement."""

    def all(self, sql: str, *values: object) -> list[Any]:
        return self._cursor.execute(sql.encode(), values).fetchall()

    def run(self, sql: str, *values: object) -> None:
        self._cursor.execute(sql.encode(), values)

    def commit(self) -> None:
        self._connection.commit()


class Sqlite:
    def __init__(self, url: str) -> None:
        self._connection = open_connection(Path(url.removeprefix("sqlite://")))

    def begin(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def all(self, sql: str, *values: object) -> list[Any]:
        return self._connection.execute(_for_sqlite(sql), values).fetchall()

    def run(self, sql: str, *values: object) -> None:
        self._connection.execute(_for_sqlite(sql), values)

    def commit(self) -> None:
        self._connection.execute("COMMIT")


def _for_sqlite(sql: str) -> str:
    return sql.replace("%s", "?").removesuffix(" FOR UPDATE")


def reserve(session: Session, id: str) -> bool:
    session.begin()
    accounts = {row["id"]: row for row in session.all(LOCK, "pool", "revenue")}
    pool = accounts["pool"]
    enough: bool = pool["balance_msat"] - pool["reserved_msat"] >= AMOUNT_MSAT
    if enough:
        session.run(CHANGE, pool["balance_msat"], pool["reserved_msat"] + AMOUNT_MSAT, "pool")
        session.run(INSERT, id, "reserve", "pool", "revenue", AMOUNT_MSAT, "work_charge", None, time.time_ns() // 1_000_000)
    session.commit()
    return enough


def post(session: Session, id: str) -> None:
    session.begin()
    accounts = {row["id"]: row for row in session.all(LOCK, "pool", "revenue")}
    held = session.all(KNOWN, id)[0]
    debit, credit, amount_msat = accounts[held["debit"]], accounts[held["credit"]], held["amount_msat"]
    session.run(CHANGE, debit["balance_msat"] - amount_msat, debit["reserved_msat"] - amount_msat, debit["id"])
    session.run(CHANGE, credit["balance_msat"] + amount_msat, credit["reserved_msat"], credit["id"])
    row = (f"{id}!", "post", held["debit"], held["credit"], amount_msat, held["code"], id, time.time_ns() // 1_000_000)
    session.run(INSERT, *row)
    session.commit()


class Pool:
    """Threads with a session each."""

    def __init__(self, open_session: Callable[[], Session], size: int) -> None:
        self._local = threading.local()
        self._open = open_session
        self._threads = ThreadPoolExecutor(size, initializer=self._enter)

    def _enter(self) -> None:
        self._local.session = self._open()

    async def do(self, what: Callable[[Session, str], object], id: str) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, lambda: what(self._local.session, id))

    def close(self) -> None:
        self._threads.shutdown()


async def main(order: dict[str, Any]) -> None:
    url: str = order["url"]
    pool = Pool(lambda: Sqlite(url) if url.startswith("sqlite") else Postgres(url), order["pool"])
    run, numbers = secrets.token_hex(4), count()

    async def pair() -> None:
        id = f"bench/{run}/{next(numbers)}"
        await pool.do(reserve, id)
        await pool.do(post, id)

    await pair()
    wait_for_go()
    await closed_loop(Stopwatch(order["warm_seconds"], order["seconds"]), order["callers"], pair)
    wait_to_leave()
    pool.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
