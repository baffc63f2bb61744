"""`timmy keys`: the root keys that sessions' macaroons are minted and verified with."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from timmy.cli.books import open_books
from timmy.cli.screen import as_json, say, table
from timmy.clock import SystemClock, iso
from timmy.ids import system_random
from timmy.settings import Settings

if TYPE_CHECKING:  # what a command needs it imports where it runs: its help must not wait for the house
    from timmy.db import Row

app = typer.Typer(
    help="The root keys of sessions' macaroons: which there are, a new one, and the end of the old ones.", invoke_without_command=True
)


@app.callback()
def show(context: typer.Context, json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Show the root keys, newest first: when each was made, and what it is for now. The keys themselves are never shown."""
    if context.invoked_subcommand:
        return
    rows = asyncio.run(look(Settings.load()))
    if json:
        as_json({"keys": [document(row, rows) for row in rows]})
        return
    table(("key", "made", "what it does"), [(str(row["id"]), _moment(row["created_at_ms"]), _use(row, rows)) for row in rows])
    if not rows:
        say("There is none yet: the first session makes one.")


@app.command()
def rotate() -> None:
    """Mint with a new key from now on, on every server of this ledger. Macaroons of older keys stay valid."""
    rows = asyncio.run(turn(Settings.load()))
    older = sum(_verifies(row) for row in rows) - 1
    say(f"Key {rows[0]['id']} mints from now on. Each session shows a macaroon of it.")
    if older:
        still = "key verifies" if older == 1 else "keys verify"
        say(f"{older} older {still} as before, so that nobody is locked out. timmy keys retire ends that.")


@app.command()
def retire(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Let all keys but the newest verify no longer, at once and everywhere: every macaroon that they minted is refused from now on.

    No sats are lost by it: a session shows its new macaroon to whoever knows its id. Narrowed keys that were handed to others are void.
    """
    rows = asyncio.run(look(Settings.load()))
    older = sum(_verifies(row) for row in rows[1:])
    if not older:
        say("There is no older key that verifies.")
        return
    if not yes:
        typer.confirm(f"Every macaroon of {older} older {'key' if older == 1 else 'keys'} is refused from then on. Retire?", abort=True)
    done = asyncio.run(end(Settings.load()))
    say(f"{done} {'key was' if done == 1 else 'keys were'} retired. Only key {rows[0]['id']} verifies now.")


async def look(settings: Settings) -> list[Row]:
    from timmy.identity import store

    async with open_books(settings) as db:
        return await db.read(store.root_key_history)


async def turn(settings: Settings) -> list[Row]:
    from timmy.identity import store
    from timmy.sessions.keys import RootKeys

    async with open_books(settings) as db:
        await RootKeys(db, SystemClock(), system_random, location=settings.public_url).rotate()
        return await db.read(store.root_key_history)


async def end(settings: Settings) -> int:
    from timmy.sessions.keys import RootKeys

    async with open_books(settings) as db:
        return await RootKeys(db, SystemClock(), system_random, location=settings.public_url).retire_old()


def document(row: Row, rows: list[Row]) -> dict[str, object]:
    retired_at_ms = row["retired_at_ms"]
    return {
        "id": row["id"],
        "createdAt": iso(row["created_at_ms"]),
        "retiredAt": None if retired_at_ms is None else iso(retired_at_ms),
        "mints": row is rows[0],
        "verifies": _verifies(row),
    }


def _verifies(row: Row) -> bool:
    return row["retired_at_ms"] is None


def _use(row: Row, rows: list[Row]) -> str:
    if row is rows[0]:
        return "mints and verifies"
    return "verifies" if _verifies(row) else f"retired {_moment(row['retired_at_ms'])}"


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%Y-%m-%d %H:%M UTC")
