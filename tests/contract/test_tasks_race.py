"""Many workers, in one process and in several, at the same tasks: each is done once, and who comes too late writes nothing."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from timmy.clock import SystemClock
from timmy.db import Database, open_database
from timmy.tasks import Bell, NewTask, Task, Worker, add, finish, store, waiting


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await true():
            await asyncio.sleep(0.02)


async def nothing_waits(db: Database) -> bool:
    return not await db.read(waiting)


@pytest.mark.fault("B08")
async def test_competing_workers_do_every_task_once(database_url: str) -> None:
    servers = [open_database(database_url) for _ in range(4)]
    done: Counter[str] = Counter()
    bell, clock = Bell(), SystemClock()

    async def do(server: Database, task: Task) -> None:
        await asyncio.sleep(0)
        if await server.write(finish, [task]):
            done[task.subject] += 1

    await servers[0].write(add, [NewTask("work", f"{n:03}", 0) for n in range(200)])
    workers = [Worker(server, clock, bell, {"work": lambda task, server=server: do(server, task)}, concurrency=5) for server in servers]  # type: ignore[misc]
    running = [asyncio.create_task(one.run()) for one in workers]
    await until(lambda: nothing_waits(servers[0]))
    for one in running:
        one.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert done == Counter(f"{n:03}" for n in range(200))
    assert await servers[0].read(waiting) == []
    for server in servers:
        await server.aclose()


PROCESS = """
import asyncio, sys
from timmy.clock import SystemClock
from timmy.db import open_database
from timmy.tasks import Bell, Worker, finish

async def main(url, name):
    db = open_database(url)
    def begin(tx):
        tx.run("INSERT INTO began (by) VALUES (:by) ON CONFLICT DO NOTHING", by=name)
    def competitors(tx):
        return tx.one("SELECT COUNT(*) AS n FROM began")["n"]
    def outcome(tx, task):
        if finish(tx, [task]):
            tx.run("INSERT INTO done (task, by) VALUES (:task, :by)", task=task.id, by=name)
    async def do(task):
        await db.write(begin)
        while await db.read(competitors) < 4:  # else the first to start may do all of them before another has begun
            await asyncio.sleep(0.01)
        await db.write(outcome, task)
    worker = Worker(db, SystemClock(), Bell(), {"work": do}, concurrency=4)
    print("ready", flush=True)
    sys.stdin.readline()
    while await worker.run_due():
        pass
    await db.aclose()

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


@pytest.mark.fault("B08")
async def test_competing_processes_do_every_task_once(database_url: str) -> None:
    db = open_database(database_url)
    await db.write(lambda tx: tx.run("CREATE TABLE done (task TEXT PRIMARY KEY, by TEXT NOT NULL)"))
    await db.write(lambda tx: tx.run("CREATE TABLE began (by TEXT PRIMARY KEY)"))
    await db.write(add, [NewTask("work", f"{n:03}", 0) for n in range(150)])
    pipe = asyncio.subprocess.PIPE
    others = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", PROCESS, database_url, f"{n}", stdin=pipe, stdout=pipe, stderr=pipe)
        for n in range(4)
    ]
    try:
        for other in others:
            assert other.stdout is not None
            assert await other.stdout.readline() == b"ready\n"
        async with asyncio.timeout(60):
            said = await asyncio.gather(*(other.communicate(b"go\n") for other in others))
    finally:
        for other in others:
            if other.returncode is None:
                other.kill()
    assert [error for _, error in said if error] == []
    row = await db.read(lambda tx: tx.one("SELECT COUNT(*) AS n, COUNT(DISTINCT by) AS by_whom FROM done"))
    assert row is not None
    assert row["n"] == 150
    assert row["by_whom"] == 4
    assert await db.read(waiting) == []
    await db.aclose()


SLEEPER = """
import asyncio, sys
from timmy.clock import SystemClock
from timmy.db import open_database
from timmy.tasks import Bell, Worker, finish

async def main(url):
    db = open_database(url)
    async def do(task):
        print("claimed", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(await db.write(finish, [task]), flush=True)
    await Worker(db, SystemClock(), Bell(), {"work": do}, concurrency=1, lease_seconds=1).run_due()
    await db.aclose()

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.fault("B09")
async def test_a_worker_that_was_stopped_past_its_lease_comes_too_late(database_url: str) -> None:
    db = open_database(database_url)
    await db.write(add, [NewTask("work", "a", 0)])
    pipe = asyncio.subprocess.PIPE
    sleeper = await asyncio.create_subprocess_exec(sys.executable, "-c", SLEEPER, database_url, stdin=pipe, stdout=pipe)
    assert sleeper.stdout is not None
    try:
        assert await sleeper.stdout.readline() == b"claimed\n"
        sleeper.send_signal(signal.SIGSTOP)
        done: list[Task] = []

        async def do(task: Task) -> None:
            assert await db.write(finish, [task]) == {"work/a"}
            done.append(task)

        other = Worker(db, SystemClock(), Bell(), {"work": do}, concurrency=1, lease_seconds=1)

        async def one_was_done() -> bool:
            return await other.run_due() > 0

        await until(one_was_done)
        assert [task.attempts for task in done] == [2]
        await db.write(add, [NewTask("work", "a", 0)])
        now_ms = SystemClock().now_ms()
        assert len(await db.write(store.claim, ["work"], now_ms, now_ms + 60_000, 1)) == 1
        sleeper.send_signal(signal.SIGCONT)
        said, _ = await sleeper.communicate(b"go on\n")
    finally:
        if sleeper.returncode is None:
            sleeper.kill()
    assert said.decode() == "set()\n"
    assert await db.read(waiting) == [{"kind": "work", "parked": 0, "n": 1}]
    await db.aclose()
