"""Whoever asks for help is shown what to type, and what they are shown can be typed."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from timmy.cli import app
from timmy.cli.commands import COMMANDS, load
from timmy.cli.examples import EXAMPLES

BUYERS = ("ask", "limits", "session", "receipt", "proxy", "login")


def command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that these words name, and what is left of them."""
    found: Any = load(words[0])
    words = words[1:]
    while hasattr(found, "commands"):
        found, words = found.commands[words[0]], words[1:]
    return found, words


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_help_of_a_command_shows_its_examples(name: str) -> None:
    shown = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0
    assert "Examples:" in shown.stdout
    for line in EXAMPLES[name]:
        assert line in shown.stdout


@pytest.mark.parametrize(("name", "line"), [(name, line) for name, lines in EXAMPLES.items() for line in lines])
def test_an_example_can_be_typed(name: str, line: str) -> None:
    words = shlex.split(line.replace("$(", " ").replace(")", " "), comments=False)
    words = words[words.index("timmy") + 1 :]
    words = words[: words.index(">")] if ">" in words else words
    assert words[: len(name.split())] == name.split()
    found, rest = command(words)
    found.make_context(name, rest, resilient_parsing=False)


def test_every_command_of_a_buyer_has_examples() -> None:
    for name in BUYERS:
        one = load(name)
        names = [f"{name} {inner}" for inner in one.commands] if hasattr(one, "commands") else [name]
        assert set(names) <= set(EXAMPLES)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    paragraph, _, _ = load(name).help.partition("\n\n")
    assert " ".join(paragraph.split()) == COMMANDS[name][1]


def test_a_slip_of_the_pen_is_shown_the_command_that_was_meant() -> None:
    shown = CliRunner().invoke(app, ["sesion"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert (shown.exit_code, "Did you mean 'session'?" in shown.stderr) == (2, True)


def test_bash_completes_what_is_begun(tmp_path: Path) -> None:
    here = Path(sys.executable).parent
    asked = f"""
        export PATH={here}:$PATH
        source <(env _TIMMY_COMPLETE=source_bash timmy)
        for words in "timmy session a" "timmy ask --re"; do
            COMP_WORDS=($words); COMP_CWORD=2; COMPREPLY=()
            _timmy_completion timmy
            echo "${{COMPREPLY[@]}}"
        done
    """
    done = subprocess.run(["bash", "--norc", "-c", asked], env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["ask attenuate", "--refund-to --resume"], done.stderr
