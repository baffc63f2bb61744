"""The tasks table."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from timmy.db import Row, Tx


def insert(tx: Tx, rows: Sequence[Row]) -> None:
    tx.run(
        """INSERT INTO tasks (id, kind, subject, run_at_ms, fence)
           SELECT r.id, r.kind, r.subject, r.run_at_ms, r.fence
             FROM :rows(id TEXT, kind TEXT, subject TEXT, run_at_ms BIGINT, fence BIGINT) AS r
            WHERE TRUE
           ON CONFLICT (id) DO NOTHING""",
        rows=rows,
    )


def claim(tx: Tx, kinds: Sequence[str], now_ms: int, lease_until_ms: int, limit: int) -> list[Row]:
    """Due tasks, each for one claimant only. SKIP LOCKED lets several processes claim side by side.

    A lease that ran out was not given back: whoever held it died with the task in hand, which counts as a failure of it.

    MATERIALIZED, because PostgreSQL may otherwise run the inner query once per row of the table, and claim `limit` each time."""
    return tx.all(
        """WITH due AS MATERIALIZED (
               SELECT id FROM tasks
                WHERE parked = 0 AND run_at_ms <= :now_ms AND lease_until_ms <= :now_ms AND kind IN :kinds
                ORDER BY run_at_ms LIMIT :limit FOR UPDATE SKIP LOCKED)
           UPDATE tasks SET lease_until_ms = :lease_until_ms, fence = fence + 1, attempts = attempts + 1,
                  failures = failures + CASE WHEN lease_until_ms > 0 THEN 1 ELSE 0 END
            WHERE id IN (SELECT id FROM due) AND lease_until_ms <= :now_ms
        RETURNING id, kind, subject, attempts, failures, fence""",
        kinds=list(kinds),
        now_ms=now_ms,
        lease_until_ms=lease_until_ms,
        limit=limit,
    )


def lock_all_owned(tx: Tx, rows: Sequence[Row]) -> set[str]:
    """The ids whose fence is still the claimant's, locked until the transaction ends."""
    fences = {row["id"]: row["fence"] for row in rows}
    held = tx.all("SELECT id, fence FROM tasks WHERE id IN :ids ORDER BY id FOR UPDATE", ids=sorted(fences))
    return {row["id"] for row in held if row["fence"] == fences[row["id"]]}


def delete(tx: Tx, ids: Collection[str]) -> None:
    tx.run("DELETE FROM tasks WHERE id IN :ids", ids=sorted(ids))


def lock_owned(tx: Tx, id: str, fence: int) -> bool:
    return tx.one("SELECT 1 AS held FROM tasks WHERE id = :id AND fence = :fence FOR UPDATE", id=id, fence=fence) is not None


def extend(tx: Tx, rows: Sequence[Row], lease_until_ms: int) -> None:
    """Keep the leases that are still held: one that was given back a moment ago stays given back."""
    tx.run(
        """UPDATE tasks SET lease_until_ms = :lease_until_ms FROM :rows(id TEXT, fence BIGINT) AS r
            WHERE tasks.id = r.id AND tasks.fence = r.fence AND tasks.lease_until_ms > 0""",
        rows=rows,
        lease_until_ms=lease_until_ms,
    )


def put_back(tx: Tx, id: str, fence: int, run_at_ms: int, trouble: str | None, failures: int) -> bool:
    return bool(
        tx.run(
            """UPDATE tasks SET run_at_ms = :run_at_ms, lease_until_ms = 0, trouble = :trouble,
                      failures = CASE WHEN :failures > 0 THEN failures + :failures ELSE 0 END
                WHERE id = :id AND fence = :fence""",
            id=id,
            fence=fence,
            run_at_ms=run_at_ms,
            trouble=trouble,
            failures=failures,
        )
    )


def park(tx: Tx, id: str, fence: int, trouble: str) -> bool:
    return bool(
        tx.run(
            "UPDATE tasks SET parked = 1, lease_until_ms = 0, trouble = :trouble WHERE id = :id AND fence = :fence",
            id=id,
            fence=fence,
            trouble=trouble,
        )
    )


def parked(tx: Tx) -> list[Row]:
    return tx.all("SELECT id, kind, subject, attempts, trouble FROM tasks WHERE parked = 1 ORDER BY id")


def unpark(tx: Tx, id: str, run_at_ms: int) -> bool:
    return bool(
        tx.run(
            "UPDATE tasks SET parked = 0, attempts = 0, failures = 0, run_at_ms = :run_at_ms WHERE id = :id AND parked = 1",
            id=id,
            run_at_ms=run_at_ms,
        )
    )


def hasten(tx: Tx, id: str, run_at_ms: int) -> None:
    """Bring a waiting task forward; one that is being worked on, or parked, stays as it is."""
    tx.run(
        "UPDATE tasks SET run_at_ms = :run_at_ms WHERE id = :id AND run_at_ms > :run_at_ms AND parked = 0",
        id=id,
        run_at_ms=run_at_ms,
    )


def waiting(tx: Tx) -> list[Row]:
    return tx.all("SELECT kind, parked, COUNT(*) AS n FROM tasks GROUP BY kind, parked ORDER BY kind, parked")


def next_due(tx: Tx, kinds: Sequence[str]) -> int | None:
    row = tx.one(
        """SELECT MIN(CASE WHEN lease_until_ms > run_at_ms THEN lease_until_ms ELSE run_at_ms END) AS at_ms
             FROM tasks WHERE parked = 0 AND kind IN :kinds""",
        kinds=list(kinds),
    )
    return row["at_ms"] if row else None
