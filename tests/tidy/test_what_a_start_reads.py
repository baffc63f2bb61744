"""What a command imports before it does anything. Names and no seconds: a clock would say something else on every machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

HOUSE = ("app", "client", "completions", "db", "identity", "jobs", "ledger", "models", "sessions", "tasks", "web", "world")
LIBRARIES = ("aiohttp", "coincurve", "cryptography", "psycopg", "segno", "sqlite3", "starlette", "structlog", "uvicorn")

ALL_HELP = """
from typer.testing import CliRunner
from timmy.cli.commands import COMMANDS, app
for name in COMMANDS:
    shown = CliRunner().invoke(app, [name, "--help"])
    assert shown.exit_code == 0 and "Usage" in shown.stdout, (name, shown.output)
"""


def read_by(code: str) -> set[str]:
    told = f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines())


def test_no_command_reads_the_house_to_be_explained() -> None:
    assert read_by(ALL_HELP) & {*LIBRARIES, *(f"timmy.{room}" for room in HOUSE)} == set()


def test_the_list_of_commands_reads_none_of_them() -> None:
    read = read_by(
        "from typer.testing import CliRunner\nfrom timmy.cli.commands import app\nassert CliRunner().invoke(app, ['--help']).exit_code == 0"
    )
    ours = {"timmy.cli.commands", "timmy.cli.examples", "timmy.cli.screen"}
    assert {name for name in read if name.startswith("timmy.cli.")} == ours


@pytest.mark.parametrize(
    ("room", "not_needed"),
    [
        ("client", {"aiohttp.web", "markdown_it", "psycopg", "pydantic", "starlette", "structlog", "timmy.db", "timmy.ledger", "uvicorn"}),
        # The document of the interface, the wallets and models that were not chosen, the rehearsal cloud: each is read when it is wanted.
        ("app", {"aiohttp.web", "pydantic", "timmy.lightning.wallets.lnd", "timmy.models.openai", "timmy.web.schemas"}),
    ],
)
def test_a_room_reads_what_it_needs(room: str, not_needed: set[str]) -> None:
    assert read_by(f"import timmy.{room}") & not_needed == set()
