"""The ledger's SQL: everything takes many rows at once, so that a group of commands costs what one would."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from timmy.db import Answer, Row, Tx


def lock_accounts(tx: Tx, ids: Collection[str]) -> Answer:
    """The accounts, locked until commit, in one order everywhere: two groups that want the same accounts cannot deadlock."""
    return tx.ask("SELECT id, guarded, balance_msat, reserved_msat FROM accounts WHERE id IN :ids ORDER BY id FOR UPDATE", ids=sorted(ids))


def open_accounts(tx: Tx, rows: Sequence[Row]) -> None:
    tx.run(
        """INSERT INTO accounts (id, guarded)
           SELECT r.id, r.guarded FROM :rows(id TEXT, guarded INTEGER) AS r WHERE TRUE ORDER BY r.id
           ON CONFLICT (id) DO NOTHING""",
        rows=rows,
    )


def transfers(tx: Tx, ids: Collection[str]) -> dict[str, Row]:
    return {row["id"]: row for row in ask_transfers(tx, ids).rows}


def ask_transfers(tx: Tx, ids: Collection[str]) -> Answer:
    return tx.ask("SELECT id, kind, debit, credit, amount_msat, code, reservation FROM transfers WHERE id IN :ids", ids=sorted(ids))


def insert_transfers(tx: Tx, rows: Sequence[Row]) -> Answer:
    """Touches those that are new."""
    return tx.ask(
        """INSERT INTO transfers (id, kind, debit, credit, amount_msat, code, reservation, at_ms)
           SELECT r.id, r.kind, r.debit, r.credit, r.amount_msat, r.code, r.reservation, r.at_ms
             FROM :rows(id TEXT, kind TEXT, debit TEXT, credit TEXT, amount_msat BIGINT, code TEXT, reservation TEXT, at_ms BIGINT) AS r
            WHERE TRUE
           ON CONFLICT DO NOTHING""",
        rows=rows,
    )


def change_accounts(tx: Tx, rows: Sequence[Row]) -> Answer:
    """The one statement that guards the money: without its last line, a wrong decision above would overdraw an account
    and only the table's CHECK would be left to stop it. Touches the accounts that agreed."""
    return tx.ask(
        """UPDATE accounts
              SET balance_msat = accounts.balance_msat + r.balance_change, reserved_msat = accounts.reserved_msat + r.reserved_change
             FROM :rows(id TEXT, balance_change BIGINT, reserved_change BIGINT) AS r
            WHERE accounts.id = r.id
              AND (accounts.guarded = 0
                   OR accounts.balance_msat + r.balance_change >= accounts.reserved_msat + r.reserved_change)""",
        rows=rows,
    )


def accounts_like(tx: Tx, ids: Collection[str]) -> dict[str, Row]:
    """The accounts as they stand, unlocked: for looking, never for deciding."""
    rows = tx.all("SELECT id, guarded, balance_msat, reserved_msat FROM accounts WHERE id IN :ids", ids=sorted(ids))
    return {row["id"]: row for row in rows}


def balances_by_kind(tx: Tx) -> dict[str, int]:
    """The kept balances, summed by the first word of the account's name. One pass over the accounts, none over the transfers."""
    rows = tx.all(
        """SELECT k.kind, CAST(SUM(k.balance_msat) AS BIGINT) AS balance_msat
             FROM (SELECT CASE WHEN id LIKE 'job/%' THEN 'job' WHEN id LIKE 'session/%' THEN 'session'
                               WHEN id LIKE 'bootstrap/%' THEN 'bootstrap' WHEN id LIKE 'owed/%' THEN 'owed'
                               WHEN id LIKE 'in_flight/%' THEN 'in_flight' WHEN id LIKE 'allowance/%' THEN 'allowance'
                               ELSE id END AS kind, balance_msat FROM accounts) AS k
            GROUP BY k.kind"""
    )
    return {row["kind"]: row["balance_msat"] for row in rows}


def overdrawn(tx: Tx) -> list[str]:
    rows = tx.all("SELECT id FROM accounts WHERE reserved_msat < 0 OR (guarded = 1 AND balance_msat < reserved_msat) ORDER BY id")
    return [row["id"] for row in rows]


def recomputed(tx: Tx) -> list[Row]:
    """Every account as it is kept, beside what its transfers alone say it should be."""
    return tx.all(
        """SELECT a.id, a.guarded, a.balance_msat, a.reserved_msat,
                  COALESCE(m.balance_msat, 0) AS balance_should_msat, COALESCE(p.reserved_msat, 0) AS reserved_should_msat
             FROM (SELECT id, guarded, balance_msat, reserved_msat FROM accounts
                   UNION ALL
                   SELECT DISTINCT t.account, -1, 0, 0
                     FROM (SELECT debit AS account FROM transfers UNION SELECT credit FROM transfers) AS t
                    WHERE NOT EXISTS (SELECT 1 FROM accounts AS k WHERE k.id = t.account)) AS a
             LEFT JOIN (SELECT s.account, CAST(SUM(s.amount_msat) AS BIGINT) AS balance_msat
                          FROM (SELECT credit AS account, amount_msat FROM transfers WHERE kind IN ('move', 'post')
                                UNION ALL
                                SELECT debit, -amount_msat FROM transfers WHERE kind IN ('move', 'post')) AS s
                         GROUP BY s.account) AS m ON m.account = a.id
             LEFT JOIN (SELECT o.debit AS account, CAST(SUM(o.amount_msat) AS BIGINT) AS reserved_msat
                          FROM transfers AS o
                         WHERE o.kind = 'reserve' AND NOT EXISTS (SELECT 1 FROM transfers AS x WHERE x.id = o.id || '!')
                         GROUP BY o.debit) AS p ON p.account = a.id
            ORDER BY a.id"""
    )


def totals_by_code(tx: Tx) -> dict[str, int]:
    rows = tx.all("SELECT code, CAST(SUM(amount_msat) AS BIGINT) AS total_msat FROM transfers WHERE kind IN ('move', 'post') GROUP BY code")
    return {row["code"]: row["total_msat"] for row in rows}


def operator_in_wallet(tx: Tx) -> int:
    """What the operator put into the wallet, less what they took out of it, in millisats."""
    row = tx.one(
        """SELECT CAST(COALESCE(SUM(CASE WHEN debit = 'lightning' THEN amount_msat ELSE -amount_msat END), 0) AS BIGINT) AS msat
             FROM transfers
            WHERE kind IN ('move', 'post') AND code = 'operator_correction' AND (debit = 'lightning' OR credit = 'lightning')"""
    )
    assert row is not None, "an aggregate has a row"
    msat: int = row["msat"]
    return msat


def crooked_resolutions(tx: Tx) -> list[Row]:
    """Resolutions that do not fit their reservation: unknown, of other accounts, or for more than was reserved."""
    return tx.all(
        """SELECT x.id FROM transfers AS x LEFT JOIN transfers AS o ON o.id = x.reservation AND o.kind = 'reserve'
            WHERE x.reservation IS NOT NULL
              AND (o.id IS NULL OR o.debit <> x.debit OR o.credit <> x.credit OR o.amount_msat < x.amount_msat)
            ORDER BY x.id"""
    )
