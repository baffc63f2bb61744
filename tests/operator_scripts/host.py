"""An operator's own machine: a home whose name has a space, the scripts, and stand-ins for the daemons and the service managers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.node.stand_ins import COMMANDS, MACAROON, SEED, StandIns, State
from tests.tidy.tree import ROOT

SCRIPTS = ROOT / "scripts"
RUN_SECONDS_MAX = 120


def systemctl(arguments: list[str], state: State, said: list[str]) -> int:
    units: list[str] = state.setdefault("units", [])
    words = [word for word in arguments if not word.startswith("--")]
    if words[0] == "is-active":
        return 0 if words[1] in units else 3
    if words[0] in ("enable", "restart") and words[1] not in units:
        units.append(words[1])
    if words[0] == "disable" and words[1] in units:
        units.remove(words[1])
    return 0


def launchctl(arguments: list[str], state: State, said: list[str]) -> int:
    units: list[str] = state.setdefault("units", [])
    if arguments[0] == "print":
        known = arguments[1].rpartition("/")[2] in units
        said.append("\tstate = running\n" if known else "")
        return 0 if known else 113
    if arguments[0] == "bootstrap":
        units.append(Path(arguments[2]).name.removesuffix(".plist"))
    if arguments[0] == "bootout":
        units.remove(arguments[1].rpartition("/")[2])
    return 0


def runs(state: State, part: str) -> bool:
    return any(part in unit for unit in state.get("units", []))


def bitcoin_cli(arguments: list[str], state: State, said: list[str]) -> int:
    if not runs(state, "bitcoind"):
        return 1
    said.append(json.dumps({"blocks": 7, "headers": 9, "pruned": True, "initialblockdownload": state.get("reading", False)}) + "\n")
    return 0


def curl(arguments: list[str], state: State, said: list[str]) -> int:
    url = arguments[-1]
    body = next((Path(word[1:]).read_text() for word in arguments if word.startswith("@")), "")
    part = "lnbits" if ":5000/" in url else "lnd"
    if not runs(state, part):
        return 7
    found = (lnbits if part == "lnbits" else lnd)(url.partition("0/")[2], body, state)
    if found is not None and "--output" not in arguments:
        said.append(json.dumps(found) + "\n")
    return 22 if found is None else 0


def lnd(path: str, body: str, state: State) -> dict[str, Any] | None:
    if path == "v1/initwallet":
        if "seed" in state:
            return None
        state["seed"] = json.loads(body)["cipher_seed_mnemonic"]
        folder = Path(state["node"]) / "lnd/data/chain/bitcoin" / state["network"]
        folder.mkdir(parents=True)
        (folder / "admin.macaroon").write_bytes(MACAROON)
    answers: dict[str, dict[str, Any]] = {
        "v1/state": {"state": "RPC_ACTIVE" if "seed" in state else "NON_EXISTING"},
        "v1/genseed": {"cipher_seed_mnemonic": SEED},
        "v1/initwallet": {},
        "v1/getinfo": {"version": "0.20.1", "synced_to_chain": not state.get("reading"), "num_active_channels": 2},
        "v1/balance/channels": {"local_balance": {"sat": "1500"}, "remote_balance": {"sat": "0"}},
    }
    return answers.get(path)


def lnbits(path: str, body: str, state: State) -> dict[str, Any] | None:
    sent = json.loads(body or "{}")
    if path == "api/v1/auth/first_install":
        if "password" in state:
            return None
        state["password"] = sent["password"]
    if path == "api/v1/auth" and sent["password"] != state.get("password"):
        return None
    return {"access_token": "token", "id": "w", "inkey": "in1", "adminkey": "admin1"}


def venv_python(arguments: list[str], state: State, said: list[str]) -> int:
    """A Python that makes virtual environments with a LNbits in them, and nothing else."""
    if "venv" in arguments:
        home = Path(arguments[-1])
        (home / "bin").mkdir(parents=True)
        (home / "lib/python3.12/site-packages/lnbits").mkdir(parents=True)
        python = home / "bin/python"
        python.write_text("#!/bin/sh\n")
        python.chmod(0o755)
    return 0


def uname(arguments: list[str], state: State, said: list[str]) -> int:
    said.append(f"{state['system']}\n")
    return 0


STAND_INS = {
    "systemctl": systemctl,
    "launchctl": launchctl,
    "bitcoin-cli": bitcoin_cli,
    "curl": curl,
    "python3.12": venv_python,
    "uname": uname,
    **dict.fromkeys(("bitcoind", "lnd", "tailscale", "apt-get", "useradd", "runuser", "chown"), COMMANDS["ufw"]),
    **{name: COMMANDS[name] for name in ("openssl", "dpkg-query")},
}


class Host:
    """`run("bitcoin-ln-node/setup.sh", …)`, and what came of it."""

    def __init__(self, folder: Path, *, system: str = "Linux", **state: Any) -> None:
        self.home = folder / "a home of one's own"
        self.node = self.home / "node $HOME 100%"
        self.home.mkdir(parents=True)
        self._path = folder / "bin"
        self._world = StandIns(system=system, node=str(self.node), **{"network": "mainnet", **state})
        self._world.install(self._path, STAND_INS)

    def close(self) -> None:
        self._world.close()

    @property
    def state(self) -> State:
        return self._world.state

    def changes(self) -> list[list[str]]:
        """What was asked of the machine that is not only looking."""
        looking = ("curl", "bitcoin-cli", "uname", "openssl", "dpkg-query")
        return [call for call in self.state["calls"] if call[0] not in looking and not {"is-active", "print", "-c"} & set(call)]

    def run(self, script: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        surroundings = {
            "PATH": f"{self._path}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "NODE_HOME": str(self.node),
            "NODE_POLL_SECONDS": "0",
            "NODE_PATIENCE_SECONDS": "10",
            **environ,
        }
        command = ["bash", str(SCRIPTS / script), *arguments]
        return subprocess.run(
            command, env=surroundings, cwd=self.home, capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=False
        )

    def files(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.home)): path.read_bytes() for path in sorted(self.home.rglob("*")) if path.is_file()}
