"""The SQL of invoices, payouts and breakers."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from timmy.db import Row, Tx

# invoices --------------------------------------------------------------------------------------------


def insert_invoices(tx: Tx, rows: Sequence[Row]) -> None:
    tx.run(
        """INSERT INTO invoices (id, purpose, subject, account, amount_msat, state, created_at_ms, expires_at_ms, look_at_ms)
           SELECT r.id, r.purpose, r.subject, r.account, r.amount_msat, 'asked', r.created_at_ms, r.expires_at_ms, r.look_at_ms
             FROM :rows(id TEXT, purpose TEXT, subject TEXT, account TEXT, amount_msat BIGINT, created_at_ms BIGINT,
                        expires_at_ms BIGINT, look_at_ms BIGINT) AS r""",
        rows=rows,
    )


def open_invoices(tx: Tx, rows: Sequence[Row]) -> int:
    """From `asked` to `open`: the wallet has made them, and whoever asked is about to show them."""
    return tx.run(
        """UPDATE invoices
              SET state = 'open', payment_hash = r.payment_hash, payment_request = r.payment_request,
                  expires_at_ms = r.expires_at_ms, look_at_ms = r.look_at_ms
             FROM :rows(id TEXT, payment_hash TEXT, payment_request TEXT, expires_at_ms BIGINT, look_at_ms BIGINT) AS r
            WHERE invoices.id = r.id AND invoices.state = 'asked'""",
        rows=rows,
    )


def lock_by_hash(tx: Tx, hashes: Collection[str]) -> dict[str, Row]:
    rows = tx.all("SELECT * FROM invoices WHERE payment_hash IN :hashes ORDER BY id FOR UPDATE", hashes=sorted(hashes))
    return {row["payment_hash"]: row for row in rows}


def mark_settled(tx: Tx, rows: Sequence[Row]) -> set[str]:
    """The ids that were not settled before: only they are credited."""
    marked = tx.all(
        """UPDATE invoices SET state = 'settled', received_msat = r.received_msat, settled_at_ms = r.at_ms
             FROM :rows(id TEXT, received_msat BIGINT, at_ms BIGINT) AS r
            WHERE invoices.id = r.id AND invoices.state <> 'settled'
        RETURNING invoices.id""",
        rows=rows,
    )
    return {row["id"] for row in marked}


def invoice(tx: Tx, id: str) -> Row | None:
    return tx.one("SELECT * FROM invoices WHERE id = :id", id=id)


def invoices_by_id(tx: Tx, ids: Collection[str]) -> dict[str, Row]:
    return {row["id"]: row for row in tx.all("SELECT * FROM invoices WHERE id IN :ids", ids=sorted(ids))}


def invoice_of_hash(tx: Tx, payment_hash: str) -> Row | None:
    return tx.one("SELECT * FROM invoices WHERE payment_hash = :payment_hash", payment_hash=payment_hash)


def due_for_a_look(tx: Tx, now_ms: int, limit: int) -> list[Row]:
    return tx.all(
        """SELECT * FROM invoices WHERE state IN ('open', 'lapsed', 'asked') AND look_at_ms <= :now_ms
            ORDER BY CASE WHEN state = 'open' THEN 0 ELSE 1 END, look_at_ms LIMIT :limit""",
        now_ms=now_ms,
        limit=limit,
    )


def look_again(tx: Tx, rows: Sequence[Row]) -> None:
    tx.run(
        """UPDATE invoices SET look_at_ms = r.look_at_ms FROM :rows(id TEXT, look_at_ms BIGINT) AS r
            WHERE invoices.id = r.id AND invoices.state <> 'settled'""",
        rows=rows,
    )


def lapse(tx: Tx, id: str, look_at_ms: int) -> bool:
    return bool(tx.run("UPDATE invoices SET state = 'lapsed', look_at_ms = :at WHERE id = :id AND state = 'open'", id=id, at=look_at_ms))


def forget_asked(tx: Tx, ids: Collection[str]) -> None:
    """Rows whose invoice never came back from the wallet, or whose asker died: nobody was ever shown them."""
    tx.run("DELETE FROM invoices WHERE id IN :ids AND state = 'asked'", ids=sorted(ids))


def next_look(tx: Tx) -> int | None:
    row = tx.one("SELECT MIN(look_at_ms) AS at_ms FROM invoices WHERE state IN ('open', 'lapsed', 'asked')")
    return row["at_ms"] if row else None


# payouts ---------------------------------------------------------------------------------------------


def insert_payout(tx: Tx, row: Row) -> bool:
    """False: the hash was used before, or the obligation has a payout on its way (both are UNIQUE)."""
    return bool(
        tx.run(
            """INSERT INTO payouts (id, obligation, subject, payment_hash, payment_request, amount_msat, fee_limit_msat,
                                    destination, place, approved, state, planned_at_ms)
               VALUES (:id, :obligation, :subject, :payment_hash, :payment_request, :amount_msat, :fee_limit_msat,
                       :destination, :place, :approved, 'planned', :planned_at_ms)
               ON CONFLICT DO NOTHING""",
            **row,
        )
    )


def payout(tx: Tx, id: str) -> Row | None:
    return tx.one("SELECT * FROM payouts WHERE id = :id", id=id)


def payout_of_hash(tx: Tx, payment_hash: str) -> Row | None:
    return tx.one("SELECT * FROM payouts WHERE payment_hash = :payment_hash", payment_hash=payment_hash)


def live_payout(tx: Tx, obligation: str) -> Row | None:
    return tx.one("SELECT * FROM payouts WHERE obligation = :obligation AND state = 'planned'", obligation=obligation)


def payouts_of(tx: Tx, obligations: Collection[str]) -> list[Row]:
    return tx.all("SELECT * FROM payouts WHERE obligation IN :obligations ORDER BY planned_at_ms, id", obligations=sorted(obligations))


def note_try(tx: Tx, id: str, at_ms: int) -> bool:
    return bool(
        tx.run(
            "UPDATE payouts SET tries = tries + 1, tried_at_ms = :at_ms, said_failed = 0 WHERE id = :id AND state = 'planned'",
            id=id,
            at_ms=at_ms,
        )
    )


def note_said_failed(tx: Tx, id: str, said_failed: int, trouble: str) -> None:
    tx.run(
        "UPDATE payouts SET said_failed = :said_failed, trouble = :trouble WHERE id = :id AND state = 'planned'",
        id=id,
        said_failed=said_failed,
        trouble=trouble,
    )


def end_payout(tx: Tx, row: Row) -> bool:
    """False: it had ended before."""
    return bool(
        tx.run(
            """UPDATE payouts SET state = :state, fee_msat = :fee_msat, preimage = :preimage, trouble = :trouble, ended_at_ms = :at_ms
                WHERE id = :id AND state = 'planned'""",
            **row,
        )
    )


def note_fee(tx: Tx, id: str, fee_msat: int) -> bool:
    """False: it was told before."""
    return bool(
        tx.run("UPDATE payouts SET fee_msat = :fee_msat WHERE id = :id AND state = 'sent' AND fee_msat IS NULL", id=id, fee_msat=fee_msat)
    )


def end_untried(tx: Tx, id: str, tries: int, trouble: str, at_ms: int) -> bool:
    """As failed. False: it had ended, or was tried again since its tries were counted."""
    return bool(
        tx.run(
            """UPDATE payouts SET state = 'failed', trouble = :trouble, ended_at_ms = :at_ms
                WHERE id = :id AND state = 'planned' AND tries = :tries""",
            id=id,
            tries=tries,
            trouble=trouble,
            at_ms=at_ms,
        )
    )


def approve(tx: Tx, id: str, why: str, fee_limit_msat: int) -> bool:
    """False: it has ended."""
    return bool(
        tx.run(
            "UPDATE payouts SET approved = :why, fee_limit_msat = :fee_limit_msat WHERE id = :id AND state = 'planned'",
            id=id,
            why=why,
            fee_limit_msat=fee_limit_msat,
        )
    )


def lock_money_out(tx: Tx) -> None:
    """Until commit, nobody else begins to send: what all of them send together has a limit."""
    tx.one("SELECT id FROM accounts WHERE id = 'lightning' FOR UPDATE")


def out_since(tx: Tx, since_ms: int, *, besides: str) -> int:
    """What has left, or may have, since then; one payout aside, so that its second try does not count as a second payout."""
    row = tx.one(
        """SELECT CAST(COALESCE(SUM(amount_msat), 0) AS BIGINT) AS total_msat FROM payouts
            WHERE tried_at_ms >= :since_ms AND (state = 'sent' OR state = 'planned') AND id <> :besides""",
        since_ms=since_ms,
        besides=besides,
    )
    assert row is not None, "an aggregate has a row"
    total: int = row["total_msat"]
    return total


def payouts_for_attention(tx: Tx, since_ms: int, subject: str | None, limit: int) -> list[Row]:
    """What does not get on by itself, the oldest first: on its way since before `since_ms`, laid aside, or failed with its sats owed."""
    return tx.all(
        """SELECT p.*, t.trouble AS waits_for, t.parked
             FROM payouts AS p
             LEFT JOIN tasks AS t ON t.id = 'pay/' || p.id
             LEFT JOIN accounts AS a ON a.id = p.obligation
            WHERE ((p.state = 'planned' AND (p.planned_at_ms < :since_ms OR t.parked = 1))
                OR (p.state = 'failed' AND a.balance_msat - a.reserved_msat >= 1000
                    AND NOT EXISTS (SELECT 1 FROM payouts AS q WHERE q.obligation = p.obligation AND q.planned_at_ms > p.planned_at_ms)))
              AND p.subject = COALESCE(CAST(:subject AS TEXT), p.subject)
            ORDER BY p.planned_at_ms, p.id LIMIT :limit""",
        since_ms=since_ms,
        subject=subject,
        limit=limit,
    )


def payouts_listed(tx: Tx, states: Sequence[str], subject: str | None, limit: int) -> list[Row]:
    """The newest first, each with what its task waits for."""
    return tx.all(
        """SELECT p.*, t.trouble AS waits_for, t.parked
             FROM payouts AS p
             LEFT JOIN tasks AS t ON t.id = 'pay/' || p.id
            WHERE p.state IN :states AND p.subject = COALESCE(CAST(:subject AS TEXT), p.subject)
            ORDER BY p.planned_at_ms DESC LIMIT :limit""",
        states=list(states),
        subject=subject,
        limit=limit,
    )


def obligations_open(tx: Tx, account: str | None, limit: int) -> list[Row]:
    """All of them, or that of one account."""
    return tx.all(
        """SELECT id, balance_msat FROM accounts
            WHERE id >= 'owed/' AND id < 'owed0' AND balance_msat > 0 AND id = COALESCE(CAST(:account AS TEXT), id)
            ORDER BY id LIMIT :limit""",
        account=account,
        limit=limit,
    )


def leaving(tx: Tx) -> int:
    """The most that planned payouts may take out of the wallet, their fees included."""
    row = tx.one("SELECT CAST(COALESCE(SUM(amount_msat + fee_limit_msat), 0) AS BIGINT) AS msat FROM payouts WHERE state = 'planned'")
    assert row is not None, "an aggregate has a row"
    msat: int = row["msat"]
    return msat


def fees_not_told(tx: Tx) -> int:
    """The most that the fees of payouts may be whose wallet did not say what they cost."""
    row = tx.one(
        """SELECT CAST(COALESCE(SUM(fee_limit_msat), 0) AS BIGINT) AS msat FROM payouts WHERE state = 'sent' AND fee_msat IS NULL"""
    )
    assert row is not None, "an aggregate has a row"
    msat: int = row["msat"]
    return msat


def lightning_account(tx: Tx) -> Row:
    """What the books say of our node, and whether the operator's own part has been written down."""
    row = tx.one(
        """SELECT COALESCE((SELECT balance_msat FROM accounts WHERE id = 'lightning'), 0) AS balance_msat,
                  (SELECT COUNT(*) FROM transfers WHERE id = 'reconcile/opening') AS opened"""
    )
    assert row is not None, "it selects from nothing"
    return row


