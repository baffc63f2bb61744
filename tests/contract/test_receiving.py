"""Being paid: the three ways in which a payment is noticed (push, poll, sweep), and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from timmy.clock import ManualClock
from timmy.db import Database, Row, Tx
from timmy.errors import Breach
from timmy.ids import system_random
from timmy.ledger import audit, chart
from timmy.lightning import invoices, store
from timmy.lightning.invoices import Invoice, Payment
from timmy.lightning.receiving import LAPSE_GRACE_MS, LATE_LOOK_MS, LOOKS_A_SECOND_MAX, SWEEP, SWEEP_MAX, Receiving
from timmy.lightning.wallets.builtin import BuiltinCustomer, BuiltinWallet
from timmy.lightning.wallets.builtin_faults import DownAfter, DownBefore, Faults, Gate, Says
from timmy.lightning.wallets.protocol import NewInvoice, NoSuchInvoice, Unpaid, WalletDown
from timmy.money import Msats, Sats
from timmy.tasks import AskAgainLater, Bell, Task

ASKED = Sats(100).msats
TTL_SECONDS = 600
LAPSED_AFTER_SECONDS = TTL_SECONDS + LAPSE_GRACE_MS // 1_000


class Till:
    """Timmy's receiving, a customer, and a listener who writes down what it is told."""

    def __init__(self, db: Database, clock: ManualClock) -> None:
        self.db, self.clock, self.faults = db, clock, Faults()
        self.wallet = BuiltinWallet(db, clock, system_random, self.faults, poll_seconds=0.02)
        self.customer = BuiltinCustomer(db, clock, system_random, wallet=self.wallet)
        self.paid: list[Payment] = []
        self.lapsed: list[str] = []
        self.receiving = self.another()

    def another(self) -> Receiving:
        """The receiving of another process."""
        return Receiving(
            self.db,
            self.clock,
            self.wallet,
            Bell(),
            ttl_seconds=TTL_SECONDS,
            on_paid={"test": self._note_paid},
            on_lapsed={"test": self._note_lapsed},
        )

    def _note_paid(self, tx: Tx, payments: Sequence[Payment]) -> None:
        self.paid += payments

    def _note_lapsed(self, tx: Tx, invoice: Invoice, at_ms: int) -> None:
        self.lapsed.append(invoice.id)

    async def ask(self, id: str = "inv_1") -> NewInvoice:
        return await self.receiving.ask(id=id, purpose="test", subject="job_1", account=chart.job("job_1"), amount=ASKED, memo="")

    async def invoice(self, id: str = "inv_1") -> NewInvoice:
        """An invoice that is shown to the customer."""
        new = await self.ask(id)
        await self.db.write(invoices.open_all, [(id, new)], self.clock.now_ms())
        return new

    async def pay(self, invoice: NewInvoice, amount: Msats = ASKED, *, late: bool = False) -> None:
        await self.customer.pay(invoice.payment_request, amount, late=late)

    async def sweep(self, *, seconds: int = 2) -> None:
        self.clock.advance(seconds=seconds)
        await self.receiving.sweep_once()

    async def state(self, id: str = "inv_1") -> str | None:
        row = (await self.db.read(store.invoices_by_id, [id])).get(id)
        return str(row["state"]) if row else None

    async def balance(self, account: str = "job/job_1") -> Msats:
        def read(tx: Tx) -> Row | None:
            return tx.one("SELECT balance_msat FROM accounts WHERE id = :id", id=account)

        row = await self.db.read(read)
        return Msats(row["balance_msat"]) if row else Msats(0)


@pytest.fixture
async def till(db: Database, clock: ManualClock) -> AsyncIterator[Till]:
    """At the end of every test the books close, and every settled invoice is credited."""
    till = Till(db, clock)
    yield till
    await till.wallet.aclose()
    assert [check for check in await db.read(audit) if not check.holds] == []
    assert await db.read(store.uncredited) == []


# told, and told again ---------------------------------------------------------------------------------


@pytest.mark.fault("A06", "B12")
async def test_a_payment_that_is_reported_by_everybody_again_and_again_is_credited_once(till: Till) -> None:
    invoice = await till.invoice()
    await till.pay(invoice)
    till.clock.advance(seconds=2)
    others = [till.another() for _ in range(3)]
    hash = invoice.payment_hash
    await asyncio.gather(
        *(one.look(hash) for one in others),
        *(one.hint(hash) for one in others),
        *(one.sweep_once() for one in others),
        *(one.report(hash, ASKED) for one in others),
    )
    await till.receiving.report(hash, Msats(999_999))  # later, and with another amount
    assert await till.balance() == ASKED
    assert [payment.invoice.id for payment in till.paid] == ["inv_1"]


@pytest.mark.fault("A06")
async def test_a_payment_that_is_reported_twice_in_one_group_is_credited_once(till: Till) -> None:
    one, two = await till.invoice("inv_1"), await till.invoice("inv_2")
    await asyncio.gather(*(till.receiving.report(hash, ASKED) for hash in 5 * [one.payment_hash, two.payment_hash]))
    assert await till.balance() == Msats(2 * ASKED.value)
    assert sorted(payment.invoice.id for payment in till.paid) == ["inv_1", "inv_2"]


