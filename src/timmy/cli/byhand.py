"""`timmy refunds pay` and `timmy refunds resolve`: what does not get on by itself. Neither can pay twice; the server does the paying."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from timmy.cli.books import need_books, open_books
from timmy.cli.screen import fail, sats, say
from timmy.clock import SystemClock
from timmy.ids import new_id, system_random
from timmy.money import Msats, Sats
from timmy.settings import Settings

if TYPE_CHECKING:  # what a command needs it imports where it runs: its help must not wait for the house
    from timmy.app import App
    from timmy.lightning.payouts import Leave, Payout

PAYOUT_PREFIX = "pay_"
REASON = typer.Option("--reason", help="Why: kept with it, for whoever looks at the books.", show_default=False)
ID = typer.Argument(help="A payout (pay_…), or to whom it is owed (job_…, ses_…), as timmy refunds list shows it.", show_default=False)


def pay(
    id: Annotated[str, ID],
    reason: Annotated[str, REASON],
    to: Annotated[str, typer.Argument(help="For what is owed: an invoice of exactly that, a Lightning address, or an LNURL.")] = "",
    fee_limit: Annotated[int | None, typer.Option(help="The most sats that the network may take, instead of the setting.", min=0)] = None,
) -> None:
    """Let a refund exceed the limits: a payout that waits at one, or what is owed and was refused because of one.

    The server pays it, once, like any other; pauses and PAYOUTS_ENABLED=0 still hold.
    """
    from timmy.lightning.payouts import Leave

    limit = Sats(fee_limit).msats if fee_limit is not None else None
    if id.startswith(PAYOUT_PREFIX) == bool(to):
        fail("Name a payout alone, or whom it is owed to and where it should go.")
        raise typer.Exit(2)
    leave = Leave(reason, limit)
    payout = asyncio.run(plan(Settings.load(), id, to, leave) if to else let_leave(Settings.load(), id, leave))
    say(f"{payout.id}: {sats(payout.amount.value)} sats to {payout.subject} will be paid by the server, whatever the limits say.")


def resolve(
    id: Annotated[str, ID],
    reason: Annotated[str, REASON],
    paid_outside: Annotated[bool, typer.Option("--paid-outside", help="You have paid what is owed by a way of your own.")] = False,
    arrived: Annotated[str, typer.Option(help="A payout arrived: its preimage, which proves it.", show_default=False)] = "",
    fee: Annotated[int | None, typer.Option(help="What it cost in sats, where you know.", min=0)] = None,
    call_off: Annotated[bool, typer.Option("--call-off", help="A payout that nothing is on its way of: owe it again.")] = False,
) -> None:
    """Say how a refund ended, where the server cannot find out.

    What may still arrive is never called off: the wallet is asked first.
    """
    if [paid_outside, bool(arrived), call_off].count(True) != 1 or id.startswith(PAYOUT_PREFIX) == paid_outside:
        fail("Say --paid-outside for what is owed to a job or a session; for a payout, --arrived PREIMAGE or --call-off.")
        raise typer.Exit(2)
    settings = Settings.load()
    if paid_outside:
        amount = asyncio.run(note_paid_outside(settings, id, reason))
        say(f"{sats(amount.value)} sats are not owed to {id} any more. What the wallet holds for them is yours.")
    elif arrived:
        payout = asyncio.run(note_arrived(settings, id, arrived, Sats(fee).msats if fee is not None else None, reason))
        say(f"{payout.id} is booked as arrived.")
    else:
        payout = asyncio.run(give_back(settings, id, reason))
        say(f"{payout.id} is called off: {sats(payout.amount.value)} sats are owed to {payout.subject} again.")


async def plan(settings: Settings, subject: str, to: str, leave: Leave) -> Payout:
    from timmy.app import build

    need_books(settings)
    async with build(settings, server=False, background=False) as app:
        return await planned(app, subject, to, leave)


async def planned(app: App, subject: str, to: str, leave: Leave) -> Payout:
    """The customer may have been faster: a payout that is on its way there already gets the leave, and one that has ended says so."""
    from timmy.ledger import chart
    from timmy.lightning import byhand, payouts
    from timmy.lightning.lnurl import is_lightning_address

    paying, owed = app.paying.with_leave(leave), chart.owed(subject)
    before = await app.db.read(payouts.obligation, owed)
    if is_lightning_address(to):
        payout = await paying.to_address(owed, subject, to, destination="lightning_address")
    elif to.lower().removeprefix("lightning:").startswith("lnurl"):
        payout = await paying.to_address(owed, subject, to, destination="lnurl")
    else:
        payout = await paying.to_invoice(owed, subject, to)
    known = [one.id for one in (before.live, before.last) if one is not None]
    if payout.id in known or payout.approved is None:
        payout = await app.db.write(byhand.let_leave, payout.id, leave.why, leave.fee_limit, app.clock.now_ms())
    return payout


async def let_leave(settings: Settings, payout_id: str, leave: Leave) -> Payout:
    from timmy.lightning import byhand

    async with open_books(settings) as db:
        return await db.write(byhand.let_leave, payout_id, leave.why, leave.fee_limit, SystemClock().now_ms())


async def note_paid_outside(settings: Settings, subject: str, reason: str) -> Msats:
    from timmy.lightning import byhand

    async with open_books(settings) as db:
        return await db.write(byhand.paid_outside, subject, new_id("pay", system_random), reason, SystemClock().now_ms())


async def note_arrived(settings: Settings, payout_id: str, preimage: str, fee: Msats | None, reason: str) -> Payout:
    from timmy.jobs.flow import payout_ended
    from timmy.lightning import byhand

    async with open_books(settings) as db:
        return await db.write(byhand.has_arrived, payout_id, preimage, fee, reason, SystemClock().now_ms(), payout_ended)


async def give_back(settings: Settings, payout_id: str, reason: str) -> Payout:
    from timmy.app import build

    need_books(settings)
    async with build(settings, server=False, background=False) as app:
        return await called_off(app, payout_id, reason)


async def called_off(app: App, payout_id: str, reason: str) -> Payout:
    from timmy.lightning import byhand, payouts

    payout = await app.db.read(payouts.find, payout_id)
    if payout is None:
        raise byhand.NoSuchPayout(f"No payout is called {payout_id}; timmy refunds list shows those that there are.")
    found = await app.wallet.lookup_payment(payout.payment_hash) if payout.tries else None
    await app.db.write(byhand.give_back, payout, found, reason, app.clock.now_ms())
    return payout