def awaited(tx: Tx) -> int:
    """What has been asked for and is not in the books: whoever pays late pays too."""
    row = tx.one(
        """SELECT CAST(COALESCE(SUM(amount_msat), 0) AS BIGINT) AS msat FROM invoices WHERE state IN ('open', 'lapsed', 'asked')"""
    )
    assert row is not None, "an aggregate has a row"
    msat: int = row["msat"]
    return msat


def live_and_owed(tx: Tx) -> list[Row]:
    """Obligations with more than one payout on its way, or payouts whose sats are not set aside: both must be none."""
    return tx.all(
        """SELECT p.id FROM payouts AS p LEFT JOIN accounts AS a ON a.id = 'in_flight/' || p.id
            WHERE (p.state = 'planned' AND (a.id IS NULL OR a.balance_msat <> p.amount_msat))
               OR (p.state <> 'planned' AND a.balance_msat <> 0)
               OR EXISTS (SELECT 1 FROM payouts AS q WHERE q.obligation = p.obligation AND q.id <> p.id
                                                       AND q.state = 'planned' AND p.state = 'planned')
            ORDER BY p.id"""
    )


def transfer(tx: Tx, id: str) -> Row | None:
    return tx.one("SELECT id, amount_msat, at_ms FROM transfers WHERE id = :id", id=id)


