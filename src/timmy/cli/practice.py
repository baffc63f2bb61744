"""`timmy regtest`: practice money. A wallet of the real kind, on this machine, to configure a server with."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Coroutine, Mapping

import typer

from timmy import regtest
from timmy.cli.screen import errors, say
from timmy.regtest import Step

app = typer.Typer(help="Real wallets with worthless sats, on this machine, until Ctrl-C.", no_args_is_help=True)


def until_interrupted(run: Callable[[], Coroutine[None, None, None]]) -> None:
    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        errors.print("\nStopped; all of it is gone.")


def tell(step: Step) -> None:
    errors.print(f"{step.phase} {step.done}/{step.total} {step.text}", style="dim", markup=False, highlight=False)


async def wait_with(settings: Mapping[str, str]) -> None:
    say("Running. In another terminal:\n", "green")
    for name, value in settings.items():
        typer.echo(f"  export {name}={shlex.quote(value)}")
    typer.echo("  timmy serve\n")
    say("Ctrl-C ends it, and all that is in it.", "dim")
    await asyncio.Event().wait()


async def run_lightning() -> None:
    async with regtest.lightning(progress=tell) as network:
        await wait_with({"WALLET": "electrum", "ELECTRUM_URL": network.seller_electrum_url})


async def run_lnbits() -> None:
    async with regtest.lnbits(progress=tell) as server:
        await wait_with({"WALLET": "lnbits", "LNBITS_URL": server.url, "LNBITS_API_KEY": server.seller_key})


@app.command()
def lightning() -> None:
    """Two Electrum nodes with a channel between them, on a chain of their own."""
    until_interrupted(run_lightning)


@app.command()
def lnbits() -> None:
    """An LNbits with a wallet for the server."""
    until_interrupted(run_lnbits)
