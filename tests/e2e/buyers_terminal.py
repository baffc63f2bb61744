"""A buyer who types: commands in a pipe, or a person at a terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from timmy.demo.server import Server
from timmy.lightning import bolt11

QUESTION = "What is a satoshi?"
END_WITHIN_SECONDS = 60
INVOICE = re.compile(r"^(lnbcrt[a-z0-9]{100,})\r?$", re.MULTILINE)


@dataclass
class Buyer:
    server: Server
    home: Path

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "COLUMNS": "100",
            "TIMMY_HOME": str(self.home),
            "TIMMY_SERVER": self.server.url,
        }

    async def types(self, *words: str, typed: str = "", **environ: str) -> tuple[int | None, str, str]:
        """Exit code, standard output, standard error."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "timmy", *words),
            env={**self.environ, **environ},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(typed.encode()), END_WITHIN_SECONDS)
        assert b"Traceback" not in err, err.decode()
        return process.returncode, out.decode(), err.decode()

    async def pays(self, payment_request: str) -> None:
        payment_hash = bolt11.decode(payment_request).payment_hash
        async with aiohttp.ClientSession() as http, http.post(f"{self.server.url}/api/dev/stub/pay/{payment_hash}") as answer:
            assert answer.status == 200


@dataclass
class Terminal:
    """A program at a terminal of 100 columns, and all that it has written there."""

    process: asyncio.subprocess.Process
    master: int
    seen: str = ""

    async def until(self, pattern: str) -> re.Match[str]:
        async with asyncio.timeout(END_WITHIN_SECONDS):
            while True:
                if found := re.search(pattern, self.seen, re.MULTILINE):
                    return found
                self.seen += (await asyncio.to_thread(self._read)).decode("utf-8", "replace")

    async def end(self) -> int:
        async with asyncio.timeout(END_WITHIN_SECONDS):
            while piece := await asyncio.to_thread(self._read):
                self.seen += piece.decode("utf-8", "replace")
            return await self.process.wait()

    def _read(self) -> bytes:
        try:
            return os.read(self.master, 65_536)
        except OSError:  # what Linux says when nobody holds the other end any more
            return b""


async def at_a_terminal(buyer: Buyer, *words: str, **environ: str) -> Terminal:
    master, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "timmy", *words),
        env={**buyer.environ, **environ},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite that runs in the background was told to ignore it
    )
    os.close(slave)
    return Terminal(process, master)
