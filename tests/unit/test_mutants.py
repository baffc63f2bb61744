"""The bugs that are planted to test the tests still fit the source: a list that nobody looks at would rot."""

from __future__ import annotations

import pytest
from scripts import mutants
from scripts.mutants import Mutant


def test_every_planted_bug_still_fits_the_source() -> None:
    known = mutants.mutants()
    assert len(known) >= 60
    assert [trouble for mutant in known if (trouble := mutant.trouble((mutants.ROOT / mutant.file).read_text("utf-8")))] == []


def test_every_planted_bug_names_tests_that_exist() -> None:
    files = {argument for mutant in mutants.mutants() for argument in mutant.tests if argument.startswith("tests/")}
    assert [name for name in sorted(files) if not (mutants.ROOT / name.partition("::")[0]).exists()] == []


@pytest.mark.parametrize(("source", "fits"), [("a = 1\n", True), ("b = 1\n", False), ("a = 1\na = 1\n", False)])
def test_a_text_that_is_not_there_exactly_once_is_refused(source: str, fits: bool) -> None:
    assert (Mutant("wrong", "file.py", "a = 1", "a = 2", ()).trouble(source) == "") is fits
    assert "the same" in Mutant("nothing", "file.py", "a = 1", "a = 1", ()).trouble("a = 1\n")
