"""`python -m tests.node.disposable [FOLDER]`: a node, from an empty Debian to ready, twice, in a root of its own that is thrown away.

debootstrap (root, some minutes, 400 MB) makes a real Debian 12: its shell, coreutils, flock, find and Python run the programs as they were
written by the document. What cannot be had in a chroot is played: Docker, Tailscale, the firewall, systemd, disks, the network.
`--cuts N` also cuts the power at N places, spread over all calls, each in a fresh machine of the same root.
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.node.machine import plan
from tests.node.stand_ins import SEED, StandIns
from timmy.bootstrap.cloud_init import render
from timmy.regtest import debian
from timmy.regtest.shelf import run

RUN_SECONDS_MAX = 600
INCLUDED = "python3,ca-certificates"
CHANGED = ("etc/timmy-node", "var/lib/timmy-node", "srv/timmy-node", "var/log/timmy-node.log", "var/lib/cloud")


class Failed(Exception):
    """What was not as it should be."""


def debootstrap(root: Path) -> None:
    """A minimal Debian 12. debootstrap itself is unpacked beside it, when it is not installed."""
    tool = shutil.which("debootstrap")
    environ = dict(os.environ)
    mirror, keyring = debian._mirror(), debian._keyring(root.parent)
    if tool is None:
        home = root.parent / "debootstrap"
        home.mkdir()
        run(["apt-get", "-q", "download", "debootstrap"], doing="downloading debootstrap", cwd=home)
        for package in home.glob("debootstrap_*.deb"):
            run(["dpkg", "-x", str(package), str(home)], doing="unpacking debootstrap")
        tool = str(home / "usr/sbin/debootstrap")
        environ["DEBOOTSTRAP_DIR"] = str(home / "usr/share/debootstrap")
    command = [tool, "--variant=minbase", f"--include={INCLUDED}", f"--keyring={keyring}", "bookworm", str(root), mirror]
    run(command, doing="making a Debian (debootstrap)", env=environ)


class Disposable:
    """The root, with stand-ins first on its PATH."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.document = render(plan())

    def empty(self, **state: object) -> StandIns:
        """As new: what an earlier node left is gone, and cloud-init has written what it was given."""
        for name in CHANGED:
            path = self.root / name
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        for entry in yaml.safe_load(self.document)["write_files"]:
            path = self.root / entry["path"].lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            content = entry["content"]
            path.write_bytes(base64.b64decode(content) if entry.get("encoding") == "b64" else content.encode())
            path.chmod(int(entry["permissions"], 8))
        world = StandIns(chain="mainnet", chroot=str(self.root), **state)
        world.install(self.root / "stand-ins")
        return world

    def provision(self, world: StandIns) -> subprocess.CompletedProcess[str]:
        command = ["chroot", str(self.root), "/bin/bash", "/opt/timmy-node/provision.sh"]
        path = "/stand-ins:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        running = subprocess.Popen(
            command,
            env={"PATH": path, "TIMMY_NODE_POLL_SECONDS": "0", "TIMMY_NODE_PATIENCE_SECONDS": "60"},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        world.power_off = lambda: os.killpg(running.pid, signal.SIGKILL)
        said, _ = running.communicate(timeout=RUN_SECONDS_MAX)
        return subprocess.CompletedProcess(command, running.returncode, said, "")

    def look(self, world: StandIns, told: subprocess.CompletedProcess[str]) -> None:
        credentials = self.root / "etc/timmy-node/credentials"
        settings = (self.root / "etc/timmy-node/node.env").read_text()
        for holds, what in (
            (told.returncode == 0, f"it ended with {told.returncode}:\n{told.stdout}"),
            ((self.root / "var/lib/timmy-node/step").read_text() == "ready\n", "it is not ready"),
            (world.state.get("lnd_seed") == SEED and " ".join(SEED) in credentials.read_text(), "the seed is not kept"),
            (credentials.stat().st_mode & 0o777 == 0o600, "others may read the credentials"),
            ("call-home-token" not in settings and "tskey" not in settings, "a key that was used up is still there"),
            (set(world.state["containers"]) == {"timmy-bitcoind", "timmy-lnd", "timmy-lnbits"}, "not all three run"),
        ):
            if not holds:
                raise Failed(what)


def main(words: Sequence[str]) -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.node.disposable", description=__doc__)
    asked.add_argument("folder", nargs="?", type=Path, help="keeps the Debian there for the next time")
    asked.add_argument("--cuts", type=int, default=0, metavar="N")
    given = asked.parse_args(words)
    if os.geteuid() != 0:
        asked.error("debootstrap and chroot need root")
    folder = given.folder or Path(tempfile.mkdtemp(prefix="timmy-disposable-"))
    try:
        root = folder.resolve() / "debian"
        if not (root / "made").exists():
            shutil.rmtree(root, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            debootstrap(root)
            (root / "made").touch()
        rehearse(Disposable(root), given.cuts)
    finally:
        if given.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def rehearse(machine: Disposable, cuts: int) -> None:
    world = machine.empty()
    machine.look(world, machine.provision(world))
    calls, containers = len(world.state["calls"]), dict(world.state["containers"])
    print(f"an empty Debian became a node ({calls} calls)")
    machine.look(world, machine.provision(world))
    if world.state["containers"] != containers:
        raise Failed("the second run changed what runs")
    print("the second run changed nothing")
    world.close()
    for n in range(cuts):
        at = 1 + n * calls // cuts
        world = machine.empty(die_after=at)
        machine.provision(world)
        machine.look(world, machine.provision(world))
        world.close()
        print(f"the power went after call {at} of {calls}, and the next start made it ready")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
