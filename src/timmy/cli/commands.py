"""All commands under one name, and what becomes of their errors."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from timmy import __version__
from timmy.cli import (
    ask,
    byhand,
    config,
    demo,
    keys,
    ledger,
    login,
    pool,
    practice,
    proxy,
    receipt,
    reconcile,
    refunds,
    serve,
    session,
    strays,
    tasks,
    testkit,
)
from timmy.cli.screen import fail
from timmy.demo import DemoFailed
from timmy.errors import TimmyError
from timmy.settings import SettingsError

app = typer.Typer(
    name="timmy",
    help="A self-hosted server that sells an AI agent's work for Bitcoin Lightning payments.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("ask")(ask.ask)
app.add_typer(session.app, name="session")
app.add_typer(receipt.app, name="receipt")
app.command("proxy")(proxy.proxy)
app.command("login")(login.login)
app.command("limits")(ask.limits)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("config")(config.config)
app.add_typer(ledger.app, name="ledger")
app.add_typer(pool.app, name="pool")
app.add_typer(refunds.app, name="refunds")
refunds.app.command("pay")(byhand.pay)
refunds.app.command("resolve")(byhand.resolve)
app.add_typer(strays.app, name="strays")
app.add_typer(keys.app, name="keys")
app.add_typer(tasks.app, name="tasks")
app.command("reconcile")(reconcile.reconcile)
app.command("testkit")(testkit.run_testkit)
app.add_typer(practice.app, name="regtest")


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
    except DemoFailed as trouble:
        fail(f"The demo ended early: {trouble}")
        sys.exit(1)
