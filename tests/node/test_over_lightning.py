"""A node bought over a real Lightning channel: real nodes on a real chain, a real server, and a rehearsal cloud that speaks HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from tests.contract.real_parts import electrum_network
from tests.e2e.serving import PATIENCE_SECONDS, Site
from tests.e2e.test_bootstrap import shop, until
from timmy.app.books import all_checks
from timmy.clock import SystemClock
from timmy.lightning.wallets.electrum import ElectrumWallet
from timmy.money import Msats, Sats
from timmy.regtest.buyers import ElectrumBuyer
from timmy.regtest.doors import BUYER, SELLER
from timmy.regtest.network import RegtestNetwork

__all__ = ["electrum_network"]
pytestmark = [pytest.mark.real]
FEE = Sats(10_000).msats
POLLS = 50


@pytest.fixture
def buyer(electrum_network: RegtestNetwork) -> ElectrumBuyer:
    return ElectrumBuyer(electrum_network[BUYER])


@pytest.fixture
async def till(electrum_network: RegtestNetwork) -> AsyncIterator[ElectrumWallet]:
    """The house's wallet, asked by somebody else."""
    wallet = await ElectrumWallet.connect(electrum_network[SELLER].url, SystemClock())
    yield wallet
    await wallet.aclose()


def settings(network: RegtestNetwork) -> dict[str, str]:
    return {"WALLET": "electrum", "ELECTRUM_URL": network[SELLER].url}


async def bought(site: Site, buyer: ElectrumBuyer) -> Any:
    made = await site.post("/api/bootstrap", {}, status=201)
    assert made["state"] == "awaiting_payment"
    await buyer.pay(made["invoice"]["paymentRequest"])
    return made


async def holds(till: ElectrumWallet, balance: Msats) -> None:
    """Balances are told a moment after the payment."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await till.balance() != balance:
            await asyncio.sleep(0.2)


async def close(site: Site) -> bool:
    return [check for check in await site.app.db.read(all_checks) if not check.holds] == []


@pytest.mark.fault("B08", "B17", "B18")
async def test_a_payment_over_a_real_channel_buys_one_node_and_its_key_once(
    electrum_network: RegtestNetwork, buyer: ElectrumBuyer, till: ElectrumWallet, tmp_path: Path
) -> None:
    before = await till.balance()
    async with shop(tmp_path, **settings(electrum_network)) as (site, there):
        made = await bought(site, buyer)
        path = f"/api/bootstrap/{made['bootstrapJobId']}"

        async def poll() -> list[str]:
            keys = []
            while (shown := await site.get(path))["sshKey"]["state"] not in ("delivered", "erased"):
                assert shown["state"] != "failed", shown["reason"]
                keys += [shown["sshPrivateKey"]] if shown["sshPrivateKey"] else []
                await asyncio.sleep(0.1)
            return [*keys, *([shown["sshPrivateKey"]] if shown["sshPrivateKey"] else [])]

        async with asyncio.timeout(PATIENCE_SECONDS):
            keys = [key for found in await asyncio.gather(*(poll() for _ in range(POLLS))) for key in found]
        assert len(keys) == 1, "one of fifty got the key"
        load_ssh_private_key(keys[0].encode(), None)
        shown = await site.get(path)
        assert (shown["state"], shown["refund"]["owedSats"]) == ("ready", 0)
        assert there.made == len(there.standing()) == 1
        await holds(till, before + FEE)
        assert await close(site)


@pytest.mark.fault("D32")
async def test_the_fee_of_a_node_that_cannot_be_had_comes_back_over_the_channel(
    electrum_network: RegtestNetwork, buyer: ElectrumBuyer, till: ElectrumWallet, tmp_path: Path
) -> None:
    before, had = await till.balance(), await buyer.balance()
    async with shop(tmp_path, **settings(electrum_network), DO_SIZE="s-sold-out") as (site, there):
        made = await bought(site, buyer)
        path = f"/api/bootstrap/{made['bootstrapJobId']}"
        failed = await until(site, made["bootstrapJobId"], "failed")
        assert failed["refund"]["owedSats"] == FEE.floor_sats().value
        invoice = await buyer.create_invoice(FEE.floor_sats().value, "the fee of a node")
        await site.post(f"{path}/refund", {"invoice": invoice}, status=200)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (shown := await site.get(path))["refund"]["state"] != "paid":
                assert not shown["refund"]["trouble"], shown["refund"]["trouble"]
                await asyncio.sleep(0.1)
            while await buyer.balance() != had:
                await asyncio.sleep(0.2)
        assert shown["refund"]["paidSats"] == FEE.floor_sats().value
        assert (there.made, there.standing()) == (0, [])
        await holds(till, before)
        assert await close(site)
