"""What calls promise about money, checked against the books."""

from __future__ import annotations

from timmy.completions import store
from timmy.db import Row, Tx
from timmy.ledger import Check


def audit(tx: Tx) -> list[Check]:
    return [
        _none("a call holds money while it runs, and not a moment longer", store.held_for_nobody(tx)),
        _none("a call is charged what was posted for it, by every purse that it spent from", store.miscounted(tx)),
    ]


def _none(name: str, found: list[Row]) -> Check:
    ids = [str(row["id"]) for row in found]
    return Check(name, not ids, "none" if not ids else ", ".join(ids[:5]) + ("" if len(ids) <= 5 else f" and {len(ids) - 5} more"))
