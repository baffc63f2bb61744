"""The built-in wallet keeps what every wallet promises."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from timmy.clock import ManualClock
from timmy.db import Database, open_database
from timmy.ids import system_random
from timmy.lightning.wallets.builtin import BuiltinCustomer, BuiltinWallet
from timmy.lightning.wallets.protocol import Wallet
from timmy.money import Msats

pytest.register_assert_rewrite("tests.contract.wallet_suite")

from tests.contract.wallet_suite import FLOAT, WalletContract, WalletHarness  # noqa: E402  after its asserts were prepared


class BuiltinHarness:
    grain = Msats(1)
    patience_seconds = 30.0
    hints_waived = ""

    def __init__(self, db: Database, closed: Database) -> None:
        self._clock = ManualClock()
        self._closed = closed
        self.wallet: Wallet = BuiltinWallet(db, self._clock, system_random, starting_balance=FLOAT, fee=Msats(1_500), poll_seconds=0.02)
        self._customer = BuiltinCustomer(db, self._clock, system_random, starting_balance=FLOAT)  # as in another process: it tells nobody

    async def payer_pays(self, payment_request: str) -> None:
        await self._customer.pay(payment_request)

    async def payee_invoice(self, amount: Msats) -> str:
        return await self._customer.create_invoice(amount)

    async def payee_balance(self) -> Msats:
        return await self._customer.balance()

    def dead_wallet(self) -> Wallet:
        return BuiltinWallet(self._closed, self._clock, system_random)

    def now_ms(self) -> int:
        return self._clock.now_ms()


class TestBuiltinWallet(WalletContract):
    @pytest.fixture
    async def harness(self, db: Database, sqlite_url: str) -> AsyncIterator[WalletHarness]:
        closed = open_database(sqlite_url)
        await closed.aclose()
        harness = BuiltinHarness(db, closed)
        yield harness
        await harness.wallet.aclose()