def strays(tx: Tx) -> list[Row]:
    """Payments that belonged to nothing: whether each was taken out of `unallocated`, and what of it is still owed."""
    return tx.all(
        """SELECT t.id, t.amount_msat, t.at_ms, CASE WHEN f.id IS NULL THEN 0 ELSE 1 END AS taken, COALESCE(a.balance_msat, 0) AS owed_msat
             FROM transfers AS t
             LEFT JOIN transfers AS f ON f.id = 'stray_' || SUBSTR(t.id, 7) || '/found'
             LEFT JOIN accounts AS a ON a.id = 'owed/stray_' || SUBSTR(t.id, 7)
            WHERE t.code = 'stray_payment' ORDER BY t.at_ms DESC, t.id"""
    )


def count_transfers(tx: Tx, ids: Collection[str]) -> int:
    row = tx.one("SELECT COUNT(*) AS n FROM transfers WHERE id IN :ids", ids=sorted(ids))
    assert row is not None, "an aggregate has a row"
    n: int = row["n"]
    return n


def uncredited(tx: Tx) -> list[Row]:
    """Settled invoices whose sats are not in the books, or are there with another amount: must be none."""
    return tx.all(
        """SELECT i.id FROM invoices AS i LEFT JOIN transfers AS t ON t.id = 'invoice/' || i.id || '/received'
            WHERE (i.state = 'settled' AND (t.id IS NULL OR t.amount_msat <> i.received_msat))
               OR (i.state <> 'settled' AND t.id IS NOT NULL)
            ORDER BY i.id"""
    )


# breakers --------------------------------------------------------------------------------------------


def breaker(tx: Tx, name: str) -> Row | None:
    return tx.one("SELECT name, reason, at_ms FROM breakers WHERE name = :name", name=name)


def trip(tx: Tx, name: str, reason: str, at_ms: int) -> None:
    tx.run(
        "INSERT INTO breakers (name, reason, at_ms) VALUES (:name, :reason, :at_ms) ON CONFLICT (name) DO NOTHING",
        name=name,
        reason=reason,
        at_ms=at_ms,
    )


def reset(tx: Tx, name: str) -> bool:
    return bool(tx.run("DELETE FROM breakers WHERE name = :name", name=name))
