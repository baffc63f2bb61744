"""A house that has nowhere to keep its things does not start, and says so in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from timmy.app import build
from timmy.app.home import NoHome, settle
from timmy.settings import Settings


@pytest.mark.parametrize("below", [".", "a/b"])
@pytest.mark.parametrize("name", ["DATA_DIR", "DATABASE_URL"])
async def test_a_folder_that_cannot_be_made_is_said_at_the_start(tmp_path: Path, name: str, below: str) -> None:
    (taken := tmp_path / "taken").write_text("")
    folder = taken / below
    where = {"DATA_DIR": str(folder)} if name == "DATA_DIR" else {"DATA_DIR": str(tmp_path), name: f"sqlite:///{folder}/timmy.db"}
    with pytest.raises(NoHome, match=f"Set {name} to where this user may write"):
        async with build(Settings.load(where, None)):
            pass


def test_a_folder_that_is_not_needed_is_not_made(tmp_path: Path) -> None:
    where = {
        "DATA_DIR": str(tmp_path / "unused"),
        "DATABASE_URL": "postgresql://timmy@127.0.0.1/timmy",
        "TIMMY_TOKEN_SECRET": "0123456789abcdef",
    }
    settle(Settings.load(where, None))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_made_is_for_its_owner_alone(tmp_path: Path) -> None:
    settle(Settings.load({"DATA_DIR": str(tmp_path / "a" / "b")}, None))
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
