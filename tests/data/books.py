"""The books of every released version, kept so that each later version can show that it still understands them.

    python -m tests.data.books      writes tests/data/<version>.json: run it once, when a version is released

A file holds the names and checksums of the migrations of its version and the rows of every table, after a little of everything has
happened. From then on the text of those migrations is final. tests/contract/test_migrations.py loads each file on both engines.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import timmy
from timmy.db import Tx, open_database
from timmy.db.migrate import migrations
from timmy.events import NewEvent, append
from timmy.idempotency import Key, bind
from timmy.ledger import Code, Move, MoveAll, Post, Reserve, Void, commit
from timmy.money import Msats
from timmy.tasks import NewTask, add, book, store

HERE = Path(__file__).parent
AT_MS = 1_700_000_000_000

Snapshot = dict[str, Any]


def live_a_little(tx: Tx) -> None:
    """Money that came, is reserved, earned, let go, owed and sent; tasks due, claimed and parked; events; a key."""
    commit(tx, AT_MS, Move("invoice/1", "lightning", "job/1", Msats(10_500), Code.PAYMENT_RECEIVED))
    commit(tx, AT_MS, Move("gift", "operator", "pool", Msats(50_000), Code.OPERATOR_CORRECTION))
    commit(tx, AT_MS, Reserve("job/1/work", "job/1", "revenue", Msats(6_000), Code.WORK_CHARGE))
    commit(tx, AT_MS, Post("job/1/work", Msats(4_200)), MoveAll("job/1/back", "job/1", "owed/1", Code.OWED_BACK))
    commit(tx, AT_MS, Move("payout/1", "owed/1", "in_flight/1", Msats(5_000), Code.PAYOUT_PLANNED))
    commit(tx, AT_MS, Move("payout/1/sent", "in_flight/1", "lightning", Msats(5_000), Code.PAYOUT_SENT))
    commit(tx, AT_MS, Reserve("let go", "pool", "revenue", Msats(7), Code.WORK_CHARGE))
    commit(tx, AT_MS, Reserve("kept", "pool", "revenue", Msats(9), Code.WORK_CHARGE))
    commit(tx, AT_MS, Void("let go"))
    add(tx, [NewTask("work", subject, AT_MS) for subject in ("claimed", "parked")])
    (first, second) = store.claim(tx, ["work"], AT_MS, AT_MS + 30_000, 2)
    stuck = first if first["subject"] == "parked" else second
    book.park(tx, book.Task(stuck["id"], "work", "parked", 1, stuck["fence"]), "the books disagree")
    add(tx, [NewTask("work", "due", AT_MS)])
    append(tx, AT_MS, [NewEvent("job_1", "created"), NewEvent("job_1", "paid", {"msat": 10_500, "text": "čeština ☃"})])
    bind(tx, "POST /v1/jobs", Key("key", "sha256"), "job_1", AT_MS)


def tables(tx: Tx) -> list[str]:
    rows = tx.all("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
    return [row["name"] for row in rows if row["name"] != "schema_migrations"]


async def snapshot() -> Snapshot:
    """This version's books, as a file would keep them."""
    with tempfile.TemporaryDirectory() as directory:
        db = open_database(f"sqlite://{directory}/timmy.db")
        await db.write(live_a_little)
        rows = {table: await db.read(lambda tx, table=table: tx.all(f"SELECT * FROM {table}")) for table in await db.read(tables)}  # type: ignore[misc]
        await db.aclose()
    known = {migration.name: migration.sha256 for engine in ("sqlite", "postgres") for migration in migrations(engine)}
    return {"version": timmy.__version__, "migrations": known, "tables": rows}


def kept() -> list[Path]:
    return sorted(HERE.glob("*.json"))


if __name__ == "__main__":
    path = HERE / f"{timmy.__version__}.json"
    path.write_text(json.dumps(asyncio.run(snapshot()), ensure_ascii=False, indent=1) + "\n", "utf-8")
    print(path)
