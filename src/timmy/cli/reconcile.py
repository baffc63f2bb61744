"""`timmy reconcile`: does the wallet hold what the books say it holds?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from timmy.cli.books import need_books
from timmy.cli.screen import as_json, sats, say, table
from timmy.clock import SystemClock, iso
from timmy.settings import Settings

if TYPE_CHECKING:  # what a command needs it imports where it runs: its help must not wait for the house
    from timmy.lightning.reconcile import Comparison

TRIES = 5


def reconcile(
    accept: Annotated[str | None, typer.Option(help="Why they differ: one entry in the operator's name makes the books agree.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Compare the wallet with the books. Exit code 1: it holds less than they say."""
    found = asyncio.run(look(Settings.load(), accept))
    if found is None:
        say("Money is moving right now, so the two cannot be compared. Try again in a moment.", "bold yellow")
        raise typer.Exit(1)
    if json:
        as_json(document(found))
    else:
        show(found, accept)
    raise typer.Exit(1 if found.missing and not accept else 0)


async def look(settings: Settings, accept: str | None) -> Comparison | None:
    from timmy.app import build
    from timmy.lightning.reconcile import Reconciler

    need_books(settings)
    async with build(settings, server=False, background=False) as app:
        reconciler = Reconciler(app.db, app.clock, app.wallet)
        for _ in range(TRIES):
            name = f"{iso(SystemClock().now_ms())} {accept}"
            found = await (reconciler.accept(name) if accept else reconciler.compare())
            if found is not None:
                return found
    return None


def show(found: Comparison, accept: str | None) -> None:
    rows = [
        ("the wallet holds", sats(found.wallet.value)),
        ("the books say", sats(found.standing.holds.value)),
        ("on its way out, at most", sats(found.standing.leaving.value)),
    ]
    table(("", "sats"), rows, right=("sats",))
    if found.opened_now is not None:
        say(f"First comparison: {sats(found.opened_now.value)} sats were there before Timmy, and are written down as the operator's.")
    elif accept:
        say("Written down as the operator's. The books agree with the wallet.")
    elif found.missing:
        say(f"{sats(found.missing.value)} sats are MISSING. Customers' sats come first: payouts stop until you have looked.", "bold red")
        say('If you took them out yourself: timmy reconcile --accept "why"; then timmy refunds resume')
    elif found.surplus:
        say(f'{sats(found.surplus.value)} sats more than the books say. If you put them in: timmy reconcile --accept "why"')
    else:
        say("They agree.")


def document(found: Comparison) -> dict[str, object]:
    return {
        "walletMsat": found.wallet.value,
        "booksMsat": found.standing.holds.value,
        "leavingMsat": found.standing.leaving.value,
        "missingMsat": found.missing.value,
        "surplusMsat": found.surplus.value,
    }
