"""Two processes of one house on one PostgreSQL, and one address in front of them, as a load balancer is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from timmy.regtest.processes import free_ports

PATIENCE_SECONDS = 120
LOOK_EVERY_SECONDS = 0.1
ROOT = Path(__file__).parents[2]
# A process that judges and works nothing: what is done, the other one has done.
IDLE = """
import asyncio
from timmy.cli import main
from timmy.tasks import Worker
async def rest(self): await asyncio.Event().wait()
Worker.run = rest
main()
"""


class Process:
    """`timmy serve`, with nothing of the machine's environment."""

    def __init__(self, folder: Path, environ: dict[str, str], *, works: bool) -> None:
        (self.port,) = free_ports(1)
        folder.mkdir(parents=True)
        self.log = folder / "log"
        surroundings = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT / "src"), "PORT": str(self.port)}
        surroundings |= {"BTC_PRICE_SOURCES": "none", "LOG_LEVEL": "error", "DATA_DIR": str(folder), **environ}
        command = [sys.executable, *(["-m", "timmy"] if works else ["-c", IDLE]), "serve"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, env=surroundings, cwd=folder, stdout=log, stderr=log, start_new_session=True)

    def until_open(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self.log.read_text()[-2_000:]
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{self.port}/api/healthz").status_code < 500:
                    return
            time.sleep(LOOK_EVERY_SECONDS)
        raise AssertionError("it never opened:\n" + self.log.read_text()[-2_000:])

    def kill(self) -> None:
        """Without a word."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Front:
    """One address. WebSockets go to one process and everything else to the other; None: that is refused."""

    def __init__(self) -> None:
        self.sockets_to: int | None = None
        self.pages_to: int | None = None
        self.port = 0
        self.led: list[int] = []  # where each WebSocket was led
        self._loop = asyncio.new_event_loop()
        self._open = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Front:
        self._thread.start()
        assert self._open.wait(PATIENCE_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_SECONDS)

    def _run(self) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._lead, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._open.set()
        self._loop.run_forever()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n")
            is_socket = b" /api/ws " in head
            to = self.sockets_to if is_socket else self.pages_to
            if to is not None:
                there, onward = await asyncio.open_connection("127.0.0.1", to)
                onward.write(head)
                if is_socket:
                    self.led.append(to)
                await asyncio.gather(_pass_on(reader, onward), _pass_on(there, writer))
        writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side is gone; then the other is told."""
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextmanager
def two_houses(folder: Path, postgres_url: str) -> Iterator[tuple[Process, Process, Front]]:
    """One that only shows, one that works, and the front: it leads WebSockets to the first, and everything else to the second."""
    shared = {
        "DATABASE_URL": postgres_url,
        "TIMMY_TOKEN_SECRET": "a-secret-of-both-houses",
        "FREE_BUDGET_NEW": "0",
        "CHAT_PER_MINUTE": "1000",
    }
    working = Process(folder / "working", shared, works=True)
    showing = None
    try:
        working.until_open()
        showing = Process(folder / "showing", shared, works=False)
        showing.until_open()
        with Front() as front:
            front.sockets_to, front.pages_to = showing.port, working.port
            yield showing, working, front
    finally:
        working.kill()
        if showing is not None:
            showing.kill()
