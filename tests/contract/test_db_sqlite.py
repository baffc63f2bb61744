"""What only SQLite has to promise: the settings that money depends on, one server per file, and room for other programs beside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from timmy.db import Database, DatabaseDown, Tx, open_database, sqlite
from timmy.db.sqlite import SecondServer

SERVER = """
import sys, time
from timmy.db import open_database
db = open_database(sys.argv[1], server=True)
print("serving", flush=True)
time.sleep(60)
"""
WRITER = """
import asyncio, sys
from timmy.db import open_database

def count_up(tx):
    tx.one("SELECT value FROM counters WHERE name = 'events'")
    tx.run("UPDATE counters SET value = value + 1 WHERE name = 'events'")

async def main(url, count):
    db = open_database(url)
    for n in range(count):
        await db.write(count_up)
    await db.aclose()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@contextlib.contextmanager
def another_server(url: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", SERVER, url], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def count_up(tx: Tx) -> None:
    """It looks before it writes, as everything does: a transaction that began by reading could not wait for its turn to write."""
    counted(tx)
    tx.run("UPDATE counters SET value = value + 1 WHERE name = 'events'")


def counted(tx: Tx) -> int:
    row = tx.one("SELECT value FROM counters WHERE name = 'events'")
    assert row is not None
    value: int = row["value"]
    return value


def pragma(tx: Tx, name: str) -> object:
    row = tx.one(f"PRAGMA {name}")
    assert row is not None
    return row[name]


@pytest.mark.fault("C22")
async def test_every_commit_of_money_waits_for_the_disk(sqlite_db: Database) -> None:
    assert await sqlite_db.write(pragma, "synchronous") == 2, "2 is FULL: with 1 the last commits may be lost in a power cut"
    assert await sqlite_db.write(pragma, "journal_mode") == "wal"
    assert await sqlite_db.write(pragma, "foreign_keys") == 1
    for _ in range(4):
        assert await sqlite_db.read(pragma, "query_only") == 1


async def test_nobody_else_may_read_the_books(sqlite_db: Database, tmp_path: Path) -> None:
    assert (tmp_path / "timmy.db").stat().st_mode & 0o777 == 0o600
    await sqlite_db.write(count_up)
    assert (tmp_path / "timmy.db-wal").stat().st_mode & 0o077 == 0


@pytest.mark.fault("B20")
async def test_a_second_server_on_one_file_is_refused_and_told_what_to_do(sqlite_url: str) -> None:
    first = open_database(sqlite_url, server=True)
    with pytest.raises(SecondServer, match="PostgreSQL") as told:
        open_database(sqlite_url.replace(":///", ":////"), server=True)  # as it is made of an absolute DATA_DIR
    assert told.value.message.startswith("/")
    assert "//" not in told.value.message
    await first.aclose()
    again = open_database(sqlite_url, server=True)
    await again.aclose()


@pytest.mark.fault("B20")
async def test_a_server_in_another_process_is_a_second_server_until_it_is_dead(sqlite_url: str) -> None:
    with another_server(sqlite_url) as process:
        with pytest.raises(SecondServer):
            open_database(sqlite_url, server=True)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        db = open_database(sqlite_url, server=True)
        assert await db.read(counted) == 0
        await db.aclose()


@pytest.mark.fault("B20")
async def test_a_command_may_write_beside_the_server(sqlite_url: str) -> None:
    with another_server(sqlite_url):
        command = open_database(sqlite_url)
        await command.write(count_up)
        assert await command.read(counted) == 1
        await command.aclose()


@pytest.mark.fault("B20")
async def test_many_writers_in_many_processes_never_hear_that_it_is_locked(sqlite_url: str) -> None:
    db = open_database(sqlite_url)
    others = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, sqlite_url, "60", stderr=subprocess.PIPE) for _ in range(3)
    ]
    while any(other.returncode is None for other in others):
        await asyncio.gather(*(db.write(count_up) for _ in range(5)))
        await asyncio.wait([asyncio.ensure_future(other.wait()) for other in others], timeout=0.01)
    mine = await db.read(counted) - 3 * 60
    for other in others:
        _, said = await other.communicate()
        assert (other.returncode, said.decode()) == (0, "")
    assert mine > 0
    assert mine % 5 == 0
    await db.aclose()


async def test_a_file_that_somebody_else_holds_is_an_outage_and_then_heals(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_SECONDS", 0.05)
    db = open_database(sqlite_url)
    outsider = sqlite3.connect(sqlite_url.removeprefix("sqlite://"), isolation_level=None)
    outsider.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseDown, match="locked"):
        await db.write(count_up)
    assert await db.read(counted) == 0, "readers need no lock"
    outsider.execute("ROLLBACK")
    await db.write(count_up)
    assert await db.read(counted) == 1
    outsider.close()
    await db.aclose()


@pytest.mark.parametrize("what", ["a folder", "a picture"])
def test_what_is_no_database_is_an_outage_with_a_reason(tmp_path: Path, what: str) -> None:
    path = tmp_path / "timmy.db"
    if what == "a folder":
        path.mkdir()
    else:
        path.write_bytes(b"\x89PNG\r\n" * 1000)
    with pytest.raises(DatabaseDown, match="SQLite says"):
        open_database(f"sqlite://{path}")


def test_a_database_url_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="postgresql://"):
        open_database("mysql://root@localhost/timmy")
