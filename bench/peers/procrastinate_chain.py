"""Procrastinate: a chain of five tasks, each of which defers the next; one worker process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import sys
from typing import Any

from procrastinate import App, PsycopgConnector

from bench.peers.one_at_a_time import one_at_a_time
from bench.peers.same_rows import SameRows
from bench.stopwatch import Stopwatch, closed_loop, wait_for_go, wait_to_leave

STEPS = 5
POOL_SIZE = 16


async def main(order: dict[str, Any]) -> None:
    logging.disable(logging.WARNING)
    rows = SameRows(order["url"]) if order["same_rows"] else None
    if rows is not None:
        await rows.open()
    app = App(connector=PsycopgConnector(conninfo=order["url"], min_size=POOL_SIZE, max_size=POOL_SIZE))
    ended: dict[str, asyncio.Future[None]] = {}

    async def work(job: str, number: int) -> None:
        if rows is not None:
            await rows.step(number, job)
        if number + 1 < STEPS:
            await step.defer_async(job=job, number=number + 1)
        else:
            ended.pop(job).set_result(None)

    # A queue for each process: whoever began a chain is there to see its end.
    queue = f"process-{os.getpid()}"
    step = app.task(name="step", queue=queue)(work)

    async def once() -> None:
        job = f"job_{secrets.token_hex(12)}"
        done = ended[job] = asyncio.get_running_loop().create_future()
        await step.defer_async(job=job, number=0)
        await done

    async with app.open_async():
        with one_at_a_time(order["url"]) as connection:
            if connection.execute("SELECT to_regclass('procrastinate_jobs')").fetchone() == (None,):
                await app.schema_manager.apply_schema_async()
        # Finished tasks are deleted: the table stays small, which is kind to it.
        worker = asyncio.create_task(
            app.run_worker_async(queues=[queue], concurrency=order["callers"], install_signal_handlers=False, delete_jobs="successful")
        )
        await once()
        wait_for_go()
        await closed_loop(Stopwatch(order["warm_seconds"], order["seconds"]), order["callers"], once)
        wait_to_leave()
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    if rows is not None:
        await rows.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
