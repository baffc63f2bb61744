"""The Electrum wallet, against real nodes on a real regtest chain."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

import pytest
from tests.contract.real_parts import dead_port, electrum_network

from timmy.clock import SystemClock
from timmy.lightning import bolt11
from timmy.lightning.wallets.electrum import ElectrumWallet
from timmy.lightning.wallets.facts import Channels, Diagnosable
from timmy.lightning.wallets.protocol import (
    Failed,
    InFlight,
    Network,
    NeverSent,
    PaymentOutcome,
    Settled,
    Succeeded,
    Unknown,
    Unpaid,
    Wallet,
    WalletDown,
)
from timmy.money import Msats, Sats
from timmy.regtest.buyers import ElectrumBuyer
from timmy.regtest.doors import BUYER, SELLER
from timmy.regtest.network import RegtestNetwork, btc
from timmy.regtest.parts import PaymentRefused

pytest.register_assert_rewrite("tests.contract.wallet_suite")
from tests.contract.wallet_suite import ASKED, FEE_LIMIT, WalletContract, eventually, wall_clock_ms  # noqa: E402

__all__ = ["electrum_network"]
pytestmark = [pytest.mark.real, pytest.mark.xdist_group("electrum")]


class ElectrumHarness:
    grain = Msats(1_000)
    patience_seconds = 180.0
    hints_waived = ""

    def __init__(self, network: RegtestNetwork, wallet: ElectrumWallet) -> None:
        self.network, self.buyer = network, ElectrumBuyer(network[BUYER])
        self.wallet: Wallet = wallet

    async def payer_pays(self, payment_request: str) -> None:
        await self.buyer.pay(payment_request)

    async def payee_invoice(self, amount: Msats) -> str:
        return await self.buyer.create_invoice(amount.floor_sats().value, "a refund")

    async def payee_balance(self) -> Msats:
        return await self.buyer.balance()

    def dead_wallet(self) -> Wallet:
        return ElectrumWallet(f"http://user:password@127.0.0.1:{dead_port()}", SystemClock(), network=Network.REGTEST)

    def now_ms(self) -> int:
        return wall_clock_ms()

    # What the suite does not need -----------------------------------------------------------------------

    @property
    def url(self) -> str:
        return self.network[SELLER].url

    def held_invoice(self) -> tuple[str, str, str]:
        """The buyer decides later whether to take this payment: (preimage, payment hash, invoice)."""
        preimage = secrets.token_bytes(32)
        payment_hash = hashlib.sha256(preimage).hexdigest()
        amount = btc(ASKED.floor_sats().value)
        made = self.network[BUYER].rpc("add_hold_invoice", payment_hash=payment_hash, amount=amount, memo="a refund, perhaps")
        return preimage.hex(), payment_hash, made["invoice"]

    async def is_held(self, payment_hash: str) -> bool:
        checked = await asyncio.to_thread(self.network[BUYER].rpc, "check_hold_invoice", payment_hash=payment_hash)
        return bool(checked["status"] == "paid")

    async def recipient_decides(self, preimage: str, payment_hash: str, *, take: bool) -> None:
        rpc = self.network[BUYER].rpc
        if take:
            await asyncio.to_thread(rpc, "settle_hold_invoice", preimage=preimage)
        else:
            await asyncio.to_thread(rpc, "cancel_hold_invoice", payment_hash=payment_hash)

    async def node_dies(self) -> None:
        await asyncio.to_thread(self.network.kill, SELLER)

    async def node_returns(self, *, reconnect: bool = True) -> None:
        await asyncio.to_thread(self.network.restart, SELLER)
        if reconnect:
            await self.channel_is_open()

    async def channel_is_open(self) -> None:
        (channel,) = await asyncio.to_thread(self.network[SELLER].rpc, "list_channels")
        await asyncio.to_thread(self.network.await_channel, SELLER, channel["channel_point"])

    async def pays_to_the_end(self, request: str) -> PaymentOutcome:
        await self.channel_is_open()
        outcome = await self.wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT)
        payment_hash = bolt11.decode(request).payment_hash

        async def ended() -> bool:
            return isinstance(await self.wallet.lookup_payment(payment_hash), Succeeded | Failed)

        if not isinstance(outcome, Succeeded | Failed):
            await eventually(self, ended, True)
        return await self.wallet.lookup_payment(payment_hash)


@pytest.fixture
async def harness(electrum_network: RegtestNetwork) -> AsyncIterator[ElectrumHarness]:
    wallet = await ElectrumWallet.connect(electrum_network[SELLER].url, SystemClock())
    yield ElectrumHarness(electrum_network, wallet)
    await wallet.aclose()


@pytest.fixture(scope="session")
def stranger(electrum_network: RegtestNetwork) -> str:
    """A third node, which only the buyer has a channel with: paying it costs the buyer's routing fee."""
    name = "stranger"
    electrum_network.add_nodes(name)
    electrum_network.open_channel(BUYER, name, capacity_sats=1_000_000, push_sats=100_000)
    return name


