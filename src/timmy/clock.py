"""Time. Whatever needs it is given a `Clock`; nothing reads it from the air, so a test can own it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

SECOND_MS = 1_000


class Clock(Protocol):
    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01T00:00:00Z."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that stands still until it is moved: for tests and simulations."""

    def __init__(self, start_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, *, seconds: int = 0, ms: int = 0) -> None:
        self._now_ms += seconds * SECOND_MS + ms


def iso(at_ms: int) -> str:
    """ISO 8601 in UTC with `Z`, to the millisecond: the only form of a time on the wire."""
    stamp = datetime.fromtimestamp(at_ms // SECOND_MS, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{stamp}.{at_ms % SECOND_MS:03d}Z"
