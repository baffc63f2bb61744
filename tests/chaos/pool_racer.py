"""One process of a race for the pool: it waits for orders on its standard input, and carries each out at the given moment.

    python -m tests.chaos.pool_racer postgresql://…

An order is a line of JSON: the callers, `[n, key, sats]` or `[n, key, sats, whether for a part]`, and what then becomes of those who
were served ("give", "take back", "both" by turns). The answer is a line of JSON: `[n, millisats]` of each who was given something.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from timmy.db import Database, Tx, open_database
from timmy.generosity import Ask, Decision, Free, Gift, Terms, day_of, decide_all, reserve_up_to
from timmy.generosity.pool import record_grants
from timmy.ledger import commit_all
from timmy.money import Msats, Sats

NOON = 1_700_000_000_000 // 86_400_000 * 86_400_000 + 43_200_000
TODAY = day_of(NOON)
TERMS = Terms({"established": Sats(50).msats})


def key(n: int) -> str:
    return f"{n:064x}"


def gift(id: str, pubkey: str) -> Gift:
    return Gift(f"job/{id}/gift", id, pubkey, "established", TODAY)


def decide(tx: Tx, asks: Sequence[Ask]) -> Sequence[Decision]:
    return decide_all(tx, asks, TERMS)


def end(tx: Tx, ends: Sequence[tuple[Gift, Msats]]) -> Sequence[None]:
    """Some were given, others did not happen: one group, as the flow of jobs makes them."""
    for refusal in commit_all(tx, NOON, [one.post(absorbed) if absorbed else one.void() for one, absorbed in ends]):
        assert refusal is None
    record_grants(tx, ends, NOON)
    return [None] * len(ends)


async def call(db: Database, order: dict[str, Any], n: int, pubkey: str, sats: int, for_a_part: bool = False) -> list[int] | None:
    """One caller, from the question to the end of the work."""
    one = gift(f"{order['round']}/{n}", pubkey)
    amount = Sats(sats).msats
    if for_a_part:
        reserved = await db.write(reserve_up_to, one, amount, TERMS, NOON)
    else:
        decision = await db.write_grouped(decide, Ask(one, amount, NOON))
        reserved = amount if isinstance(decision, Free) else Msats(0)
    if not reserved:
        return None
    happens = order["then"] == "give" or (order["then"] == "both" and n % 2 == 0)
    await db.write_grouped(end, (one, reserved if happens else Msats(0)))
    return [n, reserved.value if happens else 0]


async def main() -> None:
    db = open_database(sys.argv[1])
    print(json.dumps("ready"), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        await asyncio.sleep(max(0.0, order["at"] - time.time()))
        answers = await asyncio.gather(*(call(db, order, *caller) for caller in order["callers"]))
        print(json.dumps([served for served in answers if served]), flush=True)
    await db.aclose()


if __name__ == "__main__":
    asyncio.run(main())
