"""`timmy pool`: what the generosity pool holds and has given, and the operator's hand on it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from timmy.cli.books import open_books
from timmy.cli.screen import as_json, out, sats, say, table
from timmy.clock import SystemClock
from timmy.ids import new_id
from timmy.money import MSATS_MAX, MSATS_PER_SAT, Msats, Sats
from timmy.settings import Settings

if TYPE_CHECKING:  # what a command needs it imports where it runs: its help must not wait for the house
    from timmy.db import Tx
    from timmy.generosity.status import Given, PoolStatus

app = typer.Typer(help="The generosity pool: how it stands, more for it, and the switch that stops gifts.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class Standing:
    pool: PoolStatus
    frozen: bool


@app.command("status")
def show(json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Show what the pool holds, what came from paid work, and what was given to whom."""
    settings = Settings.load()
    standing = asyncio.run(look(settings))
    if json:
        as_json(document(standing, settings))
        return
    shown = standing.pool
    table(
        ("the pool", "sats"),
        [
            ("free to give", sats(shown.available.value)),
            ("reserved for work under way", sats(shown.reserved.value)),
            ("earned from paid work, ever", sats(shown.earned.value)),
            ("given, ever", sats(total(shown.given))),
            ("given today", sats(total(shown.given_today))),
        ],
        right=("sats",),
    )
    out.print()
    table(
        ("tier", "a day's budget", "gifts", "sats", "gifts today", "sats today"),
        [tier_row(tier, budget, shown) for tier, budget in budgets(settings).items()],
        right=("a day's budget", "gifts", "sats", "gifts today", "sats today"),
    )
    if standing.frozen:
        say("\nThe pool is FROZEN: nothing is given. timmy pool thaw changes that.", "bold yellow")


@app.command("top-up")
def top_up(
    amount: Annotated[
        int, typer.Argument(metavar="SATS", min=1, max=MSATS_MAX // MSATS_PER_SAT, help="Whole sats, of the operator's own.")
    ],
) -> None:
    """Give the pool some of the operator's own sats."""
    standing = asyncio.run(give(Settings.load(), Sats(amount)))
    say(f"The pool was given {amount:,} sats. {sats(standing.pool.available.value)} are free to give now.")


@app.command()
def freeze(reason: Annotated[str, typer.Argument(help="Why: kept for whoever looks.")] = "by the operator") -> None:
    """Give nothing more, at once and on every server of this ledger. What was promised to work under way is kept."""
    asyncio.run(switch(Settings.load(), reason))
    say("The pool is frozen. timmy pool thaw gives again.")


@app.command()
def thaw() -> None:
    """Give again."""
    say("The pool gives again." if asyncio.run(switch(Settings.load(), None)) else "The pool was not frozen.")


async def look(settings: Settings) -> Standing:
    async with open_books(settings) as db:
        return await db.read(stand)


def stand(tx: Tx) -> Standing:
    from timmy.generosity import day_of, store
    from timmy.generosity.status import status

    return Standing(status(tx, day_of(SystemClock().now_ms())), store.is_frozen(tx))


async def give(settings: Settings, amount: Sats) -> Standing:
    from timmy.generosity import pool

    id = new_id("top")  # one per command: whoever runs it twice gives twice

    def from_the_operator(tx: Tx) -> Standing:
        pool.top_up(tx, id, amount.msats, SystemClock().now_ms())
        return stand(tx)

    async with open_books(settings) as db:
        return await db.write(from_the_operator)


async def switch(settings: Settings, reason: str | None) -> bool:
    """With a reason: frozen. Without: thawed; False when it was not frozen."""
    from timmy.generosity import store

    def turn(tx: Tx) -> bool:
        if reason is None:
            return store.thaw(tx)
        store.freeze(tx, reason, SystemClock().now_ms())
        return True

    async with open_books(settings) as db:
        return await db.write(turn)


def budgets(settings: Settings) -> dict[str, Msats]:
    return {
        "new": settings.free_budget_new.msats,
        "established": settings.free_budget_established.msats,
        "trusted": settings.free_budget_trusted.msats,
        "elite": settings.free_budget_elite.msats,
    }


def tier_row(tier: str, budget: Msats, shown: PoolStatus) -> tuple[str, ...]:
    from timmy.generosity.status import Given

    ever, today = (each.get(tier, Given(0, Msats(0))) for each in (shown.given, shown.given_today))
    return (tier, sats(budget.value), str(ever.times), sats(ever.absorbed.value), str(today.times), sats(today.absorbed.value))


def total(given: Mapping[str, Given]) -> int:
    return sum(each.absorbed.value for each in given.values())


def document(standing: Standing, settings: Settings) -> dict[str, object]:
    shown = standing.pool
    return {
        "availableMsat": shown.available.value,
        "reservedMsat": shown.reserved.value,
        "earnedMsat": shown.earned.value,
        "givenMsat": total(shown.given),
        "givenTodayMsat": total(shown.given_today),
        "dailyBudgetsMsat": {tier: budget.value for tier, budget in budgets(settings).items()},
        "byTier": {tier: {"times": each.times, "givenMsat": each.absorbed.value} for tier, each in shown.given.items()},
        "frozen": standing.frozen,
    }
