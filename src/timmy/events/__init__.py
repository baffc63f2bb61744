"""What happened, in the order in which it became true.

This room promises that an event is appended in the transaction that it describes, that its number is larger than that of every event
committed before it, and that a reader who asks for what came after a number misses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from timmy.db import Row, Tx
from timmy.events import store
from timmy.events.store import last

__all__ = ["Event", "NewEvent", "after", "append", "keep_last", "last", "latest", "of_subject"]

READ_MAX = 500


@dataclass(frozen=True, slots=True)
class NewEvent:
    """`subject` whom it is about (a job's id), `kind` what it is, `body` whatever a reader needs. Never a secret."""

    subject: str
    kind: str
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    seq: int
    at_ms: int
    subject: str
    kind: str
    body: Mapping[str, Any]


def append(tx: Tx, at_ms: int, events: Sequence[NewEvent]) -> None:
    """Call it last in a transaction: from here to the commit, every other writer of events waits."""
    if not events:
        return
    store.append(
        tx,
        at_ms,
        [
            {"place": place, "subject": event.subject, "kind": event.kind, "body": orjson.dumps(event.body).decode()}
            for place, event in enumerate(events, 1)
        ],
    )


def after(tx: Tx, seq: int, limit: int = READ_MAX) -> list[Event]:
    return [_event(row) for row in store.after(tx, seq, limit)]


def latest(tx: Tx, seq: int, kinds: Sequence[str], limit: int = READ_MAX) -> list[Event]:
    """Of what came after a number, the last ones of these kinds, oldest first."""
    return [_event(row) for row in reversed(store.after_of(tx, seq, kinds, limit))]


def of_subject(tx: Tx, subject: str, seq: int = 0, limit: int = READ_MAX) -> list[Event]:
    return [_event(row) for row in store.of_subject(tx, subject, seq, limit)]


def keep_last(tx: Tx, subject: str, count: int) -> int:
    """Forget all of a subject but its last `count` events; how many went. For what is said and not for what was paid."""
    return store.keep_last(tx, subject, count)


def _event(row: Row) -> Event:
    return Event(row["seq"], row["at_ms"], row["subject"], row["kind"], orjson.loads(row["body"]))
