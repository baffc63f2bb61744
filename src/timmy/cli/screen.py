"""Where the commands print: tables that keep their columns in 80 characters, without control codes when nobody looks."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_UNSEEN = 240  # where nobody looks at a screen, columns are as wide as they need to be, for grep and for paste

out = Console() if sys.stdout.isatty() else Console(width=WIDTH_UNSEEN)
errors = Console(stderr=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Plain text in, no markup: what users wrote may stand in a row."""
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for column in columns:
        grid.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    with out.capture() as printed:
        out.print(grid)
    for line in printed.get().splitlines():
        out.out(line.rstrip(), highlight=False)


def say(text: str, style: str = "") -> None:
    out.print(Text(text, style=style), soft_wrap=True)


def warn(text: str) -> None:
    errors.print(Text(f"! {text}", style="yellow"), soft_wrap=True)


def fail(text: str) -> None:
    """Why a command could not do what was asked, in a sentence."""
    errors.print(Text(text, style="red"), soft_wrap=True)


def why_not(trouble: OSError) -> str:
    """The system's own words: Python adds to them what it was about, which we have said already."""
    if isinstance(trouble, socket.gaierror) or not trouble.errno:  # a name that is not known has numbers of its own
        return trouble.strerror or str(trouble)
    return os.strerror(trouble.errno)


def as_json(document: object) -> None:
    """For programs: one object, indented, on standard output."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def sats(msat: int) -> str:
    """Millisats as sats for people, exact: `12`, `0.5`, `-3.001`."""
    whole, rest = divmod(abs(msat), 1_000)
    return ("-" if msat < 0 else "") + f"{whole:,}" + (f".{rest:03d}".rstrip("0") if rest else "")
