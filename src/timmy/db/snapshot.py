"""Everything in a database at one moment, as files, while others go on writing; and back, into a database that has nothing yet.

SQLite: its online backup, and then a VACUUM of the copy, so that nothing deleted is left on its free pages. PostgreSQL: COPY of each table
in one REPEATABLE READ transaction, which is one moment, whatever is committed meanwhile. Columns that are named in `left_out` become NULL.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from timmy.db.line import no_probe
from timmy.db.migrate import MIGRATION_LOCK, rebuild_postgres
from timmy.db.postgres import NO_TIMEOUT, PostgresTx, connect
from timmy.db.protocol import DatabaseDown, Tx
from timmy.db.sqlite import SqliteTx, open_connection
from timmy.db.wire import Raw, Wire
from timmy.errors import Refusal

SQLITE_FILE = "database.sqlite"
COPY_SUFFIX = ".copy"

LeftOut = Mapping[str, Sequence[str]]
First = Callable[[Tx], None]  # what has to be in a restored database before anybody can open it


class NotEmpty(Refusal):
    status = 409
    code = "database_not_empty"
    title = "There is something in this database already"


class SnapshotBroken(Refusal):
    code = "snapshot_broken"
    title = "This backup is not whole"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`migrations`: name → SHA-256 of its text. `rows`: of each table."""

    engine: str
    migrations: dict[str, str]
    rows: dict[str, int]
    files: tuple[Path, ...]


# SQLite -----------------------------------------------------------------------------------------------------------------------


def snapshot_sqlite(path: Path, folder: Path, left_out: LeftOut) -> Snapshot:
    """A database file of its own in `folder`, which only its owner should be able to read."""
    copy = folder / SQLITE_FILE
    try:
        with contextlib.closing(open_connection(path, read_only=True)) as source, contextlib.closing(open_connection(copy)) as target:
            source.backup(target)  # all pages in one step: one moment, which in WAL mode stops no writer
            for table, columns in left_out.items():
                if _has(target, table):
                    empty = ", ".join(f"{_quoted(column)} = NULL" for column in columns)
                    target.execute(f"UPDATE {_quoted(table)} SET {empty}")  # noqa: S608 - names of our own tables
            target.execute("PRAGMA journal_mode=DELETE")
            target.execute("VACUUM")
            return Snapshot("sqlite", _migrations(target), dict(_counts(target)), (copy,))
    except sqlite3.DatabaseError as trouble:
        raise DatabaseDown(f"SQLite says: {trouble}. Nothing was backed up; is there room on the disk?") from trouble


