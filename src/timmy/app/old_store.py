"""All that is ever deleted because it is old, on one page: nothing here may touch what money, or a refund that can be claimed, hangs on.

Transfers, accounts, payouts, settled invoices, and every job and session that a payment ever reached stay for ever.
"""

from __future__ import annotations

from collections.abc import Collection

from timmy.db import Tx


def forget_events(tx: Tx, before_ms: int, limit: int) -> int:
    """Of the oldest ones, those before then; how many."""
    return tx.run(
        "DELETE FROM events WHERE seq IN (SELECT seq FROM events ORDER BY seq LIMIT :limit) AND at_ms < :before_ms",
        before_ms=before_ms,
        limit=limit,
    )


def forget_keys(tx: Tx, before_ms: int, limit: int) -> int:
    """Idempotency keys; how many."""
    return tx.run(
        """DELETE FROM idempotency WHERE (scope, key) IN
               (SELECT scope, key FROM idempotency WHERE created_at_ms < :before_ms ORDER BY created_at_ms LIMIT :limit)""",
        before_ms=before_ms,
        limit=limit,
    )


def unpaid_invoices(tx: Tx, never_ms: int, before_ms: int, limit: int) -> list[str]:
    """First invoices of jobs, sessions and nodes that nobody paid: expired before then, and given up by the sweep. Not those of anyone whom
    money has reached after all: a payment of the invoice would have settled it, so only what an operator gave is to be looked for."""
    rows = tx.all(
        """SELECT i.id FROM invoices AS i
            WHERE i.state IN ('open', 'lapsed', 'asked') AND i.state = 'lapsed' AND i.look_at_ms >= :never_ms
              AND i.expires_at_ms < :before_ms AND i.purpose IN ('job_eval', 'session_deposit', 'bootstrap_fee')
              AND NOT EXISTS (SELECT 1 FROM accounts AS a
                               WHERE (a.id = 'job/' || i.subject OR a.id = 'session/' || i.subject OR a.id = 'bootstrap/' || i.subject
                                      OR a.id = 'owed/' || i.subject)
                                 AND (a.balance_msat <> 0 OR a.reserved_msat <> 0))
              AND NOT EXISTS (SELECT 1 FROM payouts AS p WHERE p.obligation = 'owed/' || i.subject)
            ORDER BY i.look_at_ms LIMIT :limit""",
        never_ms=never_ms,
        before_ms=before_ms,
        limit=limit,
    )
    return [row["id"] for row in rows]


def forget_unpaid(tx: Tx, invoices: Collection[str]) -> int:
    """The invoices, the jobs, sessions and orders of nodes that they would have opened, and what was told of those; how many invoices.

    The invoices go first, locked by being deleted: a payment that is credited at this moment either has changed its invoice's state, and
    keeps everything, or finds no invoice, and is kept apart as a stray."""
    gone = tx.all("DELETE FROM invoices WHERE id IN :ids AND state = 'lapsed' RETURNING id, subject", ids=sorted(invoices))
    ids, subjects = sorted(row["id"] for row in gone), sorted(row["subject"] for row in gone)
    tx.run("DELETE FROM jobs WHERE eval_invoice IN :ids AND state = 'expired' AND work_invoice IS NULL", ids=ids)
    tx.run("DELETE FROM sessions WHERE deposit_invoice IN :ids AND opened_at_ms IS NULL", ids=ids)
    tx.run("DELETE FROM bootstraps WHERE invoice IN :ids AND state = 'expired'", ids=ids)
    tx.run("DELETE FROM events WHERE subject IN :subjects", subjects=subjects)
    return len(gone)
