"""`python -m bench [hot|pool|jobs|sessions|gateway|memory|world|all] [--quick]`: sets up, measures, writes the page, cleans up."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import cluster, contest, machine, page
from bench.contest import Patience
from bench.gateway import section as gateway
from bench.hot import section as hot
from bench.jobs import section as jobs
from bench.memory import section as memory
from bench.pool import section as pool
from bench.runners import ROOT
from bench.sessions import section as sessions
from bench.world import section as world

OUT = ROOT / "bench" / "out"
PAGE = ROOT / "docs" / "reference" / "performance.md"
SECTIONS = ("hot", "pool", "jobs", "sessions", "gateway", "memory", "world")
QUICK = Patience(warm_seconds=0.5, seconds=1.5, repetitions=1, wait_for_quiet=False)
FULL = Patience(warm_seconds=1.0, seconds=3.0, repetitions=5, wait_for_quiet=True)


def main() -> None:
    wanted = _arguments()
    if sys.platform != "linux":
        raise SystemExit("The bench reads /proc to know what else the machine was doing: it needs Linux.")
    sections = SECTIONS if wanted.section == "all" else (wanted.section,)
    patience = QUICK if wanted.quick else replace(FULL, repetitions=wanted.repetitions)
    OUT.mkdir(exist_ok=True)
    # Not in the checkout: PostgreSQL runs as another user when we are root, and must be able to walk to its files. Not in /tmp, which
    # on many systems is memory: there a commit costs nothing.
    folder = Path(tempfile.mkdtemp(prefix="timmy-bench-", dir=wanted.folder))
    folder.chmod(0o711)
    try:
        with cluster.running(folder) as postgres:
            facts = {**machine.facts(folder), "PostgreSQL": f"{postgres.version()}; {postgres.shown_settings()}"}
            for name, value in facts.items():
                print(f"{name}: {value}")
            if machine.file_system(folder) == "tmpfs":
                print(f"!! {folder} is memory: syncs cost nothing there, and these figures mean little. Name a disk with --folder.")
            for section in sections:
                print(f"\n== {section}", flush=True)
                began = time.monotonic()
                result = _measure(section, postgres, folder, patience, quick=wanted.quick)
                _keep(section, facts, patience, result, quick=wanted.quick)
                print(f"   ({time.monotonic() - began:.0f} s)")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _write_page(quick=wanted.quick)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("section", nargs="?", choices=(*SECTIONS, "all"), default="all")
    parser.add_argument("--quick", action="store_true", help="one short turn each, to see that it works: no figures to quote, no page")
    parser.add_argument(
        "--repetitions", type=int, default=FULL.repetitions, help="turns of each variant; default 5, about 70 minutes for all"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("/var/tmp"), help="where the databases are made (a real disk); default /var/tmp"
    )
    return parser.parse_args()


def _measure(section: str, postgres: cluster.Cluster, folder: Path, patience: Patience, *, quick: bool) -> dict[str, Any]:
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "hot": lambda: contest.as_json(hot.run(postgres, folder, patience, quick=quick)),
        "pool": lambda: contest.as_json(pool.run(postgres, folder, patience, quick=quick)),
        "jobs": lambda: contest.as_json(jobs.run(postgres, folder, OUT, patience, quick=quick)),
        "sessions": lambda: contest.as_json(sessions.run(postgres, folder, patience)),
        "gateway": lambda: gateway.run(postgres, folder, OUT, patience, quick=quick),
        "memory": lambda: memory.run(postgres, folder, quick=quick),
        "world": lambda: world.run(postgres, folder, patience, quick=quick),
    }
    return measures[section]()


def _results(quick: bool) -> Path:
    return OUT / ("quick.json" if quick else "results.json")


def _keep(section: str, facts: dict[str, str], patience: Patience, result: dict[str, Any], *, quick: bool) -> None:
    """Each section keeps its own date and machine, so that one can be measured again without the others."""
    path = _results(quick)
    turns = f"{patience.repetitions} turn{'s' if patience.repetitions > 1 else ''}"
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    kept[section] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": facts,
        "commit": _commit(),
        "how": {"memory": "once", "world": turns}.get(section, f"{turns} of {patience.seconds:g} s each, after a warm-up"),
        "result": result,
    }
    path.write_text(json.dumps(kept, indent=1))


def _commit() -> str:
    """What was measured; with a plus if it is not quite what was committed."""
    head = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    changed = subprocess.run(["git", "status", "--porcelain", "src"], cwd=ROOT, capture_output=True, text=True, check=False)
    return (head.stdout.strip() or "an unknown commit") + ("+" if changed.stdout.strip() else "")


def _write_page(*, quick: bool) -> None:
    kept = json.loads(_results(quick).read_text())
    text = page.render(kept)
    place = OUT / "performance-quick.md" if quick else PAGE
    place.write_text(text)
    print(f"\n{text}\nwritten to {place.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
