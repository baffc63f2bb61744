"""The LNbits wallet, against a real LNbits."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from aiohttp import web
from tests.contract.real_parts import LnbitsWorld, dead_port, lnbits_world

from timmy.clock import SystemClock
from timmy.lightning import bolt11
from timmy.lightning.wallets.facts import Diagnosable
from timmy.lightning.wallets.lnbits import LnbitsWallet
from timmy.lightning.wallets.protocol import Failed, Network, NeverSent, Settled, Succeeded, Unpaid, Wallet, WalletDown
from timmy.money import Msats, Sats
from timmy.regtest.buyers import LnbitsBuyer
from timmy.regtest.parts import PaymentRefused

pytest.register_assert_rewrite("tests.contract.wallet_suite")
from tests.contract.wallet_suite import ASKED, FEE_LIMIT, WalletContract, eventually, wall_clock_ms  # noqa: E402

__all__ = ["lnbits_world"]
pytestmark = [pytest.mark.real, pytest.mark.xdist_group("lnbits")]


class LnbitsHarness:
    grain = Msats(1_000)
    patience_seconds = 60.0
    hints_waived = ""

    def __init__(self, world: LnbitsWorld, wallet: LnbitsWallet) -> None:
        self.world, self.buyer = world, LnbitsBuyer(world.buyer)
        self.wallet: Wallet = wallet

    async def payer_pays(self, payment_request: str) -> None:
        await self.buyer.pay(payment_request)

    async def payee_invoice(self, amount: Msats) -> str:
        return await self.buyer.create_invoice(amount.floor_sats().value, "a refund")

    async def payee_balance(self) -> Msats:
        return await self.buyer.balance()

    def dead_wallet(self) -> Wallet:
        return LnbitsWallet(f"http://127.0.0.1:{dead_port()}", "no key", SystemClock(), network=Network.MAINNET)

    def now_ms(self) -> int:
        return wall_clock_ms()


@pytest.fixture
async def harness(lnbits_world: LnbitsWorld) -> AsyncIterator[LnbitsHarness]:
    wallet = await LnbitsWallet.connect(lnbits_world.server.url, lnbits_world.seller.admin_key, SystemClock())
    yield LnbitsHarness(lnbits_world, wallet)
    await wallet.aclose()


class TestLnbits(WalletContract):
    """Every promise of the suite; the harness is above."""


# What only a real LNbits does ---------------------------------------------------------------------------


@pytest.mark.fault("A06", "D14")
async def test_a_payment_that_lnbits_reports_twice_is_the_same_settlement(harness: LnbitsHarness) -> None:
    heard: list[str] = []
    listening = asyncio.create_task(_listen(harness.wallet, heard))
    await _hears_of_a_payment(harness, heard)  # then the WebSocket stands; a hint before that is lost, as it may be
    new = await harness.wallet.create_invoice(ASKED, memo="two words", expiry_seconds=600, label="inv_1")
    await harness.payer_pays(new.payment_request)
    await eventually(harness, lambda: _times(heard, new.payment_hash), 2)
    assert await harness.wallet.lookup_invoice(new.payment_hash) == Settled(ASKED)
    await _cancel(listening)


@pytest.mark.fault("A06", "D11")
async def test_a_webhook_names_the_payment_without_proof_and_more_than_once(harness: LnbitsHarness) -> None:
    bodies: list[str] = []

    async def hook(request: web.Request) -> web.Response:
        bodies.append(await request.text())
        return web.Response()

    app = web.Application()
    app.router.add_post("/api/hooks/lnbits/s3cret", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    world = harness.world
    webhook_url = f"http://127.0.0.1:{port}/api/hooks/lnbits/s3cret"
    wallet = LnbitsWallet(world.server.url, world.seller.admin_key, SystemClock(), network=harness.wallet.network, webhook_url=webhook_url)
    try:
        new = await wallet.create_invoice(ASKED, memo="two words", expiry_seconds=600, label="inv_1")
        await harness.payer_pays(new.payment_request)
        await eventually(harness, lambda: _count(bodies), 2)
        for body in bodies:
            told = json.loads(body)
            told = json.loads(told) if isinstance(told, str) else told
            assert told["payment_hash"] == new.payment_hash
    finally:
        await wallet.aclose()
        await runner.cleanup()


@pytest.mark.fault("A12")
async def test_an_invoice_that_somebody_else_has_paid_is_refused_and_costs_nothing(harness: LnbitsHarness) -> None:
    third = harness.world.server.open_account(f"third{wall_clock_ms()}", sats=10_000)
    request = await harness.payee_invoice(ASKED)
    await LnbitsBuyer(third).pay(request)
    before = await harness.wallet.balance()
    outcome = await harness.wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT)
    assert isinstance(outcome, Failed)
    assert "already" in outcome.reason
    assert await harness.wallet.lookup_payment(bolt11.decode(request).payment_hash) == NeverSent()
    assert await harness.wallet.balance() == before


@pytest.mark.fault("A13")
async def test_an_invoice_of_our_own_has_two_sides_and_each_look_up_sees_its_own(harness: LnbitsHarness) -> None:
    new = await harness.wallet.create_invoice(ASKED, memo="to myself", expiry_seconds=600, label="inv_1")
    assert await harness.wallet.lookup_payment(new.payment_hash) == NeverSent()
    outcome = await harness.wallet.pay_invoice(new.payment_request, amount=ASKED, fee_limit=FEE_LIMIT)
    assert isinstance(outcome, Succeeded)
    assert outcome.preimage is not None
    assert hashlib.sha256(bytes.fromhex(outcome.preimage)).hexdigest() == new.payment_hash
    assert await harness.wallet.lookup_invoice(new.payment_hash) == Settled(ASKED)
    assert await harness.wallet.lookup_payment(new.payment_hash) == outcome


async def test_a_real_lnbits_tells_its_time_and_keeps_the_rest_to_itself(harness: LnbitsHarness) -> None:
    assert isinstance(harness.wallet, Diagnosable)
    found = await harness.wallet.diagnose()
    assert (found.software, found.version, found.channels, found.nonsense) == ("LNbits", None, None, ())
    assert found.skew_ms is not None
    assert abs(found.skew_ms) < 30_000


async def test_a_key_that_lnbits_does_not_know_answers_no_question(harness: LnbitsHarness) -> None:
    paid = await harness.payee_invoice(ASKED)
    assert isinstance(await harness.wallet.pay_invoice(paid, amount=ASKED, fee_limit=FEE_LIMIT), Succeeded)
    unpaid = await harness.payee_invoice(ASKED)
    wrong_key = "0123456789abcdef" * 2
    stranger = LnbitsWallet(harness.world.server.url, wrong_key, SystemClock(), network=harness.wallet.network)
    try:
        for ask in (
            # LNbits says 404 to this key, too: taken at its word, a payment that was made would be "never sent", and made again.
            lambda: stranger.lookup_payment("00" * 32),
            lambda: stranger.lookup_payment(bolt11.decode(paid).payment_hash),
            lambda: stranger.lookup_invoice(bolt11.decode(paid).payment_hash),
            lambda: stranger.pay_invoice(unpaid, amount=ASKED, fee_limit=FEE_LIMIT),
            lambda: stranger.create_invoice(ASKED, memo="two words", expiry_seconds=600, label="inv_1"),
            stranger.balance,
        ):
            with pytest.raises(WalletDown) as refused:
                await ask()
            assert "LNBITS_API_KEY" in refused.value.message
            assert wrong_key not in refused.value.message
    finally:
        await stranger.aclose()


async def test_an_invoice_key_can_sell_but_not_pay(harness: LnbitsHarness) -> None:
    world = harness.world
    seller = LnbitsWallet(world.server.url, world.seller.invoice_key, SystemClock(), network=harness.wallet.network)
    request = await harness.payee_invoice(ASKED)
    try:
        await seller.create_invoice(ASKED, memo="two words", expiry_seconds=600, label="inv_1")
        with pytest.raises(WalletDown, match="admin key"):
            await seller.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT)
    finally:
        await seller.aclose()
    assert await harness.wallet.lookup_payment(bolt11.decode(request).payment_hash) == NeverSent()


async def test_a_payment_is_still_settled_after_lnbits_was_killed(harness: LnbitsHarness) -> None:
    paid = await harness.wallet.create_invoice(ASKED, memo="two words", expiry_seconds=600, label="inv_1")
    unpaid = await harness.wallet.create_invoice(ASKED, memo="two words", expiry_seconds=600, label="inv_2")
    heard: list[str] = []
    listening = asyncio.create_task(_listen(harness.wallet, heard))
    await harness.payer_pays(paid.payment_request)
    await asyncio.to_thread(harness.world.server.kill)
    with pytest.raises(WalletDown):
        await harness.wallet.lookup_invoice(paid.payment_hash)
    await asyncio.to_thread(harness.world.server.restart)
    assert await harness.wallet.lookup_invoice(paid.payment_hash) == Settled(ASKED)
    assert await harness.wallet.lookup_invoice(unpaid.payment_hash) == Unpaid()
    await _hears_of_a_payment(harness, heard)  # the WebSocket came back by itself
    await _cancel(listening)


@pytest.mark.fault("D04", "D06")
@pytest.mark.parametrize("after_seconds", [0.0, 0.02, 0.05])
async def test_a_payment_during_which_lnbits_dies_is_told_truly(harness: LnbitsHarness, after_seconds: float) -> None:
    ours, theirs = await harness.wallet.balance(), await harness.payee_balance()
    request = await harness.payee_invoice(ASKED)
    paying = asyncio.create_task(harness.wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT))
    await asyncio.sleep(after_seconds)
    await asyncio.to_thread(harness.world.server.kill)
    with suppress(WalletDown):
        assert not isinstance(await paying, NeverSent | Failed)
    await asyncio.to_thread(harness.world.server.restart)
    told = await harness.wallet.lookup_payment(bolt11.decode(request).payment_hash)
    left = await harness.wallet.balance() == ours - ASKED
    arrived = await harness.payee_balance() == theirs + ASKED
    # Between two wallets of its own, LNbits writes what left and what arrived apart: killed between the two, it has taken
    # our sats and given them to nobody. That is a payment made: to call it "never sent" would pay it twice.
    assert isinstance(told, Succeeded if left else NeverSent), (told, left, arrived)
    assert left or not arrived


async def test_the_buyers_side_says_when_it_cannot_pay(harness: LnbitsHarness) -> None:
    too_much = await harness.wallet.create_invoice(Sats(5_000_000).msats, memo="too much", expiry_seconds=600, label="inv_1")
    with pytest.raises(PaymentRefused, match="Insufficient"):
        await harness.payer_pays(too_much.payment_request)
    assert await harness.wallet.lookup_invoice(too_much.payment_hash) == Unpaid()


async def _listen(wallet: Wallet, heard: list[str]) -> None:
    async for payment_hash in wallet.settlements():
        heard.append(payment_hash)


async def _times(heard: list[str], payment_hash: str) -> int:
    return heard.count(payment_hash)


async def _count(heard: list[str]) -> int:
    return len(heard)


async def _hears_of_a_payment(harness: LnbitsHarness, heard: list[str]) -> None:
    """A hint before the WebSocket stands again is lost, as hints may be: so pay until one is heard."""

    async def heard_of_a_new_one() -> bool:
        new = await harness.wallet.create_invoice(ASKED, memo="two words", expiry_seconds=600, label="inv_3")
        await harness.payer_pays(new.payment_request)
        await asyncio.sleep(0.5)
        return new.payment_hash in heard

    await eventually(harness, heard_of_a_new_one, True)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
