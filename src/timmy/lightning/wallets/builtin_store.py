"""The SQL of the built-in wallet."""

from __future__ import annotations

from collections.abc import Sequence

from timmy.db import Row, Tx


def insert_node(tx: Tx, name: str, seed: str, balance_msat: int) -> None:
    tx.run(
        "INSERT INTO builtin_nodes (name, seed, balance_msat) VALUES (:name, :seed, :balance_msat) ON CONFLICT (name) DO NOTHING",
        name=name,
        seed=seed,
        balance_msat=balance_msat,
    )


def node(tx: Tx, name: str) -> Row | None:
    return tx.one("SELECT * FROM builtin_nodes WHERE name = :name", name=name)


def lock_balances(tx: Tx, names: Sequence[str]) -> dict[str, int]:
    """In one order, so that two payments in opposite directions never wait for each other."""
    rows = tx.all("SELECT name, balance_msat FROM builtin_nodes WHERE name IN :names ORDER BY name FOR UPDATE", names=sorted(names))
    return {row["name"]: row["balance_msat"] for row in rows}


def add(tx: Tx, name: str, change_msat: int) -> None:
    tx.run("UPDATE builtin_nodes SET balance_msat = balance_msat + :change WHERE name = :name", name=name, change=change_msat)


def next_cursor(tx: Tx, name: str) -> int:
    """The node's row stays locked until the commit, so cursors become visible in their order."""
    row = tx.one("UPDATE builtin_nodes SET settlements = settlements + 1 WHERE name = :name RETURNING settlements", name=name)
    assert row is not None, "a node exists before its first invoice"
    return int(row["settlements"])


def insert_invoice(tx: Tx, row: Row) -> None:
    tx.run(
        """INSERT INTO builtin_invoices (payment_hash, node, label, preimage, payment_request, amount_msat, created_at_ms, expires_at_ms)
           VALUES (:payment_hash, :node, :label, :preimage, :payment_request, :amount_msat, :created_at_ms, :expires_at_ms)""",
        **row,
    )


def invoice(tx: Tx, payment_hash: str) -> Row | None:
    return tx.one("SELECT * FROM builtin_invoices WHERE payment_hash = :payment_hash", payment_hash=payment_hash)


def lock_invoice(tx: Tx, payment_hash: str) -> Row | None:
    return tx.one("SELECT * FROM builtin_invoices WHERE payment_hash = :payment_hash FOR UPDATE", payment_hash=payment_hash)


def settle_invoice(tx: Tx, payment_hash: str, received_msat: int, cursor: int) -> None:
    tx.run(
        "UPDATE builtin_invoices SET received_msat = :received_msat, cursor = :cursor WHERE payment_hash = :payment_hash",
        payment_hash=payment_hash,
        received_msat=received_msat,
        cursor=cursor,
    )


def settled_after(tx: Tx, name: str, cursor: int, limit: int) -> list[Row]:
    return tx.all(
        """SELECT payment_hash, cursor FROM builtin_invoices
            WHERE node = :name AND cursor IS NOT NULL AND cursor > :cursor ORDER BY cursor LIMIT :limit""",
        name=name,
        cursor=cursor,
        limit=limit,
    )


def payment(tx: Tx, payer: str, payment_hash: str) -> Row | None:
    """With the preimage of the invoice that it paid, if it is one of this network."""
    return tx.one(
        """SELECT p.*, i.preimage, i.node AS payee FROM builtin_payments AS p
             LEFT JOIN builtin_invoices AS i ON i.payment_hash = p.payment_hash
            WHERE p.payment_hash = :payment_hash AND p.payer = :payer""",
        payment_hash=payment_hash,
        payer=payer,
    )


def put_payment(tx: Tx, row: Row) -> None:
    """A failed payment may be tried again; then this is its new story."""
    tx.run(
        """INSERT INTO builtin_payments
                  (payment_hash, payer, state, amount_msat, fee_msat, reason, looks_left, ends_in, created_at_ms)
           VALUES (:payment_hash, :payer, :state, :amount_msat, :fee_msat, :reason, :looks_left, :ends_in, :created_at_ms)
           ON CONFLICT (payment_hash, payer) DO UPDATE
              SET state = excluded.state, amount_msat = excluded.amount_msat, fee_msat = excluded.fee_msat, reason = excluded.reason,
                  looks_left = excluded.looks_left, ends_in = excluded.ends_in""",
        **row,
    )


def end_payment(tx: Tx, payer: str, payment_hash: str, state: str, reason: str | None) -> None:
    tx.run(
        """UPDATE builtin_payments SET state = :state, reason = :reason, looks_left = 0
            WHERE payment_hash = :payment_hash AND payer = :payer AND state = 'in_flight'""",
        payment_hash=payment_hash,
        payer=payer,
        state=state,
        reason=reason,
    )


def count_look(tx: Tx, payer: str, payment_hash: str) -> None:
    tx.run(
        "UPDATE builtin_payments SET looks_left = looks_left - 1 WHERE payment_hash = :payment_hash AND payer = :payer AND looks_left > 0",
        payment_hash=payment_hash,
        payer=payer,
    )
