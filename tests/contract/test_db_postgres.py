"""What only PostgreSQL has to promise: many processes, deadlocks, lost races and lost connections."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from tests.unit.ledger_grid import AT_MS, play
from tests.unit.ledger_rows import ROWS

from timmy.db import Database, DatabaseDown, Tx, open_database, postgres
from timmy.db.line import ATTEMPTS_MAX, no_probe
from timmy.db.postgres import PostgresTx, connect
from timmy.db.wire import Wire
from timmy.ledger import chart
from timmy.ledger.commit import commit
from timmy.ledger.entries import Move
from timmy.money import Msats

PATIENCE_SECONDS = 60


def make_notes(tx: Tx) -> None:
    tx.run("CREATE TABLE notes (id TEXT PRIMARY KEY, n BIGINT NOT NULL)")
    tx.run("INSERT INTO notes VALUES ('a', 0), ('b', 0)")


@pytest.fixture
async def notes(postgres_url: str) -> AsyncIterator[Database]:
    db = open_database(postgres_url)
    await db.write(make_notes)
    yield db
    await db.aclose()


def add(tx: Tx, id: str) -> None:
    tx.run("UPDATE notes SET n = n + 1 WHERE id = :id", id=id)


def state(tx: Tx) -> dict[str, int]:
    return {row["id"]: row["n"] for row in tx.all("SELECT id, n FROM notes")}


# --- the ledger's grid, here too -----------------------------------------------------------------------------------


class OnPostgres:
    def __init__(self, raw: psycopg.Connection[Any], wire: Wire) -> None:
        self._raw, self._wire = raw, wire
        self.tx: Tx = PostgresTx(wire, no_probe)

    def savepoint(self) -> None:
        self._raw.execute("SAVEPOINT asked")

    def rollback(self) -> None:
        self._wire.forget()
        self._raw.execute("ROLLBACK TO asked")


@pytest.fixture(scope="module")
def migrated(postgres_server: str) -> Iterator[tuple[psycopg.Connection[Any], Wire]]:
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute("CREATE DATABASE grid")
    url = postgres_server.replace("/postgres?", "/grid?")
    database = open_database(url)
    asyncio.run(database.write(lambda tx: tx.one("SELECT 1 AS n")))
    asyncio.run(database.aclose())
    with closing(connect(url)) as raw:
        yield raw, Wire(raw)


@pytest.mark.parametrize("promise", ROWS)
def test_the_ledger_keeps_its_promise(migrated: tuple[psycopg.Connection[Any], Wire], promise: str) -> None:
    raw, wire = migrated
    try:
        play(OnPostgres(raw, wire), ROWS[promise])
    finally:
        wire.forget()
        raw.rollback()


# --- others at the same rows ---------------------------------------------------------------------------------------


@pytest.mark.fault("B14", "B15")
async def test_two_that_take_the_same_rows_in_opposite_order_both_win(notes: Database, postgres_url: str) -> None:
    neighbour = open_database(postgres_url)
    meeting = threading.Barrier(2)
    runs: list[str] = []

    def both(tx: Tx, first: str, then: str) -> None:
        runs.append(first)
        add(tx, first)
        if len(runs) <= 2:  # the first time round they wait until each holds what the other wants
            meeting.wait(PATIENCE_SECONDS)
        add(tx, then)

    await asyncio.gather(notes.write(both, "a", "b"), neighbour.write(both, "b", "a"))
    await neighbour.aclose()
    assert await notes.read(state) == {"a": 2, "b": 2}
    assert len(runs) >= 3, "at least one was the victim of the deadlock, and was run again"


@pytest.mark.fault("B15")
@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03"])
async def test_a_lost_race_is_run_again_whole(notes: Database, sqlstate: str) -> None:
    runs: list[int] = []

    def unlucky(tx: Tx) -> int:
        runs.append(len(runs))
        add(tx, "a")
        if len(runs) < 4:
            tx.run(f"DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '{sqlstate}'; END $$")
        add(tx, "b")
        return len(runs)

    assert await notes.write(unlucky) == 4
    assert await notes.read(state) == {"a": 1, "b": 1}


@pytest.mark.fault("B15")
async def test_who_always_loses_is_told_so_and_nobody_else(notes: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    runs: list[int] = []

    def loser(tx: Tx) -> None:
        runs.append(1)
        add(tx, "a")
        tx.run("DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$")

    outcomes = await asyncio.gather(notes.write(loser), *(notes.write(add, "b") for _ in range(20)), return_exceptions=True)
    assert isinstance(outcomes[0], DatabaseDown)
    assert outcomes[1:] == [None] * 20
    assert await notes.read(state) == {"a": 0, "b": 20}
    assert ATTEMPTS_MAX <= len(runs) <= ATTEMPTS_MAX + 1


async def test_a_lock_that_is_never_given_back_is_an_outage_and_then_heals(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "LOCK_TIMEOUT_MS", 20)
    db = open_database(postgres_url)
    await db.write(make_notes)
    with psycopg.connect(postgres_url) as outsider:
        outsider.execute("UPDATE notes SET n = n + 100 WHERE id = 'a'")
        blocked = asyncio.ensure_future(db.write(add, "a"))
        await asyncio.gather(*(db.write(add, "b") for _ in range(5)))
        with pytest.raises(DatabaseDown, match="gave up"):
            await blocked
        outsider.rollback()
    await db.write(add, "a")
    assert await db.read(state) == {"a": 1, "b": 5}
    await db.aclose()


async def test_a_statement_that_runs_away_is_stopped(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "STATEMENT_TIMEOUT_MS", 500)
    db = open_database(postgres_url)
    with pytest.raises(DatabaseDown, match="QueryCanceled"):
        await db.write(lambda tx: tx.run("SELECT pg_sleep(60)"))
    assert await db.write(lambda tx: tx.one("SELECT 1 AS n")) == {"n": 1}
    await db.aclose()


async def test_a_slow_read_may_take_longer_than_a_statement_may(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "STATEMENT_TIMEOUT_MS", 500)
    db = open_database(postgres_url)
    with pytest.raises(DatabaseDown, match="QueryCanceled"):
        await db.read(lambda tx: tx.one("SELECT 1 AS n FROM pg_sleep(60)"))
    assert await db.read_slowly(lambda tx: tx.one("SELECT 1 AS n FROM pg_sleep(0.7)")) == {"n": 1}
    await db.aclose()


@pytest.mark.fault("B14")
async def test_new_accounts_in_any_order_neither_deadlock_nor_half_happen(postgres_url: str) -> None:
    """Every unit opens accounts that the others open too, from several 'servers' with several writers each."""
    servers = [postgres.PostgresDatabase(postgres_url, writers=writers) for writers in (1, 2, 4)]

    async def pay(server: Database, round: int, n: int) -> None:
        names = [chart.owed(f"{round}-{(n + k) % 5}") for k in (0, 2, 1)]
        entries = [Move(f"{round}-{n}-{k}", chart.OPERATOR, name, Msats(1), chart.Code.OPERATOR_CORRECTION) for k, name in enumerate(names)]
        await server.write(commit, AT_MS, *entries)

    for round in range(10):
        await asyncio.gather(*(pay(server, round, n) for server in servers for n in range(10)))
    total = await servers[0].read(lambda tx: tx.one("SELECT COUNT(*) AS n, SUM(balance_msat) AS sum FROM accounts WHERE guarded = 1"))
    assert total == {"n": 50, "sum": 10 * 10 * 3}
    for server in servers:
        await server.aclose()


# --- connections that are lost -------------------------------------------------------------------------------------


def lose_the_connection(tx: Tx, url: str) -> None:
    row = tx.one("SELECT pg_backend_pid() AS pid")
    assert row is not None
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", (row["pid"],))


@pytest.mark.fault("C20")
async def test_a_connection_lost_before_the_commit_is_run_again(notes: Database, postgres_url: str) -> None:
    runs: list[int] = []

    def cut_off(tx: Tx) -> None:
        runs.append(1)
        add(tx, "a")
        if len(runs) == 1:
            lose_the_connection(tx, postgres_url)
        add(tx, "b")

    await notes.write(cut_off)
    assert await notes.read(state) == {"a": 1, "b": 1}
    assert len(runs) == 2


@pytest.mark.fault("C20")
async def test_a_connection_lost_at_the_commit_is_never_guessed_about(notes: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit happened and its answer was lost: run again, it would happen twice; so the caller is told to ask."""
    honest = Wire.commit

    def lost(self: Wire) -> None:
        honest(self)
        monkeypatch.setattr(Wire, "commit", honest)
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(Wire, "commit", lost)
    with pytest.raises(DatabaseDown, match="ask again"):
        await notes.write(add, "a")
    assert await notes.read(state) == {"a": 1, "b": 0}
    await notes.write(add, "b")
    assert await notes.read(state) == {"a": 1, "b": 1}


