"""Every row of the ledger's grid, on a database in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.ledger_grid import AT_MS, play
from tests.unit.ledger_rows import ROWS

from timmy.db import Tx
from timmy.db.line import no_probe
from timmy.db.migrate import migrate_sqlite
from timmy.db.sqlite import SqliteTx, open_connection
from timmy.ledger import commit_all


class InMemory:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.tx: Tx = SqliteTx(connection, no_probe)

    def savepoint(self) -> None:
        self._connection.execute("SAVEPOINT asked")

    def rollback(self) -> None:
        self._connection.execute("ROLLBACK TO asked")


@pytest.fixture(scope="module")
def migrated() -> Iterator[sqlite3.Connection]:
    connection = open_connection(Path(":memory:"))
    migrate_sqlite(connection)
    yield connection
    connection.close()


@pytest.fixture
def books(migrated: sqlite3.Connection) -> Iterator[InMemory]:
    migrated.execute("BEGIN")
    yield InMemory(migrated)
    migrated.execute("ROLLBACK")


@pytest.mark.parametrize("promise", ROWS)
def test_the_ledger_keeps_its_promise(books: InMemory, promise: str) -> None:
    play(books, ROWS[promise])


def test_a_group_of_nothing_is_done(books: InMemory) -> None:
    assert commit_all(books.tx, AT_MS, []) == []
    assert commit_all(books.tx, AT_MS, [(), ()]) == [None, None]
