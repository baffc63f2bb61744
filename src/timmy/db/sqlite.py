"""SQLite: one writer thread with group commit, readers beside it, and a lock that keeps a second server out."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from timmy.db.dialect import for_sqlite
from timmy.db.line import Probe, no_probe
from timmy.db.lines import Lines
from timmy.db.migrate import look_at_sqlite, migrate_sqlite
from timmy.db.protocol import DatabaseDown, Row
from timmy.errors import Refusal

BUSY_TIMEOUT_SECONDS = 10.0


OLDEST = (3, 35)  # RETURNING; UPDATE … FROM is older


class SqliteTooOld(Refusal):
    code = "sqlite_too_old"
    title = "The SQLite of this Python is too old"


class SecondServer(Refusal):
    status = 409
    code = "second_server"
    title = "Another Timmy serves from this database file"


@dataclass(frozen=True, slots=True)
class Done:
    """There is no way to go: the answer is there at once."""

    count: int
    rows: list[Row]

    def must_touch(self, count: int, otherwise: Exception) -> None:
        if self.count != count:
            raise otherwise


class SqliteTx:
    def __init__(self, connection: sqlite3.Connection, probe: Probe) -> None:
        self._connection = connection
        self._probe = probe

    def ask(self, sql: str, **params: object) -> Done:
        cursor = self._execute(sql, params)
        rows = cursor.fetchall()
        return Done(cursor.rowcount if cursor.description is None else len(rows), rows)

    def run(self, sql: str, **params: object) -> int:
        return self._execute(sql, params).rowcount

    def one(self, sql: str, **params: object) -> Row | None:
        cursor = self._execute(sql, params)
        row = cursor.fetchone()
        cursor.close()
        return row  # type: ignore[no-any-return]

    def all(self, sql: str, **params: object) -> list[Row]:
        return self._execute(sql, params).fetchall()

    def _execute(self, sql: str, params: dict[str, object]) -> sqlite3.Cursor:
        translated = for_sqlite(sql)
        self._probe("before statement")
        try:
            cursor = self._connection.execute(translated.sql, translated.bind(params))
        except sqlite3.DatabaseError as trouble:
            raise _translated(trouble) from trouble
        self._probe("after statement")
        return cursor


class SqliteConnection:
    def __init__(self, path: Path, probe: Probe, *, read_only: bool) -> None:
        self._probe = probe
        self._begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"
        try:
            self._connection = open_connection(path, read_only=read_only)
        except sqlite3.DatabaseError as trouble:
            raise _translated(trouble) from trouble

    def begin(self) -> SqliteTx:
        self._execute(self._begin)
        return SqliteTx(self._connection, self._probe)

    def savepoint(self, name: str) -> None:
        self._execute(f"SAVEPOINT {name}")

    def release(self, name: str) -> None:
        self._execute(f"RELEASE {name}")

    def rollback_to(self, name: str) -> None:
        self._execute(f"ROLLBACK TO {name}")

    def commit(self) -> None:
        self._probe("before commit")
        self._execute("COMMIT")
        self._probe("after commit")

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()

    def _execute(self, sql: str) -> None:
        try:
            self._connection.execute(sql)
        except sqlite3.DatabaseError as trouble:
            raise _translated(trouble) from trouble


def open_connection(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection with the settings that the money depends on."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512, timeout=BUSY_TIMEOUT_SECONDS)
    connection.row_factory = _dict_row
    _write_ahead(connection)
    # FULL, not NORMAL: in WAL mode NORMAL may lose the last commits in a power cut, and a payout that was sent but whose
    # `planned` row is gone would be sent again.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    # What is deleted is written over where its page is written anyway: a file that is copied should not hold what we no longer have.
    connection.execute("PRAGMA secure_delete=FAST")
    if read_only:
        connection.execute("PRAGMA query_only=ON")
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """The first switch takes the whole file, and that is the one lock that SQLite does not wait for by itself."""
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as trouble:
            if "locked" not in str(trouble) or time.monotonic() > deadline:
                raise
        time.sleep(0.005)


def _dict_row(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


_OF_THE_MACHINE = ("full", "disk I/O", "locked", "readonly", "unable to open", "malformed", "not a database")


def _translated(trouble: sqlite3.DatabaseError) -> Exception:
    """Trouble of the machine (disk full, I/O error, locked by another program) is an outage; a bad statement stays what it is."""
    words = str(trouble)
    if type(trouble) in (sqlite3.OperationalError, sqlite3.DatabaseError) and any(sign in words for sign in _OF_THE_MACHINE):
        return DatabaseDown(f"SQLite says: {words}. Check the disk of DATA_DIR; nothing was changed.")
    return trouble


class SqliteDatabase(Lines):
    """`Database` on one file. Everything that waits together is committed together, each part in its own savepoint."""

    engine = "sqlite"

    def __init__(self, path: Path, *, server: bool = False, migrate: bool = True, probe: Probe = no_probe) -> None:
        if sqlite3.sqlite_version_info < OLDEST:
            raise SqliteTooOld(f"Timmy needs SQLite 3.35; this Python has {sqlite3.sqlite_version}. Use a newer Python, or PostgreSQL.")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _lock_out_other_servers(path) if server else None
        try:
            with contextlib.closing(open_connection(path)) as setup:
                (migrate_sqlite if migrate else look_at_sqlite)(setup)
        except sqlite3.DatabaseError as trouble:
            raise _translated(trouble) from trouble
        os.chmod(path, 0o600)
        read = partial(SqliteConnection, path, no_probe, read_only=True)
        super().__init__(
            write=partial(SqliteConnection, path, probe, read_only=False), read=read, read_slowly=read, writers=1, share_commit=True
        )

    def close(self) -> None:
        super().close()
        if self._lock is not None:
            self._lock.close()


def _lock_out_other_servers(path: Path) -> IO[str]:
    lock = path.with_name(path.name + ".lock").open("w")  # held, not used: the lock lives as long as this object
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as taken:
        lock.close()
        raise SecondServer(
            f"{path} is being served by another process. Stop it first, or use PostgreSQL (DATABASE_URL) for several servers."
        ) from taken
    return lock
