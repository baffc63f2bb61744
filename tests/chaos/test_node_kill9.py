"""Real server processes die, and race, while nodes are made at a cloud that speaks HTTP: one machine, or the fee back, and no orphan."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog

from tests.chaos.grid import HEAVY
from tests.chaos.serve import AGAIN_SECONDS, ANSWER_WITHIN, PATIENCE_SECONDS, Server
from tests.contract.cloud_house import TOKEN, cloud_server
from timmy.app.books import all_checks
from timmy.bootstrap.rehearsal import Fault, RehearsalCloud
from timmy.bootstrap.rehearsal.faults import How
from timmy.db import open_database

DO, KEYS = "/digitalocean/v2", "/tailscale/api/v2/tailnet/-/keys"
# Where the server is when it dies: it has asked for this, and it was done or not, and it never hears of it.
STEPS: tuple[tuple[str, str, How], ...] = (
    ("POST", f"{DO}/droplets", "silent"),
    ("POST", KEYS, "silent"),
    ("GET", f"{DO}/droplets/", "mute"),
    ("POST", f"{DO}/droplets", "mute"),
    ("POST", KEYS, "mute"),
    ("POST", f"{DO}/account/keys", "silent"),
    ("POST", f"{DO}/account/keys", "mute"),
    ("GET", f"{DO}/account/keys", "mute"),
    ("POST", f"{DO}/volumes", "silent"),
    ("POST", f"{DO}/volumes", "mute"),
    ("GET", f"{DO}/droplets", "mute"),
    ("DELETE", f"{DO}/account/keys", "silent"),
    ("DELETE", KEYS, "mute"),
)
AT_ONCE = 3

log = structlog.get_logger("timmy.tests")


def environ(there: RehearsalCloud, folder: Path, **more: str) -> dict[str, str]:
    return {
        "DO_API_URL": f"{there.url}/digitalocean",
        "DO_API_TOKEN": TOKEN,
        "TAILSCALE_API_URL": f"{there.url}/tailscale",
        "TAILSCALE_API_KEY": TOKEN,
        "BOOTSTRAP_KEYS_DIR": str(folder / "seals"),
        "TIMMY_TOKEN_SECRET": "one-secret-for-all-of-them",
        **more,
    }


async def asked(http: aiohttp.ClientSession, servers: Sequence[Server], method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """The answer of whichever server gives one."""
    turn = 0
    while True:
        turn += 1
        try:
            url = servers[turn % len(servers)].url + path
            async with http.request(
                method, url, json=body, timeout=ANSWER_WITHIN, headers={"Idempotency-Key": "one-order-of-one-node"}
            ) as answer:
                document = await answer.json(content_type=None)
                if answer.status < 400:
                    return document
                assert answer.status in (502, 503, 504), (answer.status, document)
        except (aiohttp.ClientError, TimeoutError):
            log.debug("asked again", server=servers[turn % len(servers)].port)  # it is dead, or starting
        await asyncio.sleep(AGAIN_SECONDS)


async def bought(http: aiohttp.ClientSession, servers: Sequence[Server]) -> Any:
    made = await asked(http, servers, "POST", "/api/bootstrap", {})
    await asked(http, servers, "POST", f"/api/dev/stub/pay/{made['invoice']['paymentHash']}", {})
    return made


async def until(look: Callable[[], Awaitable[bool]] | Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = look()
            if (found if isinstance(found, bool) else await found) is True:
                return
            await asyncio.sleep(AGAIN_SECONDS)


async def books_close(url: str) -> None:
    db = open_database(url, server=False, migrate=False)
    try:
        assert [check for check in await db.read(all_checks) if not check.holds] == []
    finally:
        await db.aclose()


async def dies_at(step: tuple[str, str, How], folder: Path) -> None:
    method, path, how = step
    async with cloud_server() as there, aiohttp.ClientSession() as http:
        url = f"sqlite://{folder / 'timmy.db'}"
        server = Server(environ(there, folder, DATABASE_URL=url, DO_VOLUME_SIZE_GB="100"), folder)
        fault = Fault(method, path, how)
        there.faults.append(fault)
        try:
            await server.start()
            made = await bought(http, [server])
            await until(lambda: fault.times == 0)  # what it asked for is done, or lost, and it waits for the answer
            await server.kill()
            await server.start()
            order = f"/api/bootstrap/{made['bootstrapJobId']}"

            async def ended() -> bool:
                return (await seen(http, server, order))["state"] in ("ready", "failed")

            await until(ended)
            shown = await asked(http, [server], "GET", order)
            assert shown["state"] == "ready", shown["reason"]
            assert "PRIVATE KEY" in shown["sshPrivateKey"]
            assert there.made == 1, "two machines were made"
            await until(lambda: not there.standing("ssh_keys") and not there.standing("join_keys"))
            assert (len(there.standing()), len(there.standing("volumes"))) == (1, 1)
        finally:
            await server.kill()
        await books_close(url)


async def seen(http: aiohttp.ClientSession, server: Server, order: str) -> Any:
    """Without taking the key: the first event of the stream."""
    while True:
        try:
            async with http.get(f"{server.url}{order}/events", timeout=ANSWER_WITHIN) as stream:
                async for line in stream.content:
                    if line.startswith(b"data: "):
                        return json.loads(line.removeprefix(b"data: "))
        except (aiohttp.ClientError, TimeoutError):
            await asyncio.sleep(AGAIN_SECONDS)


@pytest.mark.fault("C17", "C18", "D31", "B18")
async def test_a_server_that_is_killed_at_any_step_leaves_one_node_and_no_orphan(tmp_path: Path) -> None:
    """Several at the same time: most of it is waiting for the leases of the dead."""
    steps = STEPS if HEAVY else STEPS[:AT_ONCE]
    for first in range(0, len(steps), AT_ONCE):
        batch = steps[first : first + AT_ONCE]
        await asyncio.gather(*(dies_at(step, tmp_path / str(first + n)) for n, step in enumerate(batch)))


@pytest.mark.fault("B08", "B17", "B18")
async def test_however_many_look_on_through_however_many_servers_one_machine_is_made(postgres_url: str, tmp_path: Path) -> None:
    async with cloud_server() as there, aiohttp.ClientSession() as http:
        servers = [Server(environ(there, tmp_path, DATABASE_URL=postgres_url), tmp_path / str(n)) for n in range(4)]
        try:
            await asyncio.gather(*(server.start() for server in servers))
            made = await bought(http, servers)
            order = f"/api/bootstrap/{made['bootstrapJobId']}"

            async def poll(n: int) -> list[str]:
                keys: list[str] = []
                while True:
                    shown = await asked(http, [servers[n % 4]], "GET", order)
                    if shown["sshPrivateKey"]:
                        keys.append(shown["sshPrivateKey"])
                    if shown["sshKey"]["state"] in ("delivered", "erased"):
                        return keys
                    assert shown["state"] != "failed", shown["reason"]
                    await asyncio.sleep(AGAIN_SECONDS)

            async with asyncio.timeout(PATIENCE_SECONDS):
                found = await asyncio.gather(*(poll(n) for n in range(50)))
            assert sum(map(len, found)) == 1, "one of fifty got the key"
            assert there.made == len(there.standing()) == 1
        finally:
            await asyncio.gather(*(server.kill() for server in servers))
    await books_close(postgres_url)
