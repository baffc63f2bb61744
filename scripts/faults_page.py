"""Write docs/reference/faults.md: what must not go wrong, and the tests that see to it.

The promises are in docs/reference/faults.toml, the tests carry their ids as `@pytest.mark.fault("A01")`. With --check nothing is written,
and a page that is not what it would be is an error.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "docs" / "reference" / "faults.toml"
PAGE = DATA.with_suffix(".md")

HEAD = """# What must not go wrong

Each row is a promise, and the tests beside it keep it: they carry its id as a mark, so `pytest -m fault` runs all of them.
Most rows come from money that some system really lost. *Later* names the part of Timmy that brings the row into play; *no
test yet* means what it says.

This page is made by `scripts/faults_page.py` from `faults.toml` and the marks in `tests/`; edit those.
"""


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Every `pytest.mark.fault(…)` below a node."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
            yield node


def marks() -> dict[str, list[tuple[Path, str]]]:
    """Fault id → the tests that carry it. A mark outside a decorator (on a module, in a list of cases) is named by its file."""
    found: dict[str, list[tuple[Path, str]]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        owners = dict.fromkeys(calls(tree), path.stem)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                owners |= {call: node.name for decorator in node.decorator_list for call in calls(decorator)}
        for call, name in owners.items():
            for argument in call.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    found[argument.value].append((path.relative_to(ROOT), name))
    return found


def kept_by(fault: str, tests: list[tuple[Path, str]], later: dict[str, str]) -> str:
    if tests:
        return "<br>".join(f"[{name}](../../{path.as_posix()})" for path, name in dict.fromkeys(tests))
    return f"*later: {later[fault]}*" if fault in later else "**no test yet**"


def render() -> str:
    data = tomllib.loads(DATA.read_text("utf-8"))
    tests = marks()
    later = {fault: part for part, faults in data["later"].items() for fault in faults}
    unknown = sorted((set(tests) | set(later)) - set(data["promises"]))
    if unknown:
        raise SystemExit(f"no such row in {DATA.relative_to(ROOT)}: {', '.join(unknown)}")
    lines = [HEAD]
    tested = sum(fault in tests for fault in data["promises"])
    waiting = sum(fault in later and fault not in tests for fault in data["promises"])
    untested = len(data["promises"]) - tested - waiting
    lines.append(f"{len(data['promises'])} promises: {tested} tested, {waiting} for later, {untested} without a test yet.\n")
    for letter, title in data["groups"].items():
        lines += [f"## {letter}. {title}\n", "| id | promise | kept by |", "|---|---|---|"]
        lines += [
            f"| {fault} | {promise} | {kept_by(fault, tests.get(fault, []), later)} |"
            for fault, promise in data["promises"].items()
            if fault[0] == letter
        ]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    page = render()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page, "utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != page:
        raise SystemExit(f"{PAGE.relative_to(ROOT)} is not up to date: ./run docs writes it")


if __name__ == "__main__":
    main()
