"""`timmy ledger verify`: the books, recomputed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Annotated

import typer

from timmy.cli.books import open_books
from timmy.cli.screen import as_json, out, sats, say, table
from timmy.settings import Settings

if TYPE_CHECKING:  # what a command needs it imports where it runs: its help must not wait for the house
    from timmy.db import Tx
    from timmy.ledger.audit import AccountLine, Check

MEANING = {
    "lightning": "the wallet, seen from the other side",
    "operator": "what the operator put in, or took out",
    "revenue": "earned",
    "pool": "to be given away as free work",
    "routing_fees": "paid to the network for payouts",
    "house_loss": "written off",
    "unallocated": "arrived, and belongs to nothing known",
    "job": "paid in, not earned, not yet owed",
    "owed": "owed back, not yet claimed",
    "in_flight": "on its way back to customers",
    "session": "prefunded balances",
    "bootstrap": "paid for a node, not earned, not yet owed",
    "allowances": "no money: what may be used of the pool today",
    "allowances_used": "no money: what was used of it",
    "allowance": "no money: what an identity may still use today",
}

app = typer.Typer(help="The money: every account and every promise about it.", no_args_is_help=True)


@app.callback()
def ledger() -> None:
    pass


@app.command()
def verify(json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Recompute every account from the transfers alone, and check every promise about money.

    Reads only, and may run beside a server. The exit code is 1 when a promise is broken.
    """
    lines, checks = asyncio.run(read_books(Settings.load()))
    sound = all(check.holds for check in checks)
    if json:
        as_json(
            {
                "ok": sound,
                "accounts": [
                    {
                        "account": line.account,
                        "balanceMsat": line.balance_msat,
                        "reservedMsat": line.reserved_msat,
                        "meaning": meaning(line.account),
                    }
                    for line in lines
                ],
                "checks": [{"name": check.name, "holds": check.holds, "found": check.found} for check in checks],
            }
        )
    else:
        show(lines, checks)
        say(
            "\nThe books close." if sound else "\nThe books do not close. Stop payouts (PAYOUTS_ENABLED=0) and find out why.",
            "bold" if sound else "bold red",
        )
    raise typer.Exit(0 if sound else 1)


async def read_books(settings: Settings) -> tuple[list[AccountLine], list[Check]]:
    async with open_books(settings) as db:
        return await db.read_slowly(both)


def both(tx: Tx) -> tuple[list[AccountLine], list[Check]]:
    """In one snapshot, so that a server at work beside us cannot make the two disagree."""
    from timmy.app.books import all_checks
    from timmy.ledger.audit import accounts

    return accounts(tx), all_checks(tx)


def show(lines: list[AccountLine], checks: list[Check]) -> None:
    table(("account", "sats", "reserved", "what it is"), by_kind(lines), right=("sats", "reserved"))
    out.print()
    for check in checks:
        say(
            f"{'OK    ' if check.holds else 'BROKEN'}  {check.name}" + ("" if check.holds else f": {check.found}"),
            "" if check.holds else "bold red",
        )


def by_kind(lines: list[AccountLine]) -> list[tuple[str, str, str, str]]:
    """One line per account, and one for all the accounts of a kind (`job/…`), because there are as many as there were customers."""
    kinds: dict[str, list[AccountLine]] = defaultdict(list)
    for line in lines:
        kind, slash, _ = line.account.partition("/")
        kinds[kind + slash].append(line)
    return [
        (
            f"{kind}… ({len(group)})" if kind.endswith("/") else kind,
            sats(sum(line.balance_msat for line in group)),
            sats(sum(line.reserved_msat for line in group)),
            meaning(kind),
        )
        for kind, group in sorted(kinds.items())
    ]


def meaning(account: str) -> str:
    return MEANING.get(account.partition("/")[0], "")
