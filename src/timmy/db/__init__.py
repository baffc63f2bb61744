"""Storage: SQLite by default, PostgreSQL for many processes, one SQL text for both.

This room promises that a function given to `write` is applied whole or not at all, exactly once per success, durable when `write`
returns; that functions that wait together share a commit without ever sharing a failure; and that the schema is the one this version knows.
"""

from __future__ import annotations

from pathlib import Path

from timmy.db.line import Probe, no_probe
from timmy.db.protocol import Answer, Database, DatabaseDown, Row, Tx
from timmy.db.sqlite import SqliteDatabase

__all__ = ["Answer", "Database", "DatabaseDown", "Probe", "Row", "Tx", "open_database"]


def open_database(url: str, *, server: bool = False, migrate: bool = True, probe: Probe = no_probe) -> Database:
    """`sqlite:///absolute/path` or `postgresql://…`. `server`: refuse a second server on one SQLite file. `migrate=False`: the schema is
    left as it is, and must be this version's.

    Raises DatabaseDown, SchemaMismatch, SchemaOlder, SchemaEmpty, SecondServer."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        return SqliteDatabase(Path("/" + rest.lstrip("/")), server=server, migrate=migrate, probe=probe)
    if scheme in ("postgresql", "postgres"):
        from timmy.db.postgres import PostgresDatabase  # its driver takes a tenth of a second to read, which SQLite has no use for

        return PostgresDatabase(url, migrate=migrate, probe=probe)
    raise ValueError(f"DATABASE_URL must begin with sqlite:/// or postgresql://, not {scheme!r}")
