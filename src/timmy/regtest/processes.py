"""Processes that die with us, and ports that nobody else listens on."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar

from timmy.regtest.parts import RegtestUnavailable

Found = TypeVar("Found")

LEASH = Path(__file__).with_name("leash.py")
POLL_SECONDS = 0.05
STOP_SECONDS = 10.0
TAIL_CHARS = 1_500
PORTS = range(15_000, 32_000)


class Leashed:
    """A running command in a process group of its own, its output in `log`. It is killed when this process ends, however it ends."""

    def __init__(self, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path | None = None) -> None:
        self.name = name
        self._log = log
        leashed = [sys.executable, "-I", "-S", str(LEASH), *command]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                leashed,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop them in order
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL to the whole group, as when the machine loses power."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def stop(self) -> None:
        """Ask, wait, and then insist."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        self.kill()

    def tail(self) -> str:
        """The end of what it said."""
        return self._log.read_text(errors="replace")[-TAIL_CHARS:].strip()


def until(what: str, look: Callable[[], Found | None], *, timeout_seconds: float, process: Leashed | None = None) -> Found:
    """Look until there is something; `RegtestUnavailable` when time is up, or at once when `process` has died."""
    ends_at = time.monotonic() + timeout_seconds
    trouble = ""
    while time.monotonic() < ends_at:
        try:
            found = look()
        except OSError as problem:  # not listening yet, or not answering yet
            found, trouble = None, f" ({type(problem).__name__})"
        if found is not None:
            return found
        if process is not None and not process.alive:
            raise RegtestUnavailable(f"{process.name} ended by itself while we waited for {what}. It said: {process.tail()}")
        time.sleep(POLL_SECONDS)
    said = f" {process.name} said: {process.tail()}" if process is not None else ""
    raise RegtestUnavailable(f"No sign of {what} after {timeout_seconds:.0f} seconds{trouble}.{said}")


def free_ports(count: int) -> list[int]:
    """Ports on 127.0.0.1 that were free a moment ago, all different.

    Not from the range that the system gives to outgoing connections: one of those could be made on it before it is listened on.
    """
    with ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            port = PORTS.start + secrets.randbelow(len(PORTS))
            with suppress(OSError):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
                found.append(port)
        return found


def listens(port: int) -> bool | None:
    """True when somebody accepts connections there; an OSError while nobody does."""
    socket.create_connection(("127.0.0.1", port), 1).close()
    return True
