"""What a restored ledger does not know: an order that was under way in the backup may have ended since, and its node be a customer's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.contract.cloud_house import TOKEN, cloud_server
from tests.contract.real_house import SITE, House, open_house
from tests.contract.test_bootstrap import READY, home_token, path, provisioned, sweep

from timmy.app import archive
from timmy.app.books import all_checks
from timmy.bootstrap import held
from timmy.bootstrap.rehearsal import RehearsalCloud
from timmy.cli import nodes
from timmy.cli.books import open_books
from timmy.settings import Settings

THREE_HOURS = 3 * 3_600


@asynccontextmanager
async def restored(tmp_path: Path) -> AsyncIterator[tuple[House, RehearsalCloud, Any, Settings]]:
    """A backup was taken while a node was made. Then it was ready, its key was collected, the host died; and this came of the backup."""
    async with cloud_server() as there:
        there.never_call = True
        given = {"DO_API_URL": f"{there.url}/digitalocean", "TAILSCALE_API_URL": f"{there.url}/tailscale", "PUBLIC_URL": SITE}
        given |= {"DO_API_TOKEN": TOKEN, "TAILSCALE_API_KEY": TOKEN}
        file = tmp_path / "backup"
        async with open_house(tmp_path / "here", background=False, **given) as house:
            made = await provisioned(house)
            now_ms = house.clock.now_ms()
            archive.keep(Settings.load({"DATA_DIR": str(tmp_path / "here"), **given}, None), file, now_ms)
            await house.post(path(made, "/call-home"), READY, Authorization=f"Bearer {home_token(house, made)}")
            assert (await house.get(path(made)))["sshPrivateKey"]
        settings = Settings.load({"DATA_DIR": str(tmp_path / "there"), **given}, None)
        archive.bring_back(settings, file, now_ms + THREE_HOURS * 1_000)
        async with open_house(tmp_path / "there", background=False, **given) as house:
            house.clock.advance(seconds=THREE_HOURS + 1)
            yield house, there, made, settings


async def closes(house: House) -> bool:
    return [check for check in await house.app.db.read(all_checks) if not check.holds] == []


async def time_passes(house: House) -> None:
    for _ in range(3):
        house.clock.advance(seconds=THREE_HOURS)
        await house.app.run_due()
        await sweep(house)


@pytest.mark.fault("C17", "D31")
async def test_a_node_that_may_be_somebodys_by_now_is_left_standing(tmp_path: Path) -> None:
    async with restored(tmp_path) as (house, there, made, _):
        await time_passes(house)
        assert len(there.standing()) == 1
        shown = await house.get(path(made))
        assert (shown["state"], shown["refund"]["owedSats"], shown["progress"]) == ("provisioning", 0, held.WORDS)
        new = await provisioned(house)  # what is ordered from now on is made as ever
        assert new["bootstrapJobId"] != made["bootstrapJobId"]
        assert len(there.standing()) == 2


async def test_the_operator_sees_what_stands_and_says_whose_it_is(tmp_path: Path) -> None:
    async with restored(tmp_path) as (house, there, made, settings):
        (found,) = await nodes.look(settings)
        assert (found.row["id"], [one.id for one in found.machines or ()]) == (made["bootstrapJobId"], there.standing())
        assert json.dumps(nodes.document(found))
        assert "active" in nodes.standing(found)
        assert await nodes.end_as_ready(settings, made["bootstrapJobId"]) is None
        assert await nodes.look(settings) == []
        await time_passes(house)
        shown = await house.get(path(made))
        assert (shown["state"], shown["refund"]["owedSats"], shown["sshKey"]["state"]) == ("ready", 0, "erased")
        assert len(there.standing()) == 1
        assert await closes(house)


async def test_what_the_operator_lets_go_on_ends_as_any_other(tmp_path: Path) -> None:
    async with restored(tmp_path) as (house, there, made, settings):
        assert await nodes.go_on(settings) is True
        assert await nodes.go_on(settings) is False
        await time_passes(house)
        shown = await house.get(path(made))
        assert (shown["state"], shown["refund"]["owedSats"]) == ("failed", 10_000)
        assert there.standing() == []
        assert await closes(house)


async def test_an_order_that_is_not_held_or_has_no_machine_is_not_called_ready(tmp_path: Path) -> None:
    async with restored(tmp_path) as (house, there, made, settings):
        new = await provisioned(house)
        with pytest.raises(held.NotHeld):
            await nodes.end_as_ready(settings, new["bootstrapJobId"])
        assert "No machine of that name" in (await nodes.end_as_ready(settings, "bst_nobodys") or "")
        there.shelf.change(lambda things: things["droplets"].clear())
        assert "No machine of that name" in (await nodes.end_as_ready(settings, made["bootstrapJobId"]) or "")


async def test_a_second_restore_holds_what_was_ordered_since_the_first(tmp_path: Path) -> None:
    async with restored(tmp_path) as (house, _, made, settings):
        new = await provisioned(house)  # after the first restore, which nobody has ended with `timmy nodes resume`
        file, now_ms = tmp_path / "second", house.clock.now_ms()
        archive.keep(settings, file, now_ms)
    again = Settings.load(
        {"DATA_DIR": str(tmp_path / "again"), "DO_API_URL": settings.do_api_url, "DO_API_TOKEN": TOKEN, "PUBLIC_URL": SITE}, None
    )
    archive.bring_back(again, file, now_ms + THREE_HOURS * 1_000)
    async with open_books(again) as db:
        assert {row["id"] for row in await db.read(held.held)} == {made["bootstrapJobId"], new["bootstrapJobId"]}


async def test_a_machine_is_called_its_customers_by_its_name_too(tmp_path: Path) -> None:
    async with restored(tmp_path) as (_, _, made, settings):
        name = "timmy-" + made["bootstrapJobId"].replace("_", "-")
        assert await nodes.end_as_ready(settings, name) is None
        assert await nodes.look(settings) == []
