"""Timmy's built-in wallet and a customer with theirs, for tests of both."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from timmy.clock import ManualClock
from timmy.db import Database, Row, Tx
from timmy.ids import system_random
from timmy.lightning import bolt11
from timmy.lightning.wallets.builtin import BuiltinCustomer, BuiltinWallet
from timmy.lightning.wallets.builtin_faults import Faults
from timmy.lightning.wallets.protocol import (
    NewInvoice,
    PaymentOutcome,
)
from timmy.money import Msats, Sats

FLOAT = Sats(10_000).msats
ASKED = Sats(1_000).msats
FEE = Msats(1_500)
LIMIT = Sats(10).msats


class Street:
    """Timmy's wallet, a customer, and trouble on order."""

    def __init__(self, db: Database, clock: ManualClock) -> None:
        self.db, self.clock, self.faults = db, clock, Faults()
        self.timmy = BuiltinWallet(db, clock, system_random, self.faults, starting_balance=FLOAT, fee=FEE, poll_seconds=0.02)
        self.customer = BuiltinCustomer(db, clock, system_random, wallet=self.timmy, starting_balance=FLOAT)

    async def invoice(self, amount: Msats = ASKED) -> NewInvoice:
        return await self.timmy.create_invoice(amount, memo="work", expiry_seconds=600, label="inv_1")

    async def pay(self, request: str, *, amount: Msats = ASKED, fee_limit: Msats = LIMIT) -> PaymentOutcome:
        return await self.timmy.pay_invoice(request, amount=amount, fee_limit=fee_limit)

    async def look(self, request: str) -> PaymentOutcome:
        return await self.timmy.lookup_payment(bolt11.decode(request).payment_hash)

    async def balances(self) -> tuple[Msats, Msats]:
        self.faults.heal()
        return await self.timmy.balance(), await self.customer.balance()


@pytest.fixture
async def street(sqlite_db: Database, clock: ManualClock) -> AsyncIterator[Street]:
    street = Street(sqlite_db, clock)
    yield street
    await street.timmy.aclose()


@pytest.fixture
async def any_street(db: Database, clock: ManualClock) -> AsyncIterator[Street]:
    street = Street(db, clock)
    yield street
    await street.timmy.aclose()


def all_msats(tx: Tx) -> int:
    row = tx.one("SELECT SUM(balance_msat) AS sum FROM builtin_nodes")
    assert row is not None
    return int(row["sum"])


def rows_of(tx: Tx, table: str) -> list[Row]:
    return tx.all(f"SELECT * FROM {table}")
