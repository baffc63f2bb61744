"""The idempotency table."""

from __future__ import annotations

from timmy.db import Row, Tx


def find(tx: Tx, scope: str, key: str) -> Row | None:
    return tx.one("SELECT body_sha256, subject FROM idempotency WHERE scope = :scope AND key = :key", scope=scope, key=key)


def insert(tx: Tx, scope: str, key: str, body_sha256: str, subject: str, at_ms: int) -> bool:
    """False: someone was faster."""
    return bool(
        tx.run(
            """INSERT INTO idempotency (scope, key, body_sha256, subject, created_at_ms)
               VALUES (:scope, :key, :body_sha256, :subject, :at_ms) ON CONFLICT DO NOTHING""",
            scope=scope,
            key=key,
            body_sha256=body_sha256,
            subject=subject,
            at_ms=at_ms,
        )
    )


def move(tx: Tx, scope: str, key: str, from_subject: str, to_subject: str) -> bool:
    return bool(
        tx.run(
            "UPDATE idempotency SET subject = :to_subject WHERE scope = :scope AND key = :key AND subject = :from_subject",
            scope=scope,
            key=key,
            from_subject=from_subject,
            to_subject=to_subject,
        )
    )
