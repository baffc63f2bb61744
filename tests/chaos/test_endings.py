"""The table of endings, as it is told and as it is lived."""

from __future__ import annotations

import subprocess
import sys

from tests.chaos.endings import ENDINGS
from tests.tidy.tree import ROOT
from timmy.jobs.machine import TABLE
from timmy.jobs.model import FINAL


def test_the_page_of_what_each_ending_costs_is_up_to_date() -> None:
    subprocess.run([sys.executable, "scripts/endings_page.py", "--check"], cwd=ROOT, check=True)


def test_every_way_to_an_end_is_lived() -> None:
    assert {ending.state for ending in ENDINGS} == FINAL == {to for to, _ in TABLE.values() if to.is_final}
    assert len({ending.name for ending in ENDINGS}) == len(ENDINGS)
