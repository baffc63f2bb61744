"""A real `timmy serve` in a process of its own, and customers who hand jobs in over HTTP and do not pay."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench import machine
from bench.runners import ROOT, RunnerFailed

START_SECONDS = 60
CUSTOMERS = 32
OPEN = "Timmy is open at "


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    pid: int

    def rss_kib(self) -> int:
        return machine.rss_kib(self.pid)

    def cores_over(self, seconds: float) -> float:
        """How much CPU it uses while nobody asks it for anything."""
        before = machine.cpu_seconds_of_trees([self.pid])
        time.sleep(seconds)
        return (machine.cpu_seconds_of_trees([self.pid]) - before) / seconds

    def open_jobs(self, count: int) -> None:
        asyncio.run(_hand_in(self.url, count))


@contextmanager
def serving(database_url: str, folder: Path, more: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Configured as it comes, with the built-in wallet; invoices hold for an hour, so that no job lapses while we look. `more`: settings
    besides."""
    settings = {
        "DATABASE_URL": database_url,
        "DATA_DIR": str(folder / "data"),
        "PORT": "0",
        "INVOICE_TTL_SECONDS": "3600",
        "OFFERS_PER_MINUTE": "0",  # all customers have one address
        "BTC_PRICE_SOURCES": "none",
        "LOG_LEVEL": "warning",
        **(more or {}),
    }
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1", **settings}
    log = folder / "serve.log"
    with log.open("wb") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "timmy", "serve"], cwd=folder, env=environment, stdout=words, stderr=words, start_new_session=True
        )
    try:
        yield Server(_url(process, log), process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        said = log.read_text(errors="replace")
        if OPEN in said:
            return said.partition(OPEN)[2].split()[0]
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RunnerFailed(f"timmy serve did not open:\n{log.read_text(errors='replace')[-2000:]}")


async def _hand_in(url: str, count: int) -> None:
    left = iter(range(count))
    async with aiohttp.ClientSession(base_url=url) as session:

        async def customer() -> None:
            for number in left:
                async with session.post("/api/jobs", json={"request": f"What is {number} times 7?"}) as answer:
                    if answer.status != 201:
                        raise RunnerFailed(f"POST /api/jobs said {answer.status}: {(await answer.text())[:500]}")

        await asyncio.gather(*(customer() for _ in range(CUSTOMERS)))
