"""cloud-init, Docker's compose, nginx and Caddy as Debian ships them, unpacked beside the system: the real readers of what we write.

cloud-init is not installed, because its package would make it configure this machine at the next start.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from timmy.regtest import debian
from timmy.regtest.parts import silent
from timmy.regtest.shelf import Part, build_venv, default_cache_dir, install, run

SUITE = "trixie"
NEEDS = ("jsonschema", "pyyaml", "jinja2", "configobj", "requests", "jsonpatch", "oauthlib")
RUN_SECONDS_MAX = 120


def cloud_init_schema(document: Path) -> subprocess.CompletedProcess[str]:
    """`cloud-init schema`, as an operator would type it."""
    place = _part("cloud-init", _cloud_init)
    command = [str(place / "venv/bin/python"), "-m", "cloudinit.cmd.main", "schema", "--config-file", str(document)]
    surroundings = {**os.environ, "PYTHONPATH": str(place / "usr/lib/python3/dist-packages")}
    return subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=False)


def compose(*arguments: str, environ: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """`docker compose`. To read a file it needs no Docker."""
    binary = _part("docker-compose", _compose) / "usr/libexec/docker/cli-plugins/docker-compose"
    surroundings = {"PATH": os.environ["PATH"], "HOME": str(folder), **environ}
    return subprocess.run(
        [str(binary), *arguments], cwd=folder, env=surroundings, capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=False
    )


def part(package: str, suite: str) -> Path:
    """One package as it is, without what it depends on."""
    shelf = default_cache_dir()
    install(shelf, (Part(package, f"1 {suite}", f"{package} from Debian", lambda place: _unpack(package, place, suite)),), silent)
    return shelf / package


def _part(name: str, build: object) -> Path:
    shelf = default_cache_dir()
    install(shelf, (Part(name, f"1 {SUITE} {NEEDS}", f"{name} from Debian", build),), silent)  # type: ignore[arg-type]
    return shelf / name


def _cloud_init(place: Path) -> None:
    _unpack("cloud-init", place)
    (place / "venv").mkdir()
    build_venv(place / "venv", python=sys.executable, requirements=NEEDS)


def _compose(place: Path) -> None:
    _unpack("docker-compose", place)


def _unpack(package: str, place: Path, suite: str = SUITE) -> None:
    apt = debian.Apt.private(place / "apt", mirror=debian._mirror(), keyring=debian._keyring(place), suites=(suite,))
    apt("update", doing=f"reading Debian's package lists ({suite})")
    apt("download", f"{package}/{suite}", doing=f"downloading {package}")
    for archive in apt.home.glob(f"{package}_*.deb"):
        run(["dpkg", "-x", str(archive), str(place)], doing=f"unpacking {archive.name}")
