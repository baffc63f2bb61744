"""The cache directory: parts that are installed once, whole or not at all, whoever comes first."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from timmy.regtest.parts import Progress, RegtestUnavailable, Step

MARKER = ".complete"
COMMAND_SECONDS_MAX = 1_200
TAIL_LINES = 8


def default_cache_dir() -> Path:
    """`$XDG_CACHE_HOME/timmy/regtest`, or `~/.cache/timmy/regtest` (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "timmy" / "regtest"


@dataclass(frozen=True, slots=True)
class Part:
    """Something to install: `build` fills an empty directory. Another `recipe` (its pins, as text) means another part."""

    name: str
    recipe: str
    text: str
    build: Callable[[Path], None]

    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.recipe} python {sys.version_info[:2]} {sys.platform}".encode()).hexdigest()

    def complete(self, shelf: Path) -> bool:
        marker = shelf / self.name / MARKER
        return marker.exists() and marker.read_text() == self.fingerprint()


def install(shelf: Path, parts: Sequence[Part], progress: Progress) -> None:
    """Make every part complete. Safe to call from many processes at once: the first one works, the others wait for it.

    A part is marked complete only after it is; what a killed installation left behind is thrown away and done again, the other parts stay.
    """
    shelf.mkdir(parents=True, exist_ok=True)
    with _alone(shelf):
        missing = [part for part in parts if not part.complete(shelf)]
        reporting, done = Lock(), 0

        def build(part: Part) -> None:
            nonlocal done
            with reporting:
                progress(Step("install", done, len(missing), part.text))
            place = shelf / part.name
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            part.build(place)
            (place / MARKER).write_text(part.fingerprint())
            with reporting:
                done += 1
                progress(Step("install", done, len(missing), f"{part.text}: done"))

        if not missing:
            progress(Step("install", len(parts), len(parts), "installed before"))
            return
        with ThreadPoolExecutor(max_workers=2) as pool:  # a download and an unpacking overlap well; more only fight for the disk
            for building in [pool.submit(build, part) for part in missing]:
                building.result()


@contextmanager
def _alone(shelf: Path) -> Iterator[None]:
    """One installer at a time on this machine. The kernel lets go of the lock when its holder dies."""
    with (shelf / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(command: Sequence[str], *, doing: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and give its output. `RegtestUnavailable` tells what it was `doing` and what it said."""
    try:
        result = subprocess.run(
            command,
            cwd=cwd,
            env=env,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS_MAX,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise RegtestUnavailable(f"Failed {doing}: there is no `{command[0]}` on this machine.") from None
    except subprocess.TimeoutExpired:
        raise RegtestUnavailable(f"Gave up {doing} after {COMMAND_SECONDS_MAX} seconds.") from None
    if result.returncode != 0:
        said = "\n".join(result.stdout.strip().splitlines()[-TAIL_LINES:])
        raise RegtestUnavailable(f"Failed {doing} (`{command[0]}` returned {result.returncode}):\n{said}")
    return result.stdout


def build_venv(place: Path, *, python: str, requirements: Sequence[str], env: Mapping[str, str] | None = None) -> None:
    """A virtual environment with exactly these requirements, from whichever package index pip is set up to use."""
    run([python, "-m", "venv", str(place)], doing="making a virtual environment (on Debian and Ubuntu: `apt-get install python3-venv`)")
    surroundings = {**os.environ, **(env or {})}
    surroundings.pop("PYTHONPATH", None)
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    run([*pip, *requirements], doing=f"installing {requirements[0]} with pip", env=surroundings)
