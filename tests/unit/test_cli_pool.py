"""`timmy pool`: the operator's hand on the generosity pool."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from timmy.cli import app
from timmy.cli.books import NoBooks
from timmy.db import open_database

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))

    def typed(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["pool", *words], catch_exceptions=False)
        return result.exit_code, result.stdout

    return typed


@pytest.fixture
async def _ledger(tmp_path: Path) -> None:
    await open_database(f"sqlite:///{tmp_path}/timmy.db").aclose()


@pytest.mark.usefixtures("_ledger")
def test_the_operator_gives_to_the_pool_and_sees_it(run: Run) -> None:
    assert "10,500" not in run("status")[1]
    assert run("top-up", "10500") == (0, "The pool was given 10,500 sats. 10,500 are free to give now.\n")
    assert "21,000" in run("top-up", "10500")[1]
    shown = json.loads(run("status", "--json")[1])
    assert (shown["availableMsat"], shown["reservedMsat"], shown["frozen"]) == (21_000_000, 0, False)
    assert shown["dailyBudgetsMsat"]["established"] == 50_000


@pytest.mark.usefixtures("_ledger")
def test_a_frozen_pool_says_so_until_it_is_thawed(run: Run) -> None:
    assert run("freeze", "a strange key")[0] == 0
    assert run("freeze")[0] == 0
    assert "FROZEN" in run("status")[1]
    assert "gives again" in run("thaw")[1]
    assert "was not frozen" in run("thaw")[1]
    assert "FROZEN" not in run("status")[1]


@pytest.mark.usefixtures("_ledger")
@pytest.mark.parametrize("amount", ["0", "-1", "0.5", "1e3", "many", "99999999999999999999"])
def test_only_whole_sats_are_given(run: Run, amount: str) -> None:
    assert run("top-up", "--", amount)[0] == 2
    assert json.loads(run("status", "--json")[1])["availableMsat"] == 0


def test_a_look_at_the_pool_makes_no_ledger_where_there_is_none(run: Run, tmp_path: Path) -> None:
    with pytest.raises(NoBooks):
        run("status")
    assert list(tmp_path.iterdir()) == []
