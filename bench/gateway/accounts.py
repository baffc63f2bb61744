"""What Timmy's calls were charged, held against what was answered and what a call costs."""

from __future__ import annotations

import asyncio

from bench import books
from bench.gateway.gateways import DEPOSIT
from timmy.completions import audit
from timmy.db import Row, Tx, open_database
from timmy.ledger import Check


def check(url: str, answered: int, each_msat: int | None) -> None:
    """Raises BooksWrong: a broken promise of the ledger or the calls, another charge than `each_msat`, another number of calls than
    `answered`, or balances that fell by something else. `each_msat` None: they were cut off, so that Timmy's own count is charged, but the
    same for each."""
    books.check(url)
    checks, row = asyncio.run(_look(url))
    wrong = [f"{check.name}: {check.found}" for check in checks if not check.holds]
    if row["n"] != answered:
        wrong.append(f"{answered} calls were answered, {row['n']} were charged")
    each_msat = each_msat or row["least_msat"] or 0
    if not each_msat or (row["least_msat"], row["most_msat"]) != (each_msat, each_msat):
        wrong.append(f"a call costs {each_msat} msat, and {row['n']} were charged {row['least_msat']} to {row['most_msat']}")
    if row["running"]:
        wrong.append(f"{row['running']} calls have not ended")
    fell_msat = row["sessions"] * DEPOSIT.msats.value - row["left_msat"]
    if fell_msat != row["n"] * each_msat or row["reserved_msat"]:
        wrong.append(f"the sessions have {fell_msat} msat less after {row['n']} calls, and {row['reserved_msat']} msat are reserved")
    if wrong:
        raise books.BooksWrong("; ".join(wrong))


async def _look(url: str) -> tuple[list[Check], Row]:
    db = open_database(url)
    try:
        return await db.read(audit), await db.read(_charged)
    finally:
        await db.aclose()


def _charged(tx: Tx) -> Row:
    row = tx.one(
        """SELECT (SELECT COUNT(*) FROM accounts WHERE id LIKE 'session/%') AS sessions,
                  (SELECT CAST(SUM(balance_msat) AS BIGINT) FROM accounts WHERE id LIKE 'session/%') AS left_msat,
                  (SELECT CAST(SUM(reserved_msat) AS BIGINT) FROM accounts WHERE id LIKE 'session/%') AS reserved_msat,
                  (SELECT COUNT(*) FROM completions WHERE state <> 'ended') AS running,
                  COUNT(*) AS n, MIN(charged_msat) AS least_msat, MAX(charged_msat) AS most_msat
             FROM completions WHERE state = 'ended'"""
    )
    assert row is not None, "an aggregate has a row"
    return row
