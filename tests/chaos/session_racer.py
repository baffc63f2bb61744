"""One process of a race for what sessions hold: it waits for orders on its standard input, and carries each out at the given moment.

    python -m tests.chaos.session_racer postgresql://…

An order is a line of JSON. "ask": the callers, `[session id, macaroon]`; all of them ask at once, and the answer comes when each is either
refused or at work, and holds what it holds: how many of each, and nothing else than these two. "let go": their work is done; the answer is
`[session id, debited, absorbed]` of each, in millisats.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.contract.session_house import PATH, House
from timmy.clock import ManualClock
from timmy.db import open_database
from timmy.identity.caveats import Use
from timmy.sessions import RequestView

LOOK_SECONDS = 0.01


class Crowd:
    def __init__(self, house: House) -> None:
        self.house = house
        self.asking: list[asyncio.Task[RequestView]] = []

    async def ask(self, callers: Sequence[Sequence[str]]) -> dict[str, int]:
        self.house.agent.gate = asyncio.Event()
        self.house.agent.calls.clear()
        self.asking = [asyncio.create_task(self._ask(*caller)) for caller in callers]
        while self.house.agent.calls["work"] + sum(task.done() for task in self.asking) < len(callers):
            await asyncio.sleep(LOOK_SECONDS)
        return Counter(type(task.exception()).__name__ if task.done() else "at work" for task in self.asking)

    async def _ask(self, session_id: str, macaroon: str) -> RequestView:
        use = Use("session", PATH, self.house.clock.now_ms())
        return await self.house.sessions.request(
            await self.house.sessions.authorize(macaroon, use, session_id=session_id), "What is 6 * 7?"
        )

    async def let_go(self) -> list[list[Any]]:
        assert self.house.agent.gate is not None
        self.house.agent.gate.set()
        outcomes = await asyncio.gather(*self.asking, return_exceptions=True)
        answers = [outcome for outcome in outcomes if isinstance(outcome, RequestView)]
        return [[answer.session_id, answer.debited.value, answer.absorbed.value] for answer in answers]


async def main() -> None:
    db = open_database(sys.argv[1])
    house = House(db, ManualClock())
    crowd = Crowd(house)
    print(json.dumps("ready"), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        await asyncio.sleep(max(0.0, order["at"] - time.time()))
        answer: Any = await (crowd.ask(order["callers"]) if order["op"] == "ask" else crowd.let_go())
        print(json.dumps(answer), flush=True)
    await house.aclose()
    await db.aclose()


if __name__ == "__main__":
    asyncio.run(main())
