"""`timmy serve` as a process: what it says when it opens, whom it refuses, and how it goes."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from timmy.demo.server import OPEN_AT, clean_environ

OPEN_WITHIN_SECONDS = 120
END_WITHIN_SECONDS = 120


@asynccontextmanager
async def serving(folder: Path, **settings: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[str]]]:
    """A server and all that it has said so far, killed at the end if it has not gone by itself."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "timmy", "serve", cwd=folder, env=clean_environ(folder, settings),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said: list[str] = []
    try:
        yield process, said
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until_open(process: asyncio.subprocess.Process, said: list[str]) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(OPEN_WITHIN_SECONDS):
        while line := (await process.stdout.readline()).decode():
            said.append(line)
            if found := OPEN_AT.match(line):
                return found[1]
    raise AssertionError("it never opened:\n" + "".join(said))


async def until_gone(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    output, _ = await asyncio.wait_for(process.communicate(), END_WITHIN_SECONDS)
    return process.returncode, output.decode()


async def test_it_says_where_it_is_open_and_what_is_only_a_stand_in(tmp_path: Path) -> None:
    async with serving(tmp_path) as (process, said):
        url = await until_open(process, said)
        async with aiohttp.ClientSession() as session, session.get(f"{url}/api/healthz") as answer:
            health = await answer.json()
    words = "".join(said)
    assert len(health["standIns"]) == 4
    assert all(f"! {stand_in}" in words for stand_in in health["standIns"])
    assert "timmy.db" in words
    assert "Development routes are open" in words


@pytest.mark.fault("B20")
async def test_a_second_server_on_one_ledger_is_refused_in_a_sentence(tmp_path: Path) -> None:
    async with serving(tmp_path) as (first, said):
        await until_open(first, said)
        async with serving(tmp_path) as (second, _):
            code, words = await until_gone(second)
    assert code == 2
    assert "Stop it first, or use PostgreSQL" in words
    assert "Traceback" not in words


@pytest.mark.fault("C23")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_it_goes_when_it_is_asked_to_though_somebody_listens(tmp_path: Path, how: signal.Signals) -> None:
    """A stream of events has no end of its own: a server that waited for it would never stop."""
    async with serving(tmp_path) as (process, said), aiohttp.ClientSession() as session:
        url = await until_open(process, said)
        async with session.post(f"{url}/api/jobs", json={"request": "What is a satoshi?"}) as answer:
            job_id = (await answer.json())["jobId"]
        async with session.get(f"{url}/api/jobs/{job_id}/events") as stream:
            assert await stream.content.readline()
            process.send_signal(how)
            code, words = await until_gone(process)
    assert code in (0, -how)
    assert "Traceback" not in words


@pytest.mark.fault("G01")
async def test_what_it_says_holds_no_secret(tmp_path: Path) -> None:
    async with serving(tmp_path, ADMIN_TOKEN="correct-horse-battery-staple", LOG_LEVEL="debug") as (process, said):
        url = await until_open(process, said)
        async with aiohttp.ClientSession(headers={"Authorization": "Bearer correct-horse-battery-staple"}) as session:
            async with session.get(f"{url}/metrics") as answer:
                assert answer.status == 200
        process.terminate()
        _, words = await until_gone(process)
    assert "correct-horse" not in "".join(said) + words
