"""The events table."""

from __future__ import annotations

from collections.abc import Sequence

from timmy.db import Row, Tx
from timmy.errors import Breach


def append(tx: Tx, at_ms: int, rows: Sequence[Row]) -> None:
    """With the next numbers, in the order of their `place` from 1. The counter's row stays locked until commit: a reader never sees a
    number before a smaller one that is still to appear (a sequence would show 8 while 7 is uncommitted, and a cursor at 8 would never
    see 7)."""
    tx.ask("UPDATE counters SET value = value + :count WHERE name = 'events'", count=len(rows))
    tx.ask(
        """INSERT INTO events (seq, at_ms, subject, kind, body)
           SELECT c.value - :count + r.place, :at_ms, r.subject, r.kind, r.body
             FROM :rows(place BIGINT, subject TEXT, kind TEXT, body TEXT) AS r, counters AS c
            WHERE c.name = 'events'""",
        count=len(rows),
        at_ms=at_ms,
        rows=rows,
    ).must_touch(len(rows), Breach("events were appended without a counter: migration 0002 puts it there"))


def after(tx: Tx, seq: int, limit: int) -> list[Row]:
    return tx.all("SELECT seq, at_ms, subject, kind, body FROM events WHERE seq > :seq ORDER BY seq LIMIT :limit", seq=seq, limit=limit)


def of_subject(tx: Tx, subject: str, seq: int, limit: int) -> list[Row]:
    return tx.all(
        """SELECT seq, at_ms, subject, kind, body FROM events
            WHERE subject = :subject AND seq > :seq ORDER BY seq LIMIT :limit""",
        subject=subject,
        seq=seq,
        limit=limit,
    )


def after_of(tx: Tx, seq: int, kinds: Sequence[str], limit: int) -> list[Row]:
    return tx.all(
        """SELECT seq, at_ms, subject, kind, body FROM events
            WHERE seq > :seq AND kind IN :kinds ORDER BY seq DESC LIMIT :limit""",
        seq=seq,
        kinds=list(kinds),
        limit=limit,
    )


def keep_last(tx: Tx, subject: str, count: int) -> int:
    return tx.run(
        """DELETE FROM events
            WHERE subject = :subject
              AND seq <= (SELECT seq FROM events WHERE subject = :subject ORDER BY seq DESC LIMIT 1 OFFSET :count)""",
        subject=subject,
        count=count,
    )


def last(tx: Tx) -> int:
    row = tx.one("SELECT value FROM counters WHERE name = 'events'")
    assert row is not None, "migration 0002 put the counter there"
    value: int = row["value"]
    return value
