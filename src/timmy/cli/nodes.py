"""`timmy nodes`: what an operator does about nodes by hand: orders that are held after a restore, and nodes that are abused."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from timmy.cli.books import open_books
from timmy.cli.screen import as_json, fail, say, table
from timmy.clock import SystemClock, iso
from timmy.errors import TimmyError
from timmy.settings import Settings

if TYPE_CHECKING:  # what a command needs it imports where it runs: its help must not wait for the house
    from timmy.bootstrap.cloud import Machine
    from timmy.db import Row, Tx

LNBITS_URL = "http://127.0.0.1:5000"  # where it is on every node, through SSH

ORDER = typer.Argument(metavar="ORDER", help="The order's id, or its machine's name.", show_default=False)

app = typer.Typer(help="Nodes that are sold: those held after a restore, and those abused.", invoke_without_command=True)


@dataclass(frozen=True, slots=True)
class Held:
    """`machines`: what stands at the cloud with the order's tag; None: the cloud could not be asked."""

    row: Row
    machines: list[Machine] | None


@app.callback()
def show(context: typer.Context, json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """List them. The exit code is 1 when one is held."""
    if context.invoked_subcommand:
        return
    found = asyncio.run(look(Settings.load()))
    if json:
        as_json({"held": [document(each) for each in found]})
    elif found:
        rows = [(each.row["id"], each.row["state"], iso(each.row["created_at_ms"])[:19] + "Z", standing(each)) for each in found]
        table(("order", "state in the backup", "ordered", "at the cloud"), rows)
        say("\nA machine that stands may be its customer's by now: ask them, or see whether its node answers.")
        say("timmy nodes theirs ORDER: it is, and the order ends as ready. timmy nodes resume: go on with all that are left, which")
        say("takes machines away that do not call home in time, and owes their fees back.")
    else:
        say("No order of a node is held.")
    raise typer.Exit(1 if found else 0)


@app.command()
def theirs(order: Annotated[str, ORDER]) -> None:
    """The node stands and is its customer's: the order ends as ready, and its fee is earned."""
    said = asyncio.run(end_as_ready(Settings.load(), order))
    if said is not None:
        fail(said)
        raise typer.Exit(2)
    say(f"{order} is ready. Its private key did not come back with the backup: its customer has it, or nobody has.")


@app.command()
def resume() -> None:
    """Go on with every order that is held, as with any other."""
    found = asyncio.run(go_on(Settings.load()))
    say("Orders of nodes go on." if found else "No order of a node was held.")


@app.command()
def stop(
    order: Annotated[str, ORDER],
    reason: Annotated[str, typer.Option("--reason", help="What it did: its customer reads this.", show_default=False)],
) -> None:
    """Turn a node off that was sold and is abused. What is on it stays, and its customer is told why."""
    asyncio.run(turn_off(Settings.load(), order, reason))
    say(f"The machine of {order} is off. In the cloud's console it can be turned on again, or destroyed with what is on it.")


async def look(settings: Settings) -> list[Held]:
    from timmy.app.nodes import open_cloud
    from timmy.bootstrap import held

    async with open_books(settings) as db, open_cloud(settings, background=True) as cloud:
        found = []
        for row in await db.read(held.held):
            try:
                found.append(Held(row, await cloud.machines(row["id"])))
            except TimmyError as trouble:
                fail(trouble.message)
                found.append(Held(row, None))
        return found


async def end_as_ready(settings: Settings, order: str) -> str | None:
    """Why not; None: it is."""
    from timmy.app.nodes import open_cloud
    from timmy.bootstrap import held
    from timmy.bootstrap.cloud import Status

    async with open_books(settings) as db, open_cloud(settings, background=True) as cloud:
        id = order_id(order)
        there = [one for one in await cloud.machines(id) if one.status is Status.ACTIVE and one.address]
        if len(there) != 1:
            told = "No machine of that name is" if not there else f"{len(there)} machines of {order} are"
            return f"{told} running at the cloud, and it would have to be one. `timmy nodes` lists the orders that wait."
        end = partial(
            held.is_theirs, machine=there[0].id, address=str(there[0].address), lnbits_url=LNBITS_URL, at_ms=SystemClock().now_ms()
        )
        await db.write(end, id)
        return None


async def turn_off(settings: Settings, order: str, reason: str) -> None:
    from timmy.app.nodes import open_cloud
    from timmy.bootstrap import stopping

    async with open_books(settings) as db, open_cloud(settings, background=True) as cloud:
        await stopping.stop(db, cloud, order_id(order), reason, SystemClock().now_ms())


def order_id(order: str) -> str:
    """Of an order, or of the name that its machine has at the cloud, where complaints name it."""
    return order.removeprefix("timmy-").replace("-", "_")


async def go_on(settings: Settings) -> bool:
    from timmy.bootstrap import held
    from timmy.lightning import store

    def release(tx: Tx) -> bool:
        return store.reset(tx, held.HELD)

    async with open_books(settings) as db:
        return await db.write(release)


def standing(each: Held) -> str:
    if each.machines is None:
        return "could not be asked"
    return ", ".join(f"{one.status} {one.address or 'without an address'}" for one in each.machines) or "nothing"


def document(each: Held) -> dict[str, object]:
    there = None if each.machines is None else [{"id": one.id, "status": one.status.value, "address": one.address} for one in each.machines]
    return {"bootstrapJobId": each.row["id"], "state": each.row["state"], "machines": there}
