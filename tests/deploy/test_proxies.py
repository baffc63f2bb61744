"""The examples of a proxy, each run by the program that it is for, before a real house."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from tests.deploy.proxies import NAME, PROXIES, before
from tests.e2e.serving import PATIENCE_SECONDS, Site, serving

pytestmark = [pytest.mark.real, pytest.mark.parametrize("name", sorted(PROXIES))]
BODY_TOO_LONG = b"x" * (6 * 1024 * 1024)


class Here(aiohttp.abc.AbstractResolver):
    """Every name is this machine."""

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[aiohttp.abc.ResolveResult]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        """There is nothing to close."""


@asynccontextmanager
async def proxied(name: str, tmp_path: Path) -> AsyncIterator[tuple[Site, URL, aiohttp.ClientSession]]:
    folder = tmp_path / name
    folder.mkdir()
    async with serving({"DATA_DIR": str(tmp_path / "data"), "TRUSTED_PROXIES": "127.0.0.1"}) as site:
        async with before(name, folder, URL(site.url).port or 0) as proxy:
            connector = aiohttp.TCPConnector(resolver=Here(), ssl=False)
            timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
                yield site, URL(f"https://{NAME}:{proxy.port}"), http


async def test_a_proxy_passes_a_whole_sale_and_its_events_as_they_happen(name: str, tmp_path: Path) -> None:
    async with proxied(name, tmp_path) as (site, url, http):
        async with http.post(url / "api/jobs", json={"request": "What is 6 * 7?"}) as answer:
            assert answer.status == 201
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
            job = await answer.json()
        async with http.get(url / f"api/jobs/{job['jobId']}/events") as stream:
            assert stream.headers["Content-Type"].startswith("text/event-stream")
            first = json.loads(await anext(data async for data in events(stream)))
            assert first.get("job", first)["state"] == "awaiting_eval_payment", "the first event is here before the second has happened"
            await site.pay(job["evalInvoice"])
            async for data in events(stream):
                told = json.loads(data)
                if told.get("job", told).get("state") == "awaiting_work_payment":
                    return
        raise AssertionError("the stream ended before the work was offered")


async def events(stream: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async for line in stream.content:
        if line.startswith(b"data: "):
            yield line.removeprefix(b"data: ")


async def test_a_proxy_passes_the_socket_of_the_world(name: str, tmp_path: Path) -> None:
    async with proxied(name, tmp_path) as (_, url, http):
        async with http.ws_connect(url / "api/ws") as world:
            first = await world.receive_json()
            assert first["type"] == "world_state"
            await world.send_json({"type": "nonsense"})
            assert (await world.receive_json())["type"] == "error", "what is said goes up as well as down"


async def test_nobody_is_somebody_else_by_saying_so(name: str, tmp_path: Path) -> None:
    """Free answers are counted by address: with another forged one each time, they are still one visitor's."""
    async with proxied(name, tmp_path) as (_, url, http):
        left = []
        for n in range(3):
            forged = {"X-Forwarded-For": f"198.51.100.{n}", "X-Real-IP": f"198.51.100.{n}", "Forwarded": f"for=198.51.100.{n}"}
            async with http.get(url / "api/demo", params={"request": "What is 1 + 1?"}, headers=forged) as answer:
                assert answer.status == 200
                left.append(int(answer.headers["X-RateLimit-Remaining"]))
        assert left == [4, 3, 2]


async def test_what_is_far_too_long_ends_at_the_proxy(name: str, tmp_path: Path) -> None:
    async with proxied(name, tmp_path) as (_, url, http):
        with_words = {"Content-Type": "application/json", "Expect": "100-continue"}
        async with http.post(url / "api/jobs", data=BODY_TOO_LONG, headers=with_words) as answer:
            # 502: Caddy says so when the house has hung up on it before it had counted the bytes itself.
            assert answer.status in ((413, 502) if name == "caddy" else (413,))
