"""What every wallet promises, as tests that any wallet can be put through.

A wallet's own test file says how to reach it, and inherits the promises:

    pytest.register_assert_rewrite("tests.contract.wallet_suite")
    from tests.contract.wallet_suite import WalletContract

    class TestLnbits(WalletContract):
        @pytest.fixture
        async def harness(self, lnbits) -> AsyncIterator[LnbitsHarness]:
            ...

A harness needs two parties: `wallet`, which is Timmy's and is under test, and someone outside who can pay it and be paid by it. Both
begin each test with at least `FLOAT`. Nothing here knows how a wallet works; where a real network needs time, `eventually` waits.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import pytest

from timmy.lightning import bolt11
from timmy.lightning.wallets.protocol import (
    Failed,
    InFlight,
    NeverSent,
    NewInvoice,
    NoSuchInvoice,
    PaymentOutcome,
    Settled,
    Succeeded,
    Unknown,
    Unpaid,
    Wallet,
    WalletDown,
)
from timmy.money import Msats, Sats

FLOAT = Sats(50_000).msats  # what both parties hold when a test begins, at least
ASKED = Sats(1_000).msats
FEE_LIMIT = Sats(50).msats
EXPIRY_SECONDS = 600
POLL_SECONDS = 0.02
CANCEL_AFTER_TICKS = (0, 1, 2, 5, 20, 100)


class WalletHarness(Protocol):
    """How the suite reaches one wallet. All that may be left out is said so."""

    wallet: Wallet
    grain: Msats  # the smallest step between two amounts: Msats(1), or Msats(1_000) where a wallet knows only sats
    patience_seconds: float  # how long the real thing may take until everyone agrees on what happened
    hints_waived: str  # "" , or the reason why `settlements()` of this wallet cannot be counted on

    async def payer_pays(self, payment_request: str) -> None:
        """Someone outside pays an invoice of `wallet`, in full. Returns when they are done."""
        ...

    async def payee_invoice(self, amount: Msats) -> str:
        """An invoice of someone whom `wallet` can pay."""
        ...

    async def payee_balance(self) -> Msats:
        """What that someone holds."""
        ...

    def dead_wallet(self) -> Wallet:
        """A wallet of the same kind whose backend cannot be reached: nobody listens there."""
        ...

    def now_ms(self) -> int:
        """The time by which this wallet's invoices expire."""
        ...


def wall_clock_ms() -> int:
    """What `now_ms` returns in a harness around a real wallet."""
    return time.time_ns() // 1_000_000


