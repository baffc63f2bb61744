"""Plant bugs, one at a time, in a copy of the source, and see that the tests catch every one of them.

    python scripts/mutants.py [WORD ...]      only those whose name or file contains one of the words
    python scripts/mutants.py --jobs 4

scripts/mutants*.toml list them. Each is a `[[mutant]]` with a `name` (what is wrong now), the `file`, the `old` text, which must occur
in it exactly once (so that the list cannot rot), the `new` text, and the `tests` that should notice (arguments of pytest). A test that
fails for the copy as it is would prove nothing, so all of them are run without any bug first. Exits with 1 if a bug survives.
"""

from __future__ import annotations

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("src", "tests", "scripts", "docs", "pyproject.toml")
TIMEOUT_SECONDS = 300
FAILED, COULD_NOT_RUN = 1, 2
CAUGHT_BY = re.compile(r"^(?:FAILED|ERROR) (\S+?)(?:\[.*)?(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def trouble(self, source: str) -> str:
        """Why it cannot be planted; "" if it can."""
        if source.count(self.old) != 1:
            return f"{self.name}: its old text occurs {source.count(self.old)} times in {self.file}; it must be exactly once"
        return f"{self.name}: old and new text are the same" if self.old == self.new else ""


@dataclass(frozen=True, slots=True)
class Verdict:
    mutant: Mutant
    caught: bool
    words: str


def mutants() -> list[Mutant]:
    found: list[Mutant] = []
    for path in sorted(ROOT.glob("scripts/mutants*.toml")):
        for entry in tomllib.loads(path.read_text("utf-8"))["mutant"]:
            found.append(Mutant(entry["name"], entry["file"], entry["old"], entry["new"], tuple(entry["tests"])))
    names = [mutant.name for mutant in found]
    if len(set(names)) != len(names):
        raise SystemExit("two mutants have one name")
    return found


class Copy:
    """A copy of the tree that is tested in place of the tree."""

    def __init__(self, place: Path) -> None:
        self.root = place
        for name in COPIED:
            original = ROOT / name
            if original.is_dir():
                shutil.copytree(original, place / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif original.exists():
                shutil.copy2(original, place / name)
        # Without PYTHONPATH the processes that tests start would import the installed package, which has no bug.
        self._environment = {**os.environ, "PYTHONPATH": str(place / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        self._environment.pop("TIMMY_HEAVY", None)
        where = subprocess.run(
            [sys.executable, "-c", "import timmy; print(timmy.__file__)"], env=self._environment, capture_output=True, text=True, check=True
        ).stdout
        if not Path(where.strip()).is_relative_to(place):
            raise SystemExit(f"the copy is not what is tested: timmy comes from {where.strip()}")

    def pytest(self, tests: Sequence[str]) -> tuple[int, str]:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "--no-header", "--tb=no", "-p", "no:cacheprovider", *tests]
        done = subprocess.run(command, cwd=self.root, env=self._environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        return done.returncode, done.stdout + done.stderr

    def judge(self, mutant: Mutant) -> Verdict:
        path = self.root / mutant.file
        honest = path.read_text("utf-8")
        path.write_text(honest.replace(mutant.old, mutant.new), "utf-8")
        try:
            code, said = self.pytest(mutant.tests)
        except subprocess.TimeoutExpired:
            return Verdict(mutant, False, "NEVER ENDED")
        finally:
            path.write_text(honest, "utf-8")
        if code == 0:
            return Verdict(mutant, False, "SURVIVED")
        caught_by = CAUGHT_BY.search(said)
        if code != FAILED or caught_by is None:
            return Verdict(mutant, False, f"COULD NOT RUN: {said.strip().splitlines()[-1] if said.strip() else code}")
        return Verdict(mutant, True, f"caught by {caught_by[1].split('::')[-1]}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run(chosen: Sequence[Mutant], jobs: int) -> list[Verdict]:
    with tempfile.TemporaryDirectory(prefix="timmy-mutants-") as directory:
        copies: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        for number in range(jobs):
            copies.put(Copy(Path(directory) / str(number)))

        def judge(mutant: Mutant) -> Verdict:
            copy = copies.get()
            try:
                verdict = copy.judge(mutant)
            finally:
                copies.put(copy)
            say(f"{verdict.mutant.file}: {verdict.mutant.name}: {verdict.words}")
            return verdict

        def passes(tests: tuple[str, ...]) -> str:
            """ "" if they pass without any bug, else what they said."""
            copy = copies.get()
            try:
                code, said = copy.pytest(tests)
            finally:
                copies.put(copy)
            return "" if code == 0 else f"{' '.join(tests)}:\n{said[-3000:]}"

        with ThreadPoolExecutor(jobs) as pool:
            failing = [words for words in pool.map(passes, dict.fromkeys(mutant.tests for mutant in chosen)) if words]
            if failing:
                raise SystemExit("without any bug the tests should pass:\n" + "\n".join(failing))
            return list(pool.map(judge, chosen))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    words = arguments.words
    chosen = [mutant for mutant in mutants() if not words or any(word in f"{mutant.file} {mutant.name}" for word in words)]
    unfit = [trouble for mutant in chosen if (trouble := mutant.trouble((ROOT / mutant.file).read_text("utf-8")))]
    if unfit or not chosen:
        raise SystemExit("\n".join(unfit) or "no bug is called that")
    verdicts = run(chosen, arguments.jobs)
    alive = [verdict for verdict in verdicts if not verdict.caught]
    width = max(len(verdict.mutant.name) for verdict in verdicts)
    say(f"\n{'what was wrong':{width}}  what became of it")
    for verdict in verdicts:
        say(f"{verdict.mutant.name:{width}}  {verdict.words}")
    say(f"\n{len(verdicts)} bugs planted, {len(verdicts) - len(alive)} caught")
    sys.exit(1 if alive else 0)


if __name__ == "__main__":
    main()
