"""A wallet on LND keeps what every wallet promises: against a stand-in that was written from LND's interface files (see lnd_service)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from timmy.app import choose
from timmy.client.errors import NoWallet
from timmy.client.purses import open_purse
from timmy.clock import SystemClock
from timmy.db import Database
from timmy.ids import system_random
from timmy.lightning import bolt11, store
from timmy.lightning.payouts import BREAKER
from timmy.lightning.reconcile import ROUNDS_BEFORE_STOPPING, Reconciler
from timmy.lightning.wallets import lnd
from timmy.lightning.wallets.builtin import BuiltinCustomer, BuiltinWallet
from timmy.lightning.wallets.facts import Channels, Diagnosable
from timmy.lightning.wallets.lnd import LndWallet
from timmy.lightning.wallets.protocol import (
    Failed,
    InFlight,
    Network,
    NeverSent,
    PaysAmountless,
    Settled,
    Succeeded,
    Unknown,
    Unpaid,
    Wallet,
    WalletDown,
)
from timmy.money import Msats, Sats
from timmy.settings import Settings

pytest.register_assert_rewrite("tests.contract.wallet_suite")

from tests.contract.lnd_keys import ADMIN, EXACT, Kitchen  # noqa: E402  after the suite's asserts were prepared
from tests.contract.lnd_service import LOCKED, STARTING, LndService  # noqa: E402
from tests.contract.real_parts import dead_port  # noqa: E402
from tests.contract.wallet_suite import ASKED, FEE_LIMIT, FLOAT, WalletContract, WalletHarness, eventually, wall_clock_ms  # noqa: E402

FEE = Msats(1_500)


class LndHarness:
    grain = Msats(1)
    patience_seconds = 30.0
    hints_waived = ""

    def __init__(self, service: LndService, wallet: LndWallet, customer: BuiltinCustomer) -> None:
        self.service = service
        self.lnd = wallet
        self.wallet: Wallet = wallet
        self.customer = customer

    async def payer_pays(self, payment_request: str) -> None:
        await self.customer.pay(payment_request)

    async def payee_invoice(self, amount: Msats) -> str:
        return await self.customer.create_invoice(amount)

    async def payee_balance(self) -> Msats:
        return await self.customer.balance()

    def dead_wallet(self) -> Wallet:
        url = f"https://127.0.0.1:{dead_port()}"
        certificate = self.service.kitchen.certificate
        return LndWallet(url, self.service.bakery.bake(*EXACT), SystemClock(), network=Network.REGTEST, certificate=certificate)

    def now_ms(self) -> int:
        return wall_clock_ms()

    async def connected(self, *permissions: str) -> LndWallet:
        macaroon = self.service.bakery.bake(*permissions)
        return await LndWallet.connect(self.service.url, macaroon, SystemClock(), certificate=self.service.kitchen.certificate)


BOTH_GATEWAYS = pytest.mark.parametrize("wraps", [False, True], ids=["today", "before"])


@pytest.fixture
def wraps() -> bool:
    """How the gateway tells that a stream is refused."""
    return False


@pytest.fixture
async def harness(sqlite_db: Database, tmp_path: Path, wraps: bool) -> AsyncIterator[LndHarness]:
    node = BuiltinWallet(sqlite_db, SystemClock(), system_random, starting_balance=FLOAT, fee=FEE, poll_seconds=0.02)
    service = LndService(node, tmp_path, wraps=wraps)
    await service.start()
    certificate = service.kitchen.certificate
    wallet = await LndWallet.connect(service.url, service.bakery.bake(*EXACT), SystemClock(), certificate=certificate)
    yield LndHarness(service, wallet, BuiltinCustomer(sqlite_db, SystemClock(), system_random, starting_balance=FLOAT))
    await wallet.aclose()
    await service.aclose()
    await node.aclose()


async def _next(hints: AsyncIterator[str]) -> str:
    return await anext(hints)


class TestLndWallet(WalletContract):
    @pytest.fixture
    def harness(self, harness: LndHarness) -> WalletHarness:
        return harness


# Its key -------------------------------------------------------------------------------------------------


@pytest.mark.fault("G09")
async def test_a_macaroon_that_can_do_what_is_needed_and_no_more_is_taken_in_silence(harness: LndHarness) -> None:
    with capture_logs() as said:
        wallet = await harness.connected(*EXACT)
    assert said == []
    assert (await wallet.diagnose()).key_excess == ()
    await wallet.aclose()


@pytest.mark.fault("G09")
async def test_a_macaroon_that_can_do_more_is_said_with_the_way_to_a_smaller_one(harness: LndHarness) -> None:
    with capture_logs() as said:
        wallet = await harness.connected(*ADMIN)
    (warning,) = said
    assert (warning["event"], warning["log_level"]) == ("lnd.macaroon_can_do_more", "warning")
    assert {"onchain:write", "macaroon:generate", "offchain:write"} <= set(warning["allows"])
    assert not {"info:read", "invoices:write", "offchain:read"} & set(warning["allows"])
    assert warning["make_another"].startswith("lncli bakemacaroon --save_to=timmy.macaroon uri:/lnrpc.Lightning/GetInfo ")
    assert "onchain:write" in (await wallet.diagnose()).key_excess
    await wallet.aclose()


@pytest.mark.fault("G09")
@pytest.mark.parametrize("lacks", EXACT)
async def test_a_macaroon_that_can_do_too_little_stops_the_start_and_names_it(harness: LndHarness, lacks: str) -> None:
    with pytest.raises(WalletDown, match=f"{lacks.removeprefix('uri:')}. Make one that does: lncli bakemacaroon"):
        await harness.connected(*(one for one in EXACT if one != lacks))


async def test_the_adapter_makes_no_call_that_its_command_does_not_allow(harness: LndHarness) -> None:
    listening = asyncio.create_task(_next(harness.lnd.settlements()))
    new = await harness.wallet.create_invoice(ASKED, memo="two words", expiry_seconds=600, label="inv_1")
    await harness.wallet.lookup_invoice(new.payment_hash)
    request = await harness.payee_invoice(ASKED)
    assert isinstance(await harness.wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT), Succeeded)
    await harness.wallet.lookup_payment(bolt11.decode(request).payment_hash)
    await harness.wallet.balance()
    await harness.lnd.diagnose()
    await harness.payer_pays(new.payment_request)
    assert await listening == new.payment_hash
    assert {f"uri:{call}" for call in harness.service.called} == set(EXACT)


@pytest.mark.fault("G01")
async def test_the_macaroon_shows_nowhere(harness: LndHarness, caplog: pytest.LogCaptureFixture) -> None:
    macaroon = harness.service.bakery.bake(*ADMIN)
    with caplog.at_level(logging.DEBUG), capture_logs() as said:
        wallet = await LndWallet.connect(harness.service.url, macaroon, SystemClock(), certificate=harness.service.kitchen.certificate)
        harness.service.bakery = type(harness.service.bakery)()  # whose macaroons these are, is forgotten
        with pytest.raises(WalletDown, match="LND_MACAROON") as down:
            await wallet.balance()
        facts = repr(wallet) + str(down.value) + repr(said) + caplog.text
    assert macaroon not in facts
    assert macaroon[-64:] not in facts
    await wallet.aclose()


async def test_a_server_opens_it_by_its_settings(harness: LndHarness, sqlite_db: Database, tmp_path: Path) -> None:
    (file := tmp_path / "timmy.macaroon").write_bytes(bytes.fromhex(harness.service.bakery.bake(*EXACT)))
    named = {"LND_URL": harness.service.url, "LND_MACAROON": str(file), "LND_CERT": str(harness.service.kitchen.certificate)}
    settings = Settings.load({"WALLET": "lnd", "DATA_DIR": str(tmp_path), **named}, None)
    opened = await choose.wallet(settings, sqlite_db, SystemClock(), system_random, None)
    assert (opened.name, opened.network, await opened.balance()) == ("lnd", Network.REGTEST, FLOAT)
    await opened.aclose()
    settings = Settings.load({"WALLET": "lnd", "DATA_DIR": str(tmp_path), **named, "LND_MACAROON": "ab" * 64}, None)
    with pytest.raises(WalletDown, match="no macaroon of LND's: see LND_MACAROON"):
        await choose.wallet(settings, sqlite_db, SystemClock(), system_random, None)


# What is ours ---------------------------------------------------------------------------------------------


async def test_sats_that_are_set_aside_to_close_a_channel_are_not_missing(harness: LndHarness, sqlite_db: Database) -> None:
    reconciler = Reconciler(sqlite_db, SystemClock(), harness.wallet)
    assert await reconciler.compare() is not None  # what was there before is written down as the operator's
    harness.service.closing_fee_sat = 2_810  # the fees on the chain have risen
    for _ in range(ROUNDS_BEFORE_STOPPING):
        found = await reconciler.watch_once()
        assert found is not None
        assert (found.wallet, found.missing) == (FLOAT, Msats(0))
    assert await sqlite_db.read(store.breaker, BREAKER) is None


# Its door ------------------------------------------------------------------------------------------------


async def test_another_nodes_certificate_is_not_trusted(harness: LndHarness, tmp_path: Path) -> None:
    (other := tmp_path / "other").mkdir()
    for certificate in (Kitchen(other).certificate, None):
        with pytest.raises(WalletDown, match="LND_CERT"):
            await LndWallet.connect(harness.service.url, harness.service.bakery.bake(*EXACT), SystemClock(), certificate=certificate)
    facts = LndWallet(harness.service.url, harness.service.bakery.bake(*EXACT), SystemClock(), network=Network.REGTEST)
    shown = (await facts.diagnose()).certificate
    assert shown is not None
    assert "self-signed" in (shown.trouble or "")
    await facts.aclose()


async def test_a_file_that_is_no_certificate_is_said(tmp_path: Path, harness: LndHarness) -> None:
    (bad := tmp_path / "bad.cert").write_text("nothing")
    for path in (bad, tmp_path / "none.cert"):
        with pytest.raises(WalletDown, match="no certificate that can be read"):
            await LndWallet.connect(harness.service.url, harness.service.bakery.bake(*EXACT), SystemClock(), certificate=path)


@BOTH_GATEWAYS
@pytest.mark.parametrize(("shut", "words"), [(LOCKED, "lncli unlock"), (STARTING, "still starting")])
async def test_a_wallet_that_is_locked_says_what_to_do_and_sends_nothing(harness: LndHarness, shut: str, words: str) -> None:
    request = await harness.payee_invoice(ASKED)
    harness.service.shut = shut
    for ask in (
        lambda: harness.wallet.create_invoice(ASKED, memo="two words", expiry_seconds=600, label="inv_1"),
        lambda: harness.wallet.lookup_invoice("ab" * 32),
        lambda: harness.wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT),
        lambda: harness.wallet.lookup_payment("ab" * 32),
        harness.wallet.balance,
        harness.lnd.diagnose,
    ):
        with pytest.raises(WalletDown, match=words):
            await ask()
    harness.service.shut = None
    assert await harness.wallet.lookup_payment(bolt11.decode(request).payment_hash) == NeverSent()


# Payments --------------------------------------------------------------------------------------------------


@BOTH_GATEWAYS
async def test_a_payment_that_is_held_is_on_its_way_until_it_ends_and_is_sent_once(harness: LndHarness) -> None:
    harness.service.hold = asyncio.Event()
    before = await harness.payee_balance()
    request = await harness.payee_invoice(ASKED)
    payment_hash = bolt11.decode(request).payment_hash
    first = asyncio.create_task(harness.wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT))

    async def known() -> bool:
        return isinstance(await harness.wallet.lookup_payment(payment_hash), InFlight)

    await eventually(harness, known, True)
    assert await harness.wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT) == InFlight()
    harness.service.hold.set()
    assert isinstance(await first, Succeeded)
    again = await harness.wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT)
    assert isinstance(again, Succeeded)
    assert again.fee == FEE
    assert await harness.payee_balance() == before + ASKED


async def test_a_payment_outlives_our_patience_with_it(harness: LndHarness) -> None:
    harness.service.hold = asyncio.Event()
    request = await harness.payee_invoice(ASKED)
    certificate = harness.service.kitchen.certificate
    hasty = LndWallet(
        harness.service.url,
        harness.service.bakery.bake(*EXACT),
        SystemClock(),
        network=Network.REGTEST,
        certificate=certificate,
        pay_timeout_seconds=0.5,
    )
    assert isinstance(await hasty.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT), Unknown)
    await hasty.aclose()
    harness.service.hold.set()

    async def arrived() -> bool:
        return isinstance(await harness.wallet.lookup_payment(bolt11.decode(request).payment_hash), Succeeded | NeverSent)

    await eventually(harness, arrived, True)


async def test_the_fee_limit_is_handed_on_and_kept_to_zero_too(harness: LndHarness) -> None:
    assert harness.wallet.caps_fees
    for limit in (Msats(0), Msats(FEE.value - 1)):
        request = await harness.payee_invoice(ASKED)
        assert await harness.wallet.pay_invoice(request, amount=ASKED, fee_limit=limit) == Failed("there is no route within the fee limit")
    outcome = await harness.wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE)
    assert outcome == Succeeded(outcome.preimage if isinstance(outcome, Succeeded) else None, FEE)
    assert harness.service.fee_limits == [0, FEE.value - 1, FEE.value]


async def test_an_invoice_that_leaves_the_amount_to_us_is_paid_with_what_we_say(harness: LndHarness) -> None:
    assert isinstance(harness.wallet, PaysAmountless)
    before = await harness.payee_balance()
    request = await harness.customer.create_invoice(None)
    assert isinstance(await harness.wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT), Succeeded)
    assert await harness.payee_balance() == before + ASKED


@BOTH_GATEWAYS
async def test_our_own_invoice_is_not_paid_by_ourselves(harness: LndHarness) -> None:
    new = await harness.wallet.create_invoice(ASKED, memo="two words", expiry_seconds=600, label="inv_1")
    assert await harness.wallet.pay_invoice(new.payment_request, amount=ASKED, fee_limit=FEE_LIMIT) == Failed("self-payments not allowed")
    assert await harness.wallet.lookup_invoice(new.payment_hash) == Unpaid()


# Invoices --------------------------------------------------------------------------------------------------


async def test_what_arrived_is_told_with_its_proof_also_when_it_was_too_much(harness: LndHarness) -> None:
    new = await harness.wallet.create_invoice(ASKED, memo="two words", expiry_seconds=600, label="inv_1")
    preimage = await harness.customer.pay(new.payment_request, ASKED + ASKED)
    found = await harness.wallet.lookup_invoice(new.payment_hash)
    assert isinstance(found, Settled)
    assert (found.received, found.preimage) == (ASKED + ASKED, preimage)


async def test_a_settlement_while_the_line_was_down_is_told_when_it_is_back(harness: LndHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lnd, "RECONNECT_SECONDS_MIN", 0.01)
    async with aclosing(harness.lnd.settlements()) as hints:
        first, second = [await harness.wallet.create_invoice(ASKED, memo="x", expiry_seconds=600, label="x") for _ in range(2)]
        heard = asyncio.create_task(_next(hints))

        async def listening() -> bool:
            return "/lnrpc.Lightning/SubscribeInvoices" in harness.service.called

        await eventually(harness, listening, True)
        await harness.payer_pays(first.payment_request)
        assert await heard == first.payment_hash
        harness.service.shut = LOCKED
        heard = asyncio.create_task(_next(hints))
        harness.service.hang_up()
        await harness.payer_pays(second.payment_request)
        harness.service.shut = None
        assert await heard == second.payment_hash


# The whole ---------------------------------------------------------------------------------------------------


async def test_it_tells_of_its_node_what_an_operator_wants_to_know(harness: LndHarness) -> None:
    assert isinstance(harness.wallet, Diagnosable)
    found = await harness.wallet.diagnose()
    assert (found.software, found.version, found.alias, found.synced, found.height) == ("LND", "0.20.1-beta", "stand-in", True, 812)
    assert found.channels == Channels(1, 1, 1)
    reserve = Sats(1_000).msats  # and the channel whose peer is away counts for nothing
    assert (found.spendable, found.receivable) == (FLOAT - reserve, Sats(69_000).msats)
    assert found.certificate is not None
    assert (found.certificate.trouble, found.certificate.ends_at_ms is not None) == (None, True)
    assert (found.skew_ms, found.nonsense) == (0, ())


async def test_a_buyers_purse_on_lnd_pays_with_a_smaller_macaroon(harness: LndHarness, tmp_path: Path) -> None:
    buys = [one for one in EXACT if one.rpartition("/")[2] in ("GetInfo", "SendPaymentV2", "TrackPaymentV2")]
    (file := tmp_path / "buyer.macaroon").write_bytes(bytes.fromhex(harness.service.bakery.bake(*buys)))
    address = f"lnd+{harness.service.url}?macaroon={file}&cert={harness.service.kitchen.certificate}"
    purse = await open_purse(address, "http://127.0.0.1:1")
    assert purse.network is Network.REGTEST
    assert str(file) not in purse.name
    assert await purse.invoice(Sats(1), "back") is None
    request = await harness.payee_invoice(ASKED)
    assert isinstance(await purse.pay(request, amount=ASKED, fee_limit=FEE_LIMIT), Succeeded)
    assert isinstance(await purse.lookup(bolt11.decode(request).payment_hash), Succeeded)
    await purse.aclose()
    with pytest.raises(NoWallet, match="macaroon's file: it cannot be read"):
        await open_purse(f"lnd+{harness.service.url}?macaroon={tmp_path / 'none'}", "http://127.0.0.1:1")
