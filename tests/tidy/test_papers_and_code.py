"""What is written about the code is what the code says."""

from __future__ import annotations

import re
import tomllib

from tests.tidy.tree import PACKAGE, ROOT, text

from timmy.cli.ledger import MEANING
from timmy.jobs import machine
from timmy.ledger import chart
from timmy.settings import Settings

NOT_SETTINGS = {
    "TIMMY_HOME",  # a buyer's, which no server reads
    "TIMMY_SERVER",
    "TIMMY_WALLET",
    "LNBITS_RATE_LIMIT_NO",  # LNbits' own
    "TIMMY_DEBIAN_MIRROR",  # of the practice network, which no server has
    "TIMMY_WEB",  # of an installation
}


def test_the_page_about_jobs_has_the_rows_of_the_machine() -> None:
    page = text(ROOT / "docs" / "explanation" / "how-a-job-moves.md")
    written = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \|", page, re.MULTILINE)
    assert written == [(state.value, event.__name__, to.value) for (state, event), (to, _) in machine.TABLE.items()]


def test_the_page_about_the_ledger_has_every_account() -> None:
    page = text(ROOT / "docs" / "explanation" / "the-ledger.md")
    named = re.findall(r"`([a-z_]+(?:/…)?)`", page.split("## Transfers")[0])
    assert set(named) == set(chart._GUARDED) | {f"{kind}/…" for kind in chart._GUARDED_KINDS}
    assert {account.split("/")[0] for account in named} == set(MEANING)


def test_the_page_about_the_house_has_the_floors_that_are_enforced() -> None:
    """Rooms that are planned have a place in the stairs already, and a line on the page once they exist."""
    table = text(ROOT / "ARCHITECTURE.md").split("## Rooms and floors")[1].split("## ")[0]
    rows = re.findall(r"^\| \d+ \| (.*?) \|", table, re.MULTILINE)
    written = [set(re.findall(r"`(\w+)`", row)) for row in rows]
    stairs = tomllib.loads(text(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"][0]["layers"]
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    floors = [{room.strip(" ()") for room in floor.split("|")} & rooms for floor in stairs if floor != "__main__"]
    assert written == [floor for floor in floors if floor]


def test_every_setting_that_a_page_names_exists() -> None:
    known = {row.name for row in Settings().rows()}
    prefixes = tuple({f"{name.split('_')[0]}_" for name in known if "_" in name})
    strange = {}
    for path in (path for folder in ("how-to", "explanation", "tutorial") for path in (ROOT / "docs" / folder).glob("*.md")):
        words = set(re.findall(r"(?<![A-Z_-])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", text(path)))
        unknown = {word for word in words if word.startswith(prefixes)} - known - NOT_SETTINGS
        if unknown:
            strange[path.name] = unknown
    assert strange == {}
