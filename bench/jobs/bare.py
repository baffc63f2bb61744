"""Our engine alone: five tasks in a chain, each committed with an event that says what came of it, and nothing else.

This is what DBOS and Procrastinate do with steps that do nothing: no money, no invoices, no prices.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Sequence
from typing import Any

import uvloop

from bench.stopwatch import Stopwatch, closed_loop, wait_for_go, wait_to_leave
from timmy import events, logs, tasks
from timmy.app.garbage import look_for_it_rarely
from timmy.clock import SystemClock
from timmy.db import Tx, open_database
from timmy.events import NewEvent
from timmy.tasks import Bell, NewTask, Task, Worker

STEPS = 5


def begin_all(tx: Tx, jobs: Sequence[str]) -> list[None]:
    now_ms = time.time_ns() // 1_000_000
    tasks.add(tx, [NewTask("step0", job, now_ms) for job in jobs])
    events.append(tx, now_ms, [NewEvent(job, "begun", {"job": job}) for job in jobs])
    return [None] * len(jobs)


def step_all(tx: Tx, done: Sequence[Task]) -> list[bool]:
    """The end of a step, its outcome, and the next step: together or not at all. False: the task was no longer its claimant's."""
    now_ms = time.time_ns() // 1_000_000
    ours = tasks.finish(tx, done)
    held = [task for task in done if task.id in ours]
    following = [(int(task.kind.removeprefix("step")) + 1, task.subject) for task in held]
    tasks.add(tx, [NewTask(f"step{number}", job, now_ms) for number, job in following if number < STEPS])
    events.append(tx, now_ms, [NewEvent(job, "step", {"step": number - 1, "state": "done", "job": job}) for number, job in following])
    return [task.id in ours for task in done]


async def main(order: dict[str, Any]) -> None:
    logs.configure(level="warning", style="console", secrets=[])
    db, bell = open_database(order["url"]), Bell()
    ended: dict[str, asyncio.Future[None]] = {}

    async def step(task: Task) -> None:
        held = await db.write_grouped(step_all, task)
        bell.ring()
        if held and task.kind == f"step{STEPS - 1}":
            ended.pop(task.subject).set_result(None)

    async def once() -> None:
        job = f"job_{secrets.token_hex(12)}"
        done = ended[job] = asyncio.get_running_loop().create_future()
        await db.write_grouped(begin_all, job)
        bell.ring()
        await done

    handlers = {f"step{number}": step for number in range(STEPS)}
    work = asyncio.create_task(Worker(db, SystemClock(), bell, handlers, concurrency=order["concurrency"]).run())
    await once()
    look_for_it_rarely()  # as `timmy serve` does
    wait_for_go()
    await closed_loop(Stopwatch(order["warm_seconds"], order["seconds"]), order["callers"], once)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    wait_to_leave()
    await db.aclose()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as `timmy serve` does
        runner.run(main(json.loads(sys.argv[1])))