class WalletContract:
    """The promises. Inherit, and give a fixture named `harness`."""

    # Money in ----------------------------------------------------------------------------------------

    async def test_an_invoice_says_what_was_asked_for(self, harness: WalletHarness) -> None:
        amount = ASKED + harness.grain
        new = await _invoice(harness, amount)
        read = bolt11.decode(new.payment_request)
        assert read.amount == amount
        assert read.payment_hash == new.payment_hash
        assert read.network is harness.wallet.network
        assert abs(read.expires_at_ms - new.expires_at_ms) <= 1_000
        lifetime_ms = new.expires_at_ms - harness.now_ms()
        assert 0 < lifetime_ms <= (EXPIRY_SECONDS + 2) * 1_000
        assert "two words" in read.description or read.description_hash is not None

    async def test_an_amount_that_the_wallet_cannot_ask_for_is_never_rounded(self, harness: WalletHarness) -> None:
        amount = ASKED + Msats(1)
        try:
            new = await _invoice(harness, amount)
        except ValueError:
            assert harness.grain > Msats(1)
        else:
            assert bolt11.decode(new.payment_request).amount == amount

    async def test_two_invoices_have_two_hashes(self, harness: WalletHarness) -> None:
        first, second = await _invoice(harness, ASKED), await _invoice(harness, ASKED)
        assert first.payment_hash != second.payment_hash

    async def test_an_invoice_that_nobody_paid_is_unpaid(self, harness: WalletHarness) -> None:
        new = await _invoice(harness, ASKED)
        assert await harness.wallet.lookup_invoice(new.payment_hash) == Unpaid()

    async def test_a_paid_invoice_is_settled_with_what_arrived(self, harness: WalletHarness) -> None:
        before = await harness.wallet.balance()
        new = await _invoice(harness, ASKED)
        await harness.payer_pays(new.payment_request)
        await eventually(harness, lambda: harness.wallet.lookup_invoice(new.payment_hash), Settled(received=ASKED))
        await eventually(harness, harness.wallet.balance, before + ASKED)
        found = await harness.wallet.lookup_invoice(new.payment_hash)
        assert isinstance(found, Settled)
        if found.preimage is not None:
            assert hashlib.sha256(bytes.fromhex(found.preimage)).hexdigest() == new.payment_hash

    async def test_a_hash_that_is_not_ours_is_nobodys_invoice(self, harness: WalletHarness) -> None:
        assert await harness.wallet.lookup_invoice(secrets.token_hex(32)) in (NoSuchInvoice(), Unpaid())

    async def test_a_settlement_is_hinted_at(self, harness: WalletHarness) -> None:
        heard: set[str] = set()
        listening = asyncio.create_task(_listen(harness.wallet, heard))
        new = await _invoice(harness, ASKED)
        await harness.payer_pays(new.payment_request)
        if not harness.hints_waived:
            await eventually(harness, lambda: _is_in(heard, new.payment_hash), True)
        await eventually(harness, lambda: harness.wallet.lookup_invoice(new.payment_hash), Settled(received=ASKED))
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening

    # Money out ---------------------------------------------------------------------------------------

    async def test_a_payment_arrives_and_is_proven(self, harness: WalletHarness) -> None:
        before, payee_before = await harness.wallet.balance(), await harness.payee_balance()
        request = await harness.payee_invoice(ASKED)
        outcome = await _pay(harness, request)
        assert isinstance(outcome, Succeeded)
        _assert_proof(outcome, request)
        again = await _told(harness, request)
        assert isinstance(again, Succeeded)
        _assert_proof(again, request)
        await eventually(harness, harness.payee_balance, payee_before + ASKED)
        fee = again.fee if again.fee is not None else outcome.fee
        if fee is not None:
            assert fee <= FEE_LIMIT or not harness.wallet.caps_fees
            await eventually(harness, harness.wallet.balance, before - ASKED - fee)
        else:
            await eventually(harness, lambda: _at_most(harness, before - ASKED), True)

    async def test_an_invoice_paid_twice_is_paid_once(self, harness: WalletHarness) -> None:
        payee_before = await harness.payee_balance()
        request = await harness.payee_invoice(ASKED)
        assert isinstance(await _pay(harness, request), Succeeded)
        await eventually(harness, harness.payee_balance, payee_before + ASKED)
        after_one = await harness.wallet.balance()
        second = await harness.wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT)
        assert not isinstance(second, NeverSent | Failed), "a wallet that paid must not say that it will never have paid"
        assert isinstance(await _told(harness, request), Succeeded)
        assert (await harness.payee_balance(), await harness.wallet.balance()) == (payee_before + ASKED, after_one)

    async def test_an_invoice_paid_by_two_callers_at_once_is_paid_once(self, harness: WalletHarness) -> None:
        payee_before = await harness.payee_balance()
        request = await harness.payee_invoice(ASKED)
        pay = harness.wallet.pay_invoice
        outcomes = await asyncio.gather(*(pay(request, amount=ASKED, fee_limit=FEE_LIMIT) for _ in range(3)))
        assert not any(isinstance(outcome, NeverSent | Failed) for outcome in outcomes)
        assert isinstance(await _told(harness, request), Succeeded)
        await eventually(harness, harness.payee_balance, payee_before + ASKED)

    async def test_what_was_never_sent_is_never_called_paid(self, harness: WalletHarness) -> None:
        assert isinstance(await harness.wallet.lookup_payment(secrets.token_hex(32)), NeverSent | Unknown)

    async def test_an_invoice_of_nobody_is_not_paid(self, harness: WalletHarness) -> None:
        await self._is_not_paid(harness, _foreign_invoice(harness, created_at_ms=harness.now_ms()))

    async def test_an_expired_invoice_is_not_paid(self, harness: WalletHarness) -> None:
        await self._is_not_paid(harness, _foreign_invoice(harness, created_at_ms=harness.now_ms() - 2 * EXPIRY_SECONDS * 1_000))

    async def test_more_than_we_hold_is_not_paid(self, harness: WalletHarness) -> None:
        too_much = (await harness.wallet.balance()).ceil_sats() + Sats(1)
        payee_before = await harness.payee_balance()
        await self._is_not_paid(harness, await harness.payee_invoice(too_much.msats))
        assert await harness.payee_balance() == payee_before

    async def _is_not_paid(self, harness: WalletHarness, request: str) -> None:
        before = await harness.wallet.balance()
        invoice = bolt11.decode(request)
        assert invoice.amount is not None
        outcome = await harness.wallet.pay_invoice(request, amount=invoice.amount, fee_limit=FEE_LIMIT)
        assert isinstance(outcome, Failed | Unknown | InFlight)
        assert not isinstance(await harness.wallet.lookup_payment(invoice.payment_hash), Succeeded)
        await eventually(harness, harness.wallet.balance, before)

    # When things go wrong ----------------------------------------------------------------------------

    async def test_a_wallet_that_cannot_be_reached_says_so(self, harness: WalletHarness) -> None:
        request = await harness.payee_invoice(ASKED)
        dead = harness.dead_wallet()
        try:
            for ask in (
                lambda: dead.create_invoice(ASKED, memo="two words", expiry_seconds=EXPIRY_SECONDS, label="label"),
                lambda: dead.lookup_invoice(secrets.token_hex(32)),
                lambda: dead.lookup_payment(secrets.token_hex(32)),
                dead.balance,
            ):
                with pytest.raises(WalletDown):
                    await ask()
            assert isinstance(await _pay_or_down(dead, request), Unknown | WalletDown)
        finally:
            await dead.aclose()

    @pytest.mark.fault("D04")
    @pytest.mark.parametrize("ticks", CANCEL_AFTER_TICKS)
    async def test_a_cancelled_payment_is_told_truly_and_paid_once(self, harness: WalletHarness, ticks: int) -> None:
        payee_before = await harness.payee_balance()
        request = await harness.payee_invoice(ASKED)
        paying = asyncio.create_task(harness.wallet.pay_invoice(request, amount=ASKED, fee_limit=FEE_LIMIT))
        for _ in range(ticks):
            await asyncio.sleep(0)
        paying.cancel()
        with suppress(asyncio.CancelledError):
            await paying

        async def truth_is_told() -> bool:
            told = await harness.wallet.lookup_payment(bolt11.decode(request).payment_hash)
            arrived = await harness.payee_balance() == payee_before + ASKED
            return isinstance(told, Succeeded) if arrived else isinstance(told, NeverSent | Failed | Unknown)

        await eventually(harness, truth_is_told, True)
        assert isinstance(await _pay(harness, request), Succeeded)  # the same invoice: a second try, or the first one's success
        await eventually(harness, harness.payee_balance, payee_before + ASKED)

    @pytest.mark.parametrize("ticks", CANCEL_AFTER_TICKS)
    async def test_a_cancelled_request_for_an_invoice_harms_nobody(self, harness: WalletHarness, ticks: int) -> None:
        asking = asyncio.create_task(_invoice(harness, ASKED))
        for _ in range(ticks):
            await asyncio.sleep(0)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        new = await _invoice(harness, ASKED)
        await harness.payer_pays(new.payment_request)
        await eventually(harness, lambda: harness.wallet.lookup_invoice(new.payment_hash), Settled(received=ASKED))

    async def test_closing_twice_is_closing_once(self, harness: WalletHarness) -> None:
        dead = harness.dead_wallet()
        await dead.aclose()
        await dead.aclose()
        assert isinstance(dead.name, str)


