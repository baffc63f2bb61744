"""The jobs table."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from timmy.db import Row, Tx


def insert(tx: Tx, rows: Sequence[Row]) -> None:
    tx.run(
        """INSERT INTO jobs (id, state, request, refund_to, pubkey, eval_fee_msat, eval_invoice, created_at_ms, moved_at_ms)
           SELECT r.id, r.state, r.request, r.refund_to, r.pubkey, r.eval_fee_msat, r.eval_invoice, r.at_ms, r.at_ms
             FROM :rows(id TEXT, state TEXT, request TEXT, refund_to TEXT, pubkey TEXT, eval_fee_msat BIGINT, eval_invoice TEXT,
                        at_ms BIGINT) AS r""",
        rows=rows,
    )


def lock(tx: Tx, ids: Collection[str]) -> dict[str, Row]:
    """The jobs, locked until commit, in one order everywhere."""
    rows = tx.all("SELECT * FROM jobs WHERE id IN :ids ORDER BY id FOR UPDATE", ids=sorted(ids))
    return {row["id"]: row for row in rows}


def find_all(tx: Tx, ids: Sequence[str]) -> list[Row | None]:
    """Each job in the order asked for, None where there is none."""
    found = {row["id"]: row for row in tx.all("SELECT * FROM jobs WHERE id IN :ids", ids=sorted(set(ids)))}
    return [found.get(id) for id in ids]


def move(tx: Tx, rows: Sequence[Row]) -> int:
    """The guarded move: only jobs that are still in the state that was decided from. Without the last line, two processes that
    decided from the same state would both move the job, and its money twice."""
    return tx.run(
        """UPDATE jobs
              SET state = r.state, work_invoice = r.work_invoice, quote = r.quote, reason = r.reason, waiting = NULL,
                  result = r.result, truncated = r.truncated, usage = r.usage, charged_msat = r.charged_msat,
                  cost_nano_usd = r.cost_nano_usd, charge_msat = r.charge_msat, gift_tier = r.gift_tier, gift_day = r.gift_day,
                  gift_offered_msat = r.gift_offered_msat, gift_reserved_msat = r.gift_reserved_msat, absorbed_msat = r.absorbed_msat,
                  moved_at_ms = r.moved_at_ms, completed_at_ms = r.completed_at_ms
             FROM :rows(id TEXT, from_state TEXT, state TEXT, work_invoice TEXT, quote TEXT, reason TEXT, result TEXT, truncated INTEGER,
                        usage TEXT, charged_msat BIGINT, cost_nano_usd BIGINT, charge_msat BIGINT, gift_tier TEXT, gift_day TEXT,
                        gift_offered_msat BIGINT, gift_reserved_msat BIGINT, absorbed_msat BIGINT, moved_at_ms BIGINT,
                        completed_at_ms BIGINT) AS r
            WHERE jobs.id = r.id AND jobs.state = r.from_state""",
        rows=rows,
    )


def note_waiting(tx: Tx, id: str, waiting: str) -> bool:
    """True: that is news."""
    return bool(tx.run("UPDATE jobs SET waiting = :waiting WHERE id = :id AND COALESCE(waiting, '') <> :waiting", id=id, waiting=waiting))


def unfair(tx: Tx) -> list[Row]:
    """Ended jobs that still hold a whole sat or a reservation, results that nobody paid for, charges above what was asked, gifts that are
    still reserved or that differ from what left the pool: must be none."""
    return tx.all(
        """SELECT j.id FROM jobs AS j LEFT JOIN accounts AS a ON a.id = 'job/' || j.id
             LEFT JOIN transfers AS c ON c.id = 'job/' || j.id || '/work!' AND c.kind = 'post'
             LEFT JOIN transfers AS q ON q.id = 'job/' || j.id || '/work'
             LEFT JOIN transfers AS g ON g.id = 'job/' || j.id || '/gift/pool'
             LEFT JOIN transfers AS p ON p.id = 'job/' || j.id || '/gift/pool!'
            WHERE (j.state IN ('complete', 'rejected', 'failed', 'expired')
                   AND (a.balance_msat >= 1000 OR a.reserved_msat > 0 OR (g.id IS NOT NULL AND p.id IS NULL)))
               OR ((j.result IS NOT NULL OR j.state = 'complete') AND c.id IS NULL AND p.id IS NULL)
               OR (j.charged_msat IS NOT NULL
                   AND (COALESCE(c.amount_msat, 0) <> j.charged_msat OR j.charged_msat > COALESCE(q.amount_msat, 0)))
               OR (j.absorbed_msat IS NOT NULL
                   AND (COALESCE(p.amount_msat, 0) <> j.absorbed_msat OR j.absorbed_msat > j.gift_reserved_msat))
            ORDER BY j.id"""
    )
