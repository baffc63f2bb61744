"""A machine to rehearse a node on: a folder that plays its root, and stand-ins for what it would install."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.node.stand_ins import StandIns, State
from timmy.bootstrap.cloud_init import render
from timmy.bootstrap.node_plan import NodePlan

KEY = "ssh-ed25519 " + "A" * 68 + " customer@laptop"
RUN_SECONDS_MAX = 120


def plan(**changes: Any) -> NodePlan:
    usual: dict[str, Any] = {
        "hostname": "timmy-node-1",
        "network": "mainnet",
        "disk_gb": 80,
        "ssh_public_keys": (KEY,),
        "call_home_url": "https://timmy.example/api/bootstrap/b1/call-home",
        "call_home_token": "call-home-token",
        "tailscale_auth_key": "tskey-auth-1",
    }
    return NodePlan(**{**usual, **changes})


class Machine:
    """`write()` what cloud-init would write, `provision()`, and look at the files and at what was asked of the stand-ins."""

    def __init__(self, folder: Path, wanted: NodePlan, **state: Any) -> None:
        self.root = folder / "machine"
        (self.root / "etc").mkdir(parents=True)
        self._path = folder / "bin"
        self._world = StandIns(chain=wanted.network, **state)
        self._world.install(self._path)
        (self.root / "etc" / "os-release").write_text('ID=ubuntu\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n')
        (self.root / "etc" / "fstab").write_text("UUID=1 / ext4 defaults 0 1\n")
        self.document = render(wanted)
        self.write()

    def close(self) -> None:
        self._world.close()

    @property
    def state(self) -> State:
        return self._world.state

    def write(self) -> None:
        for entry in yaml.safe_load(self.document)["write_files"]:
            path = self.root / entry["path"].lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            content = entry["content"]
            path.write_bytes(base64.b64decode(content) if entry.get("encoding") == "b64" else content.encode())
            path.chmod(int(entry["permissions"], 8))
        given = self.root / "var/lib/cloud/instances/i-1/user-data.txt"
        given.parent.mkdir(parents=True, exist_ok=True)
        given.write_text(self.document)

    def calls(self, *beginning: str) -> list[list[str]]:
        return [call for call in self.state["calls"] if call[: len(beginning)] == list(beginning)]

    def provision(self, **environ: str) -> subprocess.CompletedProcess[str]:
        return self.run("provision.sh", environ=environ)

    def run(self, program: str, *arguments: str, environ: Mapping[str, str] = {}) -> subprocess.CompletedProcess[str]:
        """In a process group of its own, which is what the power takes with it."""
        surroundings = {
            "PATH": f"{self._path}:{os.environ['PATH']}",
            "TIMMY_NODE_ROOT": str(self.root),
            "TIMMY_NODE_POLL_SECONDS": "0",
            "TIMMY_NODE_PATIENCE_SECONDS": "10",
            **environ,
        }
        running = subprocess.Popen(
            ["bash", str(self.root / "opt/timmy-node" / program), *arguments],
            env=surroundings,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._world.power_off = lambda: os.killpg(running.pid, signal.SIGKILL)
        try:
            said, _ = running.communicate(timeout=RUN_SECONDS_MAX)
        except BaseException:
            os.killpg(running.pid, signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(program, running.returncode, said, "")

    def file(self, name: str) -> Path:
        return self.root / name

    def credentials(self) -> dict[str, str]:
        text = self.file("etc/timmy-node/credentials").read_text()
        return {name: value for name, _, value in (line.partition("=") for line in text.splitlines())}

    @property
    def log(self) -> str:
        return self.file("var/log/timmy-node.log").read_text()
