"""What the rehearsal cloud holds: in memory, or in a file that several servers on one machine share and that outlives them."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

R = TypeVar("R")
Things = dict[str, Any]

EMPTY = '{"next": 1000, "droplets": {}, "ssh_keys": {}, "volumes": {}, "join_keys": {}, "devices": {}, "made": 0}'


class Shelf:
    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._things: Things = json.loads(EMPTY)

    def change(self, fn: Callable[[Things], R]) -> R:
        """`fn` sees everything and may change it; nobody else does meanwhile."""
        if self._path is None:
            return fn(self._things)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self._path.read_text("utf-8") if self._path.exists() else EMPTY
            things = json.loads(before)
            outcome = fn(things)
            after = json.dumps(things)
            if after != before:
                draft = self._path.with_suffix(".new")
                # It holds the one-use tokens of machines that are only played.
                with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                    file.write(after)
                draft.replace(self._path)
        return outcome
