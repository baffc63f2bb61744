"""`timmy demo`: a whole sale in this terminal."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated

import typer

from timmy.cli.screen import errors, fail, out
from timmy.demo import REQUEST


def demo(
    lightning: Annotated[bool, typer.Option("--lightning", help="Over a real Lightning network, made on this machine.")] = False,
    lnbits: Annotated[bool, typer.Option("--lnbits", help="Over a real LNbits, started on this machine.")] = False,
    node: Annotated[bool, typer.Option("--node", help="A Bitcoin node is sold, at a rehearsal cloud, and no answer.")] = False,
    request: Annotated[str, typer.Option("--request", "-r", help="What the customer asks.")] = REQUEST,
    fast: Annotated[bool, typer.Option("--fast", help="Without pauses to read in.")] = False,
    step: Annotated[bool, typer.Option("--step/--auto", help="You press Enter for each payment, or it goes on by itself.")] = False,
) -> None:
    """Sell one answer, from the question to the refund, with nothing configured.

    A server of its own is started with an empty ledger, and gone at the end. Nothing of yours is read or changed.
    """
    if lightning and lnbits:
        fail("Choose one: --lightning or --lnbits.")
        raise typer.Exit(2)
    # Here, for --help must not wait for a whole sale.
    import structlog

    from timmy.demo.http import DemoFailed
    from timmy.demo.stage import Scene, run_demo

    # The rehearsal cloud runs in this process, and what it has to say is not the story.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    scene = Scene.LIGHTNING if lightning else Scene.LNBITS if lnbits else Scene.STAND_IN
    try:
        books_close = asyncio.run(run_demo(out, scene, request, fast=fast, step=step, node=node))
    except KeyboardInterrupt:
        errors.print("\nStopped; the demo's server is gone, and nothing is left behind.")
        raise typer.Exit(130) from None
    except DemoFailed as trouble:
        fail(f"The demo ended early: {trouble}")
        raise typer.Exit(1) from None
    raise typer.Exit(0 if books_close else 1)
