"""Runs one command that must not outlive whoever started it: `python leash.py COMMAND …`, with a pipe as standard input.

The starter holds the only other end of that pipe. When the starter dies, however it dies, the pipe closes and the whole process group is
killed, the command's own children too. Without this, a killed test run leaves a bitcoind and four Python processes behind.
Only the standard library, and nothing of the house: it starts in the time of a bare interpreter.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from types import FrameType

PR_SET_PDEATHSIG = 1  # Linux, prctl(2)


def main() -> None:
    # A handler, not SIG_IGN: an ignored signal would stay ignored in the command, and it could not be asked to stop.
    signal.signal(signal.SIGTERM, _leave_it_to_the_command)
    signal.signal(signal.SIGINT, _leave_it_to_the_command)
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, preexec_fn=_die_with_the_leash)
    threading.Thread(target=_kill_when_alone, daemon=True).start()
    code = command.wait()
    os._exit(code if code >= 0 else 128 - code)


def _leave_it_to_the_command(_signal: int, _frame: FrameType | None) -> None:
    """The group got the signal, so the command did too; we leave when it has left."""


def _die_with_the_leash() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill_when_alone() -> None:
    os.read(0, 1)  # nobody ever writes: this returns when the other end is closed
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
