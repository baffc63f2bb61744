"""The SQL of sessions and their requests."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from timmy.db import Answer, Row, Tx

# sessions --------------------------------------------------------------------------------------------


def insert(tx: Tx, rows: Sequence[Row]) -> None:
    tx.run(
        """INSERT INTO sessions (id, pubkey, identifier, deposit_invoice, created_at_ms)
           SELECT r.id, r.pubkey, r.identifier, r.deposit_invoice, r.at_ms
             FROM :rows(id TEXT, pubkey TEXT, identifier TEXT, deposit_invoice TEXT, at_ms BIGINT) AS r""",
        rows=rows,
    )


def find_all(tx: Tx, ids: Collection[str]) -> dict[str, Row]:
    return {row["id"]: row for row in ask_all(tx, ids).rows}


def ask_all(tx: Tx, ids: Collection[str]) -> Answer:
    return tx.ask("SELECT * FROM sessions WHERE id IN :ids", ids=sorted(ids))


def ask_identifiers(tx: Tx, identifiers: Collection[str]) -> Answer:
    """The sessions that they were made for."""
    return tx.ask("SELECT * FROM sessions WHERE identifier IN :identifiers", identifiers=sorted(identifiers))


def of_topups(tx: Tx, payment_hashes: Collection[str]) -> dict[str, Row]:
    """By payment hash: the session that a top-up goes to, and the top-up's state as `topup_state`."""
    rows = tx.all(
        """SELECT s.*, i.payment_hash AS topup_hash, i.state AS topup_state
             FROM invoices AS i JOIN sessions AS s ON s.id = i.subject
            WHERE i.payment_hash IN :hashes AND i.purpose = 'session_topup'""",
        hashes=sorted(payment_hashes),
    )
    return {row["topup_hash"]: row for row in rows}


def mark_opened(tx: Tx, rows: Sequence[Row]) -> set[str]:
    """The ids of those that were opened by this, which were not open before."""
    opened = tx.all(
        """UPDATE sessions SET opened_at_ms = r.at_ms, used_at_ms = r.at_ms FROM :rows(id TEXT, at_ms BIGINT) AS r
            WHERE sessions.id = r.id AND sessions.opened_at_ms IS NULL
        RETURNING sessions.id""",
        rows=rows,
    )
    return {row["id"] for row in opened}


def mark_used(tx: Tx, rows: Sequence[Row]) -> None:
    tx.ask(
        """UPDATE sessions SET used_at_ms = r.at_ms FROM :rows(id TEXT, at_ms BIGINT) AS r
            WHERE sessions.id = r.id AND sessions.used_at_ms < r.at_ms""",
        rows=rows,
    )


def await_topup(tx: Tx, id: str, invoice_id: str) -> bool:
    """False: another top-up is waiting, or the session has been closed meanwhile."""
    return bool(
        tx.run(
            """UPDATE sessions SET topup_invoice = :invoice_id
                WHERE id = :id AND topup_invoice IS NULL AND opened_at_ms IS NOT NULL AND closed_at_ms IS NULL""",
            id=id,
            invoice_id=invoice_id,
        )
    )


def end_topups(tx: Tx, invoice_ids: Collection[str]) -> None:
    """Paid or lapsed: the next top-up may be asked for."""
    tx.run("UPDATE sessions SET topup_invoice = NULL WHERE topup_invoice IN :ids", ids=sorted(invoice_ids))


def mark_closed(tx: Tx, id: str, at_ms: int) -> bool:
    """False: it was closed before."""
    return bool(tx.run("UPDATE sessions SET closed_at_ms = :at_ms WHERE id = :id AND closed_at_ms IS NULL", id=id, at_ms=at_ms))


def insert_first_key(tx: Tx, secret: str, at_ms: int) -> None:
    """Of two who come first at once, one makes it."""
    tx.run(
        "INSERT INTO root_keys (id, secret, created_at_ms) VALUES (1, :secret, :at_ms) ON CONFLICT (id) DO NOTHING",
        secret=secret,
        at_ms=at_ms,
    )


