"""`timmy config`: every setting, its value, and where that came from."""

from __future__ import annotations

from typing import Annotated

import typer

from timmy.cli.screen import as_json, out, table, warn
from timmy.settings import Settings


def config(
    changed: Annotated[bool, typer.Option("--changed", help="Only what differs from its default.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="With what each setting does.")] = False,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show every setting: its value, its default, and where it came from. Secrets are hidden.

    Settings are environment variables, or lines of a file named .env in the working directory; the environment wins.
    """
    settings = Settings.load()
    rows = [row for row in settings.rows() if not changed or row.source != "default"]
    for warning in settings.warnings:
        warn(warning)
    if json:
        as_json([{"name": row.name, "value": row.value, "default": row.default, "source": row.source} for row in rows])
        return
    for group in dict.fromkeys(row.group for row in rows):
        out.print(f"\n{group}", style="bold yellow")
        lines = []
        for row in (row for row in rows if row.group == group):
            lines.append((row.name, row.value or "-", row.default or "-", row.source))
            if explain:
                lines.append(("", row.about, "", ""))
        table(("name", "value", "default", "from"), lines)
