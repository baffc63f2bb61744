"""All commands under one name, and what becomes of their errors."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from timmy import __version__
from timmy.cli import examples
from timmy.cli.screen import fail
from timmy.errors import TimmyError
from timmy.settings import SettingsError

# Where each is: a function, or a Typer of its own. Read when it is wanted, because to read all of them takes seconds.
COMMANDS = {
    "ask": "ask:ask",
    "session": "session:app",
    "receipt": "receipt:app",
    "proxy": "proxy:proxy",
    "login": "login:login",
    "limits": "ask:limits",
    "serve": "serve:serve",
    "demo": "demo:demo",
    "config": "config:config",
    "ledger": "ledger:app",
    "pool": "pool:app",
    "refunds": "refunds:app",
    "strays": "strays:app",
    "keys": "keys:app",
    "backup": "backup:backup",
    "restore": "backup:restore",
    "tasks": "tasks:app",
    "reconcile": "reconcile:reconcile",
    "node-status": "node_status:node_status",
    "nodes": "nodes:app",
    "testkit": "testkit:run_testkit",
    "regtest": "practice:app",
    "web": "web:app",
}


class OnDemand(TyperGroup):
    """Knows the names of its commands, and reads one when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        found = getattr(import_module(f"timmy.cli.{module}"), name)
        if isinstance(found, typer.Typer):
            group = get_group(found)
            group.name = cmd_name
            for inner, one in group.commands.items():
                one.epilog = examples.epilog(f"{cmd_name} {inner}")
            return group
        alone = typer.Typer(add_completion=False)
        alone.command(cmd_name, epilog=examples.epilog(cmd_name))(found)
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