# requests --------------------------------------------------------------------------------------------


def insert_requests(tx: Tx, rows: Sequence[Row]) -> None:
    tx.run(
        """INSERT INTO session_requests (id, session_id, state, request, held_msat, gift_msat, limits, pubkey, tier, day,
                                         eval_quote, work_quote, started_at_ms, heard_at_ms)
           SELECT r.id, r.session_id, 'running', r.request, r.held_msat, r.gift_msat, r.limits, r.pubkey, r.tier, r.day,
                  r.eval_quote, r.work_quote, r.at_ms, r.at_ms
             FROM :rows(id TEXT, session_id TEXT, request TEXT, held_msat BIGINT, gift_msat BIGINT, limits INTEGER, pubkey TEXT,
                        tier TEXT, day TEXT, eval_quote TEXT, work_quote TEXT, at_ms BIGINT) AS r""",
        rows=rows,
    )


def lock_requests(tx: Tx, ids: Collection[str]) -> dict[str, Row]:
    rows = tx.all("SELECT * FROM session_requests WHERE id IN :ids ORDER BY id FOR UPDATE", ids=sorted(ids))
    return {row["id"]: row for row in rows}


def find_request(tx: Tx, id: str) -> Row | None:
    return tx.one("SELECT * FROM session_requests WHERE id = :id", id=id)


def hear(tx: Tx, id: str, at_ms: int) -> None:
    """Whoever works on it lives."""
    tx.run("UPDATE session_requests SET heard_at_ms = :at_ms WHERE id = :id AND state = 'running'", id=id, at_ms=at_ms)


def count_running(tx: Tx, session_id: str) -> int:
    row = tx.one("SELECT COUNT(*) AS n FROM session_requests WHERE session_id = :id AND state = 'running'", id=session_id)
    assert row is not None, "an aggregate has a row"
    n: int = row["n"]
    return n


def end_requests(tx: Tx, rows: Sequence[Row]) -> int:
    """The guarded end: only requests that still run. Without the last line, a request that was given up while its owner was paused would
    be charged when its owner comes back, from a reservation that was released."""
    return tx.run(
        """UPDATE session_requests
              SET state = r.state, result = r.result, truncated = r.truncated, reason = r.reason, eval_usage = r.eval_usage,
                  work_usage = r.work_usage, cost_nano_usd = r.cost_nano_usd, debited_msat = r.debited_msat,
                  absorbed_msat = r.absorbed_msat, left_msat = r.left_msat, ended_at_ms = r.at_ms
             FROM :rows(id TEXT, state TEXT, result TEXT, truncated INTEGER, reason TEXT, eval_usage TEXT, work_usage TEXT,
                        cost_nano_usd BIGINT, debited_msat BIGINT, absorbed_msat BIGINT, left_msat BIGINT, at_ms BIGINT) AS r
            WHERE session_requests.id = r.id AND session_requests.state = 'running'""",
        rows=rows,
    )


# spent from with a preimage alone -----------------------------------------------------------------------


def insert_prepaid(tx: Tx, row: Row) -> bool:
    """False: its deposit has a use already."""
    return bool(
        tx.run(
            """INSERT INTO prepaid (session_id, return_invoice, joined_to, at_ms)
               VALUES (:session_id, :return_invoice, :joined_to, :at_ms) ON CONFLICT DO NOTHING""",
            **row,
        )
    )


def find_prepaid(tx: Tx, session_id: str) -> Row | None:
    return tx.one("SELECT * FROM prepaid WHERE session_id = :id", id=session_id)


def close_prepaid(tx: Tx, session_id: str, by: str, refund_sats: int) -> None:
    tx.run(
        "UPDATE prepaid SET closed_by = :by, refund_sats = :refund_sats WHERE session_id = :id AND closed_by IS NULL",
        id=session_id,
        by=by,
        refund_sats=refund_sats,
    )


# what must be none -----------------------------------------------------------------------------------