@pytest.mark.fault("C20")
async def test_a_connection_lost_with_the_last_statements_is_never_guessed_about(notes: Database, postgres_url: str) -> None:
    """They go together with the COMMIT: nobody here knows how far PostgreSQL came."""

    def change(tx: Tx, first: Callable[[Tx], None]) -> None:
        add(tx, "a")
        first(tx)
        tx.ask("UPDATE notes SET n = n + 7 WHERE id = 'b'")

    await notes.write(change, lambda tx: None)  # prepared, so that nothing but itself is left to be sent
    with pytest.raises(DatabaseDown, match="ask again"):
        await notes.write(change, lambda tx: lose_the_connection(tx, postgres_url))
    assert await notes.read(state) == {"a": 1, "b": 7}


@pytest.mark.fault("B15")
async def test_a_race_lost_with_the_commit_is_run_again(notes: Database) -> None:
    runs: list[int] = []

    def unlucky(tx: Tx) -> None:
        runs.append(1)
        add(tx, "a")
        if len(runs) < 4:
            tx.ask("DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$")
        tx.ask("UPDATE notes SET n = 7 WHERE id = 'b'").must_touch(1, AssertionError("it is there"))

    await notes.write(unlucky)
    assert (await notes.read(state), len(runs)) == ({"a": 1, "b": 7}, 4)


