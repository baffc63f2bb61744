"""scripts/bitcoin-ln-node, on Linux and on macOS, with stand-ins for Bitcoin, LND, LNbits, systemd and launchd."""

from __future__ import annotations

import json
import plistlib
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema_rs
import pytest

from tests.node.stand_ins import SEED
from tests.operator_scripts.host import SCRIPTS, Host

FOLDER = SCRIPTS / "bitcoin-ln-node"
SCHEMA = json.loads((FOLDER / "status.schema.json").read_text())
NEWER_THAN_BASH_3_2 = re.compile(
    r"\b(mapfile|readarray|coproc)\b|declare -[Ag]|local -n|\|&|&>>|\$\{\w+(,,|\^\^|@)|printf '%\(|\bBASHPID\b|wait -n"
)

Make = Callable[..., Host]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Make]:
    made: list[Host] = []

    def make(**state: object) -> Host:
        made.append(Host(tmp_path / str(len(made)), **state))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_every_script_passes_shellcheck_and_would_run_in_the_bash_of_macos() -> None:
    scripts = sorted(SCRIPTS.glob("bitcoin-ln-node/*.sh")) + sorted(SCRIPTS.glob("lnbits-host/*.sh"))
    assert len(scripts) == 9
    told = subprocess.run(
        [Path(sys.executable).with_name("shellcheck"), "-x", "-P", "SCRIPTDIR", *scripts], capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stdout) == (0, "")
    for script in scripts:
        text = script.read_text()
        assert "set -euo pipefail" in text or script.name == "lib.sh"
        assert [line for line in text.splitlines() if NEWER_THAN_BASH_3_2.search(line.partition("# ")[0])] == [], script


@pytest.mark.parametrize("system", ["Linux", "Darwin"])
def test_a_node_is_set_up_and_again_and_taken_away(system: str, host: Make) -> None:
    mine = host(system=system)
    told = mine.run("bitcoin-ln-node/setup.sh", "--prune", "2000")
    assert told.returncode == 0, told.stdout + told.stderr
    credentials = dict(line.split("=", 1) for line in (mine.node / "credentials").read_text().splitlines())
    assert credentials["LND_SEED"].split() == mine.state["seed"] == SEED
    assert stat.S_IMODE((mine.node / "credentials").stat().st_mode) == 0o600
    assert "prune=2000" in (mine.node / "bitcoin/bitcoin.conf").read_text()
    assert len(mine.state["units"]) == 3

    files, units = mine.files(), list(mine.state["units"])
    told = mine.run("bitcoin-ln-node/setup.sh", "--prune", "2000")
    assert told.returncode == 0, told.stdout + told.stderr
    assert (mine.files(), mine.state["units"]) == (files, units)
    assert sum("venv" in call for call in mine.state["calls"]) == 1

    status(mine)
    keys(mine)
    assert mine.run("bitcoin-ln-node/stop.sh").returncode == 0
    assert mine.state["units"] == []
    assert mine.run("bitcoin-ln-node/start.sh").returncode == 0
    assert sorted(mine.state["units"]) == sorted(units)

    assert mine.run("bitcoin-ln-node/uninstall.sh").returncode == 0
    assert (mine.node / "credentials").exists(), "sats are in there"
    assert mine.state["units"] == []
    assert not any(name.endswith((".service", ".plist")) for name in mine.files())
    assert mine.run("bitcoin-ln-node/uninstall.sh", "--delete-data-there-are-no-sats-in-it").returncode == 0
    assert not mine.node.exists()


def status(mine: Host) -> None:
    told = mine.run("bitcoin-ln-node/status.sh", "--json")
    assert told.returncode == 0, told.stdout + told.stderr
    found = json.loads(told.stdout)
    jsonschema_rs.validate(SCHEMA, found)
    assert (found["healthy"], found["lnd"]["canSendSats"], found["bitcoind"]["blocks"]) == (True, 1_500, 7)
    assert "lnd       answers" in mine.run("bitcoin-ln-node/status.sh").stdout


def keys(mine: Host) -> None:
    assert mine.run("bitcoin-ln-node/get-lnbits-key.sh").stdout == "admin1\n"
    assert mine.run("bitcoin-ln-node/get-lnbits-key.sh", "--invoice").stdout == "in1\n"
    lines = mine.run("bitcoin-ln-node/get-lnbits-key.sh", "--env").stdout.splitlines()
    assert lines == ["WALLET=lnbits", "LNBITS_URL=http://127.0.0.1:5000", "LNBITS_API_KEY=admin1"]


@pytest.mark.parametrize("system", ["Linux", "Darwin"])
def test_a_dry_run_says_what_it_would_do_and_does_nothing(system: str, host: Make) -> None:
    mine = host(system=system)
    told = mine.run("bitcoin-ln-node/setup.sh", "--dry-run")
    assert told.returncode == 0, told.stderr
    assert "Nothing was done." in told.stdout
    assert "would write: " in told.stdout
    assert (mine.files(), mine.changes()) == ({}, [])


def test_units_name_paths_with_spaces_dollars_and_percents_as_they_are(host: Make) -> None:
    linux, mac = host(system="Linux"), host(system="Darwin")
    for mine in (linux, mac):
        assert mine.run("bitcoin-ln-node/setup.sh").returncode == 0
    unit = (linux.home / ".config/systemd/user/bitcoin-ln-node-lnd.service").read_text()
    line = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line.removeprefix("ExecStart="))]
    assert words[1:] == [f"--lnddir={linux.node}/lnd"]
    plist = plistlib.loads((mac.home / "Library/LaunchAgents/bitcoin-ln-node.lnbits.plist").read_bytes())
    assert plist["WorkingDirectory"] == f"{mac.node}/lnbits"
    assert plist["EnvironmentVariables"]["LND_REST_CERT"] == f"{mac.node}/lnd/tls.cert"


def test_a_node_that_does_not_run_is_described_by_the_same_schema(host: Make) -> None:
    mine = host()
    assert mine.run("bitcoin-ln-node/status.sh", "--json").returncode == 1
    mine.run("bitcoin-ln-node/setup.sh")
    mine.state["reading"] = True
    told = mine.run("bitcoin-ln-node/status.sh", "--json")
    jsonschema_rs.validate(SCHEMA, json.loads(told.stdout))
    assert "Bitcoin is still reading the chain: 7 of 9 blocks" in json.loads(told.stdout)["problems"]
    mine.run("bitcoin-ln-node/stop.sh")
    told = mine.run("bitcoin-ln-node/status.sh", "--json")
    found = json.loads(told.stdout)
    jsonschema_rs.validate(SCHEMA, found)
    assert (told.returncode, found["healthy"], len(found["problems"])) == (1, False, 3)


@pytest.mark.parametrize(
    "words",
    [["--network", "testnet"], ["--prune", "12"], ["--prune", "many"], ["--delete"], ["--network"]],
    ids=lambda words: " ".join(words),
)
def test_words_that_mean_nothing_change_nothing(words: list[str], host: Make) -> None:
    mine = host()
    told = mine.run("bitcoin-ln-node/setup.sh", *words)
    assert told.returncode in (1, 2)
    assert (mine.files(), mine.changes()) == ({}, [])


def test_a_node_keeps_the_network_that_it_began_with(host: Make) -> None:
    mine = host()
    assert mine.run("bitcoin-ln-node/setup.sh").returncode == 0
    told = mine.run("bitcoin-ln-node/setup.sh", "--network", "signet")
    assert (told.returncode, "choose another NODE_HOME" in told.stderr) == (1, True)
