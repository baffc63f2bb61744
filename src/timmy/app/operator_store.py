"""What the operator's desk reads, and nobody else: sums by day, and the newest jobs. Nothing here changes a row."""

from __future__ import annotations

from timmy.db import Row, Tx


def moved(tx: Tx, from_ms: int, until_ms: int) -> dict[str, int]:
    """Millisats that moved in that time, by what for. The first two conditions are those of the index `transfers_told`."""
    rows = tx.all(
        """SELECT code, CAST(SUM(amount_msat) AS BIGINT) AS msat FROM transfers
            WHERE kind IN ('move', 'post') AND at_ms >= :from_ms AND at_ms < :until_ms GROUP BY code""",
        from_ms=from_ms,
        until_ms=until_ms,
    )
    return {row["code"]: row["msat"] for row in rows}


def cost(tx: Tx, from_ms: int, until_ms: int) -> int:
    """What the models have cost for work that ended in that time, in billionths of a dollar."""
    row = tx.one(
        """SELECT CAST(COALESCE(SUM(c.nano), 0) AS BIGINT) AS nano FROM (
               SELECT CAST(SUM(cost_nano_usd) AS BIGINT) AS nano FROM jobs
                WHERE cost_nano_usd IS NOT NULL AND completed_at_ms >= :from_ms AND completed_at_ms < :until_ms
               UNION ALL
               SELECT CAST(SUM(cost_nano_usd) AS BIGINT) FROM session_requests
                WHERE cost_nano_usd IS NOT NULL AND ended_at_ms >= :from_ms AND ended_at_ms < :until_ms
               UNION ALL
               SELECT CAST(SUM(cost_nano_usd) AS BIGINT) FROM completions
                WHERE cost_nano_usd IS NOT NULL AND ended_at_ms >= :from_ms AND ended_at_ms < :until_ms) AS c""",
        from_ms=from_ms,
        until_ms=until_ms,
    )
    assert row is not None, "an aggregate has a row"
    nano: int = row["nano"]
    return nano


def newest_jobs(tx: Tx, limit: int) -> list[Row]:
    """What was asked and answered stays in the table: it is the customers'."""
    return tx.all(
        """SELECT id, state, quote, usage, eval_fee_msat, charge_msat, charged_msat, absorbed_msat, cost_nano_usd, created_at_ms,
                  completed_at_ms
             FROM jobs ORDER BY created_at_ms DESC, id LIMIT :limit""",
        limit=limit,
    )


def last_done(tx: Tx, limit: int) -> list[Row]:
    """The last jobs that have been worked on to their end."""
    return tx.all(
        """SELECT quote, usage, charged_msat, absorbed_msat FROM jobs WHERE cost_nano_usd IS NOT NULL
            ORDER BY completed_at_ms DESC LIMIT :limit""",
        limit=limit,
    )


def job(tx: Tx, id: str) -> Row | None:
    return tx.one(
        """SELECT id, state, quote, usage, eval_fee_msat, charge_msat, charged_msat, absorbed_msat, cost_nano_usd, created_at_ms,
                  completed_at_ms
             FROM jobs WHERE id = :id""",
        id=id,
    )


def transfers_of(tx: Tx, first: str, last: str, limit: int) -> list[Row]:
    """The transfers whose ids begin alike, in their order."""
    return tx.all(
        """SELECT id, kind, debit, credit, amount_msat, code, at_ms FROM transfers
            WHERE id >= :first AND id < :last ORDER BY at_ms, id LIMIT :limit""",
        first=first,
        last=last,
        limit=limit,
    )


def breakers(tx: Tx) -> list[Row]:
    return tx.all("SELECT name, reason, at_ms FROM breakers ORDER BY name")


def sessions_open(tx: Tx) -> int:
    """How many sessions hold something."""
    row = tx.one("SELECT COUNT(*) AS n FROM accounts WHERE id >= 'session/' AND id < 'session0' AND balance_msat > 0")
    assert row is not None, "an aggregate has a row"
    n: int = row["n"]
    return n
