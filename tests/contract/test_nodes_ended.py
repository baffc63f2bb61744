"""What is left of an order after its end, and what is not begun any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.contract.real_house import House
from tests.contract.test_bootstrap import READY, home_token, ordered, path, provisioned, shop

from timmy.bootstrap.cloud import name_of
from timmy.bootstrap.rehearsal import Fault

PATIENCE_SECONDS = 3 * 3_600
DEVICES = "/tailscale/api/v2/tailnet/-/devices"


async def passes(house: House, seconds: int) -> None:
    house.clock.advance(seconds=seconds)
    await house.app.run_due()


async def test_after_a_long_absence_no_machine_is_rented_only_to_be_taken_away(tmp_path: Path) -> None:
    async with shop(tmp_path) as (house, there):
        made = await ordered(house)
        await house.pay(made["invoice"])
        await passes(house, PATIENCE_SECONDS)
        shown = await house.get(path(made))
        assert (shown["state"], shown["refund"]["owedSats"], there.made) == ("failed", 10_000, 0)
        assert "promised" in shown["reason"]


async def test_a_key_that_another_order_needs_too_is_dropped_by_the_last(tmp_path: Path) -> None:
    public = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    async with shop(tmp_path) as (house, there):
        first, second = [await provisioned(house, {"sshPublicKey": public}) for _ in range(2)]
        for made, left in ((first, 1), (second, 0)):
            await house.post(path(made, "/call-home"), READY, Authorization=f"Bearer {home_token(house, made)}")
            for _ in range(4):
                await passes(house, 300)
            assert len(there.standing("ssh_keys")) == left
        assert len(there.standing()) == 2


@pytest.mark.parametrize("may_look", [True, False])
async def test_the_private_network_forgets_a_machine_that_failed(may_look: bool, tmp_path: Path) -> None:
    async with shop(tmp_path) as (house, there):
        made, stands = await provisioned(house), await provisioned(house)
        if not may_look:
            there.faults.append(Fault("GET", DEVICES, "refuse", 403, times=10))

        def join(things: dict[str, Any]) -> None:
            hosts = [name_of(one["bootstrapJobId"]) for one in (made, stands)]
            things["devices"] = {str(n): {"id": str(n), "hostname": host} for n, host in enumerate(hosts)}

        there.shelf.change(join)
        await house.post(path(stands, "/call-home"), READY, Authorization=f"Bearer {home_token(house, stands)}")
        await passes(house, PATIENCE_SECONDS)
        for _ in range(4):
            await passes(house, 300)
        assert (await house.get(path(made)))["state"] == "failed"
        assert len(there.standing()) == 1
        assert there.standing("devices") == (["1"] if may_look else ["0", "1"])
        assert there.standing("join_keys") == [], "it is not stuck there"
