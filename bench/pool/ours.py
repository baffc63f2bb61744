"""Ours: the decision and its reservations, committed, by callers who share groups because they happen to wait together.

With `whole`, the work's end belongs to it as well: the reservations are posted and the grant is written, in a second commit. Without,
that is done for everybody when the measuring is over, so that the books can be compared.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections.abc import Sequence
from typing import Any

from bench.pool.people import AT_MS, GIFT, TERMS, gifts
from bench.stopwatch import Stopwatch, closed_loop, wait_for_go, wait_to_leave
from timmy.db import Tx, open_database
from timmy.generosity import Ask, Decision, Free, Gift, decide_all
from timmy.generosity.pool import record_grants
from timmy.ledger import commit_all

AT_ONCE = 1_000  # when it is over: more than can wait have been served by then


def decide(tx: Tx, asks: Sequence[Ask]) -> Sequence[Decision]:
    return decide_all(tx, asks, TERMS)


def end(tx: Tx, ended: Sequence[Gift]) -> Sequence[None]:
    """As the flow of jobs does it: posted, and recorded for ever."""
    for refusal in commit_all(tx, AT_MS, [gift.post(GIFT) for gift in ended]):
        assert refusal is None
    record_grants(tx, [(gift, GIFT) for gift in ended], AT_MS)
    return [None] * len(ended)


async def main(order: dict[str, Any]) -> None:
    db = open_database(order["url"])
    following = gifts(secrets.token_hex(4))
    reserved: list[Gift] = []

    async def once() -> None:
        gift = following()
        decision = await db.write_grouped(decide, Ask(gift, GIFT, AT_MS))
        assert isinstance(decision, Free), decision
        if order["whole"]:
            await db.write_grouped(end, gift)
        else:
            reserved.append(gift)

    await once()
    wait_for_go()
    await closed_loop(Stopwatch(order["warm_seconds"], order["seconds"]), order["callers"], once)
    wait_to_leave()
    for first in range(0, len(reserved), AT_ONCE):
        await asyncio.gather(*(db.write_grouped(end, gift) for gift in reserved[first : first + AT_ONCE]))
    await db.aclose()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
