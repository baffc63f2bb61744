"""Money put in before a run, and the books audited after it: a variant that loses a millisat has no speed."""

from __future__ import annotations

import asyncio

from timmy.db import Tx, open_database
from timmy.jobs.store import unfair
from timmy.ledger import Code, Move, audit, commit
from timmy.ledger.chart import OPERATOR, POOL, REVENUE
from timmy.money import Msats

POOL_MSAT = 10**15
SLIVER = Msats(1_000)


class BooksWrong(Exception):
    """Money was lost or made. Nothing that was measured counts."""


def fill_pool(url: str) -> None:
    """Far more than a run can take, so that nobody is refused; both hot accounts exist from the start."""

    def put_in(tx: Tx) -> None:
        commit(
            tx,
            0,
            Move("bench/pool", OPERATOR, POOL, Msats(POOL_MSAT), Code.OPERATOR_CORRECTION),
            Move("bench/revenue", OPERATOR, REVENUE, SLIVER, Code.OPERATOR_CORRECTION),
        )

    async def go() -> None:
        db = open_database(url)
        await db.write(put_in)
        await db.aclose()

    asyncio.run(go())


def check(url: str, *, jobs_complete: int = 0) -> None:
    """Raises BooksWrong: an invariant of the ledger, a promise to a customer, or fewer finished jobs than were counted."""

    async def go() -> list[str]:
        db = open_database(url)
        wrong = [f"{check.name}: {check.found}" for check in await db.read(audit) if not check.holds]
        wrong += [f"job {row['id']} ended unfairly" for row in await db.read(unfair)]
        complete = await db.read(_complete)
        if complete < jobs_complete:
            wrong.append(f"{jobs_complete} jobs were counted, {complete} are complete")
        await db.aclose()
        return wrong

    if wrong := asyncio.run(go()):
        raise BooksWrong("; ".join(wrong))


def _complete(tx: Tx) -> int:
    row = tx.one("SELECT COUNT(*) AS n FROM jobs WHERE state = 'complete'")
    assert row is not None, "a count is always one row"
    count: int = row["n"]
    return count