@pytest.mark.fault("C20")
async def test_a_lost_reader_reads_again(notes: Database, postgres_url: str) -> None:
    runs: list[int] = []

    def cut_off(tx: Tx) -> dict[str, int]:
        runs.append(1)
        if len(runs) == 1:
            lose_the_connection(tx, postgres_url)
        return state(tx)

    assert await notes.read(cut_off) == {"a": 0, "b": 0}


async def test_a_column_that_another_server_has_added_is_no_outage(notes: Database, postgres_url: str) -> None:
    def whole(tx: Tx) -> list[list[str]]:
        return [list(row) for row in tx.all("SELECT * FROM notes WHERE id IN :ids", ids=["a"])]

    assert (await notes.read(whole), await notes.write(whole)) == ([["id", "n"]],) * 2
    neighbour = open_database(postgres_url)
    await neighbour.write(lambda tx: tx.run("ALTER TABLE notes ADD COLUMN more TEXT"))
    await neighbour.aclose()
    assert (await notes.read(whole), await notes.write(whole)) == ([["id", "n", "more"]],) * 2


async def test_what_was_prepared_and_is_forgotten_is_prepared_anew(notes: Database) -> None:
    runs: list[int] = []

    def forgotten(tx: Tx) -> dict[str, int]:
        runs.append(1)
        state(tx)
        if len(runs) == 1:
            tx.run("DEALLOCATE ALL")  # as a pooler does between its clients
        return state(tx)

    assert await notes.write(forgotten) == {"a": 0, "b": 0}
    assert len(runs) == 2


@pytest.mark.fault("F09")
async def test_texts_are_what_they_were_in_any_environment(notes: Database, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    elsewhere = open_database(postgres_url)
    await elsewhere.write(lambda tx: tx.run("INSERT INTO notes VALUES (:id, 1)", id="čeština ☃ é"))
    assert "čeština ☃ é" in await elsewhere.read(state)
    await elsewhere.aclose()
    assert "čeština ☃ é" in await notes.read(state)


async def test_a_server_that_is_not_there_is_an_outage() -> None:
    with pytest.raises(DatabaseDown, match="DATABASE_URL"):
        open_database("postgresql://nobody@127.0.0.1:9/nothing")
