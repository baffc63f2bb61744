"""Ours: a reservation and its posting, each committed, by callers who share groups because they happen to wait together."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Sequence
from itertools import count
from typing import Any

from bench.stopwatch import Stopwatch, closed_loop, wait_for_go, wait_to_leave
from timmy.db import Tx, open_database
from timmy.ledger import Code, Entry, Post, Reserve, commit_all
from timmy.ledger.chart import POOL, REVENUE
from timmy.ledger.commit import InsufficientFunds
from timmy.money import Msats

AMOUNT = Msats(1_000)


def commit_each(tx: Tx, entries: Sequence[Entry]) -> list[InsufficientFunds | None]:
    return commit_all(tx, time.time_ns() // 1_000_000, [[entry] for entry in entries])


async def main(order: dict[str, Any]) -> None:
    db = open_database(order["url"])
    run, numbers = secrets.token_hex(4), count()

    async def pair() -> None:
        id = f"bench/{run}/{next(numbers)}"
        await db.write_grouped(commit_each, Reserve(id, POOL, REVENUE, AMOUNT, Code.WORK_CHARGE))
        await db.write_grouped(commit_each, Post(id))

    await pair()
    wait_for_go()
    await closed_loop(Stopwatch(order["warm_seconds"], order["seconds"]), order["callers"], pair)
    wait_to_leave()
    await db.aclose()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
