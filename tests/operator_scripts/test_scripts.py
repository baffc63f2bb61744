"""The operators' scripts: what reads shell reads them, and bats runs them, with stand-ins for all that they would call."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy.tree import ROOT

HERE = ROOT / "tests" / "operator_scripts"
SCRIPTS = ROOT / "scripts"
NEWER_THAN_BASH_3_2 = re.compile(
    r"\b(mapfile|readarray|coproc)\b|declare -[Ag]|local -n|\|&|&>>|\$\{\w+(,,|\^\^|@)|printf '%\(|\bBASHPID\b|wait -n"
)
SUITES = sorted(HERE.glob("*.bats"))
NOT_ASKED = "SC1091,SC2012,SC2034,SC2154"  # what bats itself gives a test, and where it is sourced from
RUN_SECONDS_MAX = 300


def tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def test_every_script_passes_shellcheck_and_would_run_in_the_bash_of_macos() -> None:
    scripts = sorted(SCRIPTS.glob("bitcoin-ln-node/*.sh")) + sorted(SCRIPTS.glob("lnbits-host/*.sh"))
    assert len(scripts) == 9
    told = subprocess.run([tool("shellcheck"), "-x", "-P", "SCRIPTDIR", *scripts], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, "")
    for script in scripts:
        text = script.read_text()
        assert "set -euo pipefail" in text or script.name == "lib.sh"
        assert [line for line in text.splitlines() if NEWER_THAN_BASH_3_2.search(line.partition("# ")[0])] == [], script


def test_what_tries_them_passes_shellcheck_too() -> None:
    tried = [HERE / "stand_in", HERE / "machine.bash", *SUITES]
    told = subprocess.run([tool("shellcheck"), "-e", NOT_ASKED, *tried], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, "")


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.stem)
def test_bats_finds_every_promise_kept(suite: Path, tmp_path: Path) -> None:
    # This Python first: a python3 that is another program's way to choose one takes longer to start than the scripts to run.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "PYTHON": sys.executable, "TMPDIR": str(tmp_path)}
    command = [tool("bats"), "--tap", "--timing", str(suite)]
    told = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "not ok" not in told.stdout
    assert told.stdout.count("\nok ") >= 9, told.stdout
