"""All commands under one name, and what becomes of their errors."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from timmy import __version__
from timmy.cli import examples
from timmy.cli.screen import fail
from timmy.errors import TimmyError
from timmy.settings import SettingsError

# Where each is, a function or a Typer of its own, and the line that tells of it in the list of all. Read when it is wanted: to read all of
# them takes seconds.
COMMANDS = {
    "ask": ("ask:ask", "Buy one answer: its price first, then the answer as it is written, then what it cost and what came back."),
    "session": ("session:app", "Sessions: pay ahead, and spend per request with a key that can be made smaller."),
    "receipt": ("receipt:app", "Receipts: which you have, one as a file, and whether one holds."),
    "proxy": ("proxy:proxy", "Serve OpenAI's interface on this machine, paid from a session and under a budget, until Ctrl-C."),
    "login": ("login:login", "Log in with a Nostr key, made at the first time, and show your tier and what of the pool is yours today."),
    "limits": (
        "ask:limits",
        "Show or set the most that any program of yours may spend, with fees. It holds for whatever uses this notebook.",
    ),
    "serve": ("serve:serve", "Serve, configured by environment variables and .env (timmy config lists them)."),
    "config": ("config:config", "Show every setting: its value, its default, and where it came from. Secrets are hidden."),
    "ledger": ("ledger:app", "The money: every account and every promise about it."),
    "pool": ("pool:app", "The generosity pool: how it stands, more for it, and the switch that stops gifts."),
    "refunds": ("refunds:app", "What is owed back to customers, and the switch that stops payouts."),
    "strays": ("strays:app", "Payments that belong to nothing known."),
    "keys": ("keys:app", "The root keys of sessions' macaroons: which there are, a new one, and the end of the old ones."),
    "backup": (
        "backup:backup",
        "Write the ledger and the house's secrets to one file that only you can read, while servers go on working.",
    ),
    "restore": ("backup:restore", "Put a backup into an empty database and DATA_DIR, and verify its books."),
    "tasks": ("tasks:app", "What waits to be done, and what was laid aside for you."),
    "reconcile": ("reconcile:reconcile", "Compare the wallet with the books. Exit code 1: it holds less than they say."),
    "node-status": (
        "node_status:node_status",
        "Ask the wallet's node how it is, and compare it with the books; what is not well says what to do.",
    ),
    "nodes": ("nodes:app", "Nodes that are sold: those held after a restore, and those abused."),
    "demo": ("demo:demo", "Sell one answer, from the question to the refund, with nothing configured."),
    "testkit": ("testkit:run_testkit", "Fetch a server's own test script and run it against that server."),
    "regtest": ("practice:app", "Real wallets with worthless sats, on this machine, until Ctrl-C."),
    "web": ("web:app", "The landing page and the workshop."),
}
PANELS = {"ask": "To buy", "serve": "To keep a server", "demo": "To try things out"}  # each from this command on


class OnDemand(TyperGroup):
    """Knows of each command what the list of them shows, and reads one when it is to be run or explained."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        panel = ""
        for name, (_, line) in COMMANDS.items():
            panel = PANELS.get(name, panel)
            self.commands[name] = TyperCommand(name, help=line, rich_help_panel=panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        return name, load(name) if name else None, rest


def load(name: str) -> Any:
    """The command itself, with all that it needs to be explained; a room of the house it reads when it runs."""
    module, _, member = COMMANDS[name][0].partition(":")
    found = getattr(import_module(f"timmy.cli.{module}"), member)
    if isinstance(found, typer.Typer):
        group = get_group(found)
        group.name = name
        for inner, one in group.commands.items():
            one.epilog = examples.epilog(f"{name} {inner}")
        return group
    alone = typer.Typer(add_completion=False)
    alone.command(name, epilog=examples.epilog(name))(found)
    return get_command(alone)


app = typer.Typer(
    name="timmy",
    cls=OnDemand,
    help="A self-hosted server that sells an AI agent's work for Bitcoin Lightning payments.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def timmy(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=version, is_eager=True)] = False,
) -> None:
    pass


def main() -> None:
    """The entry point. An error that was foreseen is one sentence and an exit code; any other keeps its traceback, because it is a bug."""
    try:
        app(prog_name="timmy")  # also where it is run as a module: completion goes by the name
    except SettingsError as trouble:
        for problem in trouble.problems:
            fail(problem)
        sys.exit(2)
    except TimmyError as trouble:
        fail(f"{trouble.title}: {trouble.message}")
        sys.exit(2)
