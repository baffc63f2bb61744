"""Writes docs/reference/settings.md from the table of settings. `--print` only shows it. A test checks that the page is current."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from timmy.settings import SettingRow, Settings

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "settings.md"
HEAD = """\
<!-- Made by scripts/settings_page.py: do not edit. -->

# Settings

Every setting is an environment variable, or a line `NAME=value` in a file `.env` where Timmy is started; the environment
comes first. An empty value is the same as none, unless it says otherwise here. `timmy config` shows what holds now, and
where each value came from.

Whatever cannot be understood stops the start and is named, all of it at once: a number that does not parse, or is NaN,
infinite or negative; a wallet without its key; a `.env` with secrets in it that other users of the machine can open. A name
that is nearly one of these is pointed out.

What comes out of the prices, and how: [how a price is made](../explanation/pricing.md).
"""


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def line(row: SettingRow) -> str:
    default = f"`{cell(row.default)}`" if row.default else "unset"
    return f"| `{row.name}` | {default} | {cell(row.about)} | {cell(row.allowed)} |"


def page() -> str:
    parts = [HEAD]
    for group, rows in itertools.groupby(Settings.load({}, None).rows(), key=lambda row: row.group):
        parts.append(f"\n## {group}\n\n| Name | Default | What it does | What it may be |\n|---|---|---|---|\n")
        parts.extend(line(row) + "\n" for row in rows)
    return "".join(parts)


if __name__ == "__main__":
    if "--print" in sys.argv[1:]:
        sys.stdout.write(page())
    else:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(page(), encoding="utf-8")
