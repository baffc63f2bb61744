"""Migrations: forwards, once, whole or not at all, and never over books that this version does not understand."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from contextlib import closing
from typing import Any

import psycopg
import pytest
from tests.data import books

from timmy.db import Database, Row, Tx, migrate, open_database
from timmy.db.migrate import Migration, SchemaEmpty, SchemaMismatch, SchemaOlder, migrations
from timmy.ledger import Move, Post, audit, commit
from timmy.ledger.chart import Code
from timmy.money import Msats


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Once on each engine, with nothing there: every test here begins before the first migration."""
    url: str = request.getfixturevalue(f"bare_{request.param}_url")
    return url


def applied(tx: Tx) -> list[Row]:
    return tx.all("SELECT name, sha256, applied_at_ms FROM schema_migrations ORDER BY name")


def run(tx: Tx, statement: str) -> int:
    return tx.run(statement)


def everything(tx: Tx, table: str) -> list[Row]:
    return tx.all(f"SELECT * FROM {table}")


async def look(url: str) -> list[Row]:
    db = open_database(url)
    rows = await db.read(applied)
    await db.aclose()
    return rows


async def change(url: str, statement: str) -> None:
    db = open_database(url)
    await db.write(run, statement)
    await db.aclose()


def names(engine: str) -> list[str]:
    return [migration.name for migration in migrations(engine)]


async def test_each_migration_is_applied_once(database_url: str) -> None:
    first = await look(database_url)
    assert [row["name"] for row in first] == names(database_url.split(":")[0].removesuffix("ql"))
    assert await look(database_url) == first


def test_migrations_have_a_number_each_and_an_engine_has_no_history_of_its_own() -> None:
    numbered = [name for name in names("sqlite") if "." not in name]
    assert len({name[:4] for name in numbered}) == len(numbered), "two with one number have no order"
    assert numbered == [name for name in names("postgres") if "." not in name]
    assert {name.partition(".")[0] for engine in ("sqlite", "postgres") for name in names(engine)} == set(numbered)


@pytest.mark.fault("C15")
async def test_books_of_a_newer_version_are_refused(database_url: str) -> None:
    await look(database_url)
    await change(database_url, "INSERT INTO schema_migrations VALUES ('9999_the_future', 'x', 1)")
    with pytest.raises(SchemaMismatch, match=r"9999_the_future.*Install the newer version"):
        open_database(database_url)


@pytest.mark.fault("C15")
async def test_a_migration_of_another_text_is_refused(database_url: str) -> None:
    await change(database_url, "UPDATE schema_migrations SET sha256 = 'other' WHERE name = '0001_ledger'")
    with pytest.raises(SchemaMismatch, match="0001_ledger was applied with other text"):
        open_database(database_url)


