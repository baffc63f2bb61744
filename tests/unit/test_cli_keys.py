"""`timmy keys`: the operator's hand on the root keys of sessions."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from tests.contract.session_house import PATH, House
from typer.testing import CliRunner

from timmy.cli import app
from timmy.cli.books import NoBooks
from timmy.clock import ManualClock
from timmy.db import open_database
from timmy.identity import store
from timmy.identity.caveats import Use
from timmy.identity.macaroons import decode
from timmy.sessions import SessionView
from timmy.sessions.refusals import MacaroonUnknown

Run = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))

    async def typed(*words: str, answer: str | None = None) -> tuple[int, str]:
        result = await asyncio.to_thread(CliRunner().invoke, app, ["keys", *words], input=answer, catch_exceptions=False)
        return result.exit_code, result.stdout

    return typed


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """The server beside the command line."""
    db = open_database(f"sqlite:///{tmp_path}/timmy.db")
    house = House(db, ManualClock())
    yield house
    await house.aclose()
    await db.aclose()


async def opens(house: House, macaroon: str) -> str | None:
    """The session that it opens; None: it is refused."""
    try:
        return (await house.sessions.authorize(macaroon, Use("session", PATH, house.clock.now_ms()))).session_id
    except MacaroonUnknown:
        return None


async def shown(house: House, view: SessionView) -> str:
    return (await house.sessions.view(view.id)).macaroon or ""


@pytest.mark.fault("G06")
async def test_a_rotation_locks_nobody_out_until_the_old_keys_are_retired(house: House, run: Run) -> None:
    view = await house.opened()
    old = await shown(house, view)
    handed_on = decode(old).with_caveat("max_sats=50").encode()
    assert "Key 2 mints from now on" in (await run("rotate"))[1]
    new = await shown(house, view)
    assert new != old
    assert [await opens(house, macaroon) for macaroon in (old, handed_on, new)] == [view.id] * 3

    assert (await run("retire", answer="n\n"))[0] == 1
    assert await opens(house, old) == view.id, "nothing was retired without a yes"
    assert "1 key was retired. Only key 2 verifies now." in (await run("retire", answer="y\n"))[1]
    assert [await opens(house, macaroon) for macaroon in (old, handed_on, new)] == [None, None, view.id]
    assert await shown(house, view) == new
    assert (await house.ask(await house.sessions.view(view.id))).debited, "its sats are where they were"
    assert "no older key" in (await run("retire"))[1]


async def test_the_list_says_which_key_does_what_and_shows_none(house: House, run: Run) -> None:
    assert "the first session makes one" in (await run())[1]
    await house.opened()
    await run("rotate")
    await run("retire", "--yes")
    await run("rotate")
    listed = json.loads((await run("--json"))[1])["keys"]
    assert [(key["id"], key["mints"], key["verifies"], key["retiredAt"] is None) for key in listed] == [
        (3, True, True, True),
        (2, False, True, True),
        (1, False, False, False),
    ]
    text = (await run())[1]
    assert [line.split("UTC", 1)[1].split()[0] for line in text.splitlines()[1:]] == ["mints", "verifies", "retired"]
    for row in await house.db.read(store.root_keys):
        assert row["secret"] not in text + json.dumps(listed)


async def test_a_key_may_be_made_before_the_first_session(house: House, run: Run) -> None:
    assert "Key 1 mints from now on" in (await run("rotate"))[1]
    view = await house.opened()
    assert await opens(house, await shown(house, view)) == view.id
    assert len(json.loads((await run("--json"))[1])["keys"]) == 1


async def test_a_look_at_the_keys_makes_no_ledger_where_there_is_none(run: Run, tmp_path: Path) -> None:
    with pytest.raises(NoBooks):
        await run()
    assert not list(await asyncio.to_thread(os.listdir, tmp_path))
