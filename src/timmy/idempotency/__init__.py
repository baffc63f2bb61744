"""The same key and body gives the same answer, once; the same key with another body is refused.

This room promises that a key is bound to what it created in the transaction that created it, so that there is no moment at which the one
exists without the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from timmy.db import Tx
from timmy.errors import Refusal
from timmy.idempotency import store

__all__ = ["Key", "KeyReused", "bind", "rebind", "subject_of"]


class KeyReused(Refusal):
    status = 422
    code = "idempotency_key_reused"
    title = "This Idempotency-Key was used for another request"


@dataclass(frozen=True, slots=True)
class Key:
    """An Idempotency-Key as the caller gave it (1-255 printable ASCII characters), with the hash of the body that it came with."""

    key: str
    body_sha256: str
    principal: str = "anonymous"


def subject_of(tx: Tx, verb: str, key: Key) -> str | None:
    """What the key created before, or None. Raises KeyReused for another body."""
    row = store.find(tx, f"{verb} {key.principal}", key.key)
    if row is None:
        return None
    if row["body_sha256"] != key.body_sha256:
        raise KeyReused("This Idempotency-Key came with another body before. Use a new key for a new request.")
    subject: str = row["subject"]
    return subject


def bind(tx: Tx, verb: str, key: Key, subject: str, at_ms: int) -> str:
    """Bind the key to `subject`, in the transaction that creates it. Answers whose it is: not `subject` when another caller was faster."""
    if store.insert(tx, f"{verb} {key.principal}", key.key, key.body_sha256, subject, at_ms):
        return subject
    earlier = subject_of(tx, verb, key)
    assert earlier is not None, "the insert met a row"
    return earlier


def rebind(tx: Tx, verb: str, key: Key, from_subject: str, to_subject: str) -> bool:
    """Give the key to something new, because what it created came to nothing. False: somebody else has done so."""
    return store.move(tx, f"{verb} {key.principal}", key.key, from_subject, to_subject)
