"""What sessions promise about money, checked against the books."""

from __future__ import annotations

from timmy.db import Row, Tx
from timmy.ledger import Check
from timmy.sessions import store


def audit(tx: Tx) -> list[Check]:
    """Invariants of sessions and their requests; those of the ledger itself are `ledger.audit`'s."""
    return [
        _none("a request holds money while it runs, and not a moment longer", store.held_for_nobody(tx)),
        _none("a request is charged what was posted for it, by every purse that it spent from", store.miscounted(tx)),
        _none("a balance belongs to a session that was paid for and is open", store.strayed(tx)),
    ]


def _none(name: str, found: list[Row]) -> Check:
    ids = [str(row["id"]) for row in found]
    return Check(name, not ids, "none" if not ids else ", ".join(ids[:5]) + ("" if len(ids) <= 5 else f" and {len(ids) - 5} more"))
