"""A real server for the demo: a process of its own, on a free port, with an empty ledger in a folder that is thrown away."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from timmy.demo.http import DemoFailed
from timmy.regtest.processes import LEASH
from timmy.settings import Settings

START_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 15
OPEN_AT = re.compile(r"^Timmy is open at (\S+)", re.MULTILINE)
LOG_TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    environ: Mapping[str, str]  # what it was configured with, for another command on the same ledger
    folder: Path


def clean_environ(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without a single setting of Timmy's, then the demo's own: nobody's wallet is touched by a demo."""
    named = {row.name for row in Settings().rows()}
    kept = {name: value for name, value in os.environ.items() if name not in named}
    return {
        **kept,
        "DATA_DIR": str(folder),
        "PORT": "0",
        "POOL_SEED_SATS": "0",  # the operator's first gift would be the largest figure in a story about 31 sats
        "BTC_PRICE_SOURCES": "none",  # the demo asks nobody outside
        "LOG_LEVEL": "warning",
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
        **settings,
    }


@asynccontextmanager
async def start_server(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[Server]:
    """`timmy serve`, answering, until the block ends. DemoFailed with the last lines of its log if it does not start."""
    environ = clean_environ(folder, settings)
    log = folder / "server.log"
    with log.open("wb") as output:
        # Its own group, so that Ctrl-C in the terminal reaches the demo alone and the server is stopped in good order; on a leash, so that
        # a demo that is killed leaves no server behind.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(LEASH)),
            *(sys.executable, "-m", "timmy", "serve"),
            cwd=folder,
            env=environ,
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Server(await _until_open(process, log), environ, folder)
    finally:
        await _stop(process)


async def _until_open(process: asyncio.subprocess.Process, log: Path) -> str:
    for _ in range(START_TIMEOUT_SECONDS * 10):
        if found := OPEN_AT.search(written(log)):
            return found[1]
        if process.returncode is not None:
            raise DemoFailed(f"the server did not start:\n{tail(log)}")
        await asyncio.sleep(0.1)
    raise DemoFailed(f"the server did not start within {START_TIMEOUT_SECONDS} seconds:\n{tail(log)}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_SECONDS)
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def written(log: Path) -> str:
    return log.read_text("utf-8", "replace")


def tail(log: Path) -> str:
    return "\n".join(written(log).splitlines()[-LOG_TAIL_LINES:])


async def verify(server: Server) -> tuple[int, str]:
    """`timmy ledger verify --json` on the server's books: a second process that recomputes them. Its exit code and its output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "timmy",
        "ledger",
        "verify",
        "--json",
        cwd=server.folder,
        env=dict(server.environ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode("utf-8", "replace")
