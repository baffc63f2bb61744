"""`timmy strays`: payments that arrived and belong to nothing known, and where they go once you know."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from timmy.cli import byhand
from timmy.cli.books import open_books
from timmy.cli.screen import as_json, fail, sats, say, table
from timmy.clock import SystemClock, iso
from timmy.errors import Refusal
from timmy.money import Msats
from timmy.settings import Settings

if TYPE_CHECKING:  # what a command needs it imports where it runs: its help must not wait for the house
    from timmy.db import Tx
    from timmy.lightning.payouts import Payout
    from timmy.lightning.strays import Stray


class NobodyCanClaim(Refusal):
    status = 409
    code = "nobody_can_claim"
    title = "Nobody could claim it there"


HASH = typer.Argument(metavar="HASH", help="The payment hash, as timmy strays lists it.", show_default=False)
REASON = typer.Option("--reason", help="How you know: kept in the ledger.", show_default=False)

app = typer.Typer(help="Payments that belong to nothing known.", invoke_without_command=True)


@app.callback()
def show(context: typer.Context, json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """List them. The exit code is 1 when one has no place yet."""
    if context.invoked_subcommand:
        return
    found = asyncio.run(look(Settings.load()))
    if json:
        as_json({"strays": [document(stray) for stray in found]})
    elif found:
        rows = [(stray.payment_hash, sats(stray.amount.value), stray.state, iso(stray.at_ms)[:19] + "Z") for stray in found]
        table(("payment hash", "sats", "state", "since"), rows, right=("sats",))
        say("\ntimmy strays give HASH JOB · timmy strays return HASH TO · timmy strays book HASH")
    else:
        say("Every payment belongs to somebody.")
    raise typer.Exit(1 if any(stray.state == "unallocated" for stray in found) else 0)


@app.command()
def give(
    payment_hash: Annotated[str, HASH],
    subject: Annotated[str, typer.Argument(metavar="ID", help="The job or session that it was meant for.", show_default=False)],
    reason: Annotated[str, REASON],
) -> None:
    """It was meant for a job or a session: owe it there, where its customer can claim it."""
    amount = asyncio.run(give_to(Settings.load(), payment_hash, subject, reason))
    if amount is None:
        fail(f"There is no job or session called {subject}.")
        raise typer.Exit(2)
    say(f"{sats(amount.value)} sats are owed to {subject}. Its customer claims them like any refund.")


@app.command("return")
def give_back(
    payment_hash: Annotated[str, HASH],
    to: Annotated[str, typer.Argument(help="An invoice of exactly its whole sats, a Lightning address, or an LNURL.", show_default=False)],
    reason: Annotated[str, REASON],
) -> None:
    """Pay it back to whom you know that it belongs to. The server pays, once. If TO is refused, name another."""
    payout = asyncio.run(pay_back(Settings.load(), payment_hash, to, reason))
    say(f"{payout.id}: {sats(payout.amount.value)} sats will be paid by the server; timmy refunds list shows how far it is.")


@app.command()
def book(payment_hash: Annotated[str, HASH], reason: Annotated[str, REASON]) -> None:
    """Nobody will claim it: book it as earned."""
    amount = asyncio.run(book_it(Settings.load(), payment_hash, reason))
    say(f"{sats(amount.value)} sats are booked as earned.")


async def look(settings: Settings) -> list[Stray]:
    from timmy.lightning import strays

    async with open_books(settings) as db:
        return await db.read_slowly(strays.listed)


async def give_to(settings: Settings, payment_hash: str, subject: str, reason: str) -> Msats | None:
    from timmy.jobs import store as jobs_store
    from timmy.lightning import strays
    from timmy.sessions import store as sessions_store

    def give_it(tx: Tx) -> Msats | None:
        session = sessions_store.find_all(tx, [subject]).get(subject)
        if session is None and jobs_store.find_all(tx, [subject])[0] is None:
            return None
        if session is not None and session["opened_at_ms"] is None:
            raise NobodyCanClaim(
                f"The session {subject} was never opened, so nobody has a key to claim with. Pay it back with timmy strays return"
                f" {payment_hash} TO."
            )
        return strays.give(tx, payment_hash, subject, reason, SystemClock().now_ms())

    async with open_books(settings) as db:
        return await db.write(give_it)


async def book_it(settings: Settings, payment_hash: str, reason: str) -> Msats:
    from timmy.lightning import strays

    async with open_books(settings) as db:
        return await db.write(strays.book, payment_hash, reason, SystemClock().now_ms())


async def pay_back(settings: Settings, payment_hash: str, to: str, reason: str) -> Payout:
    from timmy.lightning import strays
    from timmy.lightning.payouts import Leave

    async with open_books(settings) as db:
        subject = await db.write(strays.owe, payment_hash, SystemClock().now_ms())
    return await byhand.plan(settings, subject, to, Leave(reason))


def document(stray: Stray) -> dict[str, object]:
    return {"paymentHash": stray.payment_hash, "msat": stray.amount.value, "state": stray.state, "at": iso(stray.at_ms)}
