"""Real server processes, to be killed, and customers who do not give up before their job has ended and their change is back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from tests.tidy.tree import ROOT
from timmy.regtest.processes import free_ports

PATIENCE_SECONDS = 240.0
AGAIN_SECONDS = 0.1
ANSWER_WITHIN = aiohttp.ClientTimeout(total=5.0)  # a server that was stopped keeps its connections, and says nothing
ENDS = {"complete", "rejected", "failed", "expired"}


class Server:
    """`timmy serve` in a process group of its own, on a port that stays the same through all its lives."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        (self.port,) = free_ports(1)
        folder.mkdir(parents=True, exist_ok=True)
        # Its own environment and no .env: nothing of the machine that the test runs on reaches it.
        self._environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": f"{ROOT / 'src'}", "PORT": str(self.port)}
        self._environ |= {"BTC_PRICE_SOURCES": "none", "LOG_LEVEL": "error", "DATA_DIR": str(folder), **environ}
        self._folder = folder
        self.log = folder / f"log-{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, *, wait: bool = True) -> None:
        with self.log.open("ab") as log:
            self._process = await asyncio.to_thread(self._spawn, log)
        if wait:
            await self.until_open()

    def _spawn(self, log: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "timmy", "serve"]
        return subprocess.Popen(command, env=self._environ, cwd=self._folder, stdout=log, stderr=log, start_new_session=True)

    async def until_open(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), aiohttp.ClientSession() as http:
            while True:
                assert self._process is not None
                assert self._process.poll() is None, self.log.read_text()[-2_000:]
                with contextlib.suppress(aiohttp.ClientError):  # it is starting
                    async with http.get(f"{self.url}/api/healthz") as answer:
                        if answer.status < 500:
                            return
                await asyncio.sleep(AGAIN_SECONDS)

    def signal(self, what: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, what)

    async def ended(self) -> int:
        """Its exit code, when it has stopped by itself."""
        assert self._process is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await asyncio.to_thread(self._process.wait)

    async def kill(self) -> None:
        """As power failures and the kernel do: without a word."""
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGKILL)
            await asyncio.to_thread(self._process.wait)


class Customer:
    """Someone with a request, who repeats each step until it is answered, at whichever of the servers answers."""

    def __init__(self, http: aiohttp.ClientSession, servers: list[Server], name: str, request: str) -> None:
        self._http, self._servers, self._name, self._request = http, servers, name, request
        self._turn = 0
        self.troubles = 0
        self.job_id = ""

    async def live(self, *, pays_work: bool = True) -> dict[str, Any]:
        """From the request to the last sat; the job as it is then."""
        made = await self._post("/api/jobs", {"request": self._request}, headers={"Idempotency-Key": self._name})
        self.job_id = made["jobId"]
        await self._pay(made["evalInvoice"])
        job = await self.until(lambda job: job["state"] in ENDS or job["state"] == "awaiting_work_payment")
        if job["state"] not in ENDS and pays_work:
            await self._pay(job["workInvoice"])
            job = await self.until(lambda job: job["state"] in ENDS)
        if job["refund"]["owedSats"]:
            invoice = await self._post("/api/dev/stub/invoice", {"amountSats": job["refund"]["owedSats"]})
            await self._post(f"/api/jobs/{self.job_id}/refund", {"invoice": invoice["paymentRequest"]})
            job = await self.until(lambda job: job["refund"]["state"] == "paid")
        return job

    async def until(self, holds: Any) -> dict[str, Any]:
        while True:
            job = await self._ask("GET", f"/api/jobs/{self.job_id}")
            if holds(job):
                return job
            await asyncio.sleep(AGAIN_SECONDS)

    async def _pay(self, invoice: Mapping[str, Any]) -> None:
        await self._post(f"/api/dev/stub/pay/{invoice['paymentHash']}", {})

    async def _post(self, path: str, body: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        return await self._ask("POST", path, json=body, **more)

    async def _ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        while True:
            self._turn += 1
            server = self._servers[self._turn % len(self._servers)]
            try:
                async with self._http.request(method, server.url + path, timeout=ANSWER_WITHIN, **more) as answer:
                    document: dict[str, Any] = await answer.json(content_type=None)
                    if answer.status < 400:
                        return document
                    assert answer.status in (502, 503, 504), (answer.status, document)
            except (aiohttp.ClientError, TimeoutError):
                self.troubles += 1
            await asyncio.sleep(AGAIN_SECONDS)
