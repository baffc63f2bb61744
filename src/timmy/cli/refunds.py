"""`timmy refunds`: what is owed to customers, and how far its payment has got."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from timmy.cli import byhand
from timmy.cli.books import open_books
from timmy.cli.screen import as_json, out, sats, say, table
from timmy.clock import SECOND_MS, SystemClock, iso
from timmy.settings import Settings

if TYPE_CHECKING:  # what a command needs it imports where it runs: its help must not wait for the house
    from timmy.db import Row, Tx

SHOWN_MAX = 200
SLOW_MS = 10 * 60 * SECOND_MS  # on its way for longer than this, somebody should look

app = typer.Typer(help="What is owed back to customers, and the switch that stops payouts.", no_args_is_help=True)
app.command("pay")(byhand.pay)
app.command("resolve")(byhand.resolve)


class Kind(StrEnum):
    ATTENTION = "attention"
    ON_ITS_WAY = "on-its-way"
    FAILED = "failed"
    ARRIVED = "arrived"


STATES = {Kind.ON_ITS_WAY: "planned", Kind.FAILED: "failed", Kind.ARRIVED: "sent"}


@dataclass(frozen=True, slots=True)
class Refunds:
    owed: list[Row]
    attention: list[Row]
    others: list[Row]  # the newest first
    breaker: Row | None


@dataclass(frozen=True, slots=True)
class Wanted:
    kinds: Sequence[Kind]  # none: all of them
    subject: str | None
    limit: int


@app.command("list")
def list_refunds(
    kind: Annotated[list[Kind] | None, typer.Option("--only", help="Only these; may be given several times.")] = None,
    subject: Annotated[str, typer.Option("--for", help="Only those of this job or session.", show_default=False)] = "",
    limit: Annotated[int, typer.Option(help="At most so many of each part.", min=1, max=100_000)] = SHOWN_MAX,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what is owed and not claimed, and the payouts: first those that need you, then the newest of the others."""
    settings = Settings.load()
    refunds = asyncio.run(look(settings, Wanted(kind or [], subject or None, limit)))
    if json:
        as_json(document(refunds))
        return
    show(refunds, whole=not kind)
    if not settings.payouts_enabled:
        say("\nPayouts are OFF by PAYOUTS_ENABLED=0.", "bold yellow")


def show(refunds: Refunds, *, whole: bool) -> None:
    if refunds.owed:
        table(("owed to", "sats"), [(row["id"].removeprefix("owed/"), sats(row["balance_msat"])) for row in refunds.owed], right=("sats",))
    elif whole:
        say("Nothing is owed that is not on its way.")
    out.print()
    if refunds.attention:
        say("These do not get on by themselves:", "bold yellow")
        payouts_table(refunds.attention)
        say("timmy refunds pay lets one exceed a limit, timmy refunds resolve says how one ended, timmy refunds retry tries again.\n")
    if refunds.others:
        payouts_table(refunds.others)
    elif not refunds.attention:
        say("No payout was ever made." if whole else "There is none.")
    if refunds.breaker:
        say(f"\nPayouts are PAUSED since {iso(refunds.breaker['at_ms'])}: {refunds.breaker['reason']}", "bold yellow")
        say("timmy refunds resume starts them again.")


def payouts_table(rows: Sequence[Row]) -> None:
    table(("payout", "for", "sats", "state", "tries", "since", "what it says"), [payout_row(row) for row in rows], right=("sats", "tries"))


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
    from timmy import tasks
    from timmy.bootstrap import machine as nodes
    from timmy.jobs.machine import REFUND_TO
    from timmy.lightning.payouts import PAY

    now_ms = SystemClock().now_ms()

    def those(tx: Tx) -> int:
        return sum(tasks.unpark(tx, task.id, now_ms) for task in tasks.parked(tx) if task.kind in (PAY, REFUND_TO, nodes.REFUND_TO))

    async with open_books(settings) as db:
        return await db.write(those)


async def look(settings: Settings, wanted: Wanted) -> Refunds:
    from timmy.ledger import chart
    from timmy.lightning import store
    from timmy.lightning.payouts import BREAKER

    since_ms = SystemClock().now_ms() - SLOW_MS

    def all_of_it(tx: Tx) -> Refunds:
        attention: list[Row] = []
        if not wanted.kinds or Kind.ATTENTION in wanted.kinds:
            attention = store.payouts_for_attention(tx, since_ms, wanted.subject, wanted.limit)
        states = [STATES[kind] for kind in wanted.kinds if kind in STATES] if wanted.kinds else list(STATES.values())
        seen = {row["id"] for row in attention}
        others = [row for row in store.payouts_listed(tx, states, wanted.subject, wanted.limit) if row["id"] not in seen] if states else []
        account = chart.owed(wanted.subject) if wanted.subject else None
        owed = store.obligations_open(tx, account, wanted.limit) if not wanted.kinds else []
        return Refunds(owed, attention, others, store.breaker(tx, BREAKER))

    async with open_books(settings) as db:
        return await db.read_slowly(all_of_it)


async def switch(settings: Settings, reason: str | None) -> bool:
    """With a reason: off. Without: on; False when it was on before."""
    from timmy.lightning import store
    from timmy.lightning.payouts import BREAKER

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
    return (row["id"], row["subject"], sats(row["amount_msat"]), state, str(row["tries"]), since, what_it_says(row))


def what_it_says(row: Row) -> str:
    """Of one on its way, why it waits; of the others, how they ended."""
    said = row["trouble"] or ""
    if row["state"] == "planned":
        said = " · ".join(part for part in ("laid aside" if row["parked"] else "", row["waits_for"] or "", said) if part)
    return f"{said} (by the operator: {row['approved']})".strip() if row["approved"] else said


def document(refunds: Refunds) -> dict[str, object]:
    """No payment request and no preimage: a list that is pasted somewhere must not let anyone claim or prove anything."""
    return {
        "owed": [{"to": row["id"].removeprefix("owed/"), "msat": row["balance_msat"]} for row in refunds.owed],
        "payouts": [payout_document(row, attention=True) for row in refunds.attention]
        + [payout_document(row, attention=False) for row in refunds.others],
        "paused": refunds.breaker["reason"] if refunds.breaker else None,
    }


def payout_document(row: Row, *, attention: bool) -> dict[str, object]:
    return {
        "id": row["id"],
        "subject": row["subject"],
        "msat": row["amount_msat"],
        "state": row["state"],
        "needsYou": attention,
        "tries": row["tries"],
        "feeMsat": row["fee_msat"],
        "plannedAt": iso(row["planned_at_ms"]),
        "trouble": row["trouble"],
        "waitsFor": row["waits_for"] if row["state"] == "planned" else None,
        "approved": row["approved"],
    }
