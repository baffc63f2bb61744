"""Everything is short enough to be read at one sitting."""

from __future__ import annotations

import ast

from tests.tidy.tree import PACKAGE, ROOT, functions, house, parsed, python_files, text, where

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
EXPORTS_MAX = 12
EMPTY_WORDS = frozenset({"utils", "util", "helpers", "helper", "manager", "base", "core", "common", "misc"})


def test_no_file_is_longer_than_400_lines() -> None:
    long = [f"{path.relative_to(ROOT)}: {len(text(path).splitlines())} lines" for path in python_files()]
    assert [entry for entry in long if int(entry.split(": ")[1].split()[0]) > FILE_LINES_MAX] == []


def test_no_function_is_longer_than_60_lines() -> None:
    long = []
    for path in python_files():
        for function in functions(path):
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                long.append(f"{where(path, function)} {function.name}: {lines} lines")
    assert long == []


def test_a_room_exports_at_most_a_dozen_names() -> None:
    crowded = []
    for path in (path for path in house() if path.name == "__init__.py"):
        for node in parsed(path).body:
            if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "__all__" for to in node.targets):
                assert isinstance(node.value, ast.List | ast.Tuple), where(path, node)
                if len(node.value.elts) > EXPORTS_MAX:
                    crowded.append(f"{where(path, node)}: {len(node.value.elts)} names")
    assert crowded == []


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert [str(path.relative_to(ROOT)) for path in house() if {path.stem, *path.relative_to(PACKAGE).parts[:-1]} & EMPTY_WORDS] == []


def test_every_module_says_what_it_is_for() -> None:
    # __main__ has a name that says it all.
    silent = [path for path in house() if path.name != "__main__.py" and not ast.get_docstring(parsed(path))]
    assert [str(path.relative_to(ROOT)) for path in silent] == []


def test_nothing_is_left_for_later_inside_the_code() -> None:
    notes = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")  # in two halves, so that this file does not find itself
    left = [
        where(path, n)
        for path in python_files()
        for n, line in enumerate(text(path).splitlines(), 1)
        if any(f"{note}" in line for note in notes)
    ]
    assert left == []
