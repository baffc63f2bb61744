"""What the practice network stands on: processes that cannot be left behind, and a cache that is never half full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Barrier, Thread

import pytest

from timmy.regtest import debian
from timmy.regtest.parts import RegtestUnavailable, Step
from timmy.regtest.processes import Leashed, free_ports, until
from timmy.regtest.shelf import MARKER, Part, install, run

# A program that starts a child of its own, writes both process ids down, and waits, deaf to SIGTERM if told so.
PROGRAM = """
import os, signal, subprocess, sys, time
if "deaf" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1] + ".new", "w").write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""
# Somebody who starts it on a leash and waits to be killed.
STARTER = """
import os, sys, time
from pathlib import Path
from timmy.regtest.processes import Leashed
log = Path(sys.argv[1] + ".log")
Leashed("program", [sys.executable, "-c", sys.argv[2], sys.argv[1]], log=log, env=os.environ)
time.sleep(600)
"""
PATIENCE_SECONDS = 60.0


def pids_in(path: Path) -> list[int]:
    text = until("the process ids", lambda: path.read_text() if path.exists() else None, timeout_seconds=PATIENCE_SECONDS)
    return [int(word) for word in text.split()]


def gone(pid: int) -> bool | None:
    """True when no such process runs any more (a zombie nobody waits for does not run)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return True if state == "Z" else None


def assert_gone(pids: list[int]) -> None:
    for pid in pids:
        assert until(f"the end of {pid}", lambda pid=pid: gone(pid), timeout_seconds=PATIENCE_SECONDS)  # type: ignore[misc]


def test_whoever_is_killed_takes_everything_it_started_along(tmp_path: Path) -> None:
    noted = tmp_path / "pids"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(noted), PROGRAM], env=environment)
    pids = pids_in(noted)
    assert not any(gone(pid) for pid in pids)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    assert_gone(pids)


@pytest.mark.parametrize("manner", ["stop", "kill"])
def test_stopping_a_process_stops_its_children_too(tmp_path: Path, manner: str) -> None:
    noted = tmp_path / "pids"
    leashed = Leashed("program", [sys.executable, "-c", PROGRAM, str(noted)], log=tmp_path / "log", env=os.environ)
    pids = pids_in(noted)
    assert leashed.alive
    (leashed.stop if manner == "stop" else leashed.kill)()
    assert not leashed.alive
    assert_gone(pids)


def test_a_process_that_will_not_listen_is_made_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timmy.regtest.processes.STOP_SECONDS", 0.2)
    noted = tmp_path / "pids"
    leashed = Leashed("program", [sys.executable, "-c", PROGRAM, str(noted), "deaf"], log=tmp_path / "log", env=os.environ)
    pids = pids_in(noted)
    leashed.stop()
    assert_gone(pids)


def test_a_process_that_ends_by_itself_is_reported_with_what_it_said(tmp_path: Path) -> None:
    program = "print('no space left on device'); raise SystemExit(3)"
    leashed = Leashed("bitcoind", [sys.executable, "-c", program], log=tmp_path / "log", env=os.environ)
    with pytest.raises(RegtestUnavailable, match=r"bitcoind ended by itself.*no space left on device"):
        until("bitcoind", lambda: None, timeout_seconds=PATIENCE_SECONDS, process=leashed)
    leashed.stop()


def test_free_ports_are_all_different() -> None:
    assert len(set(free_ports(20))) == 20


# The cache ----------------------------------------------------------------------------------------------


class Builder:
    """Counts how often a part is built, and may fail."""

    def __init__(self, *, fails: int = 0) -> None:
        self.built, self._fails = 0, fails

    def __call__(self, place: Path) -> None:
        assert list(place.iterdir()) == [], "a part is built in an empty directory"
        (place / "half").write_text("half")
        time.sleep(0.05)
        if self._fails:
            self._fails -= 1
            raise RegtestUnavailable("the network went away")
        self.built += 1


def part(builder: Builder, recipe: str = "1") -> Part:
    return Part("thing", recipe, "a thing", builder)


def test_a_part_is_built_once_and_again_when_its_recipe_changes(tmp_path: Path) -> None:
    builder = Builder()
    steps: list[Step] = []
    install(tmp_path, [part(builder)], steps.append)
    install(tmp_path, [part(builder)], steps.append)
    assert builder.built == 1
    assert [(step.done, step.total) for step in steps] == [(0, 1), (1, 1), (1, 1)]
    install(tmp_path, [part(builder, "2")], steps.append)
    assert builder.built == 2


def test_an_installation_that_broke_off_is_thrown_away_and_the_other_parts_stay(tmp_path: Path) -> None:
    good, bad = Builder(), Builder(fails=1)
    parts = [Part("good", "1", "good", good), Part("bad", "1", "bad", bad)]
    with pytest.raises(RegtestUnavailable, match="went away"):
        install(tmp_path, parts, lambda _: None)
    assert not (tmp_path / "bad" / MARKER).exists()
    install(tmp_path, parts, lambda _: None)
    assert (good.built, bad.built) == (1, 1)


def test_many_who_install_at_once_build_it_once(tmp_path: Path) -> None:
    builder, start = Builder(), Barrier(5)

    def installs() -> None:
        start.wait()
        install(tmp_path, [part(builder)], lambda _: None)

    threads = [Thread(target=installs) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert builder.built == 1


# What is missing is said --------------------------------------------------------------------------------


def test_a_command_that_fails_says_what_it_was_for_and_what_it_said() -> None:
    with pytest.raises(RegtestUnavailable, match=r"(?s)Failed unpacking.*returned 3.*out of luck"):
        run([sys.executable, "-c", "print('out of luck'); raise SystemExit(3)"], doing="unpacking")
    with pytest.raises(RegtestUnavailable, match="no `nonexistent-program` on this machine"):
        run(["nonexistent-program"], doing="looking")


def test_a_machine_without_apt_is_told_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RegtestUnavailable, match="apt-get"):
        debian.unpack(tmp_path)


def test_a_machine_whose_apt_knows_no_debian_mirror_is_told_how_to_name_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program, says in (("apt-get", "echo https://mirror.example/ubuntu/"), ("dpkg", "true")):
        (tmp_path / program).write_text(f"#!/bin/sh\n{says}\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(debian.MIRROR_VARIABLE, raising=False)
    with pytest.raises(RegtestUnavailable, match=debian.MIRROR_VARIABLE):
        debian.unpack(tmp_path)
