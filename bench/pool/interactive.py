"""The usual way: each caller a transaction of its own, which locks the pool's row, decides in Python, and writes.

It writes less than ours: no transfers that explain the balances, no reservation that outlives the decision; the gift leaves the pool at
once and is granted in the same transaction. The callers share asynchronous connections. On one hot row a few do better than many, so the
contest tries several numbers and counts the best.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from typing import Any

import psycopg

from bench.pool.people import AT_MS, GIFT, gifts
from bench.stopwatch import Stopwatch, closed_loop, wait_for_go, wait_to_leave
from timmy.generosity import Gift

POOL = "SELECT balance_msat - reserved_msat FROM accounts WHERE id = 'pool' FOR UPDATE"
ALLOWANCE = "SELECT balance_msat - reserved_msat FROM accounts WHERE id = %s"
TAKE = "UPDATE accounts SET balance_msat = balance_msat - %s WHERE id = %s"
GRANT = "INSERT INTO grants (id, subject, pubkey, tier, day, absorbed_msat, at_ms) VALUES (%s, %s, %s, %s, %s, %s, %s)"

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


async def serve(connection: Connection, gift: Gift) -> bool:
    cursor = connection.cursor()
    pool = await (await cursor.execute(POOL)).fetchone()
    left = await (await cursor.execute(ALLOWANCE, (gift.allowance,))).fetchone()
    assert pool is not None
    assert left is not None
    enough: bool = GIFT.value <= pool[0] and GIFT.value <= left[0]
    if enough:
        await cursor.execute(TAKE, (GIFT.value, "pool"))
        await cursor.execute(TAKE, (GIFT.value, gift.allowance))
        await cursor.execute(GRANT, (gift.id, gift.subject, gift.pubkey, gift.tier, gift.day, GIFT.value, AT_MS))
    await connection.commit()
    return enough


async def main(order: dict[str, Any]) -> None:
    free = [await psycopg.AsyncConnection.connect(order["url"]) for _ in range(order["connections"])]
    is_free = asyncio.Semaphore(len(free))  # fair: whoever has just been served waits behind the others
    following = gifts(secrets.token_hex(4))

    async def once() -> None:
        async with is_free:
            connection = free.pop()
            assert await serve(connection, following())
            free.append(connection)

    await once()
    wait_for_go()
    await closed_loop(Stopwatch(order["warm_seconds"], order["seconds"]), order["callers"], once)
    wait_to_leave()
    for connection in free:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