@pytest.mark.fault("A04", "A05")
@pytest.mark.parametrize("received", [1, 999, ASKED.value - 1, ASKED.value, ASKED.value + 1, 2 * ASKED.value, 10 * ASKED.value])
async def test_what_arrived_is_credited_whatever_was_asked(till: Till, received: int) -> None:
    invoice = await till.invoice()
    await till.pay(invoice, Msats(received))
    await till.sweep()
    assert await till.balance() == Msats(received)
    assert [payment.is_enough for payment in till.paid] == [received >= ASKED.value]


@pytest.mark.fault("A07")
async def test_a_payment_that_matches_nothing_is_booked_where_it_can_be_seen(till: Till) -> None:
    stray = await till.wallet.create_invoice(ASKED, memo="not ours to know", expiry_seconds=600, label="")
    await till.pay(stray)
    await asyncio.gather(*(till.receiving.look(stray.payment_hash) for _ in range(3)))
    assert await till.balance(chart.UNALLOCATED) == ASKED
    assert till.paid == []


@pytest.mark.fault("D11")
async def test_a_hint_is_believed_by_nobody(till: Till) -> None:
    invoice = await till.invoice()
    await till.receiving.hint(invoice.payment_hash)
    await till.receiving.hint("ab" * 32)
    assert till.faults.calls["lookup_invoice"] == 1, "a hash that is not ours costs no look-up"
    assert await till.balance() == Msats(0)
    assert await till.state() == "open"


async def test_a_customer_who_polls_costs_one_look_a_second(till: Till) -> None:
    invoice = await till.invoice()
    for _ in range(20):
        await till.receiving.hint(invoice.payment_hash)
    assert till.faults.calls["lookup_invoice"] == 1
    till.clock.advance(seconds=1)
    await till.receiving.hint(invoice.payment_hash)
    assert till.faults.calls["lookup_invoice"] == 2


async def test_many_customers_who_poll_at_once_cost_one_look(till: Till) -> None:
    invoice = await till.invoice()
    await asyncio.gather(*(till.receiving.hint(invoice.payment_hash) for _ in range(20)))
    assert till.faults.calls["lookup_invoice"] == 1


# found out --------------------------------------------------------------------------------------------


@pytest.mark.fault("C03", "D12")
async def test_a_payment_that_nobody_reported_is_found_by_the_sweep(till: Till) -> None:
    invoice = await till.invoice()
    till.faults.hints_lost = True
    await till.pay(invoice)
    for _ in range(3):
        await till.sweep(seconds=30)
    assert await till.balance() == ASKED


@pytest.mark.fault("D12")
async def test_many_orders_that_nobody_pays_leave_the_wallet_in_peace(till: Till) -> None:
    new = [(f"inv_{n}", await till.ask(f"inv_{n}")) for n in range(SWEEP_MAX + 1)]
    await till.db.write(invoices.open_all, new, till.clock.now_ms())
    till.clock.advance(seconds=2)
    with pytest.raises(AskAgainLater) as later:
        await till.receiving.sweep(Task("task_1", SWEEP, "lightning", 1, 1, 0))
    assert till.faults.calls["lookup_invoice"] == SWEEP_MAX
    assert later.value.after_seconds is not None
    assert SWEEP_MAX / later.value.after_seconds <= LOOKS_A_SECOND_MAX


async def test_what_the_wallet_pushes_is_credited_and_a_push_that_breaks_off_is_taken_up_again(till: Till) -> None:
    invoice = await till.invoice()
    till.faults.next("lookup_invoice", DownBefore())  # the first look at what was pushed fails, and with it the listening
    listening = asyncio.create_task(till.receiving.listen())
    await till.pay(invoice)
    async with asyncio.timeout(30):
        while await till.balance() != ASKED:
            await asyncio.sleep(0.02)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    assert await till.balance() == ASKED


@pytest.mark.fault("A08", "B13")
async def test_an_invoice_lapses_once_after_the_wallet_has_said_that_it_is_unpaid(till: Till) -> None:
    await till.invoice()
    till.clock.advance(seconds=LAPSED_AFTER_SECONDS)
    await asyncio.gather(*(till.another().sweep_once() for _ in range(4)))
    assert await till.state() == "lapsed"
    assert till.lapsed == ["inv_1"]


@pytest.mark.fault("A08", "D01")
async def test_a_clock_alone_closes_nothing(till: Till) -> None:
    """With the wallet away, an invoice that was paid in time must not be closed because its time is over."""
    invoice = await till.invoice()
    await till.pay(invoice)
    till.faults.always("lookup_invoice", DownBefore())
    for _ in range(5):
        await till.sweep(seconds=LAPSED_AFTER_SECONDS)
    assert await till.state() == "open"
    till.faults.heal()
    await till.sweep(seconds=60)
    assert await till.state() == "settled"
    assert till.lapsed == []


