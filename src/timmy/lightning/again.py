"""When what came back is sent to its address once more."""

from __future__ import annotations

from timmy.clock import SECOND_MS
from timmy.db import Tx
from timmy.lightning import store

FIRST_PAUSE_MS = 60 * SECOND_MS
TIMES = 3


def pause_ms(tx: Tx, obligation: str) -> int:
    """A minute, and three times as long after each payout of this that had failed before. With a minute each time, a wallet that is away
    for a quarter of an hour would use all the invoices up that are tried for one refund (`payouts.PAYOUTS_PER_OBLIGATION_MAX`)."""
    failed = sum(row["state"] == "failed" for row in store.payouts_of(tx, [obligation]))
    pause: int = FIRST_PAUSE_MS * TIMES**failed
    return pause
