"""Runners: processes that do the work that is measured, let go together and watched from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bench import machine
from bench.contest import Turn, percentile
from bench.stopwatch import GO, LEAVE, READY, WINDOW

ROOT = Path(__file__).parents[1]
END_SECONDS = 60


class RunnerFailed(Exception):
    """A runner ended without a result; its own last words are with it."""


@dataclass(frozen=True, slots=True)
class Runner:
    process: subprocess.Popen[str]
    words: IO[str]  # what it writes to stderr

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            self.process.wait(END_SECONDS)
            raise RunnerFailed(f"{self.process.args!r} ended early: {self.last_words()}")
        return line

    def expect(self, word: str) -> None:
        said = self.line()
        if said != word:
            raise RunnerFailed(f"{self.process.args!r} said {said!r} where {word!r} belongs: {self.last_words()}")

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        if self.process.wait(END_SECONDS):
            raise RunnerFailed(f"{self.process.args!r} ended with {self.process.returncode}: {self.last_words()}")

    def last_words(self) -> str:
        self.words.seek(0)
        return self.words.read()[-2000:]


def run_together(
    module: str,
    orders: Sequence[Mapping[str, Any]],
    *,
    server_pid: int | None = None,
    more_pids: Sequence[int] = (),
    python: Path | None = None,
) -> Turn:
    """One process per order, of `python` (ours by default), let go at the same moment; what they did together within their windows.
    `more_pids`: servers besides PostgreSQL whose CPU counts as its does."""
    servers = [*([server_pid] if server_pid else []), *more_pids]
    runners = [_start(module, order, python) for order in orders]
    try:
        for runner in runners:
            runner.expect(READY)
        for runner in runners:
            runner.tell(GO)
        for runner in runners:
            runner.expect(WINDOW)
        before, server_before = _instants(servers)
        results = [json.loads(runner.line()) for runner in runners]
        after, server_after = _instants(servers)
        for runner in runners:
            runner.tell(LEAVE)
        for runner in runners:
            runner.end()
    finally:
        for runner in runners:
            runner.process.kill()
            runner.process.wait()
            runner.words.close()
    return _turn(module, results, before, after, server_after - server_before)


def _turn(
    module: str, results: Sequence[Mapping[str, Any]], before: machine.Instant, after: machine.Instant, server_cpu_seconds: float
) -> Turn:
    done = sum(result["done"] for result in results)
    latencies_us = [latency for result in results for latency in result["latencies_us"]]
    if not latencies_us:
        raise RunnerFailed(f"{module} finished nothing within its window")
    seconds = max(result["seconds"] for result in results)
    # The server is watched from the last runner's start to the last runner's end, which is not quite the runners' own window.
    of_the_window = seconds / (after.at_seconds - before.at_seconds)
    return Turn(
        per_second=done / seconds,
        p50_ms=percentile(latencies_us, 50) / 1e3,
        p99_ms=percentile(latencies_us, 99) / 1e3,
        client_cpu_us=sum(result["cpu_seconds"] for result in results) * 1e6 / done,
        server_cpu_us=server_cpu_seconds * of_the_window * 1e6 / done,
        foreign_cores=machine.foreign_cores(before, after),
    )


def _instants(roots: Sequence[int]) -> tuple[machine.Instant, float]:
    return machine.instant(*roots), machine.cpu_seconds_of_trees(roots)


def _start(module: str, order: Mapping[str, Any], python: Path | None) -> Runner:
    words = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by run_together, when the process has ended
    path = str(ROOT) if python else f"{ROOT}{os.pathsep}{ROOT / 'src'}"
    process = subprocess.Popen(
        [str(python or sys.executable), "-m", module, json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=words,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
    )
    return Runner(process, words)
