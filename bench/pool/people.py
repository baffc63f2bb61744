"""Who asks for free work, the same for both sides: many keys, each with its day's budget handed out before anybody is measured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TypeVar

from bench import books
from timmy import generosity
from timmy.db import Tx, open_database
from timmy.generosity import Gift, reserve_up_to
from timmy.generosity.status import audit as pool_audit
from timmy.ledger import chart
from timmy.ledger.commit import available_all
from timmy.money import Msats, Sats

R = TypeVar("R")

KEYS = 1_000
GIFT = Sats(3).msats
DAY, AT_MS = "2026-01-31", 1_769_860_800_000  # noon of it
TIER = "elite"
TERMS = generosity.Terms({TIER: Sats(1_000_000_000).msats})  # nobody is refused for want of budget: what is measured is serving
PUBKEYS = [f"{n:064x}" for n in range(KEYS)]


def gifts(run: str) -> Callable[[], Gift]:
    """The next piece of work, of one key after the other. `run` makes its name different from those of other runs."""
    numbers = count()

    def following() -> Gift:
        n = next(numbers)
        return Gift(f"job/{run}-{n}/gift", f"{run}-{n}", PUBKEYS[n % KEYS], TIER, DAY)

    return following


def hand_out_budgets(url: str) -> None:
    """A full pool, and everybody's budget of the day."""
    books.fill_pool(url)

    def open_day(tx: Tx) -> None:
        for gift in _one_each():
            reserve_up_to(tx, gift, Msats(0), TERMS, AT_MS)

    asyncio.run(_write(url, open_day))


def check(url: str, *, given_least: int, whole_books: bool) -> None:
    """Raises BooksWrong: what left the pool is not what was granted, somebody's budget fell by something else than their grants, or fewer
    were served than were counted. `whole_books`: and every promise of the ledger; the rival keeps no transfers to check."""
    pool_fell, granted, times, wrong = asyncio.run(_write(url, _compare))
    if pool_fell != granted:
        wrong.append(f"the pool gave {pool_fell} msat, the grants say {granted}")
    if granted != times * GIFT.value or times < given_least:
        wrong.append(f"{given_least} gifts were counted, {times} were granted, {granted} msat in all")
    if whole_books:
        books.check(url)
        wrong += [f"{check.name}: {check.found}" for check in asyncio.run(_write(url, pool_audit)) if not check.holds]
    if wrong:
        raise books.BooksWrong("; ".join(wrong))


def _compare(tx: Tx) -> tuple[int, int, int, list[str]]:
    left = available_all(tx, [chart.POOL, *(gift.allowance for gift in _one_each())])
    rows = tx.all("SELECT pubkey, COUNT(*) AS n, CAST(SUM(absorbed_msat) AS BIGINT) AS msat FROM grants GROUP BY pubkey")
    budget, had = TERMS.budget(TIER), {row["pubkey"]: row["msat"] for row in rows}
    wrong = [f"the budget of {gift.pubkey}" for gift in _one_each() if (budget - left[gift.allowance]).value != had.get(gift.pubkey, 0)]
    return books.POOL_MSAT - left[chart.POOL].value, sum(had.values()), sum(row["n"] for row in rows), wrong


def _one_each() -> list[Gift]:
    return [Gift("", "", pubkey, TIER, DAY) for pubkey in PUBKEYS]


async def _write(url: str, fn: Callable[[Tx], R]) -> R:
    db = open_database(url)
    try:
        return await db.write(partial(fn))
    finally:
        await db.aclose()
