"""`timmy refunds`: what is owed to customers, and how far its payment has got."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

import typer

from timmy import tasks
from timmy.cli.books import open_books
from timmy.cli.screen import as_json, out, sats, say, table
from timmy.clock import SystemClock, iso
from timmy.db import Row, Tx
from timmy.jobs.machine import REFUND_TO
from timmy.lightning import store
from timmy.lightning.payouts import BREAKER, PAY
from timmy.settings import Settings

SHOWN_MAX = 200
ALL_STATES = ("planned", "failed", "sent")

app = typer.Typer(help="What is owed back to customers, and the switch that stops payouts.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class Refunds:
    owed: list[Row]
    payouts: list[Row]
    breaker: Row | None


@app.command("list")
def list_refunds(json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Show what is owed and not claimed, and the payouts: on their way, failed, arrived."""
    settings = Settings.load()
    refunds = asyncio.run(look(settings))
    if json:
        as_json(document(refunds))
        return
    if refunds.owed:
        table(("owed to", "sats"), [(row["id"].removeprefix("owed/"), sats(row["balance_msat"])) for row in refunds.owed], right=("sats",))
    else:
        say("Nothing is owed that is not on its way.")
    out.print()
    if refunds.payouts:
        table(
            ("payout", "for", "sats", "state", "tries", "since", "what it says"),
            [payout_row(row) for row in refunds.payouts],
            right=("sats", "tries"),
        )
    else:
        say("No payout was ever made.")
    if refunds.breaker:
        say(f"\nPayouts are PAUSED since {iso(refunds.breaker['at_ms'])}: {refunds.breaker['reason']}", "bold yellow")
        say("timmy refunds resume starts them again.")
    if not settings.payouts_enabled:
        say("\nPayouts are OFF by PAYOUTS_ENABLED=0.", "bold yellow")


@app.command()
def pause(reason: Annotated[str, typer.Argument(help="Why: shown to whoever looks.")] = "by the operator") -> None:
    """Stop all payouts, at once and on every server of this ledger. What is owed stays owed."""
    asyncio.run(switch(Settings.load(), reason))
    say("Payouts are paused. timmy refunds resume starts them again.")


@app.command()
def resume() -> None:
    """Start payouts again. What waited is paid; what was on its way is asked about first."""
    if not asyncio.run(switch(Settings.load(), None)):
        say("Payouts were not paused.")
        return
    say("Payouts go on.")


@app.command()
def retry() -> None:
    """Try again every payout that was laid aside. It is looked for in the wallet first, and never paid twice."""
    again = asyncio.run(unpark_payouts(Settings.load()))
    say(f"{again} to be tried again." if again else "No payout is laid aside.")


async def unpark_payouts(settings: Settings) -> int:
    now_ms = SystemClock().now_ms()

    def those(tx: Tx) -> int:
        return sum(tasks.unpark(tx, task.id, now_ms) for task in tasks.parked(tx) if task.kind in (PAY, REFUND_TO))

    async with open_books(settings) as db:
        return await db.write(those)


async def look(settings: Settings) -> Refunds:
    def all_of_it(tx: Tx) -> Refunds:
        return Refunds(store.obligations_open(tx, SHOWN_MAX), store.payouts_in(tx, ALL_STATES, SHOWN_MAX), store.breaker(tx, BREAKER))

    async with open_books(settings) as db:
        return await db.read(all_of_it)


async def switch(settings: Settings, reason: str | None) -> bool:
    """With a reason: off. Without: on; False when it was on before."""

    def turn(tx: Tx) -> bool:
        if reason is None:
            return store.reset(tx, BREAKER)
        store.trip(tx, BREAKER, reason, SystemClock().now_ms())
        return True

    async with open_books(settings) as db:
        return await db.write(turn)


def payout_row(row: Row) -> tuple[str, ...]:
    state = {"planned": "on its way", "sent": "arrived", "failed": "failed"}[row["state"]]
    since = iso(row["planned_at_ms"])[:19] + "Z"
    return (row["id"], row["subject"], sats(row["amount_msat"]), state, str(row["tries"]), since, row["trouble"] or "")


def document(refunds: Refunds) -> dict[str, object]:
    """No payment request and no preimage: a list that is pasted somewhere must not let anyone claim or prove anything."""
    return {
        "owed": [{"to": row["id"].removeprefix("owed/"), "msat": row["balance_msat"]} for row in refunds.owed],
        "payouts": [
            {
                "id": row["id"],
                "subject": row["subject"],
                "msat": row["amount_msat"],
                "state": row["state"],
                "tries": row["tries"],
                "feeMsat": row["fee_msat"],
                "plannedAt": iso(row["planned_at_ms"]),
                "trouble": row["trouble"],
                "approved": row["approved"],
            }
            for row in refunds.payouts
        ],
        "paused": refunds.breaker["reason"] if refunds.breaker else None,
    }
