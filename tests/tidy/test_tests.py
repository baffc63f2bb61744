"""A test runs, and says something."""

from __future__ import annotations

import ast
import re

from tests.tidy.tree import parsed, python_files, where

SKIPS = re.compile(r"(^|\.)(skip|skipif|importorskip|skipTest)$")


def test_no_test_is_skipped() -> None:
    """What cannot run on a machine is made to run there, or is not claimed. An expected failure is strict, so that its end is noticed."""
    skipped = []
    for path in python_files("tests"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and SKIPS.search(ast.unparse(node.func)):
                skipped.append(where(path, node))
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("mark.xfail"):
                strict = any(keyword.arg == "strict" and ast.unparse(keyword.value) == "True" for keyword in node.keywords)
                skipped += [] if strict else [where(path, node)]
    assert skipped == []


def test_no_test_asserts_what_is_true_by_construction() -> None:
    hollow = []
    for path in python_files("tests"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Assert) and isinstance(node.test, ast.Constant) and node.test.value:
                hollow.append(where(path, node))
    assert hollow == []
