"""How much of what is free somebody has had: counted in the database, so that all processes count alike and a restart forgets nothing."""

from __future__ import annotations

from dataclasses import dataclass

from timmy.clock import SECOND_MS
from timmy.db import Tx
from timmy.world import store

EVERYBODY = "all"
MINUTE_MS, HOUR_MS, DAY_MS = 60 * SECOND_MS, 3_600 * SECOND_MS, 24 * 3_600 * SECOND_MS


@dataclass(frozen=True, slots=True)
class Right:
    """To so many uses of something in a window, which begins with the first of them."""

    what: str
    window_ms: int
    most: int


@dataclass(frozen=True, slots=True)
class Use:
    granted: bool
    left: int  # after this one
    since_ms: int
    ends_at_ms: int  # when the window is over, and all of it is there again


def look(tx: Tx, right: Right, who: str, now_ms: int) -> Use:
    """What a use would meet now. Changes nothing."""
    row = store.uses(tx, right.what, who)
    since_ms, used = _window(right, row["since_ms"], row["used"], now_ms) if row else (now_ms, 0)
    return Use(used < right.most, max(0, right.most - used), since_ms, since_ms + right.window_ms)


def use(tx: Tx, right: Right, who: str, now_ms: int) -> Use:
    row = store.lock_uses(tx, right.what, who, now_ms)
    since_ms, used = _window(right, row["since_ms"], row["used"], now_ms)
    granted = used < right.most
    if granted:
        used += 1
        store.set_uses(tx, right.what, who, since_ms, used)
    return Use(granted, max(0, right.most - used), since_ms, since_ms + right.window_ms)


def _window(right: Right, since_ms: int, used: int, now_ms: int) -> tuple[int, int]:
    # A clock that was put back must not lock anybody out for as long as it was.
    return (since_ms, used) if since_ms <= now_ms < since_ms + right.window_ms else (now_ms, 0)
