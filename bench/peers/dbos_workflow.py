"""DBOS: a workflow of five steps, each of which DBOS commits before the next begins."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from contextlib import nullcontext
from typing import Any

from dbos import DBOS

from bench.peers.one_at_a_time import one_at_a_time
from bench.peers.same_rows import SameRows
from bench.stopwatch import Stopwatch, closed_loop, wait_for_go, wait_to_leave

STEPS = 5
rows: SameRows | None = None  # steps are module-level functions in DBOS; None: they do nothing


async def _step(number: int, job: str) -> dict[str, Any]:
    if rows is not None:
        await rows.step(number, job)
    return {"step": number, "state": "done", "job": job}


step = DBOS.step()(_step)


async def _five_steps(job: str) -> str:
    for number in range(STEPS):
        await step(number, job)
    return job


five_steps = DBOS.workflow()(_five_steps)


async def main(order: dict[str, Any]) -> None:
    global rows
    if order["same_rows"]:
        rows = SameRows(order["url"])
        await rows.open()
    # Each process by a name of its own: otherwise one would take another's workflows for its own from before a crash.
    DBOS(config={"name": "bench", "system_database_url": order["url"], "log_level": "ERROR", "executor_id": str(os.getpid())})
    with one_at_a_time(order["url"]) if order["url"].startswith("postgresql") else nullcontext():
        DBOS.launch()

    async def once() -> None:
        await five_steps(f"job_{secrets.token_hex(12)}")

    try:
        await once()  # the first one prepares everything
        wait_for_go()
        await closed_loop(Stopwatch(order["warm_seconds"], order["seconds"]), order["callers"], once)
        wait_to_leave()
    finally:
        DBOS.destroy()
        if rows is not None:
            await rows.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
