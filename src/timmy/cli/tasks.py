"""`timmy tasks`: what waits to be done, and what waits for the operator."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from timmy.cli.books import open_books
from timmy.cli.screen import as_json, fail, out, say, table
from timmy.clock import SystemClock
from timmy.settings import Settings

if TYPE_CHECKING:  # what a command needs it imports where it runs: its help must not wait for the house
    from timmy.db import Row, Tx
    from timmy.tasks.book import Parked

app = typer.Typer(help="What waits to be done, and what was laid aside for you.", invoke_without_command=True)


@app.callback()
def show(context: typer.Context, json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Show how many tasks wait, and each that is parked: it failed too often to be tried again by itself.

    The exit code is 1 when one is parked.
    """
    if context.invoked_subcommand:
        return
    parked, waiting = asyncio.run(look(Settings.load()))
    if json:
        as_json(
            {
                "parked": [{"id": task.id, "attempts": task.attempts, "trouble": task.trouble} for task in parked],
                "waiting": {row["kind"]: row["n"] for row in waiting if not row["parked"]},
            }
        )
    else:
        table(("waiting", "how many"), [(row["kind"], str(row["n"])) for row in waiting if not row["parked"]], right=("how many",))
        out.print()
        if parked:
            table(("parked", "attempts", "why"), [(task.id, str(task.attempts), task.trouble) for task in parked], right=("attempts",))
            say("\nMend the cause, then: timmy tasks retry ID (or: timmy tasks retry --all)")
        else:
            say("Nothing is parked.")
    raise typer.Exit(1 if parked else 0)


@app.command()
def retry(
    id: Annotated[str, typer.Argument(help="The parked task, as timmy tasks shows it.", show_default=False)] = "",
    all: Annotated[bool, typer.Option("--all", help="Every parked task.")] = False,
) -> None:
    """Let a parked task be tried again, from its first attempt. A running server takes it up by itself."""
    if bool(id) == all:
        fail("Name one task, or say --all.")
        raise typer.Exit(2)
    done = asyncio.run(unpark(Settings.load(), id))
    if id and not done:
        fail(f"No parked task is called {id}; timmy tasks shows those that are.")
        raise typer.Exit(2)
    for name in done:
        say(f"{name} will be tried again.")


async def look(settings: Settings) -> tuple[list[Parked], list[Row]]:
    from timmy import tasks

    def both(tx: Tx) -> tuple[list[Parked], list[Row]]:
        return tasks.parked(tx), tasks.waiting(tx)

    async with open_books(settings) as db:
        return await db.read(both)


async def unpark(settings: Settings, id: str) -> list[str]:
    from timmy import tasks

    now_ms = SystemClock().now_ms()

    def those(tx: Tx) -> list[str]:
        wanted = [id] if id else [task.id for task in tasks.parked(tx)]
        return [name for name in wanted if tasks.unpark(tx, name, now_ms)]

    async with open_books(settings) as db:
        return await db.write(those)