def restore_sqlite(folder: Path, path: Path, snapshot: Snapshot, first: First) -> None:
    """The file in its place, with what `first` has written into it. NotEmpty when there is one; SnapshotBroken when what was kept is not
    what it should be."""
    copy = folder / SQLITE_FILE
    for there in (path, path.with_name(path.name + "-wal")):
        if there.exists():
            raise NotEmpty(f"{there} exists. Restore into an empty DATA_DIR, or move that file (and its -wal and -shm) away first.")
    try:
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            connection.row_factory = sqlite3.Row
            (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            same = verdict == "ok" and dict(_counts(connection)) == snapshot.rows
    except sqlite3.DatabaseError:
        same = False
    if not same:
        raise SnapshotBroken("its database does not hold what was put in. Nothing was restored; take another backup.")
    with contextlib.closing(open_connection(copy)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        first(SqliteTx(connection, no_probe))
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=DELETE")  # all of it in the one file that is put in place
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.restoring")
    draft.touch(0o600)
    with copy.open("rb") as kept, draft.open("wb") as out:
        shutil.copyfileobj(kept, out)
        out.flush()
        os.fsync(out.fileno())
    draft.rename(path)


def _has(connection: sqlite3.Connection, table: str) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone() is not None


def _migrations(connection: sqlite3.Connection) -> dict[str, str]:
    return {row["name"]: row["sha256"] for row in connection.execute("SELECT name, sha256 FROM schema_migrations")}


def _counts(connection: sqlite3.Connection) -> Iterator[tuple[str, int]]:
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name"
    )
    for table in [row["name"] for row in tables]:
        counted = connection.execute(f"SELECT COUNT(*) AS n FROM {_quoted(table)}")  # noqa: S608 - names that SQLite itself told
        yield table, counted.fetchone()["n"]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# PostgreSQL -------------------------------------------------------------------------------------------------------------------


def snapshot_postgres(url: str, folder: Path, left_out: LeftOut) -> Snapshot:
    """A file of COPY's text format for each table, in `folder`."""
    with _connected(url, read_only=True) as connection:
        # Taken before the transaction has its moment: tables that change while they are read could not be read.
        connection.autocommit = True
        connection.execute("SELECT pg_advisory_lock_shared(%s)", (MIGRATION_LOCK,))
        connection.autocommit = False
        rows = connection.execute("SELECT name, sha256 FROM schema_migrations").fetchall()
        counted, files = {}, []
        for table in _tables(connection):
            without = left_out.get(table, ())
            wanted = sql.SQL(", ").join(
                sql.SQL("NULL AS {}").format(sql.Identifier(name)) if name in without else sql.Identifier(name)
                for name in _columns(connection, table)
            )
            statement = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(wanted, sql.Identifier(table))
            file = folder / f"{table}{COPY_SUFFIX}"
            with connection.cursor() as cursor:
                with cursor.copy(statement) as copy, file.open("wb") as out:
                    for block in copy:
                        out.write(block)
                counted[table] = cursor.rowcount
            files.append(file)
        return Snapshot("postgres", {str(row["name"]): str(row["sha256"]) for row in rows}, counted, tuple(files))


def restore_postgres(folder: Path, url: str, snapshot: Snapshot, first: First) -> None:
    """All of it and what `first` writes in one transaction, into a database without tables. NotEmpty, SnapshotBroken, SchemaMismatch: then
    nothing was changed."""
    with _connected(url, read_only=False) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        if _tables(connection):
            raise NotEmpty("the database of DATABASE_URL has tables. Make a new one (createdb) and restore into that.")
        rebuild_postgres(connection, snapshot.migrations)
        if set(_tables(connection)) != set(snapshot.rows):
            raise SnapshotBroken("its tables are not those that its version made. Nothing was restored.")
        for table in snapshot.rows:
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))  # what migrations begin a table with
        for table, rows in snapshot.rows.items():
            columns = sql.SQL(", ").join(map(sql.Identifier, _columns(connection, table)))
            statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), columns)
            with connection.cursor() as cursor:
                with cursor.copy(statement) as copy, (folder / f"{table}{COPY_SUFFIX}").open("rb") as kept:
                    while block := kept.read(1 << 20):
                        copy.write(block)
                if cursor.rowcount != rows:
                    raise SnapshotBroken(f"the table {table} had {rows} rows and has {cursor.rowcount}. Nothing was restored.")
        tx = PostgresTx(Wire(connection), no_probe)
        first(tx)
        tx.settle()


@contextlib.contextmanager
def _connected(url: str, *, read_only: bool) -> Iterator[Raw]:
    connection = connect(url, read_only=read_only, statement_timeout_ms=NO_TIMEOUT)
    try:
        yield connection
    except (psycopg.DataError, psycopg.IntegrityError) as trouble:
        raise SnapshotBroken(f"PostgreSQL does not take it ({type(trouble).__name__}). Nothing was restored.") from trouble
    except psycopg.OperationalError as trouble:
        raise DatabaseDown(f"PostgreSQL says: {type(trouble).__name__}. Nothing was changed.") from trouble
    finally:
        connection.close()


def _tables(connection: Raw) -> list[str]:
    rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename").fetchall()
    return [str(row["tablename"]) for row in rows]


def _columns(connection: Raw, table: str) -> list[str]:
    """By their names, because their order is that of the migrations that added them."""
    rows = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = %s ORDER BY column_name",
        (table,),
    ).fetchall()
    return [str(row["column_name"]) for row in rows]
