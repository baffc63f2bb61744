"""All of a room's SQL is in its store, and none of it is glued together from values."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from tests.tidy.tree import PACKAGE, docstrings, house, parsed, where

STATEMENT = re.compile(
    r"^\s*(WITH\s+\w+.*\bAS\s*\(|SELECT\s.+\sFROM\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|CREATE\s+(TABLE|INDEX|UNIQUE)\s"
    r"|DROP\s+TABLE\s|PRAGMA\s|BEGIN\s+IMMEDIATE|LOCK\s+TABLE\s)",
    re.DOTALL,
)


def may_hold_sql(path: Path) -> bool:
    return path.name == "store.py" or path.stem.endswith("_store") or path.is_relative_to(PACKAGE / "db")


def statements(path: Path) -> list[ast.Constant]:
    documentation = docstrings(path)
    return [
        node
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documentation and STATEMENT.match(node.value)
    ]


def test_sql_stands_in_stores_only() -> None:
    assert [where(path, node) for path in house() if not may_hold_sql(path) for node in statements(path)] == []


@pytest.mark.fault("F09")
def test_no_sql_is_made_of_values() -> None:
    """A statement is written down whole. Only db/ puts pieces together, and its pieces are its own words."""
    glued = []
    for path in house():
        if path.is_relative_to(PACKAGE / "db"):
            continue
        for node in ast.walk(parsed(path)):
            pieces = [node.left] if isinstance(node, ast.BinOp) else node.values if isinstance(node, ast.JoinedStr) else []
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
                pieces = [node.func.value]
            if any(isinstance(piece, ast.Constant) and isinstance(piece.value, str) and STATEMENT.match(piece.value) for piece in pieces):
                assert isinstance(node, ast.expr)
                glued.append(where(path, node))
    assert glued == []


def test_this_test_would_see_sql() -> None:
    stores = [path for path in house() if path.name == "store.py" or path.stem.endswith("_store")]
    assert any(statements(path) for path in stores), "no store has a statement: the pattern above must have gone blind"
