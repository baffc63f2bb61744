"""pgbench: PostgreSQL's own load generator, in C, with nothing between it and a function inside the server."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench import machine
from bench.cluster import Cluster
from bench.contest import Turn, percentile
from bench.runners import RunnerFailed

HERE = Path(__file__).parent
THREADS = 2


def take_turn(cluster: Cluster, url: str, script: str, *, clients: int, warm_seconds: float, seconds: float, scratch: Path) -> Turn:
    """`script`: a file beside this one. The warm-up is a run of its own, not counted."""
    _run(cluster, url, script, clients, warm_seconds, [])
    before, server_before = machine.instant(cluster.pid), machine.cpu_seconds_of_trees([cluster.pid])
    log = scratch / "pgbench"
    for old in scratch.glob("pgbench.*"):
        old.unlink()
    words = _run(cluster, url, script, clients, seconds, ["--log", f"--log-prefix={log}"])
    after, server_after = machine.instant(cluster.pid), machine.cpu_seconds_of_trees([cluster.pid])
    latencies_us = [int(line.split()[2]) for file in scratch.glob("pgbench.*") for line in file.read_text().splitlines()]
    tps = next((float(line.split()[2]) for line in words.splitlines() if line.startswith("tps = ")), None)
    if tps is None or not latencies_us:
        raise RunnerFailed(f"pgbench gave no figure:\n{words}")
    ours = after.ours_cpu_seconds - before.ours_cpu_seconds
    server = server_after - server_before
    return Turn(
        per_second=tps,
        p50_ms=percentile(latencies_us, 50) / 1e3,
        p99_ms=percentile(latencies_us, 99) / 1e3,
        client_cpu_us=max(0.0, ours - server) * 1e6 / len(latencies_us),
        server_cpu_us=server * 1e6 / len(latencies_us),
        foreign_cores=machine.foreign_cores(before, after),
    )


def _run(cluster: Cluster, url: str, script: str, clients: int, seconds: float, more: list[str]) -> str:
    command = [str(cluster.bin / "pgbench"), "--no-vacuum", "--protocol=prepared", f"--file={HERE / script}", f"--client={clients}"]
    command += [f"--jobs={min(THREADS, clients)}", f"--time={max(1, round(seconds))}", *more, url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunnerFailed(f"pgbench ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout
