"""One server process of a race: it builds the house, waits for orders on its standard input, and carries each out at the given moment.

    python -m tests.chaos.racer '{"DATABASE_URL": "postgresql://…", …}' calls.txt

An order is a line of JSON, `{"op": …, "at": …}`; the answer is a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from timmy import logs
from timmy.app import App, build
from timmy.clock import SystemClock
from timmy.errors import Refusal
from timmy.idempotency import Key
from timmy.jobs import State
from timmy.jobs.protocol import ToInvoice
from timmy.models import Completion, Delta, Prompt
from timmy.models.builtin import BuiltinAgent
from timmy.settings import Settings
from timmy.tasks import store as task_store

LOOK_SECONDS = 0.05
FAR_MS = (
    45_000  # farther than a lease, so what another process has in hand is waited for; nearer than the next try of a payout at its limit
)


class JumpClock(SystemClock):
    """The machine's clock, that much ahead."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


class CountedAgent(BuiltinAgent):
    """Writes each call into a file that all processes share, and takes long enough for the others to come in between."""

    def __init__(self, calls: Path) -> None:
        super().__init__(delta_seconds=0.0)
        self._calls = os.open(calls, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def complete(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> Completion:
        self._note(f"judge {json.loads(prompt.user)['request']}")
        await asyncio.sleep(LOOK_SECONDS)
        return await super().complete(prompt, model=model, max_output_tokens=max_output_tokens)

    async def stream(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> AsyncGenerator[Delta | Completion, None]:
        self._note(f"work {prompt.user}")
        await asyncio.sleep(LOOK_SECONDS)
        async for part in super().stream(prompt, model=model, max_output_tokens=max_output_tokens):
            yield part

    def _note(self, line: str) -> None:
        os.write(self._calls, f"{line}\n".encode())


async def carry_out(app: App, clock: JumpClock, order: dict[str, Any]) -> Any:
    match order["op"]:
        case "submit":
            key = Key(order["key"], "0" * 64)
            views = await asyncio.gather(*(app.jobs.submit("the same", key=key) for _ in range(order["times"])))
            return [view.id for view in views]
        case "settle":
            ways = {"push": app.receiving.look, "poll": app.receiving.hint, "view": app.jobs.view}
            if order["how"] == "sweep":
                await asyncio.gather(*(app.receiving.sweep_once() for _ in range(3)))
            else:
                await asyncio.gather(*(ways[order["how"]](order["what"]) for _ in range(3)))
        case "refund":
            return await asyncio.gather(*(refund(app, order["job"], invoice) for invoice in order["invoices"]))
        case "sweep":
            clock.ahead_ms = order["ahead_ms"]
            await app.receiving.sweep_once()
        case "work":
            await work(app, order["jobs"])
        case other:
            raise AssertionError(other)


async def refund(app: App, job: str, invoice: str) -> str:
    try:
        await app.jobs.refund(job, ToInvoice(invoice))
    except Refusal as refusal:
        return f"{refusal.status} {refusal.code}"
    return "202"


async def work(app: App, jobs: list[str]) -> None:
    """Work until the jobs have ended, or wait for their customer, and nothing that can be done is left."""
    workers = (app.model_worker, app.money_worker)
    kinds = [kind for worker in workers for kind in worker._handlers]
    running = asyncio.gather(*(worker.run() for worker in workers))
    resting = {State.AWAITING_WORK_PAYMENT, State.COMPLETE, State.FAILED, State.REJECTED, State.EXPIRED}
    while True:
        states = {(await app.jobs.view(job)).state for job in jobs}
        due_ms = await app.db.read(task_store.next_due, kinds)
        if states <= resting and (due_ms is None or due_ms > app.clock.now_ms() + FAR_MS):
            break
        await asyncio.sleep(LOOK_SECONDS)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def main() -> None:
    settings = Settings.load(json.loads(sys.argv[1]), dotenv=None)
    logs.configure(level="error")
    clock = JumpClock()
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with build(settings, clock=clock, provider=CountedAgent(Path(sys.argv[2])), background=False) as app:
        print(json.dumps("ready"), flush=True)
        while line := await lines.readline():
            order = json.loads(line)
            await asyncio.sleep(max(0.0, order["at"] - time.time()))
            print(json.dumps(await carry_out(app, clock, order)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
