"""The notebook's tables and statements. One file for one person; SQLite's own locks keep its processes apart."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

Row = Mapping[str, Any]
R = TypeVar("R")

BUSY_SECONDS = 30.0

# `counted_msat` is what a payment takes from the limits: all that it may cost until it has ended, then what it did cost.
SCHEMA = (
    """CREATE TABLE IF NOT EXISTS purchases (
           id             TEXT PRIMARY KEY,              -- also the Idempotency-Key
           url            TEXT NOT NULL,
           kind           TEXT NOT NULL CHECK (kind IN ('job', 'session', 'topup')),
           subject        TEXT,                          -- the job or session, once the server has named it
           body           TEXT NOT NULL,                 -- JSON: what was asked
           most_msat      INTEGER,                       -- the limit of this call, where it has one
           state          TEXT NOT NULL CHECK (state IN ('open', 'ended')),
           outcome        TEXT,                          -- JSON: the job or session as it ended
           receipt        TEXT,                          -- JSON: the server's signed receipt
           created_at_ms  INTEGER NOT NULL,
           ended_at_ms    INTEGER,
           CHECK ((state = 'ended') = (ended_at_ms IS NOT NULL)))""",
    """CREATE TABLE IF NOT EXISTS payments (
           payment_hash     TEXT PRIMARY KEY,            -- one invoice, one payment, for ever
           purchase         TEXT NOT NULL REFERENCES purchases (id),
           purpose          TEXT NOT NULL,
           wallet           TEXT NOT NULL,
           payment_request  TEXT NOT NULL,
           amount_msat      INTEGER NOT NULL CHECK (amount_msat > 0),
           fee_limit_msat   INTEGER NOT NULL CHECK (fee_limit_msat >= 0),
           counted_msat     INTEGER NOT NULL CHECK (counted_msat >= 0),
           state            TEXT NOT NULL CHECK (state IN ('reserved', 'paid', 'failed')),
           preimage         TEXT,
           day              TEXT NOT NULL,               -- UTC, of the reservation
           trying_until_ms  INTEGER NOT NULL,            -- until then somebody is at it
           reserved_at_ms   INTEGER NOT NULL,
           CHECK (state <> 'failed' OR counted_msat = 0))""",
    # What a purchase will need after what is paid now. A row counts while something of the open purchase counts and this does not yet;
    # nothing has to be crossed off, so nothing can be forgotten. Added to notebooks that are older than it, where nothing was kept.
    """CREATE TABLE IF NOT EXISTS rooms (
           purchase     TEXT NOT NULL REFERENCES purchases (id),
           purpose      TEXT NOT NULL,                   -- of the payment to come
           amount_msat  INTEGER NOT NULL CHECK (amount_msat > 0),
           PRIMARY KEY (purchase, purpose))""",
    "CREATE INDEX IF NOT EXISTS payments_day ON payments (day)",
    "CREATE INDEX IF NOT EXISTS payments_purchase ON payments (purchase)",
    """CREATE TABLE IF NOT EXISTS sessions (
           id            TEXT PRIMARY KEY,
           url           TEXT NOT NULL,
           macaroon      TEXT NOT NULL,
           opened_at_ms  INTEGER NOT NULL,
           closed_at_ms  INTEGER)""",
    """CREATE TABLE IF NOT EXISTS receipts (              -- of what was paid from a session; a purchase has its own
           subject     TEXT NOT NULL,                    -- the request, or the completion
           url         TEXT NOT NULL,
           receipt     TEXT NOT NULL,
           kept_at_ms  INTEGER NOT NULL,
           PRIMARY KEY (subject, url))""",
    """CREATE TABLE IF NOT EXISTS logins (
           url            TEXT PRIMARY KEY,
           token          TEXT NOT NULL,
           expires_at_ms  INTEGER NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS limits (
           one           INTEGER PRIMARY KEY CHECK (one = 1),
           per_call_msat INTEGER,
           per_day_msat  INTEGER)""",
)


def transaction(path: Path, fn: Callable[[sqlite3.Connection], R]) -> R:
    """Run `fn` alone: nobody else writes from before its first statement until after its last."""
    # A connection for each: it is opened in a fraction of a millisecond, and belongs to whichever thread runs this.
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = FULL")  # a reservation that a power cut takes back would be spent twice
        # IMMEDIATE: two who both read what is left, and then both reserve, would spend it twice.
        connection.execute("BEGIN IMMEDIATE")
        try:
            done = fn(connection)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        return done


def prepare(tx: sqlite3.Connection) -> None:
    for statement in SCHEMA:
        tx.execute(statement)


def one(tx: sqlite3.Connection, sql: str, **named: object) -> Row | None:
    row = tx.execute(sql, named).fetchone()
    return dict(row) if row is not None else None


# purchases ---------------------------------------------------------------------------------------------


def insert_purchase(tx: sqlite3.Connection, /, **row: object) -> None:
    tx.execute(
        """INSERT INTO purchases (id, url, kind, subject, body, most_msat, state, created_at_ms)
           VALUES (:id, :url, :kind, :subject, :body, :most_msat, 'open', :now_ms)""",
        row,
    )


def find_purchase(tx: sqlite3.Connection, id: str) -> Row | None:
    return one(tx, "SELECT * FROM purchases WHERE id = :id", id=id)


def purchase_named(tx: sqlite3.Connection, name: str) -> Row | None:
    """By its own name or by its job's."""
    return one(tx, "SELECT * FROM purchases WHERE id = :name OR (kind = 'job' AND subject = :name) ORDER BY created_at_ms", name=name)


def purchases(tx: sqlite3.Connection, limit: int) -> list[Row]:
    found = tx.execute("SELECT * FROM purchases ORDER BY created_at_ms DESC, id LIMIT :limit", {"limit": limit})
    return [dict(row) for row in found]


def open_purchases(tx: sqlite3.Connection, url: str) -> list[Row]:
    found = tx.execute("SELECT * FROM purchases WHERE state = 'open' AND url = :url ORDER BY created_at_ms, id", {"url": url})
    return [dict(row) for row in found]


def name_subject(tx: sqlite3.Connection, id: str, subject: str) -> None:
    tx.execute("UPDATE purchases SET subject = :subject WHERE id = :id", {"id": id, "subject": subject})


def keep_body(tx: sqlite3.Connection, id: str, body: str) -> None:
    """What was asked, with what the server offered for it."""
    tx.execute("UPDATE purchases SET body = :body WHERE id = :id", {"id": id, "body": body})


def end_purchase(tx: sqlite3.Connection, id: str, outcome: str, now_ms: int) -> None:
    tx.execute(
        "UPDATE purchases SET state = 'ended', outcome = :outcome, ended_at_ms = COALESCE(ended_at_ms, :now_ms) WHERE id = :id",
        {"id": id, "outcome": outcome, "now_ms": now_ms},
    )


def keep_receipt(tx: sqlite3.Connection, id: str, receipt: str) -> None:
    tx.execute("UPDATE purchases SET receipt = :receipt WHERE id = :id", {"id": id, "receipt": receipt})


def keep_session_receipt(tx: sqlite3.Connection, subject: str, url: str, receipt: str, now_ms: int) -> None:
    """Asked for again, it is signed anew: the latest is kept."""
    tx.execute(
        """INSERT INTO receipts (subject, url, receipt, kept_at_ms) VALUES (:subject, :url, :receipt, :now_ms)
           ON CONFLICT (subject, url) DO UPDATE SET receipt = excluded.receipt""",
        {"subject": subject, "url": url, "receipt": receipt, "now_ms": now_ms},
    )


def session_receipt(tx: sqlite3.Connection, subject: str) -> str | None:
    row = one(tx, "SELECT receipt FROM receipts WHERE subject = :subject ORDER BY kept_at_ms DESC", subject=subject)
    return str(row["receipt"]) if row else None


def session_receipts(tx: sqlite3.Connection, limit: int) -> list[Row]:
    found = tx.execute("SELECT subject, kept_at_ms FROM receipts ORDER BY kept_at_ms DESC, subject LIMIT :limit", {"limit": limit})
    return [dict(row) for row in found]


# payments ----------------------------------------------------------------------------------------------


def find_payment(tx: sqlite3.Connection, payment_hash: str) -> Row | None:
    return one(tx, "SELECT * FROM payments WHERE payment_hash = :payment_hash", payment_hash=payment_hash)


def payments_of(tx: sqlite3.Connection, purchase: str) -> list[Row]:
    found = tx.execute("SELECT * FROM payments WHERE purchase = :purchase ORDER BY reserved_at_ms", {"purchase": purchase})
    return [dict(row) for row in found]


def counted_in_purchase(tx: sqlite3.Connection, purchase: str) -> int:
    row = one(tx, "SELECT COALESCE(SUM(counted_msat), 0) AS n FROM payments WHERE purchase = :purchase", purchase=purchase)
    return int(row["n"]) if row else 0


def counted_in_day(tx: sqlite3.Connection, day: str, but: str = "") -> int:
    """The payments, and the room that is kept for those to come; `but`: a purchase whose own room is not asked for."""
    row = one(
        tx,
        """SELECT (SELECT COALESCE(SUM(counted_msat), 0) FROM payments WHERE day = :day)
                + (SELECT COALESCE(SUM(r.amount_msat), 0) FROM rooms AS r JOIN purchases ON purchases.id = r.purchase
                    WHERE purchases.state = 'open' AND r.purchase <> :but
                      AND EXISTS (SELECT 1 FROM payments AS p WHERE p.purchase = r.purchase AND p.day = :day AND p.counted_msat > 0)
                      AND NOT EXISTS (SELECT 1 FROM payments AS p
                                       WHERE p.purchase = r.purchase AND p.purpose = r.purpose AND p.counted_msat > 0)) AS n""",
        day=day,
        but=but,
    )
    return int(row["n"]) if row else 0


def keep_room(tx: sqlite3.Connection, purchase: str, purpose: str, amount_msat: int) -> None:
    tx.execute(
        "INSERT INTO rooms (purchase, purpose, amount_msat) VALUES (:purchase, :purpose, :amount_msat)",
        {"purchase": purchase, "purpose": purpose, "amount_msat": amount_msat},
    )


def room_for(tx: sqlite3.Connection, purchase: str, purpose: str) -> int | None:
    row = one(tx, "SELECT amount_msat FROM rooms WHERE purchase = :purchase AND purpose = :purpose", purchase=purchase, purpose=purpose)
    return int(row["amount_msat"]) if row else None


def room_beside(tx: sqlite3.Connection, purchase: str, purpose: str) -> int:
    """What the purchase will still need when this payment of it is made."""
    row = one(
        tx,
        """SELECT COALESCE(SUM(r.amount_msat), 0) AS n FROM rooms AS r
            WHERE r.purchase = :purchase AND r.purpose <> :purpose
              AND NOT EXISTS (SELECT 1 FROM payments AS p
                               WHERE p.purchase = r.purchase AND p.purpose = r.purpose AND p.counted_msat > 0)""",
        purchase=purchase,
        purpose=purpose,
    )
    return int(row["n"]) if row else 0


def reserve(tx: sqlite3.Connection, /, **row: object) -> None:
    """A failed payment of the same invoice is begun anew; any other is the caller's to have looked for."""
    tx.execute(
        """INSERT INTO payments (payment_hash, purchase, purpose, wallet, payment_request, amount_msat, fee_limit_msat, counted_msat,
                                 state, day, trying_until_ms, reserved_at_ms)
           VALUES (:payment_hash, :purchase, :purpose, :wallet, :payment_request, :amount_msat, :fee_limit_msat, :counted_msat,
                   'reserved', :day, :trying_until_ms, :now_ms)
           ON CONFLICT (payment_hash) DO UPDATE
              SET state = 'reserved', wallet = excluded.wallet, fee_limit_msat = excluded.fee_limit_msat, day = excluded.day,
                  counted_msat = excluded.counted_msat, trying_until_ms = excluded.trying_until_ms
            WHERE payments.state = 'failed'""",
        row,
    )


def claim(tx: sqlite3.Connection, payment_hash: str, now_ms: int, until_ms: int) -> bool:
    """True: nobody else is at it, and for a while nobody else will be."""
    done = tx.execute(
        """UPDATE payments SET trying_until_ms = :until_ms
            WHERE payment_hash = :payment_hash AND state = 'reserved' AND trying_until_ms <= :now_ms""",
        {"payment_hash": payment_hash, "now_ms": now_ms, "until_ms": until_ms},
    )
    return done.rowcount == 1


def let_go(tx: sqlite3.Connection, payment_hash: str) -> None:
    tx.execute("UPDATE payments SET trying_until_ms = 0 WHERE payment_hash = :payment_hash", {"payment_hash": payment_hash})


def settle(tx: sqlite3.Connection, payment_hash: str, counted_msat: int | None, preimage: str | None) -> None:
    """`counted_msat` None: nobody told the fee, so all that it may cost stays counted. A payment that was called failed and did arrive
    is counted again: the limit holds the next one back, not this."""
    tx.execute(
        """UPDATE payments SET state = 'paid', counted_msat = COALESCE(:counted_msat, amount_msat + fee_limit_msat),
                  preimage = COALESCE(:preimage, preimage)
            WHERE payment_hash = :payment_hash AND state <> 'paid'""",
        {"payment_hash": payment_hash, "counted_msat": counted_msat, "preimage": preimage},
    )


def release(tx: sqlite3.Connection, payment_hash: str) -> None:
    tx.execute(
        "UPDATE payments SET state = 'failed', counted_msat = 0 WHERE payment_hash = :payment_hash AND state = 'reserved'",
        {"payment_hash": payment_hash},
    )


# sessions, logins and limits -----------------------------------------------------------------------------------


def keep_session(tx: sqlite3.Connection, id: str, url: str, macaroon: str, now_ms: int) -> None:
    tx.execute(
        """INSERT INTO sessions (id, url, macaroon, opened_at_ms) VALUES (:id, :url, :macaroon, :now_ms)
           ON CONFLICT (id) DO UPDATE SET macaroon = excluded.macaroon""",
        {"id": id, "url": url, "macaroon": macaroon, "now_ms": now_ms},
    )


def close_session(tx: sqlite3.Connection, id: str, now_ms: int) -> None:
    tx.execute("UPDATE sessions SET closed_at_ms = COALESCE(closed_at_ms, :now_ms) WHERE id = :id", {"id": id, "now_ms": now_ms})


def find_session(tx: sqlite3.Connection, id: str) -> Row | None:
    return one(tx, "SELECT * FROM sessions WHERE id = :id", id=id)


def sessions(tx: sqlite3.Connection, url: str | None) -> list[Row]:
    """The newest first; all servers' without a `url`."""
    found = tx.execute(
        "SELECT * FROM sessions WHERE :url IS NULL OR url = :url ORDER BY closed_at_ms IS NOT NULL, opened_at_ms DESC, id", {"url": url}
    )
    return [dict(row) for row in found]


def keep_login(tx: sqlite3.Connection, url: str, token: str, expires_at_ms: int) -> None:
    tx.execute(
        """INSERT INTO logins (url, token, expires_at_ms) VALUES (:url, :token, :expires_at_ms)
           ON CONFLICT (url) DO UPDATE SET token = excluded.token, expires_at_ms = excluded.expires_at_ms""",
        {"url": url, "token": token, "expires_at_ms": expires_at_ms},
    )


def login(tx: sqlite3.Connection, url: str, now_ms: int) -> str | None:
    row = one(tx, "SELECT token FROM logins WHERE url = :url AND expires_at_ms > :now_ms", url=url, now_ms=now_ms)
    return str(row["token"]) if row else None


def limits(tx: sqlite3.Connection) -> Row | None:
    return one(tx, "SELECT per_call_msat, per_day_msat FROM limits")


def set_limits(tx: sqlite3.Connection, per_call_msat: int | None, per_day_msat: int | None) -> None:
    tx.execute(
        """INSERT INTO limits (one, per_call_msat, per_day_msat) VALUES (1, :per_call_msat, :per_day_msat)
           ON CONFLICT (one) DO UPDATE SET per_call_msat = excluded.per_call_msat, per_day_msat = excluded.per_day_msat""",
        {"per_call_msat": per_call_msat, "per_day_msat": per_day_msat},
    )
