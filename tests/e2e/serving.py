"""A real server, on a real socket, in this process: for tests that speak HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from timmy.app import App, build
from timmy.models.chat import ChatProvider
from timmy.regtest.processes import free_ports
from timmy.settings import Settings
from timmy.web import server

PATIENCE_SECONDS = 60.0


@dataclass(slots=True)
class Site:
    """A running server, and a client for it."""

    app: App
    url: str
    http: aiohttp.ClientSession

    async def get(self, path: str) -> Any:
        async with self.http.get(self.url + path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def post(self, path: str, body: Mapping[str, Any], *, status: int | None = None, **headers: str) -> Any:
        async with self.http.post(self.url + path, json=body, headers=headers) as answer:
            text = await answer.text()
            assert status is None or answer.status == status, (answer.status, text)
            return await answer.json(content_type=None)

    async def until(self, job_id: str, *states: str) -> Any:
        """The job, once it is in one of the states."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                job = await self.get(f"/api/jobs/{job_id}")
                if job["state"] in states:
                    return job
                await asyncio.sleep(0.05)

    async def pay(self, invoice: Mapping[str, Any]) -> None:
        await self.post(f"/api/dev/stub/pay/{invoice['paymentHash']}", {}, status=200)


@asynccontextmanager
async def serving(environ: Mapping[str, str], *, provider: ChatProvider | None = None) -> AsyncIterator[Site]:
    """Serve with these settings, on a free port."""
    (port,) = free_ports(1)
    settings = Settings.load({"PORT": str(port), "BTC_PRICE_SOURCES": "", **environ}, dotenv=None)
    async with build(settings, provider=provider) as app:
        uvicorn = server(app.web, app.house, host="127.0.0.1", port=port)
        running = asyncio.create_task(uvicorn.serve())
        while not uvicorn.started:
            assert not running.done(), "the server did not start"
            await asyncio.sleep(0.01)
        async with aiohttp.ClientSession() as http:
            yield Site(app, f"http://127.0.0.1:{port}", http)
        uvicorn.should_exit = True
        await running