class TestElectrum(WalletContract):
    """Every promise of the suite; the harness is above."""


# What only real nodes do --------------------------------------------------------------------------------


async def test_a_real_node_tells_of_its_chain_and_of_both_sides_of_its_channel(harness: ElectrumHarness) -> None:
    assert isinstance(harness.wallet, Diagnosable)
    await harness.channel_is_open()
    found = await harness.wallet.diagnose()
    height = await asyncio.to_thread(harness.network.chain, "getblockcount")
    assert (found.software, found.connected, found.height, found.chain_height, found.nonsense) == ("Electrum", True, height, height, ())
    assert found.version is not None
    assert found.version.startswith("4.")
    assert found.channels == Channels(1, 0, 0)
    balance = await harness.wallet.balance()
    assert found.spendable is not None
    assert found.receivable is not None
    assert Msats(0).value < found.spendable.value < balance.value  # without the reserve
    assert found.receivable.value > Sats(5_000_000).msats.value
    assert found.skew_ms is not None
    assert abs(found.skew_ms) < 30_000


async def test_an_invoice_paid_before_the_node_was_killed_is_still_settled(harness: ElectrumHarness) -> None:
    paid = await harness.wallet.create_invoice(ASKED, memo="two words", expiry_seconds=600, label="inv_1")
    unpaid = await harness.wallet.create_invoice(ASKED, memo="two words", expiry_seconds=600, label="inv_2")
    await harness.payer_pays(paid.payment_request)
    await harness.node_dies()
    with pytest.raises(WalletDown):
        await harness.wallet.lookup_invoice(paid.payment_hash)
    await harness.node_returns()
    assert await harness.wallet.lookup_invoice(paid.payment_hash) == Settled(ASKED)
    assert await harness.wallet.lookup_invoice(unpaid.payment_hash) == Unpaid()
    await harness.payer_pays(unpaid.payment_request)
    await eventually(harness, lambda: harness.wallet.lookup_invoice(unpaid.payment_hash), Settled(ASKED))


@pytest.mark.fault("D04", "D09")
async def test_a_payment_that_takes_too_long_is_unknown_then_in_flight_then_what_the_recipient_decides(harness: ElectrumHarness) -> None:
    hasty = ElectrumWallet(harness.url, SystemClock(), network=Network.REGTEST, pay_timeout_seconds=1.0)
    try:
        for decides_to_take in (True, False):
            preimage, payment_hash, request = harness.held_invoice()
            assert isinstance(await hasty.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT), Unknown)
            assert await harness.wallet.lookup_payment(payment_hash) == InFlight()
            # A second try finds the first one under way.
            assert await harness.wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT) == InFlight()
            await harness.recipient_decides(preimage, payment_hash, take=decides_to_take)
            ended: PaymentOutcome = Succeeded(preimage, Msats(0)) if decides_to_take else Failed("No attempt reached the recipient.")
            await eventually(harness, partial(harness.wallet.lookup_payment, payment_hash), ended)
    finally:
        await hasty.aclose()


@pytest.mark.fault("D04", "D06")
@pytest.mark.parametrize("takes", [True, False])
async def test_a_payment_during_which_our_node_was_killed_is_in_flight_until_the_recipient_decides(
    harness: ElectrumHarness, takes: bool
) -> None:
    preimage, payment_hash, request = harness.held_invoice()
    paying = asyncio.create_task(harness.wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT))
    await eventually(harness, lambda: harness.is_held(payment_hash), True)
    await harness.node_dies()
    assert isinstance(await paying, Unknown)
    await harness.node_returns(reconnect=False)
    # Electrum itself says "unpaid" now: its memory of paying died with it.
    assert await harness.wallet.lookup_payment(payment_hash) == InFlight()
    assert await harness.wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT) == InFlight()
    await harness.recipient_decides(preimage, payment_hash, take=takes)
    told: set[type[PaymentOutcome]] = set()

    async def ended() -> bool:
        outcome = await harness.wallet.lookup_payment(payment_hash)
        told.add(type(outcome))
        return isinstance(outcome, Succeeded | Failed)

    await eventually(harness, ended, True)
    assert told <= {InFlight, Succeeded if takes else Failed}, "it never said what was not so"
    if takes:
        assert await harness.wallet.lookup_payment(payment_hash) == Succeeded(preimage, Msats(0))