def held_for_nobody(tx: Tx) -> list[Row]:
    """Open reservations of requests that have ended or never were; running requests whose reservation is not open as they say."""
    return tx.all(
        """SELECT t.id FROM transfers AS t
             LEFT JOIN session_requests AS q ON q.state = 'running'
              AND q.id = REPLACE(REPLACE(REPLACE(SUBSTR(t.id, LENGTH('request/') + 1), '/session', ''), '/gift/pool', ''),
                                 '/gift/allowance', '')
            WHERE t.kind = 'reserve' AND t.id LIKE 'request/%' AND t.id NOT LIKE '%/limit/%' AND q.id IS NULL
              AND NOT EXISTS (SELECT 1 FROM transfers AS x WHERE x.id = t.id || '!')
           UNION ALL
           SELECT q.id FROM session_requests AS q
             LEFT JOIN transfers AS s ON s.id = 'request/' || q.id || '/session' AND s.kind = 'reserve'
             LEFT JOIN transfers AS g ON g.id = 'request/' || q.id || '/gift/pool' AND g.kind = 'reserve'
            WHERE q.state = 'running'
              AND (COALESCE(s.amount_msat, 0) <> q.held_msat OR COALESCE(g.amount_msat, 0) <> q.gift_msat
                   OR EXISTS (SELECT 1 FROM transfers AS x WHERE x.id IN (s.id || '!', g.id || '!')))"""
    )


def miscounted(tx: Tx) -> list[Row]:
    """Ended requests whose charge or gift is not what was posted for them, and purses of keys that count otherwise.

    The purses are counted in one pass: a look at them for each request would take hours on a ledger of some size."""
    return tx.all(
        """SELECT q.id FROM session_requests AS q
             LEFT JOIN transfers AS s ON s.id = 'request/' || q.id || '/session!'
             LEFT JOIN transfers AS g ON g.id = 'request/' || q.id || '/gift/pool!'
            WHERE q.state <> 'running'
              AND (COALESCE(s.amount_msat, 0) <> q.debited_msat OR COALESCE(g.amount_msat, 0) <> q.absorbed_msat
                   OR (q.held_msat > 0 AND s.id IS NULL) OR (q.gift_msat > 0 AND g.id IS NULL))
           UNION ALL
           SELECT q.id FROM session_requests AS q
             LEFT JOIN (SELECT RTRIM(r.id, '0123456789') AS owner, r.amount_msat, COUNT(*) AS n FROM transfers AS r
                         WHERE r.kind = 'reserve' AND r.id LIKE 'request/%/limit/%'
                         GROUP BY RTRIM(r.id, '0123456789'), r.amount_msat) AS h
               ON h.owner = 'request/' || q.id || '/limit/' AND h.amount_msat = q.held_msat
            WHERE q.held_msat > 0 AND q.limits > 0 AND q.limits <> COALESCE(h.n, 0)
           UNION ALL
           SELECT q.id FROM session_requests AS q
             LEFT JOIN (SELECT RTRIM(p.reservation, '0123456789') AS owner, p.amount_msat, COUNT(*) AS n FROM transfers AS p
                         WHERE p.reservation LIKE 'request/%/limit/%'
                         GROUP BY RTRIM(p.reservation, '0123456789'), p.amount_msat) AS u
               ON u.owner = 'request/' || q.id || '/limit/' AND u.amount_msat = q.debited_msat
            WHERE q.state <> 'running' AND q.held_msat > 0 AND q.limits > 0 AND q.limits <> COALESCE(u.n, 0)"""
    )


def strayed(tx: Tx) -> list[Row]:
    """Closed sessions that still hold a whole sat or a reservation; balances of sessions that there are not, or that nobody paid for."""
    return tx.all(
        """SELECT a.id FROM accounts AS a LEFT JOIN sessions AS s ON s.id = SUBSTR(a.id, LENGTH('session/') + 1)
            WHERE a.id LIKE 'session/%'
              AND (s.id IS NULL
                   OR (s.opened_at_ms IS NULL AND a.balance_msat <> 0)
                   OR (s.closed_at_ms IS NOT NULL AND (a.balance_msat >= 1000 OR a.reserved_msat > 0)))"""
    )
