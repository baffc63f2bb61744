"""The events table."""

from __future__ import annotations

from collections.abc import Sequence

from timmy.db import Row, Tx


def take_numbers(tx: Tx, count: int) -> int:
    """The last of `count` new numbers. The row stays locked until commit: a reader never sees a number before a smaller one that is
    still to appear (a sequence would show 8 while 7 is uncommitted, and a cursor at 8 would never see 7)."""
    row = tx.one("UPDATE counters SET value = value + :count WHERE name = 'events' RETURNING value", count=count)
    assert row is not None, "migration 0002 put the counter there"
    last: int = row["value"]
    return last


def insert(tx: Tx, rows: Sequence[Row]) -> None:
    tx.run(
        """INSERT INTO events (seq, at_ms, subject, kind, body)
           SELECT r.seq, r.at_ms, r.subject, r.kind, r.body
             FROM :rows(seq BIGINT, at_ms BIGINT, subject TEXT, kind TEXT, body TEXT) AS r""",
        rows=rows,
    )


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