@pytest.mark.fault("D04", "D06")
@pytest.mark.parametrize("after_seconds", [0.0, 0.03, 0.1, 0.2])
async def test_a_payment_at_any_moment_of_which_our_node_is_killed_is_told_truly(harness: ElectrumHarness, after_seconds: float) -> None:
    payee_before = await harness.payee_balance()
    request = await harness.payee_invoice(ASKED)
    payment_hash = bolt11.decode(request).payment_hash
    paying = asyncio.create_task(harness.wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT))
    await asyncio.sleep(after_seconds)
    await harness.node_dies()
    with suppress(WalletDown):
        assert not isinstance(await paying, NeverSent | Failed)
    await harness.node_returns(reconnect=False)

    async def ended() -> bool:
        outcome = await harness.wallet.lookup_payment(payment_hash)
        assert not isinstance(outcome, Failed | Unknown)
        if isinstance(outcome, NeverSent):
            assert await harness.payee_balance() == payee_before
        return isinstance(outcome, Succeeded | NeverSent)

    await eventually(harness, ended, True)
    again = await harness.pays_to_the_end(request)
    assert isinstance(again, Succeeded)
    await eventually(harness, harness.payee_balance, payee_before + ASKED)


@pytest.mark.fault("A14")
async def test_a_routing_fee_above_the_limit_is_not_paid(harness: ElectrumHarness, stranger: str) -> None:
    amount = Sats(100_000).msats
    ask = harness.network[stranger].rpc
    request = (await asyncio.to_thread(ask, "add_request", amount="0.001", memo="far away", lightning=True))["lightning_invoice"]
    before = await harness.wallet.balance()
    refused = await harness.wallet.pay_invoice(request, amount=amount, fee_limit=Msats(0))
    assert isinstance(refused, Failed)
    assert await harness.wallet.balance() == before
    limit = Sats(1_000).msats

    async def paid_within_the_limit() -> bool:
        outcome = await harness.wallet.pay_invoice(request, amount=amount, fee_limit=limit)
        if isinstance(outcome, Failed):  # the nodes between may be late to forward; a payment that failed has cost nothing
            assert await harness.wallet.balance() == before
        return isinstance(outcome, Succeeded)

    await harness.channel_is_open()
    await eventually(harness, paid_within_the_limit, True)
    paid = await harness.wallet.lookup_payment(bolt11.decode(request).payment_hash)
    assert isinstance(paid, Succeeded)
    assert paid.fee is not None
    assert Msats(0) < paid.fee <= limit
    expected = before - amount - paid.fee
    await eventually(harness, lambda: _within_a_sat(harness.wallet, expected), True)  # Electrum shows its balance in whole sats


async def _within_a_sat(wallet: Wallet, expected: Msats) -> bool:
    return abs((await wallet.balance()).value - expected.value) < Sats(1).msats.value


async def test_a_password_that_electrum_does_not_accept_answers_no_question_and_is_not_told(harness: ElectrumHarness) -> None:
    port = harness.network[SELLER].rpc.port
    wallet = ElectrumWallet(f"http://user:wr0ng@127.0.0.1:{port}", SystemClock(), network=Network.REGTEST)
    request = await harness.payee_invoice(ASKED)
    try:
        for ask in (
            wallet.balance,
            lambda: wallet.lookup_payment("00" * 32),
            lambda: wallet.lookup_invoice("00" * 32),
            lambda: wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT),
        ):
            with pytest.raises(WalletDown) as refused:
                await ask()
            assert "ELECTRUM_URL" in refused.value.message
            assert "wr0ng" not in f"{refused.value.message} {wallet!r}"
    finally:
        await wallet.aclose()


async def test_the_buyers_side_says_when_it_cannot_pay(harness: ElectrumHarness) -> None:
    too_much = await harness.wallet.create_invoice(Sats(14_000_000).msats, memo="too much", expiry_seconds=600, label="inv_1")
    with pytest.raises(PaymentRefused):
        await harness.payer_pays(too_much.payment_request)
    assert await harness.wallet.lookup_invoice(too_much.payment_hash) == Unpaid()
