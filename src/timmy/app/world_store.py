"""How much is being worked on besides jobs, whose tasks say it themselves: a look at indexes that hold nothing else."""

from __future__ import annotations

from timmy.db import Tx


def running(tx: Tx) -> int:
    """Requests of sessions and calls of /v1 under way."""
    row = tx.one(
        """SELECT (SELECT COUNT(*) FROM session_requests WHERE state = 'running')
                + (SELECT COUNT(*) FROM completions WHERE state = 'running') AS n"""
    )
    return row["n"] if row else 0
