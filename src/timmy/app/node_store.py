"""What a diagnosis of the node reads of the books, besides what the rooms tell. Nothing here changes a row."""

from __future__ import annotations

from timmy.db import Tx


def last_credited(tx: Tx) -> int | None:
    """When a payment was last credited. The first condition is that of the index `transfers_told`, which is read from its end."""
    row = tx.one(
        """SELECT at_ms FROM transfers WHERE kind IN ('move', 'post') AND code IN ('payment_received', 'stray_payment')
            ORDER BY at_ms DESC LIMIT 1"""
    )
    return row["at_ms"] if row else None
