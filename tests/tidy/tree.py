"""The project's own files, read and parsed once, for the tests that ask whether the house is tidy."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "timmy"
PYTHON_FOLDERS = ("src", "tests", "bench", "scripts", "examples")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def tracked() -> tuple[Path, ...]:
    """Every file that git knows or would add: what is ignored is nobody's business."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True
    ).stdout.decode()
    return tuple(path for name in sorted(listing.split("\0")) if name and (path := ROOT / name).is_file())


@functools.cache
def text(path: Path) -> str:
    """ "" for a file that is not text."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        return ""


def python_files(*folders: str) -> list[Path]:
    tops = [ROOT / folder for folder in folders or PYTHON_FOLDERS]
    return [path for path in tracked() if path.suffix == ".py" and any(path.is_relative_to(top) for top in tops)]


def house() -> list[Path]:
    """The modules of the package itself."""
    return python_files("src/timmy")


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(text(path), str(path))


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, Function):
            yield node


def docstrings(path: Path) -> set[ast.Constant]:
    """The constants that are documentation, not data."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Module | ast.ClassDef | Function) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                found.add(first.value)
    return found


COMMENT = re.compile(r"(^|\s)#\s*(noqa: [A-Z0-9, ]+(?=\W*\w))?(?!noqa|type:|fmt:)[\W]*\w")


def commented(path: Path, first: int, last: int) -> bool:
    """Whether a comment that says something stands in these lines (they count from 1)."""
    return any(COMMENT.search(line) for line in text(path).splitlines()[first - 1 : last])


def where(path: Path, node: ast.stmt | ast.expr | ast.excepthandler | int) -> str:
    line = node if isinstance(node, int) else node.lineno
    return f"{path.relative_to(ROOT)}:{line}"
