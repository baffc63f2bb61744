"""`timmy node-status`: whether the node behind the wallet is well, and what to do where it is not."""

from __future__ import annotations

from typing import Annotated

import typer

from timmy.settings import Settings


def node_status(json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Ask the wallet's node how it is, and compare it with the books; what is not well says what to do.

    Changes nothing, and may run beside a server. Exit code 0: all is well; 1: warnings; 2: something does not work.
    """
    from timmy.cli import node_seen  # here, for --help must not wait for the house

    raise typer.Exit(node_seen.tell(Settings.load(), json=json))
