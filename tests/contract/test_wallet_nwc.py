"""A wallet over Nostr keeps what every wallet promises: through a real relay, with an independent peer at the other end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import nostr_sdk
import pytest

from timmy.clock import SystemClock
from timmy.db import Database
from timmy.ids import system_random
from timmy.lightning import bolt11
from timmy.lightning.wallets.builtin import BuiltinCustomer, BuiltinWallet
from timmy.lightning.wallets.facts import Diagnosable, NodeFacts
from timmy.lightning.wallets.nwc import NwcWallet
from timmy.lightning.wallets.protocol import Network, NeverSent, Settled, Succeeded, Unknown, Wallet, WalletDown
from timmy.money import Msats

pytest.register_assert_rewrite("tests.contract.wallet_suite")

from tests.contract.nwc_service import WalletService, open_relay  # noqa: E402  after the suite's asserts were prepared
from tests.contract.real_parts import dead_port  # noqa: E402
from tests.contract.wallet_suite import ASKED, FEE_LIMIT, FLOAT, WalletContract, WalletHarness, eventually, wall_clock_ms  # noqa: E402


class NwcHarness:
    grain = Msats(1)
    patience_seconds = 30.0
    hints_waived = ""

    def __init__(self, service: WalletService, wallet: NwcWallet, customer: BuiltinCustomer) -> None:
        self.service = service
        self.nwc = wallet
        self.wallet: Wallet = wallet
        self._customer = customer

    async def payer_pays(self, payment_request: str) -> None:
        await self._customer.pay(payment_request)

    async def payee_invoice(self, amount: Msats) -> str:
        return await self._customer.create_invoice(amount)

    async def payee_balance(self) -> Msats:
        return await self._customer.balance()

    def dead_wallet(self) -> Wallet:
        uri = self.service.uri.split("?")[0] + f"?relay=ws://127.0.0.1:{dead_port()}&secret={'11' * 32}"
        return NwcWallet(uri, SystemClock(), network=Network.REGTEST)

    def now_ms(self) -> int:
        return wall_clock_ms()


@pytest.fixture
async def relay() -> AsyncIterator[str]:
    running = await open_relay()
    yield str(await running.url())
    running.shutdown()


@pytest.fixture
def node(sqlite_db: Database) -> BuiltinWallet:
    return BuiltinWallet(sqlite_db, SystemClock(), system_random, starting_balance=FLOAT, fee=Msats(1_500), poll_seconds=0.02)


@pytest.fixture(params=["nip44_v2 nip04", None], ids=["nip44", "nip04"])
def forms(request: pytest.FixtureRequest) -> str | None:
    """What the wallet offers. None: an old one, which says nothing and knows NIP-04."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
async def harness(sqlite_db: Database, relay: str, node: BuiltinWallet, forms: str | None) -> AsyncIterator[NwcHarness]:
    service = WalletService(relay, node, forms=forms)
    await service.start()
    wallet = await NwcWallet.connect(service.uri, SystemClock())
    yield NwcHarness(service, wallet, BuiltinCustomer(sqlite_db, SystemClock(), system_random, starting_balance=FLOAT))
    await wallet.aclose()
    await service.aclose()
    await node.aclose()


class TestNwcWallet(WalletContract):
    @pytest.fixture
    def forms(self) -> str | None:
        return "nip44_v2 nip04"

    @pytest.fixture
    def harness(self, harness: NwcHarness) -> WalletHarness:
        return harness


async def test_the_wallet_at_the_other_end_is_one_that_nostr_sdk_understands(harness: NwcHarness) -> None:
    uri = nostr_sdk.NostrWalletConnectUri.parse(harness.service.uri)
    theirs = nostr_sdk.NostrWalletConnectBuilder(uri).build()
    assert (await theirs.get_balance()).balance == (await harness.wallet.balance()).value
    request = await harness.payee_invoice(ASKED)
    paid = await theirs.pay_invoice(nostr_sdk.PayInvoiceRequest(id=None, invoice=request, amount=None))
    outcome = await harness.wallet.lookup_payment(bolt11.decode(request).payment_hash)
    assert outcome == Succeeded(paid.preimage, Msats(1_500))


async def test_it_learns_its_network_and_what_it_may_do(harness: NwcHarness) -> None:
    assert harness.wallet.network is Network.REGTEST
    with pytest.raises(WalletDown, match="does not allow pay_keysend"):
        await NwcWallet.connect(harness.service.uri, SystemClock(), needs=("pay_invoice", "pay_keysend"))


async def test_it_tells_what_its_protocol_can_tell_of_the_node(harness: NwcHarness) -> None:
    assert isinstance(harness.wallet, Diagnosable)
    assert await harness.wallet.diagnose() == NodeFacts(software="Nostr Wallet Connect", alias="a wallet", height=1)


async def test_the_preimage_of_what_was_received_is_told(harness: NwcHarness) -> None:
    new = await harness.wallet.create_invoice(ASKED, memo="two words", expiry_seconds=600, label="inv_1")
    await harness.payer_pays(new.payment_request)
    found = await harness.wallet.lookup_invoice(new.payment_hash)
    assert isinstance(found, Settled)
    assert found.preimage is not None


def impatient(harness: NwcHarness) -> NwcWallet:
    return NwcWallet(harness.service.uri, SystemClock(), network=Network.REGTEST, timeout_seconds=5.0, pay_timeout_seconds=1.0)


@pytest.mark.fault("D13")
async def test_a_payment_that_the_relay_lost_is_in_doubt_and_not_repeated(harness: NwcHarness) -> None:
    wallet = impatient(harness)
    request = await harness.payee_invoice(ASKED)
    payment_hash = bolt11.decode(request).payment_hash
    harness.service.deaf.add("pay_invoice")
    assert isinstance(await wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT), Unknown)
    # The wallet has never heard of it. It still may: until the question has ended, "never sent" would be a guess.
    assert isinstance(await wallet.lookup_payment(payment_hash), Unknown)
    assert await harness.wallet.lookup_payment(payment_hash) == NeverSent()
    await wallet.aclose()


@pytest.mark.fault("D04", "D13")
async def test_a_payment_whose_answer_the_relay_lost_is_told_by_the_look_up_and_made_once(harness: NwcHarness) -> None:
    wallet = impatient(harness)
    payee_before = await harness.payee_balance()
    request = await harness.payee_invoice(ASKED)
    harness.service.mute.add("pay_invoice")
    assert isinstance(await wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT), Unknown)
    assert isinstance(await wallet.lookup_payment(bolt11.decode(request).payment_hash), Succeeded)
    harness.service.mute.clear()
    assert isinstance(await wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT), Succeeded)
    assert await harness.payee_balance() == payee_before + ASKED
    await wallet.aclose()


@pytest.mark.fault("D14")
async def test_an_answer_that_comes_twice_has_one_effect(harness: NwcHarness) -> None:
    harness.service.twice.update(("pay_invoice", "get_balance", "lookup_invoice"))
    before = await harness.wallet.balance()
    for _ in range(3):
        request = await harness.payee_invoice(ASKED)
        outcome = await harness.wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT)
        assert isinstance(outcome, Succeeded)
        before = before - ASKED - Msats(1_500)
        await eventually(harness, harness.wallet.balance, before)
    assert harness.service.handled.count("pay_invoice") == 3
