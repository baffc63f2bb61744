"""Migrations: forwards only, each in one transaction, run at start.

`migrations/NNNN_name.sql` runs on both engines; `NNNN_name.sqlite.sql` and `NNNN_name.postgres.sql` carry what only one of them
understands (triggers), and run right after. A database that was migrated by a newer Timmy, or by different text, is refused:
half-understood money is worse than no server.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from timmy.errors import Breach, Refusal

if TYPE_CHECKING:
    import psycopg

MIGRATION_LOCK = 0x7133399  # any number that nobody else in this database locks

_RECORD = "CREATE TABLE IF NOT EXISTS schema_migrations (name TEXT PRIMARY KEY, sha256 TEXT NOT NULL, applied_at_ms BIGINT NOT NULL)"


class SchemaMismatch(Breach):
    code = "schema_mismatch"
    title = "This database was written by another version of Timmy"


class SchemaOlder(Refusal):
    status = 409
    code = "schema_older"
    title = "This database was written by an older version of Timmy"


class SchemaEmpty(Refusal):
    status = 409
    code = "schema_empty"
    title = "There is nothing of Timmy's in this database"


@dataclass(frozen=True, slots=True)
class Migration:
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(engine: str) -> list[Migration]:
    found = []
    for file in files("timmy.db").joinpath("migrations").iterdir():
        stem, *rest = file.name.removesuffix(".sql").split(".")
        if file.name.endswith(".sql") and rest in ([], [engine]):
            found.append(Migration(".".join([stem, *rest]), file.read_text("utf-8")))
    return sorted(found, key=lambda migration: migration.name)


def _pending(engine: str, applied: dict[str, str]) -> list[Migration]:
    known = migrations(engine)
    unknown = set(applied) - {migration.name for migration in known}
    if unknown:
        raise SchemaMismatch(f"it has migrations that this version does not know: {', '.join(sorted(unknown))}. Install the newer version.")
    for migration in known:
        if applied.get(migration.name, migration.sha256) != migration.sha256:
            raise SchemaMismatch(
                f"migration {migration.name} was applied with other text than this version has. Restore the right version."
            )
    return [migration for migration in known if migration.name not in applied]


def rebuild_postgres(connection: psycopg.Connection[dict[str, object]], applied: dict[str, str]) -> None:
    """The tables as these migrations made them, in an open transaction, with no row in any of them. For what was written with them and is
    read in again: who starts on it then migrates further. SchemaMismatch for a migration that this version does not know."""
    _pending("postgres", applied)
    connection.execute(_RECORD)
    for migration in migrations("postgres"):
        if migration.name in applied:
            connection.execute(migration.sql.encode())


def migrate_sqlite(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(_RECORD)
        applied = {row["name"]: row["sha256"] for row in connection.execute("SELECT name, sha256 FROM schema_migrations")}
        for migration in _pending("sqlite", applied):
            for statement in _statements(migration.sql):
                connection.execute(statement)
            connection.execute("INSERT INTO schema_migrations VALUES (?, ?, ?)", (migration.name, migration.sha256, _now_ms()))
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def migrate_postgres(connection: psycopg.Connection[dict[str, object]]) -> None:
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        connection.execute(_RECORD)
        rows = connection.execute("SELECT name, sha256 FROM schema_migrations").fetchall()
        for migration in _pending("postgres", {str(row["name"]): str(row["sha256"]) for row in rows}):
            connection.execute(migration.sql.encode())
            connection.execute("INSERT INTO schema_migrations VALUES (%s, %s, %s)", (migration.name, migration.sha256, _now_ms()))


def look_at_sqlite(connection: sqlite3.Connection) -> None:
    """Changes nothing. Raises SchemaEmpty, SchemaOlder, SchemaMismatch where `migrate_sqlite` would have something to do or refuse."""
    there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_migrations'").fetchone()
    rows = connection.execute("SELECT name, sha256 FROM schema_migrations").fetchall() if there else []
    _refuse_other("sqlite", {row["name"]: row["sha256"] for row in rows})


def look_at_postgres(connection: psycopg.Connection[dict[str, object]]) -> None:
    """Changes nothing. Raises SchemaEmpty, SchemaOlder, SchemaMismatch where `migrate_postgres` would have something to do or refuse."""
    found = connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL AS there").fetchone()
    rows = connection.execute("SELECT name, sha256 FROM schema_migrations").fetchall() if found and found["there"] else []
    _refuse_other("postgres", {str(row["name"]): str(row["sha256"]) for row in rows})


def _refuse_other(engine: str, applied: dict[str, str]) -> None:
    if not applied:
        raise SchemaEmpty(
            "no server has run with it yet. Is DATA_DIR or DATABASE_URL what it was for the server? If so, start `timmy serve`"
            " once, which makes the tables, or fill it from a backup with `timmy restore`."
        )
    missing = _pending(engine, applied)
    if missing:
        raise SchemaOlder(
            f"it lacks {len(missing)} migrations, from {missing[0].name} on, and only a server changes it. Stop the servers of the older "
            "version and start `timmy serve` of this one once, or look with the commands of the older version."
        )


def _statements(script: str) -> Iterator[str]:
    """`executescript` would commit on its own; so the script is cut where SQLite says that a statement ends."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
