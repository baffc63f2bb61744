"""Real wallets for the contract suite: installed once per machine, started once per test process, never skipped.

Import the fixture that a module needs. What is missing on a machine fails the test with `RegtestUnavailable`, which says what to do.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from timmy.regtest.doors import BUYER, LNBITS_BUYER_SATS, LNBITS_SELLER_SATS, SELLER, open_for_business
from timmy.regtest.install import install_lightning, install_lnbits
from timmy.regtest.lnbits import Account, LnbitsServer
from timmy.regtest.network import RegtestNetwork
from timmy.regtest.parts import Step
from timmy.regtest.processes import free_ports


def show(step: Step) -> None:
    """Shown by pytest with a failure, and live with `-s`."""
    print(f"{step.phase} {step.done}/{step.total} {step.text}")


@pytest.fixture(scope="session")
def electrum_network() -> Iterator[RegtestNetwork]:
    """A buyer's and a seller's Electrum node with an open channel."""
    network = RegtestNetwork(install_lightning(progress=show), names=(BUYER, SELLER), progress=show)
    try:
        open_for_business(network, show)
        yield network
    finally:
        network.stop()


class LnbitsWorld:
    """An LNbits server with a seller's and a buyer's wallet in it."""

    def __init__(self, server: LnbitsServer) -> None:
        self.server = server
        self.seller: Account = server.open_account(SELLER, sats=LNBITS_SELLER_SATS)
        self.buyer: Account = server.open_account(BUYER, sats=LNBITS_BUYER_SATS)


@pytest.fixture(scope="session")
def lnbits_world() -> Iterator[LnbitsWorld]:
    server = LnbitsServer(install_lnbits(progress=show), progress=show)
    try:
        server.start()
        yield LnbitsWorld(server)
    finally:
        server.stop()


def dead_port() -> int:
    """A port that nobody listens on."""
    return free_ports(1)[0]
