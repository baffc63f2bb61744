"""Catch what you can answer, and nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.tidy.tree import commented, house, parsed, python_files, text, where

BROAD = frozenset({"Exception", "BaseException"})
BROAD_PER_KLOC_MAX_TIMES_TEN = 5  # half a broad except per thousand lines


def last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def names(node: ast.expr | None) -> set[str]:
    if node is None:
        return {"BaseException"}
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return {part.id for part in parts if isinstance(part, ast.Name)}


def only_cleans_up(handler: ast.ExceptHandler) -> bool:
    """Ends with a bare `raise`: nothing is caught, it is a `finally` for failures."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def broad_catches(tree: ast.Module) -> list[ast.Call | ast.ExceptHandler]:
    """`except Exception`, a bare `except`, and `suppress(Exception)`, which is the same with another face."""
    found: list[ast.Call | ast.ExceptHandler] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and names(node.type) & BROAD and not only_cleans_up(node):
            found.append(node)
        if isinstance(node, ast.Call) and last_name(node.func) == "suppress":
            found += [node for argument in node.args if names(argument) & BROAD]
    return found


def says_why(path: Path, node: ast.Call | ast.ExceptHandler) -> bool:
    """From the line above to the first statement of the handler."""
    last = node.body[0].lineno if isinstance(node, ast.ExceptHandler) else node.lineno
    return commented(path, node.lineno - 1, last)


def test_a_broad_catch_says_why() -> None:
    silent = [where(path, node) for path in python_files() for node in broad_catches(parsed(path)) if not says_why(path, node)]
    assert silent == []


def test_broad_catches_are_rare() -> None:
    lines = sum(len(text(path).splitlines()) for path in house())
    broad = [where(path, node) for path in house() for node in broad_catches(parsed(path))]
    assert len(broad) * 10_000 <= BROAD_PER_KLOC_MAX_TIMES_TEN * max(lines, 4_000), f"{len(broad)} in {lines} lines: {broad}"


def test_no_exception_is_dropped_in_silence() -> None:
    dropped = []
    for path in python_files():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ExceptHandler) and all(isinstance(line, ast.Pass) for line in node.body):
                dropped.append(where(path, node))
    assert dropped == []


def test_these_rules_see_what_is_planted() -> None:
    planted = ("except Exception as bug:\n    log(bug)", "except:\n    log()", "except (ValueError, Exception):\n    log()")
    assert [len(broad_catches(ast.parse(f"try:\n    work()\n{handler}"))) for handler in planted] == [1, 1, 1]
    assert len(broad_catches(ast.parse("with contextlib.suppress(Exception):\n    work()"))) == 1
    assert broad_catches(ast.parse("try:\n    work()\nexcept BaseException:\n    undo()\n    raise")) == []
    assert broad_catches(ast.parse("try:\n    work()\nexcept ValueError:\n    answer()")) == []
