"""The SQL of challenges, identities and root keys."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # as in login.py
    from timmy.db import Answer, Row, Tx


def insert_challenge(tx: Tx, nonce: str, expires_at_ms: int) -> None:
    tx.run("INSERT INTO challenges (nonce, expires_at_ms) VALUES (:nonce, :at)", nonce=nonce, at=expires_at_ms)


def take_challenge(tx: Tx, nonce: str) -> int | None:
    """Use it up; when it expires. None: never made, or used before. Of two who take it at once, one gets it."""
    row = tx.one("DELETE FROM challenges WHERE nonce = :nonce RETURNING expires_at_ms", nonce=nonce)
    return row["expires_at_ms"] if row else None


def burn(tx: Tx, id: str, until_ms: int) -> bool:
    """False: it was burned before."""
    return bool(tx.run("INSERT INTO burned_events (id, until_ms) VALUES (:id, :until) ON CONFLICT DO NOTHING", id=id, until=until_ms))


def sweep(tx: Tx, now_ms: int) -> None:
    tx.run("DELETE FROM challenges WHERE expires_at_ms < :now", now=now_ms)
    tx.run("DELETE FROM burned_events WHERE until_ms < :now", now=now_ms)


def open_identities(tx: Tx, pubkeys: Collection[str], at_ms: int) -> None:
    tx.run(
        """INSERT INTO identities (pubkey, score, scored_at_ms, first_seen_ms)
           SELECT r.pubkey, 0, r.at_ms, r.at_ms FROM :rows(pubkey TEXT, at_ms BIGINT) AS r WHERE TRUE ORDER BY r.pubkey
           ON CONFLICT (pubkey) DO NOTHING""",
        rows=[{"pubkey": pubkey, "at_ms": at_ms} for pubkey in sorted(pubkeys)],
    )


def lock_identities(tx: Tx, pubkeys: Collection[str]) -> dict[str, Row]:
    rows = tx.all("SELECT * FROM identities WHERE pubkey IN :pubkeys ORDER BY pubkey FOR UPDATE", pubkeys=sorted(pubkeys))
    return {row["pubkey"]: row for row in rows}


def identities(tx: Tx, pubkeys: Collection[str]) -> dict[str, Row]:
    rows = tx.all("SELECT * FROM identities WHERE pubkey IN :pubkeys", pubkeys=sorted(pubkeys))
    return {row["pubkey"]: row for row in rows}


def known_changes(tx: Tx, ids: Collection[str]) -> set[str]:
    return {row["id"] for row in tx.all("SELECT id FROM score_changes WHERE id IN :ids", ids=sorted(ids))}


def insert_changes(tx: Tx, rows: Sequence[Row]) -> None:
    tx.run(
        """INSERT INTO score_changes (id, pubkey, why, change, score, at_ms)
           SELECT r.id, r.pubkey, r.why, r.change, r.score, r.at_ms
             FROM :rows(id TEXT, pubkey TEXT, why TEXT, change BIGINT, score BIGINT, at_ms BIGINT) AS r""",
        rows=rows,
    )


def set_identities(tx: Tx, rows: Sequence[Row]) -> None:
    tx.run(
        """UPDATE identities SET score = r.score, scored_at_ms = r.scored_at_ms, successes = r.successes, setbacks = r.setbacks,
                  paid_msat = r.paid_msat, weighed_msat = r.weighed_msat
             FROM :rows(pubkey TEXT, score BIGINT, scored_at_ms BIGINT, successes BIGINT, setbacks BIGINT, paid_msat BIGINT,
                        weighed_msat BIGINT) AS r
            WHERE identities.pubkey = r.pubkey""",
        rows=rows,
    )


def recent_changes(tx: Tx, pubkey: str, limit: int) -> list[Row]:
    return tx.all(
        "SELECT why, change, score, at_ms FROM score_changes WHERE pubkey = :pubkey ORDER BY at_ms DESC, id LIMIT :limit",
        pubkey=pubkey,
        limit=limit,
    )


def root_keys(tx: Tx) -> list[Row]:
    """The newest first, retired ones left out."""
    return ask_root_keys(tx).rows


def ask_root_keys(tx: Tx) -> Answer:
    return tx.ask("SELECT id, secret FROM root_keys WHERE retired_at_ms IS NULL ORDER BY id DESC")


def root_key_history(tx: Tx) -> list[Row]:
    """All that there ever were, the newest first; not the keys themselves."""
    return tx.all("SELECT id, created_at_ms, retired_at_ms FROM root_keys ORDER BY id DESC")


def insert_root_key(tx: Tx, secret: str, at_ms: int) -> None:
    """Of two who rotate at once, one makes the new key, which is new for both."""
    tx.run(
        """INSERT INTO root_keys (id, secret, created_at_ms) SELECT COALESCE(MAX(id), 0) + 1, :secret, :at_ms FROM root_keys WHERE TRUE
           ON CONFLICT (id) DO NOTHING""",
        secret=secret,
        at_ms=at_ms,
    )


def retire_root_keys(tx: Tx, at_ms: int) -> int:
    """All but the newest."""
    return tx.run(
        "UPDATE root_keys SET retired_at_ms = :at_ms WHERE retired_at_ms IS NULL AND id < (SELECT MAX(id) FROM root_keys)", at_ms=at_ms
    )