@pytest.mark.fault("A08")
async def test_a_payment_just_before_the_expiry_has_a_moment_to_arrive(till: Till) -> None:
    invoice = await till.invoice()
    await till.sweep(seconds=TTL_SECONDS + 1)
    assert await till.state() == "open"
    await till.pay(invoice, late=True)
    await till.sweep(seconds=LAPSE_GRACE_MS // 1_000)
    assert await till.state() == "settled"


@pytest.mark.fault("A08")
@pytest.mark.parametrize("days", [0, 1, 6])
async def test_a_payment_that_comes_late_is_found_for_a_week(till: Till, days: int) -> None:
    invoice = await till.invoice()
    await till.sweep(seconds=LAPSED_AFTER_SECONDS)
    for _ in range(3):
        await till.sweep(seconds=LATE_LOOK_MS // 1_000)
    assert await till.state() == "lapsed"
    for _ in range(days):
        await till.sweep(seconds=86_400)
    await till.pay(invoice, late=True)
    for _ in range(1 + 2 * days):  # the longer it is over, the more rarely it is looked at
        await till.sweep(seconds=86_400)
    assert await till.state() == "settled"
    assert await till.balance() == ASKED
    assert len(till.paid) == 1


async def test_after_a_week_nobody_looks_any_more_but_a_report_still_counts(till: Till) -> None:
    invoice = await till.invoice()
    await till.sweep(seconds=LAPSED_AFTER_SECONDS)
    await till.sweep(seconds=8 * 86_400)
    looked = till.faults.calls["lookup_invoice"]
    await till.sweep(seconds=86_400)
    assert till.faults.calls["lookup_invoice"] == looked
    await till.pay(invoice, late=True)
    await till.receiving.look(invoice.payment_hash)
    assert await till.balance() == ASKED


@pytest.mark.fault("D10")
async def test_a_wallet_that_forgot_an_invoice_is_not_taken_for_a_proof(till: Till) -> None:
    invoice = await till.invoice()
    await till.pay(invoice)
    till.faults.next("lookup_invoice", Says(NoSuchInvoice()))
    till.faults.next("lookup_invoice", Says(Unpaid()))
    for _ in range(4):
        await till.sweep(seconds=10)
    assert await till.balance() == ASKED


# asked for --------------------------------------------------------------------------------------------


@pytest.mark.fault("C01", "C02", "D03")
@pytest.mark.parametrize("trouble", [DownBefore(), DownAfter()])
async def test_an_invoice_that_never_came_back_from_the_wallet_is_forgotten(till: Till, trouble: DownBefore | DownAfter) -> None:
    till.faults.next("create_invoice", trouble)
    with pytest.raises(WalletDown):
        await till.ask()
    assert await till.state() == "asked"
    await till.sweep(seconds=3_601)
    assert await till.state() is None
    assert till.lapsed == [], "nobody was shown it, so nobody is told"


@pytest.mark.fault("C24")
async def test_an_invoice_whose_row_is_gone_is_not_shown_to_anybody(till: Till) -> None:
    """Found by reading: a process that slept for an hour, or whose clock jumped, showed an invoice that nobody would ever credit."""
    new = await till.ask()
    await till.sweep(seconds=3_601)
    with pytest.raises(WalletDown):
        await till.db.write(invoices.open_all, [("inv_1", new)], till.clock.now_ms())


@pytest.mark.fault("D02")
async def test_a_slow_wallet_does_not_keep_the_sweep_from_the_other_invoices(till: Till) -> None:
    slow, quick = await till.invoice("inv_1"), await till.invoice("inv_2")
    await till.pay(slow)
    await till.pay(quick)
    opened = asyncio.Event()
    till.faults.next("lookup_invoice", Gate(opened))
    till.clock.advance(seconds=2)
    sweeping = asyncio.create_task(till.receiving.sweep_once())
    async with asyncio.timeout(30):
        while await till.balance() != ASKED:
            await asyncio.sleep(0.02)
    opened.set()
    await sweeping
    assert await till.balance() == Msats(2 * ASKED.value)


async def test_one_invoice_that_cannot_be_credited_does_not_stop_the_sweep(till: Till) -> None:
    """Found by reading: its Breach ended the sweep's task, parked it, and from then on no payment at all was found."""
    await till.receiving.ask(id="inv_0", purpose="test", subject="x", account="no such account", amount=ASKED, memo="")
    odd = await till.wallet.create_invoice(ASKED, memo="", expiry_seconds=600, label="")
    await till.db.write(invoices.open_all, [("inv_0", odd)], till.clock.now_ms())
    good = await till.invoice()
    await till.pay(odd)
    await till.pay(good)
    for _ in range(3):
        await till.sweep(seconds=10)
    assert await till.balance() == ASKED
    assert await till.state("inv_0") == "open", "it is looked at again: nothing of it is lost"
    with pytest.raises(Breach):
        await till.receiving.look(odd.payment_hash)
