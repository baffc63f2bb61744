"""Real server processes die, hang, are stopped and lose their database, with jobs in flight; started again, everything ends as promised."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.chaos.grid import HEAVY
from tests.chaos.serve import PATIENCE_SECONDS, Customer, Server
from tests.chaos.test_db_down import kill as kill_postgres
from tests.chaos.test_db_down import private_server
from timmy import events
from timmy.app.books import all_checks
from timmy.db import Database, Tx, open_database
from timmy.ledger import chart
from timmy.lightning.wallets.builtin import CUSTOMER_FLOAT

__all__ = ["private_server"]

REQUESTS = (
    "What is 6 * 7?",
    "please write at length",
    "please fail",
    "please reject this",
    "Write a haiku about rain.",
    "please be down 2 times",
)
CUSTOMERS = 18 if HEAVY else 6  # one with each request, at least
KILLS = 20 if HEAVY else 3
PAUSE_SECONDS = (0.3, 1.2)  # between one death and the next, and between a death and the new start


@asynccontextmanager
async def running(environ: Mapping[str, str], folder: Path, count: int = 1) -> AsyncIterator[list[Server]]:
    servers = [Server(environ, folder / str(n)) for n in range(count)]
    try:
        for server in servers:
            await server.start()
        yield servers
    finally:
        for server in servers:
            await server.kill()


async def serve_all(http: aiohttp.ClientSession, servers: list[Server]) -> list[dict[str, Any]]:
    customers = [Customer(http, servers, f"customer {n}", REQUESTS[n % len(REQUESTS)]) for n in range(CUSTOMERS)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        return list(await asyncio.gather(*(customer.live() for customer in customers)))


async def kill_again_and_again(servers: list[Server], chance: random.Random) -> None:
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(*PAUSE_SECONDS))
        victim = chance.choice(servers)
        await victim.kill()
        await asyncio.sleep(chance.uniform(*PAUSE_SECONDS) / 3)
        await victim.start(wait=len(servers) == 1)


async def check(url: str, jobs: list[dict[str, Any]]) -> None:
    """The books close, and the customers' own node agrees with them to the sat."""
    db = open_database(url)
    try:
        broken = [check for check in await db.read(all_checks) if not check.holds]
        assert not broken, broken
        endings = {REQUESTS[2]: "failed", REQUESTS[3]: "rejected"}
        for n, job in enumerate(jobs):
            assert job["state"] == endings.get(REQUESTS[n % len(REQUESTS)], "complete"), job
            assert job["refund"]["owedSats"] == 0
            assert (await states(db, job["jobId"]))[-1] == job["state"]
        lost = CUSTOMER_FLOAT.value - await db.read(balance_of, "builtin_nodes", "customer")
        earned = await db.read(balance_of, "accounts", chart.REVENUE) + await db.read(balance_of, "accounts", chart.POOL)
        earned += await db.read(balance_of, "accounts", chart.OPERATOR)  # below zero: what the operator began the pool with
        credit = sum([await db.read(balance_of, "accounts", chart.job(job["jobId"])) for job in jobs])
        assert lost == earned + credit
        assert credit < len(jobs) * 1_000
    finally:
        await db.aclose()


def balance_of(tx: Tx, table: str, name: str) -> int:
    row = tx.one(f"SELECT balance_msat FROM {table} WHERE {'name' if table == 'builtin_nodes' else 'id'} = :name", name=name)
    return row["balance_msat"] if row else 0


async def states(db: Database, job_id: str) -> list[str]:
    """The states that the job was told to be in: each once."""
    told = [event.body["state"] for event in await db.read(events.of_subject, job_id) if event.kind == "state"]
    assert len(set(told)) == len(told), told
    return told


@pytest.mark.fault("C03", "C07", "C08", "C10", "C11", "C12", "C13", "C14", "C22")
async def test_servers_that_are_killed_again_and_again_lose_nothing(postgres_url: str, sqlite_url: str, tmp_path: Path) -> None:
    """Both databases at the same time: most of it is waiting for the leases of the dead."""

    async def one(name: str, url: str, processes: int) -> None:
        async with running({"DATABASE_URL": url}, tmp_path / name, processes) as servers, aiohttp.ClientSession() as http:
            killing = asyncio.create_task(kill_again_and_again(servers, random.Random(name)))
            jobs = await serve_all(http, servers)
            await killing
        await check(url, jobs)

    await asyncio.gather(one("sqlite", sqlite_url, 1), one("postgres", postgres_url, 2))


