"""No float comes near money, no `/` divides it, and no secret is compared with `==`."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.tidy.tree import PACKAGE, house, parsed, where

MONEY_ROOMS = ("money.py", "ledger", "pricing", "jobs", "sessions", "generosity", "lightning")
TIME = re.compile(r"(seconds|timeout|total|connect|delay|interval|sleep|wait|wait_for|retry_after)(_min|_max)?\b", re.IGNORECASE)
PATHS = re.compile(r"(path|dir|directory|folder|root|here|files|parent|__file__)\b|Path\(", re.IGNORECASE)
SECRET = re.compile(r"(^|_)(token|macaroon|preimage|secret|signature|password|api_key)$", re.IGNORECASE)


def money_files() -> list[Path]:
    return [path for path in house() if path.relative_to(PACKAGE).parts[0] in MONEY_ROOMS]


def is_a_path(node: ast.BinOp) -> bool:
    sides = (node.left, node.right)
    return bool(PATHS.search(ast.unparse(node))) or any(isinstance(side, ast.Constant) and isinstance(side.value, str) for side in sides)


def times(tree: ast.Module) -> set[ast.AST]:
    """The nodes that belong to a number of seconds: time may be a float, money may not."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        named = ""
        if isinstance(node, ast.keyword):
            named = node.arg or ""
        elif isinstance(node, ast.Call):
            named = ast.unparse(node.func)
        elif isinstance(node, ast.AnnAssign):
            named = ast.unparse(node.target)
        elif isinstance(node, ast.Assign):
            named = ast.unparse(node.targets[0])
        elif isinstance(node, ast.arguments):
            defaults = [*zip(node.args[::-1], node.defaults[::-1], strict=False), *zip(node.kwonlyargs, node.kw_defaults, strict=True)]
            for argument, default in defaults:
                if default is not None and TIME.search(argument.arg):
                    found.add(default)
        if TIME.search(named):
            found |= set(ast.walk(node))
    return found


def slashes(tree: ast.Module) -> list[ast.expr | ast.stmt]:
    allowed = times(tree)
    found: list[ast.expr | ast.stmt] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and not is_a_path(node) and node not in allowed:
            found.append(node)
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Div):
            found.append(node)
    return found


def floats(tree: ast.Module) -> list[ast.expr | ast.stmt]:
    allowed = times(tree)
    found: list[ast.expr | ast.stmt] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float" and node not in allowed:
            found.append(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, float) and node not in allowed:
            found.append(node)
    return found


def last_name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def compared_secrets(tree: ast.Module) -> list[ast.expr | ast.stmt]:
    """`==` between two values one of which is called a secret. Against a literal it is a question about emptiness, and fine."""
    found: list[ast.expr | ast.stmt] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
            sides = (node.left, *node.comparators)
            literal = any(isinstance(side, ast.Constant) for side in sides)
            if any(SECRET.search(last_name(side)) for side in sides) and not literal:
                found.append(node)
    return found


def test_money_is_never_divided_with_a_slash() -> None:
    assert [where(path, node) for path in money_files() for node in slashes(parsed(path))] == []


def test_money_never_becomes_a_float() -> None:
    assert [where(path, node) for path in money_files() for node in floats(parsed(path))] == []


@pytest.mark.fault("G07")
def test_secrets_are_compared_in_constant_time() -> None:
    assert [where(path, node) for path in house() for node in compared_secrets(parsed(path))] == []


@pytest.mark.parametrize(
    ("rule", "planted", "harmless"),
    [
        (slashes, "fee = amount / 100", "store = folder / 'store.py'"),
        (slashes, "amount /= 2", "pause_seconds = age_ms / 1000"),
        (floats, "fee = float(amount)", "total_seconds = float(words)"),
        (floats, "fee = amount * 0.01", "await asyncio.sleep(0.5)"),
        (floats, "def charge(share=0.1): ...", "def wait(pause_seconds=0.1): ..."),
        (compared_secrets, "ok = given == self._admin_token", "ok = hmac.compare_digest(given, admin_token)"),
        (compared_secrets, "ok = preimage != expected", "empty = preimage == ''"),
    ],
)
def test_these_rules_see_what_is_planted(rule: Callable[[ast.Module], list[ast.expr | ast.stmt]], planted: str, harmless: str) -> None:
    assert len(rule(ast.parse(planted))) == 1
    assert rule(ast.parse(harmless)) == []
