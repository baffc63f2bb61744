"""The SQL of budgets and grants."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from timmy.db import Row, Tx

SEED = "pool/seed"
FROZEN = "pool"  # the breaker's name


def is_frozen(tx: Tx) -> bool:
    return tx.one("SELECT 1 AS frozen FROM breakers WHERE name = :name", name=FROZEN) is not None


def freeze(tx: Tx, reason: str, at_ms: int) -> None:
    tx.run(
        "INSERT INTO breakers (name, reason, at_ms) VALUES (:name, :reason, :at_ms) ON CONFLICT (name) DO NOTHING",
        name=FROZEN,
        reason=reason,
        at_ms=at_ms,
    )


def thaw(tx: Tx) -> bool:
    return bool(tx.run("DELETE FROM breakers WHERE name = :name", name=FROZEN))


def was_seeded(tx: Tx) -> bool:
    return tx.one("SELECT 1 AS seeded FROM transfers WHERE id = :id", id=SEED) is not None


def lock_budgets(tx: Tx, accounts: Collection[str]) -> dict[str, int]:
    rows = tx.all(
        "SELECT account, granted_msat FROM budgets WHERE account IN :accounts ORDER BY account FOR UPDATE", accounts=sorted(accounts)
    )
    return {row["account"]: row["granted_msat"] for row in rows}


def budgets(tx: Tx, accounts: Collection[str]) -> dict[str, int]:
    rows = tx.all("SELECT account, granted_msat FROM budgets WHERE account IN :accounts", accounts=sorted(accounts))
    return {row["account"]: row["granted_msat"] for row in rows}


def budgets_if_given(tx: Tx, accounts: Collection[str]) -> tuple[bool, dict[str, int]]:
    """Whether the pool is frozen, and the budgets, in one look: everybody who waits for a decision waits for it."""
    rows = tx.all(
        """SELECT 0 AS frozen, account, granted_msat FROM budgets WHERE account IN :accounts
           UNION ALL SELECT 1, name, 0 FROM breakers WHERE name = :name""",
        accounts=sorted(accounts),
        name=FROZEN,
    )
    return any(row["frozen"] for row in rows), {row["account"]: row["granted_msat"] for row in rows if not row["frozen"]}


def open_budgets(tx: Tx, accounts: Collection[str]) -> None:
    tx.run(
        """INSERT INTO budgets (account, granted_msat)
           SELECT r.account, 0 FROM :rows(account TEXT) AS r WHERE TRUE ORDER BY r.account
           ON CONFLICT (account) DO NOTHING""",
        rows=[{"account": account} for account in sorted(accounts)],
    )


def set_budgets(tx: Tx, rows: Sequence[Row]) -> None:
    tx.run(
        """UPDATE budgets SET granted_msat = r.granted_msat FROM :rows(account TEXT, granted_msat BIGINT) AS r
            WHERE budgets.account = r.account AND budgets.granted_msat < r.granted_msat""",
        rows=rows,
    )


def insert_grants(tx: Tx, rows: Sequence[Row]) -> None:
    tx.run(
        """INSERT INTO grants (id, subject, pubkey, tier, day, absorbed_msat, at_ms)
           SELECT r.id, r.subject, r.pubkey, r.tier, r.day, r.absorbed_msat, r.at_ms
             FROM :rows(id TEXT, subject TEXT, pubkey TEXT, tier TEXT, day TEXT, absorbed_msat BIGINT, at_ms BIGINT) AS r WHERE TRUE
           ON CONFLICT (id) DO NOTHING""",
        rows=rows,
    )


def given_by_tier(tx: Tx, day: str | None) -> list[Row]:
    """Sums of grants by tier: of one day, or of all."""
    return tx.all(
        """SELECT tier, COUNT(*) AS n, CAST(SUM(absorbed_msat) AS BIGINT) AS absorbed_msat FROM grants
            WHERE day = COALESCE(CAST(:day AS TEXT), day) GROUP BY tier ORDER BY tier""",
        day=day,
    )


def credited(tx: Tx) -> int:
    """All that paid charges have put into the pool, in millisats."""
    row = tx.one("SELECT CAST(COALESCE(SUM(amount_msat), 0) AS BIGINT) AS msat FROM transfers WHERE code = 'pool_credit' AND kind = 'move'")
    assert row is not None, "an aggregate has a row"
    msat: int = row["msat"]
    return msat


def unexplained_grants(tx: Tx) -> list[Row]:
    """Grants that do not match what left the pool for them, and gifts without a grant: must be none."""
    return tx.all(
        """SELECT g.id FROM grants AS g LEFT JOIN transfers AS t ON t.id = g.id || '/pool!' AND t.kind = 'post'
            WHERE t.id IS NULL OR t.amount_msat <> g.absorbed_msat
           UNION ALL
           SELECT t.reservation FROM transfers AS t
             LEFT JOIN grants AS g ON g.id = SUBSTR(t.reservation, 1, LENGTH(t.reservation) - LENGTH('/pool'))
            WHERE t.code = 'gift' AND t.kind = 'post' AND t.amount_msat > 0 AND g.id IS NULL"""
    )
