"""The machine: what it is, and how much of it was somebody else's while we measured."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
FSYNCS = 200
# Fields of /proc/PID/stat, counted after the closing bracket of the command's name.
PARENT, UTIME, STIME, CUTIME, CSTIME = 1, 11, 12, 13, 14


@dataclass(frozen=True, slots=True)
class Instant:
    """CPU seconds used up to a moment: by the whole machine, and by our own processes."""

    at_seconds: float
    machine_cpu_seconds: float
    ours_cpu_seconds: float


def instant(*roots: int) -> Instant:
    """Now. `roots`: processes whose trees are ours, besides this one (a PostgreSQL that detached itself)."""
    return Instant(time.perf_counter(), _machine_cpu_seconds(), cpu_seconds_of_trees([os.getpid(), *roots]))


def foreign_cores(since: Instant, until: Instant) -> float:
    """How many cores, on average, were busy with what is not ours."""
    others = (until.machine_cpu_seconds - since.machine_cpu_seconds) - (until.ours_cpu_seconds - since.ours_cpu_seconds)
    return max(0.0, others) / (until.at_seconds - since.at_seconds)


def _machine_cpu_seconds() -> float:
    user, nice, system, _idle, _iowait, irq, softirq, steal = (
        int(word) for word in (PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / TICKS


def cpu_seconds_of_trees(roots: Iterable[int]) -> float:
    """What the processes, their living descendants, and the children that any of them has reaped have used."""
    stats = dict(_all_stats())
    children: dict[int, list[int]] = {}
    for pid, fields in stats.items():
        children.setdefault(int(fields[PARENT]), []).append(pid)
    waiting, seen = [pid for pid in roots if pid in stats], set[int]()
    while waiting:
        pid = waiting.pop()
        if pid not in seen:
            seen.add(pid)
            waiting += children.get(pid, [])
    return sum(int(stats[pid][field]) for pid in seen for field in (UTIME, STIME, CUTIME, CSTIME)) / TICKS


def _all_stats() -> Iterable[tuple[int, Sequence[str]]]:
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended while we looked


def rss_kib(pid: int) -> int:
    """Resident memory of one process."""
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(pid)


def facts(folder: Path) -> dict[str, str]:
    """What a reader must know to compare our figures with theirs. `folder`: where the databases will be."""
    return {
        "CPU": f"{os.cpu_count()} × {_cpu_model()}",
        "Memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "System": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Disk of the databases": f"{file_system(folder)}, one fdatasync after writing 8 KiB: {fdatasync_us(folder):.0f} µs (median)",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
    }


def _cpu_model() -> str:
    for line in (PROC / "cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def file_system(folder: Path) -> str:
    """ext4, xfs, … or tmpfs, where a sync costs nothing and every figure flatters."""
    path, best = str(folder.resolve()), ("", "unknown")
    for line in (PROC / "mounts").read_text().splitlines():
        _, mounted, kind, *_ = line.split()
        if (path == mounted or path.startswith(mounted.rstrip("/") + "/")) and len(mounted) >= len(best[0]):
            best = (mounted, kind)
    return best[1]


def fdatasync_us(folder: Path) -> float:
    """The price of durability here: what each commit waits for."""
    probe = folder / "fdatasync-probe"
    costs = []
    with probe.open("wb", buffering=0) as file:
        for _ in range(FSYNCS):
            file.write(os.urandom(8192))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            costs.append(time.perf_counter() - began)
    probe.unlink()
    return sorted(costs)[FSYNCS // 2] * 1e6