# How the promises are asked about ----------------------------------------------------------------------


async def eventually(harness: WalletHarness, ask: Callable[[], Awaitable[object]], wanted: object) -> None:
    """Ask until the answer is the wanted one. When patience ends, the assertion shows the last answer."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + harness.patience_seconds
    while (answer := await ask()) != wanted and loop.time() < ends_at:
        await asyncio.sleep(POLL_SECONDS)
    assert answer == wanted


async def _invoice(harness: WalletHarness, amount: Msats) -> NewInvoice:
    label = f"inv_{secrets.token_hex(8)}"
    return await harness.wallet.create_invoice(amount, memo="two words", expiry_seconds=EXPIRY_SECONDS, label=label)


async def _listen(wallet: Wallet, heard: set[str]) -> None:
    async for payment_hash in wallet.settlements():
        heard.add(payment_hash)


async def _is_in(heard: set[str], payment_hash: str) -> bool:
    return payment_hash in heard


async def _pay(harness: WalletHarness, payment_request: str) -> PaymentOutcome:
    """Pay, and where the answer is not final, ask until it is."""
    amount = bolt11.decode(payment_request).amount
    assert amount is not None
    outcome = await harness.wallet.pay_invoice(payment_request, amount=amount, fee_limit=FEE_LIMIT)
    return outcome if isinstance(outcome, Succeeded | Failed) else await _told(harness, payment_request)


async def _told(harness: WalletHarness, payment_request: str) -> PaymentOutcome:
    """What look-ups say in the end."""
    payment_hash = bolt11.decode(payment_request).payment_hash

    async def final() -> bool:
        return isinstance(await harness.wallet.lookup_payment(payment_hash), Succeeded | Failed)

    await eventually(harness, final, True)
    return await harness.wallet.lookup_payment(payment_hash)


async def _pay_or_down(wallet: Wallet, payment_request: str) -> PaymentOutcome | WalletDown:
    try:
        return await wallet.pay_invoice(payment_request, amount=ASKED, fee_limit=FEE_LIMIT)
    except WalletDown as down:
        return down


async def _at_most(harness: WalletHarness, amount: Msats) -> bool:
    return await harness.wallet.balance() <= amount


def _assert_proof(outcome: Succeeded, payment_request: str) -> None:
    if outcome.preimage is not None:
        assert hashlib.sha256(bytes.fromhex(outcome.preimage)).hexdigest() == bolt11.decode(payment_request).payment_hash


def _foreign_invoice(harness: WalletHarness, *, created_at_ms: int) -> str:
    """A well-formed invoice, signed by a node that no channel leads to."""
    return bolt11.encode(
        network=harness.wallet.network,
        private_key=secrets.token_bytes(32),
        payment_hash=secrets.token_hex(32),
        payment_secret=secrets.token_bytes(32),
        amount=ASKED,
        description="nobody lives here",
        created_at_ms=created_at_ms,
        expiry_seconds=EXPIRY_SECONDS,
    )
