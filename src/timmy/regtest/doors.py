"""The two doors into this room. What is behind them blocks, so it runs in threads, and the caller's event loop stays free."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from timmy.regtest.buyers import ElectrumBuyer, LnbitsBuyer
from timmy.regtest.install import install_lightning, install_lnbits
from timmy.regtest.lnbits import LnbitsServer
from timmy.regtest.network import RegtestNetwork
from timmy.regtest.parts import Buyer, Progress, Step, silent

BUYER, SELLER = "buyer", "seller"
CHANNEL_SATS, SELLERS_SATS = 15_000_000, 5_000_000  # the seller's part pays refunds from the first minute on
LNBITS_BUYER_SATS, LNBITS_SELLER_SATS = 1_000_000, 500_000


@dataclass(frozen=True, slots=True)
class LightningWorld:
    """A seller's and a buyer's node on a regtest chain, with a channel between them that has sats on both sides."""

    seller_electrum_url: str = field(repr=False)  # http://user:password@127.0.0.1:port, for ELECTRUM_URL
    buyer: Buyer


@dataclass(frozen=True, slots=True)
class LnbitsWorld:
    """An LNbits with two wallets; payments between them are real entries in its books, but cross no channel."""

    url: str
    seller_key: str = field(repr=False)  # the admin key of the seller's wallet, for LNBITS_API_KEY
    buyer: Buyer


@asynccontextmanager
async def lightning(*, progress: Progress = silent, cache_dir: Path | None = None) -> AsyncIterator[LightningWorld]:
    """Install what is missing, start the network, open the channel; stop it all at the end. `RegtestUnavailable` says why not."""
    lab = await asyncio.to_thread(install_lightning, progress=progress, cache_dir=cache_dir)
    network = RegtestNetwork(lab, names=(BUYER, SELLER), progress=progress)
    try:
        await asyncio.to_thread(open_for_business, network, progress)
        yield LightningWorld(seller_electrum_url=network[SELLER].url, buyer=ElectrumBuyer(network[BUYER]))
    finally:
        await asyncio.to_thread(network.stop)


def open_for_business(network: RegtestNetwork, progress: Progress = silent) -> str:
    """Start the network, and a channel from buyer to seller in it. Gives the channel point."""
    network.start()
    progress(Step("start", 0, 2, "mining coins for the buyer"))
    network.fund(BUYER)
    progress(Step("start", 1, 2, "opening a channel from the buyer to the seller"))
    point = network.open_channel(BUYER, SELLER, capacity_sats=CHANNEL_SATS, push_sats=SELLERS_SATS)
    progress(Step("start", 2, 2, "the channel is open"))
    return point


@asynccontextmanager
async def lnbits(*, progress: Progress = silent, cache_dir: Path | None = None) -> AsyncIterator[LnbitsWorld]:
    """Install LNbits if it is missing, start it, fund both wallets; stop it at the end. `RegtestUnavailable` says why not."""
    lab = await asyncio.to_thread(install_lnbits, progress=progress, cache_dir=cache_dir)
    server = LnbitsServer(lab, progress=progress)
    try:
        await asyncio.to_thread(server.start)
        seller = await asyncio.to_thread(server.open_account, SELLER, sats=LNBITS_SELLER_SATS)
        buyer = await asyncio.to_thread(server.open_account, BUYER, sats=LNBITS_BUYER_SATS)
        yield LnbitsWorld(url=server.url, seller_key=seller.admin_key, buyer=LnbitsBuyer(buyer))
    finally:
        await asyncio.to_thread(server.stop)
