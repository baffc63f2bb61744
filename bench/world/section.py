"""(f) The world: how long until the last of many viewers has an event, and what each of them costs."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from bench import machine
from bench.cluster import Cluster
from bench.contest import Patience, percentile, wait_for_quiet
from bench.memory.server import serving
from bench.runners import ROOT, Runner, RunnerFailed

VIEWERS, VIEWERS_QUICK = (1_000, 5_000), (200,)
FIRST = 50  # before the baseline: what a process takes once is not the viewers' own
EVENTS, EVENTS_QUICK = 20, 5
PAUSE_SECONDS = 1.2  # more than a second: one address may say so much and no more
SETTLE_SECONDS = 3.0
QUIET_SECONDS = 5.0
OURS = "Timmy: written to PostgreSQL, read from there, sent"
THEIRS = "websockets, with its broadcast()"

Found = dict[str, dict[str, list[dict[str, float]]]]  # viewers → variant → its turns


def run(cluster: Cluster, folder: Path, patience: Patience, *, quick: bool) -> dict[str, Any]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        found: Found = {}
        for viewers in VIEWERS_QUICK if quick else VIEWERS:
            turns = found[str(viewers)] = {OURS: [], THEIRS: []}
            for repetition in range(patience.repetitions):
                for name, served in ((OURS, lambda: _timmy(cluster, folder)), (THEIRS, _plain)):
                    if patience.wait_for_quiet:
                        wait_for_quiet()
                    turns[name].append(_turn(served, viewers, EVENTS_QUICK if quick else EVENTS, greeted=name == OURS))
                    print(f"  {viewers} viewers, {repetition + 1}/{patience.repetitions}, {name}: {turns[name][-1]}", flush=True)
        return {"websockets": version("websockets"), "turns": found}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _turn(served: Callable[[], Any], viewers: int, events: int, *, greeted: bool) -> dict[str, float]:
    with served() as (url, pid):
        order = {"url": url, "viewers": viewers, "first": FIRST, "events": events, "greeted": greeted, "pause_seconds": PAUSE_SECONDS}
        with _crowd(order) as crowd:
            crowd.expect("first")
            time.sleep(SETTLE_SECONDS)
            first_kib = machine.rss_kib(pid)
            crowd.tell("go")
            crowd.expect("joined")
            time.sleep(SETTLE_SECONDS)
            all_kib = machine.rss_kib(pid)
            idle_cores = _cores(pid, QUIET_SECONDS)  # what a server does beside: sweeps, looks, pings
            before, cpu_seconds = machine.instant(pid), machine.cpu_seconds_of_trees([pid])
            crowd.tell("go")
            result = json.loads(crowd.line())
            after = machine.instant(pid)
            cpu_seconds = machine.cpu_seconds_of_trees([pid]) - cpu_seconds - idle_cores * (after.at_seconds - before.at_seconds)
            crowd.tell("leave")
            crowd.end()
    seen = result["events"]
    return {
        "last_ms": median(event["last_ms"] for event in seen),
        "last_p95_ms": percentile([int(event["last_ms"] * 1e3) for event in seen], 95) / 1e3,
        "fan_out_ms": median(event["fan_out_ms"] for event in seen),
        "kib_per_viewer": (all_kib - first_kib) / (viewers - FIRST),
        "join_seconds": result["join_seconds"],
        "cpu_ms_per_event": cpu_seconds * 1e3 / len(seen),
        "foreign_cores": machine.foreign_cores(before, after),
    }


def _cores(pid: int, seconds: float) -> float:
    before = machine.cpu_seconds_of_trees([pid])
    time.sleep(seconds)
    return (machine.cpu_seconds_of_trees([pid]) - before) / seconds


@contextmanager
def _timmy(cluster: Cluster, folder: Path) -> Iterator[tuple[str, int]]:
    place = folder / "world"
    place.mkdir(exist_ok=True)
    more = {"VIEWERS_PER_ADDRESS": "1000000", "VIEWERS_MAX": "1000000", "CHAT_PER_MINUTE": "0"}
    try:
        with serving(cluster.fresh("bench_world"), place, more) as server:
            yield server.url, server.pid
    finally:
        cluster.drop("bench_world")


@contextmanager
def _plain() -> Iterator[tuple[str, int]]:
    with _running("bench.world.plain") as server:
        said = server.line()
        yield said.removeprefix("open at "), server.process.pid


@contextmanager
def _crowd(order: Mapping[str, Any]) -> Iterator[Runner]:
    with _running("bench.world.crowd", json.dumps(order)) as crowd:
        yield crowd


@contextmanager
def _running(module: str, *arguments: str) -> Iterator[Runner]:
    path = f"{ROOT}{os.pathsep}{ROOT / 'src'}"
    with tempfile.TemporaryFile("w+") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=words,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
        )
        runner = Runner(process, words)
        try:
            yield runner
            if runner.last_words():
                raise RunnerFailed(f"{module} complained: {runner.last_words()}")
        finally:
            process.kill()
            process.wait()


def table(found: Mapping[str, Any]) -> str:
    """The part of the page. Ratios are theirs ÷ ours, per repetition: above 1 we take less."""
    lines = [f"\nThe library is websockets {found['websockets']}.\n"]
    for viewers, turns in found["turns"].items():
        lines.append(
            f"\n| {int(viewers):,} viewers | to the last, ms | p95 | from the first to the last, ms | KiB a viewer | CPU ms an event "
            "| all in, s | foreign |\n|---|---|---|---|---|---|---|---|\n"
        )
        for name, each in turns.items():
            cells = [
                f"{median(turn[key] for turn in each):.{digits}f}"
                for key, digits in (
                    ("last_ms", 0), ("last_p95_ms", 0), ("fan_out_ms", 0), ("kib_per_viewer", 1), ("cpu_ms_per_event", 0),
                    ("join_seconds", 1), ("foreign_cores", 2),
                )
            ]  # fmt: skip
            lines.append(f"| {name} | {' | '.join(cells)} |\n")
        ours, theirs = turns[OURS], turns[THEIRS]
        ratios = [
            f"{what} {median(slow[key] / fast[key] for fast, slow in zip(ours, theirs, strict=True)):.1f}"
            for what, key in (("from the first to the last", "fan_out_ms"), ("memory", "kib_per_viewer"))
        ]
        lines.append(f"\nTheirs ÷ ours: {', '.join(ratios)}.\n")
    return "".join(lines)
