"""Who is watching, and what the house has given away by the piece."""

from __future__ import annotations

from timmy.db import Row, Tx

OLD_MS = 2 * 24 * 3_600 * 1_000  # longer than any window


def note_presence(tx: Tx, process: str, visitors: int, lease_until_ms: int) -> None:
    tx.run(
        """INSERT INTO world_presence (process, visitors, lease_until_ms) VALUES (:process, :visitors, :lease_until_ms)
           ON CONFLICT (process) DO UPDATE SET visitors = excluded.visitors, lease_until_ms = excluded.lease_until_ms""",
        process=process,
        visitors=visitors,
        lease_until_ms=lease_until_ms,
    )


def drop_presence(tx: Tx, process: str, now_ms: int) -> None:
    """Its own, and whatever is left of processes that died."""
    tx.run("DELETE FROM world_presence WHERE process = :process OR lease_until_ms < :now_ms", process=process, now_ms=now_ms)


def visitors_elsewhere(tx: Tx, process: str, now_ms: int) -> int:
    row = tx.one(
        """SELECT CAST(COALESCE(SUM(visitors), 0) AS BIGINT) AS n FROM world_presence
            WHERE process <> :process AND lease_until_ms >= :now_ms""",
        process=process,
        now_ms=now_ms,
    )
    return row["n"] if row else 0


def uses(tx: Tx, what: str, who: str) -> Row | None:
    return tx.one("SELECT since_ms, used FROM world_uses WHERE what = :what AND who = :who", what=what, who=who)


def lock_uses(tx: Tx, what: str, who: str, now_ms: int) -> Row:
    tx.run("DELETE FROM world_uses WHERE since_ms < :old_ms", old_ms=now_ms - OLD_MS)
    tx.run(
        "INSERT INTO world_uses (what, who, since_ms, used) VALUES (:what, :who, :now_ms, 0) ON CONFLICT (what, who) DO NOTHING",
        what=what,
        who=who,
        now_ms=now_ms,
    )
    row = tx.one("SELECT since_ms, used FROM world_uses WHERE what = :what AND who = :who FOR UPDATE", what=what, who=who)
    assert row is not None, "it was put there in this transaction"
    return row


def set_uses(tx: Tx, what: str, who: str, since_ms: int, used: int) -> None:
    tx.run(
        "UPDATE world_uses SET since_ms = :since_ms, used = :used WHERE what = :what AND who = :who",
        what=what,
        who=who,
        since_ms=since_ms,
        used=used,
    )


def give_back(tx: Tx, what: str, who: str, since_ms: int) -> None:
    """Unless its window is over already."""
    tx.run(
        "UPDATE world_uses SET used = used - 1 WHERE what = :what AND who = :who AND since_ms = :since_ms AND used > 0",
        what=what,
        who=who,
        since_ms=since_ms,
    )