@pytest.mark.fault("B08", "B09", "B10")
async def test_a_worker_that_was_paused_past_its_lease_writes_nothing_when_it_wakes(postgres_url: str, tmp_path: Path) -> None:
    async with running({"DATABASE_URL": postgres_url}, tmp_path, 2) as (sleeper, heir), aiohttp.ClientSession() as http:
        heir.signal(signal.SIGSTOP)  # so that the first one gets the work
        customer = Customer(http, [sleeper], "customer", "please write at length")
        living = asyncio.create_task(customer.live())
        async with asyncio.timeout(PATIENCE_SECONDS):
            db = open_database(postgres_url)
            while not await db.read(_told_some_of_it):
                await asyncio.sleep(0.02)
            sleeper.signal(signal.SIGSTOP)
            customer._servers[:] = [heir]
            heir.signal(signal.SIGCONT)
            job = await living
        assert job["state"] == "complete"
        before = await db.read(_all_events)
        sleeper.signal(signal.SIGCONT)
        await sleeper.until_open()
        await asyncio.sleep(5.0)  # its stream goes on, to an end that nobody waits for any more
        assert await db.read(_all_events) == before, "it told more of the answer, or moved the job"
        again = await Customer(http, [sleeper], "another", "What is 6 * 7?").live()
        assert again["state"] == "complete", "and it works on"
        assert (await states(db, job["jobId"]))[-1] == "complete"
        assert [check for check in await db.read(all_checks) if not check.holds] == []
        await db.aclose()


def _told_some_of_it(tx: Tx) -> bool:
    return tx.one("SELECT 1 AS told FROM events WHERE kind = 'progress'") is not None


def _all_events(tx: Tx) -> list[tuple[int, str]]:
    return [(row["seq"], row["kind"]) for row in tx.all("SELECT seq, kind FROM events ORDER BY seq")]


async def leased(url: str) -> int:
    def count(tx: Tx) -> int:
        row = tx.one("SELECT COUNT(*) AS n FROM tasks WHERE lease_until_ms > 0")
        assert row is not None
        return int(row["n"])

    db = open_database(url)
    try:
        return await db.read(count)
    finally:
        await db.aclose()


@pytest.mark.fault("C23")
async def test_a_server_that_is_told_to_stop_ends_its_streams_and_stops(sqlite_url: str, tmp_path: Path) -> None:
    async with running({"DATABASE_URL": sqlite_url}, tmp_path) as (server,), aiohttp.ClientSession() as http:
        customers = [Customer(http, [server], f"customer {n}", "please write at length") for n in range(6)]
        living = [asyncio.create_task(customer.live()) for customer in customers]
        streams = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not all(customer.job_id for customer in customers):
                await asyncio.sleep(0.05)
            for customer in customers:
                streams.append(await http.get(f"{server.url}/api/jobs/{customer.job_id}/events"))
            await customers[0].until(lambda job: job["state"] == "executing")
            server.signal(signal.SIGTERM)
            said = await asyncio.gather(*(stream.read() for stream in streams))
            assert await server.ended() == 0
            assert await leased(sqlite_url) == 0, "what was under way was not given back"
        assert all(text.endswith(b"\n\n") for text in said), "a stream was torn in the middle of an event"
        await server.start()
        async with asyncio.timeout(PATIENCE_SECONDS):
            jobs = await asyncio.gather(*living)
    assert {job["state"] for job in jobs} == {"complete"}
    db = open_database(sqlite_url)
    assert [check for check in await db.read(all_checks) if not check.holds] == []
    for job in jobs:
        assert (await states(db, job["jobId"]))[-1] == "complete"
    await db.aclose()


@pytest.mark.fault("C20")
async def test_a_database_that_is_killed_under_running_servers_loses_nothing(private_server: Any, tmp_path: Path) -> None:
    url = private_server.get_uri()
    async with running({"DATABASE_URL": url}, tmp_path, 2) as servers, aiohttp.ClientSession() as http:
        serving = asyncio.create_task(serve_all(http, servers))
        chance = random.Random(20)
        for _ in range(3):
            await asyncio.sleep(chance.uniform(0.5, 1.5))
            await asyncio.to_thread(kill_postgres, private_server)
            await asyncio.sleep(chance.uniform(0.2, 2.0))
            await asyncio.to_thread(private_server.ensure_postgres_running)
        jobs = await serving
    await check(url, jobs)