@pytest.mark.parametrize("how_old", ["older", "without a ledger"])
async def test_who_only_looks_migrates_nothing_and_is_told_what_to_do(
    database_url: str, how_old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = migrations("sqlite")[-1].name.partition(".")[0]
    if how_old == "older":
        with monkeypatch.context() as older:
            older.setattr(migrate, "migrations", lambda engine: [one for one in migrations(engine) if not one.name.startswith(newest)])
            await look(database_url)
    before = await raw_tables(database_url)
    for _ in range(2):
        with pytest.raises(SchemaOlder if how_old == "older" else SchemaEmpty, match="timmy serve"):
            open_database(database_url, migrate=False)
    assert await raw_tables(database_url) == before
    await look(database_url)
    await open_database(database_url, migrate=False).aclose()


async def raw_tables(url: str) -> list[tuple[str, ...]]:
    """The names of all tables and indexes, and which migrations were applied, as anybody could read them."""
    if url.startswith("postgres"):
        with psycopg.connect(url) as raw:
            found = raw.execute("SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1").fetchall()
            return found + (raw.execute("SELECT name FROM schema_migrations ORDER BY 1").fetchall() if found else [])
    with closing(sqlite3.connect(url.removeprefix("sqlite://"))) as raw_file:
        found = raw_file.execute("SELECT name FROM sqlite_master ORDER BY 1").fetchall()
        return found + (raw_file.execute("SELECT name FROM schema_migrations ORDER BY 1").fetchall() if found else [])


HALF = "CREATE TABLE half (id TEXT);\nINSERT INTO half VALUES ('x');\n"


@pytest.mark.fault("C15")
@pytest.mark.parametrize("wrong", ["SELECT nothing FROM nowhere;", "CREATE TABLE half (id TEXT);"])
async def test_a_migration_that_fails_leaves_nothing_of_itself(database_url: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await look(database_url)
    known = migrate.migrations
    good, half = Migration("9000_good", "CREATE TABLE good (id TEXT);"), Migration("9001_half", HALF + wrong)
    monkeypatch.setattr(migrate, "migrations", lambda engine: [*known(engine), good, half])
    for _ in range(2):
        with pytest.raises((sqlite3.OperationalError, psycopg.ProgrammingError)):
            open_database(database_url)
    monkeypatch.setattr(migrate, "migrations", known)
    assert await look(database_url) == before
    monkeypatch.setattr(migrate, "migrations", lambda engine: [*known(engine), Migration("9001_half", HALF)])
    assert [row["name"] for row in await look(database_url)] == [row["name"] for row in before] + ["9001_half"]


DIES = """
import os, sys
from timmy.db import migrate, open_database

left = int(sys.argv[2])
honest = migrate._now_ms

def counted():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), 9)
    return honest()

migrate._now_ms = counted  # called once for each migration, between its statements and the note that it was applied
open_database(sys.argv[1])
"""


@pytest.mark.fault("C15")
async def test_killed_while_it_migrates_it_is_the_old_schema_and_starts_again(database_url: str) -> None:
    count = len(names("sqlite" if database_url.startswith("sqlite") else "postgres"))
    for point in (1, count // 2, count):
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", DIES, database_url, f"{point}")
        assert await child.wait() == -9
        if database_url.startswith("sqlite"):
            with sqlite3.connect(database_url.removeprefix("sqlite://")) as raw:
                assert raw.execute("SELECT COUNT(*) FROM sqlite_master").fetchone() == (0,)
        else:
            with psycopg.connect(database_url) as server:
                assert server.execute("SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
    assert len(await look(database_url)) == count


OPENS = """
import sys
from timmy.db import open_database
print("ready", flush=True)
sys.stdin.readline()
open_database(sys.argv[1])
"""


@pytest.mark.fault("C15", "B20")
async def test_several_processes_that_start_at_once_migrate_once(database_url: str) -> None:
    pipe = asyncio.subprocess.PIPE
    others = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", OPENS, database_url, stdin=pipe, stdout=pipe, stderr=pipe)
        for _ in range(4)
    ]
    for other in others:
        assert other.stdout is not None
        assert await other.stdout.readline() == b"ready\n"
    said = await asyncio.gather(*(other.communicate(b"go\n") for other in others))
    assert [error.decode() for _, error in said] == [""] * 4
    assert [other.returncode for other in others] == [0] * 4
    rows = await look(database_url)
    assert len(rows) == len({row["name"] for row in rows})


# --- both engines have the same tables, and understand every version's books ---------------------------------------------


async def columns(db: Database) -> dict[str, set[str]]:
    if db.engine == "postgres":
        sql = "SELECT table_name AS t, column_name AS c FROM information_schema.columns WHERE table_schema = 'public'"
    else:
        sql = "SELECT m.name AS t, i.name AS c FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS i WHERE m.type = 'table'"
    rows = await db.read(lambda tx: tx.all(sql))
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["t"], set()).add(row["c"])
    return found


async def test_both_engines_have_the_same_tables(bare_sqlite_url: str, bare_postgres_url: str) -> None:
    one, other = open_database(bare_sqlite_url), open_database(bare_postgres_url)
    assert await columns(one) == await columns(other)
    await one.aclose()
    await other.aclose()


def put(tx: Tx, snapshot: books.Snapshot) -> None:
    tx.run("DELETE FROM counters")
    for table, rows in snapshot["tables"].items():
        for row in rows:
            tx.run(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(f':{column}' for column in row)})", **row)


@pytest.mark.parametrize("version", ["this one", *books.kept()], ids=lambda version: getattr(version, "stem", version))
async def test_the_books_of_every_version_are_understood(database_url: str, version: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = await books.snapshot() if version == "this one" else json.loads(version.read_text("utf-8"))
    engine = "sqlite" if database_url.startswith("sqlite") else "postgres"
    now = {migration.name: migration for migration in migrations(engine)}
    theirs = [migration for name, migration in now.items() if name in snapshot["migrations"]]
    for migration in theirs:
        assert migration.sha256 == snapshot["migrations"][migration.name], "a released migration is final: write another one"
    monkeypatch.setattr(migrate, "migrations", lambda engine: theirs)
    old = open_database(database_url)
    await old.write(put, snapshot)
    await old.aclose()
    monkeypatch.undo()

    db = open_database(database_url)
    assert [check for check in await db.read(audit) if not check.holds] == []
    for table, rows in snapshot["tables"].items():
        kept = await db.read(everything, table)
        found = [{column: row[column] for column in rows[0]} for row in kept] if rows else []
        assert sorted(map(repr, found)) == sorted(map(repr, map(dict, rows))), table
    await db.write(commit, books.AT_MS, Post("kept"), Move("new", "pool", "owed/2", Msats(1), Code.OWED_BACK))
    assert [check for check in await db.read(audit) if not check.holds] == []
    await db.aclose()
