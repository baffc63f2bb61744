"""What is owed and what pays it: the payouts of Timmy on a database of each engine, with the built-in wallet and a customer beside it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from timmy.clock import ManualClock
from timmy.db import Database, Row, Tx
from timmy.errors import Refusal
from timmy.ids import system_random
from timmy.ledger import Code, Move, audit, chart, commit
from timmy.ledger.commit import available
from timmy.lightning import bolt11, payouts, store
from timmy.lightning.lnurl import LnurlClient
from timmy.lightning.paying import Paying
from timmy.lightning.payouts import Payout, Terms
from timmy.lightning.wallets.builtin import BuiltinCustomer, BuiltinWallet
from timmy.lightning.wallets.builtin_faults import Faults
from timmy.lightning.wallets.protocol import Network
from timmy.money import Msats, Sats
from timmy.tasks import Bell, Worker

OWED = Sats(500)
FEE = Msats(1_500)
TERMS = Terms(
    network=Network.REGTEST,
    enabled=True,
    caps_fees=True,
    fee_limit_bp=100,
    fee_limit_min=Sats(10),
    uncapped_max=Sats(400),
    per_hour_max=Sats(2_000),
    per_day_max=Sats(3_000),
)
BOOKS = ("accounts", "transfers", "payouts", "tasks", "events", "idempotency", "breakers")


class Address:
    """The internet, as far as payouts see it: an address that gives an invoice of the customer each time it is asked."""

    def __init__(self, customer: BuiltinCustomer) -> None:
        self.customer, self.asked = customer, 0

    async def fetch_invoice(self, destination: str, amount: Msats, comment: str | None = None) -> str:
        self.asked += 1
        return await self.customer.create_invoice(amount)


class Counter:
    def __init__(self, db: Database, clock: ManualClock) -> None:
        self.db, self.clock, self.faults = db, clock, Faults()
        self.wallet = BuiltinWallet(db, clock, system_random, self.faults, starting_balance=Sats(1_000_000).msats, fee=FEE)
        self.customer = BuiltinCustomer(db, clock, system_random, starting_balance=Sats(1).msats)
        self.address = Address(self.customer)
        self.with_terms()

    def with_terms(self, *, monotonic: Callable[[], float] = time.monotonic, **changes: Any) -> None:
        terms, bell = replace(TERMS, **changes), Bell()
        lnurl = cast(LnurlClient, self.address)
        self.paying = Paying(self.db, self.clock, self.wallet, lnurl, bell, terms, system_random, monotonic=monotonic)
        self.worker = Worker(self.db, self.clock, bell, {payouts.PAY: self.paying.pay, payouts.ASK_FEE: self.paying.ask_fee}, concurrency=1)

    async def owe(self, job: str = "job_1", amount: Sats = OWED) -> str:
        """A payment has come in, and is owed back."""

        def receive(tx: Tx) -> None:
            at_ms = self.clock.now_ms()
            n = len(tx.all("SELECT id FROM transfers"))
            commit(tx, at_ms, Move(f"in/{n}", chart.LIGHTNING, chart.job(job), amount.msats, Code.PAYMENT_RECEIVED))
            commit(tx, at_ms, Move(f"back/{n}", chart.job(job), chart.owed(job), amount.msats, Code.OWED_BACK))

        await self.db.write(receive)
        return chart.owed(job)

    async def invoice(self, amount: Sats | None = OWED, *, expiry_seconds: int = 3_600) -> str:
        return await self.customer.create_invoice(amount.msats if amount else None, expiry_seconds=expiry_seconds)

    async def claim(self, request: str, job: str = "job_1", **more: Any) -> Payout:
        return await self.paying.to_invoice(chart.owed(job), job, request, **more)

    async def refused(self, request: str, job: str = "job_1", **more: Any) -> Refusal:
        """The refusal that this claim meets, having changed nothing at all."""
        before = await self.books()
        with pytest.raises(Refusal) as refusal:
            await self.claim(request, job, **more)
        assert await self.books() == before, "a refusal left a trace"
        return refusal.value

    async def books(self) -> dict[str, list[Row]]:
        """Everything that a payout could have changed, row by row."""

        def read(tx: Tx) -> dict[str, list[Row]]:
            return {table: sorted(tx.all(f"SELECT * FROM {table}"), key=str) for table in BOOKS}

        return await self.db.read(read)

    async def work(self, *, seconds: int = 0) -> None:
        """So much later, the worker does all that is due."""
        self.clock.advance(seconds=seconds)
        await self.worker.run_due()

    async def payout(self, job: str = "job_1") -> Payout:
        """The newest of the job."""
        last = (await self.db.read(payouts.obligation, chart.owed(job))).last
        assert last is not None
        return last

    async def owed(self, job: str = "job_1") -> Sats:
        return (await self.db.read(available, chart.owed(job))).floor_sats()

    async def received(self) -> Sats:
        """What the customer's own node got from us."""
        self.faults.heal()
        return Sats((await self.customer.balance()).value // 1_000 - 1)

    async def breaker(self) -> Row | None:
        return await self.db.read(store.breaker, payouts.BREAKER)

    async def tries(self) -> int:
        return self.faults.calls["pay_invoice"]


def signed(clock: ManualClock, *, network: Network = Network.REGTEST, amount: Sats | None = OWED, expiry_seconds: int = 3_600) -> str:
    """An invoice of nobody in particular."""
    return bolt11.encode(
        network=network,
        private_key=bytes(31) + b"\x07",
        payment_hash=system_random(32).hex(),
        payment_secret=system_random(32),
        amount=amount.msats if amount else None,
        description="",
        created_at_ms=clock.now_ms(),
        expiry_seconds=expiry_seconds,
    )


@pytest.fixture
async def counter(db: Database, clock: ManualClock) -> AsyncIterator[Counter]:
    """At the end of every test the books close, and payouts and books agree."""
    counter = Counter(db, clock)
    yield counter
    assert [check for check in await db.read(audit) if not check.holds] == []
    assert await db.read(store.live_and_owed) == []
