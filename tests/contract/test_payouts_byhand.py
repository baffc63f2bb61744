"""What an operator does with refunds that do not get on by themselves: never paid twice, never lost, always in the books."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from tests.contract.payout_counter import OWED, TERMS, Counter, counter

from timmy.db import Tx
from timmy.errors import Refusal
from timmy.ledger import chart
from timmy.ledger.commit import available
from timmy.lightning import byhand, payouts, store
from timmy.lightning.byhand import GIVE_BACK_AFTER_MS, MayStillArrive, NoProof, PayoutEnded
from timmy.lightning.payouts import Leave, NothingOwed, Payout, PayoutInProgress, TooManyPayouts
from timmy.lightning.wallets.builtin_faults import DownAfter, DownBefore, HeldFor, Says
from timmy.lightning.wallets.protocol import Failed, InFlight, NeverSent, PaymentOutcome, Unknown
from timmy.money import Msats, Sats
from timmy.tasks import book

__all__ = ["counter"]

GIVE_BACK_SECONDS = GIVE_BACK_AFTER_MS // 1_000
WHY = "asked by letter"


async def leave(counter: Counter, request: str) -> Payout:
    return await counter.paying.with_leave(Leave(WHY)).to_invoice(chart.owed("job_1"), "job_1", request)


async def give_back(counter: Counter, found: PaymentOutcome | None = None, seen: Payout | None = None) -> None:
    await counter.db.write(byhand.give_back, seen or await counter.payout(), found, WHY, counter.clock.now_ms())


async def paid_outside(counter: Counter, id: str = "pay_x") -> Msats:
    return await counter.db.write(byhand.paid_outside, "job_1", id, WHY, counter.clock.now_ms())


async def unchanged(counter: Counter, asking: Any, kind: type[Refusal]) -> None:
    before = await counter.books()
    with pytest.raises(kind):
        await asking
    assert await counter.books() == before


# let leave --------------------------------------------------------------------------------------------


@pytest.mark.fault("A14")
async def test_what_a_limit_refused_is_paid_once_with_the_operators_leave(counter: Counter) -> None:
    counter.with_terms(caps_fees=False)
    await counter.owe()
    request = await counter.invoice()
    assert isinstance(await counter.refused(request), TooManyPayouts)
    payout = await leave(counter, request)
    assert (await leave(counter, request)).id == payout.id
    await unchanged(counter, leave(counter, await counter.invoice()), PayoutInProgress)
    for _ in range(3):
        await counter.work(seconds=60)
    found = await counter.payout()
    assert (found.state, found.approved) == ("sent", WHY)
    assert await counter.tries() == 1
    await unchanged(counter, leave(counter, await counter.invoice()), NothingOwed)
    assert await counter.received() == OWED


async def test_a_fee_that_the_operator_allows_takes_the_place_of_the_limit(counter: Counter) -> None:
    await counter.owe()
    terms = Leave(WHY, Sats(99).msats)
    payout = await counter.paying.with_leave(terms).to_invoice(chart.owed("job_1"), "job_1", await counter.invoice())
    assert payout.fee_limit == Sats(99).msats


async def test_no_fee_at_all_is_a_limit_that_the_operator_may_set(counter: Counter) -> None:
    await counter.owe()
    payout = await counter.claim(await counter.invoice())
    await counter.db.write(byhand.let_leave, payout.id, WHY, Sats(0).msats, counter.clock.now_ms())
    assert (await counter.payout()).fee_limit == Sats(0).msats


async def test_a_payout_that_waits_at_a_limit_leaves_when_it_may(counter: Counter) -> None:
    counter.with_terms(per_hour_max=Sats(OWED.value + 1))
    for job in ("job_1", "job_2"):
        await counter.owe(job)
        await counter.claim(await counter.invoice(expiry_seconds=86_400), job)
    await counter.work()
    waiting = next(one for one in [await counter.payout("job_1"), await counter.payout("job_2")] if one.state == "planned")
    await counter.work(seconds=120)
    assert await counter.tries() == 1
    await counter.db.write(byhand.let_leave, waiting.id, WHY, None, counter.clock.now_ms())
    await counter.work()
    assert [(await counter.payout(job)).state for job in ("job_1", "job_2")] == ["sent", "sent"]
    assert await counter.tries() == 2
    await unchanged(counter, counter.db.write(byhand.let_leave, waiting.id, WHY, None, 1), PayoutEnded)


async def test_the_operators_leave_does_not_lift_a_pause(counter: Counter) -> None:
    counter.with_terms(enabled=False)
    await counter.owe()
    await leave(counter, await counter.invoice())
    await counter.work()
    assert await counter.tries() == 0
    counter.with_terms()
    await counter.work(seconds=120)
    assert (await counter.payout()).state == "sent"


async def test_a_payout_that_was_laid_aside_leaves_when_it_may(counter: Counter) -> None:
    counter.with_terms(per_hour_max=OWED, per_day_max=OWED)
    for job in ("job_1", "job_2"):
        await counter.owe(job)
        await counter.claim(await counter.invoice(expiry_seconds=86_400), job)
    await counter.work()
    waiting = next(one for one in [await counter.payout("job_1"), await counter.payout("job_2")] if one.state == "planned")
    counter.clock.advance(seconds=120)
    (task,) = await counter.db.write(counter.worker._take, 1)
    assert await counter.db.write(book.park, task, "a bug")
    await counter.work(seconds=600)
    assert await counter.tries() == 1
    await counter.db.write(byhand.let_leave, waiting.id, WHY, None, counter.clock.now_ms())
    await counter.work()
    assert [(await counter.payout(job)).state for job in ("job_1", "job_2")] == ["sent", "sent"]
    assert await counter.tries() == 2


async def test_what_needs_the_operator_is_found_for_one_customer_behind_all_others(counter: Counter) -> None:
    counter.with_terms(enabled=False)
    for job in ("job_1", "job_2", "job_3"):
        await counter.owe(job)
        await counter.claim(await counter.invoice(), job)
        await counter.owe(job)  # and more is owed meanwhile
    since_ms = counter.clock.now_ms() + 1
    found = await counter.db.read(store.payouts_for_attention, since_ms, "job_3", 1)
    assert [row["subject"] for row in found] == ["job_3"]
    owed = await counter.db.read(store.obligations_open, chart.owed("job_3"), 1)
    assert [row["id"] for row in owed] == [chart.owed("job_3")]
    assert len(await counter.db.read(store.payouts_for_attention, since_ms, None, 9)) == 3
    assert len(await counter.db.read(store.obligations_open, None, 9)) == 3


# paid by a way of their own ---------------------------------------------------------------------------


async def test_what_was_paid_outside_is_owed_no_more_and_shown_as_paid(counter: Counter) -> None:
    await counter.owe()
    assert await paid_outside(counter) == OWED.msats
    state = await counter.db.read(payouts.obligation, chart.owed("job_1"))
    assert (state.claimable, state.paid, state.live) == (Sats(0), OWED, None)
    assert await counter.db.read(operator) == OWED.msats.value
    assert isinstance(await counter.refused(await counter.invoice()), NothingOwed)
    await unchanged(counter, paid_outside(counter, "pay_y"), NothingOwed)
    assert await counter.received() == Sats(0)


async def test_while_a_payout_is_on_its_way_nothing_is_said_to_be_paid_outside(counter: Counter) -> None:
    await counter.owe()
    counter.faults.next("pay_invoice", HeldFor(looks=2))
    await counter.claim(await counter.invoice())
    await counter.owe()  # more is owed meanwhile
    await unchanged(counter, paid_outside(counter), PayoutInProgress)
    await counter.work()
    await unchanged(counter, paid_outside(counter), PayoutInProgress)


async def test_a_claim_and_a_payment_outside_at_the_same_moment_are_one_of_the_two(counter: Counter) -> None:
    await counter.owe()
    claim, outside = await asyncio.gather(counter.claim(await counter.invoice()), paid_outside(counter), return_exceptions=True)
    assert isinstance(claim, Payout) != isinstance(outside, Msats)
    await counter.work()
    assert await counter.received() == (OWED if isinstance(claim, Payout) else Sats(0))


# called off -------------------------------------------------------------------------------------------


async def test_a_payout_that_was_never_tried_is_owed_again(counter: Counter) -> None:
    counter.with_terms(enabled=False)
    await counter.owe()
    await counter.claim(await counter.invoice())
    await counter.work()
    await give_back(counter)
    assert await counter.owed() == OWED
    counter.with_terms()
    await counter.work(seconds=120)
    assert await counter.tries() == 0, "its task went with it"
    await counter.claim(await counter.invoice())
    await counter.work()
    assert await counter.received() == OWED


@pytest.mark.fault("D04", "D06", "D09")
@pytest.mark.parametrize("said", [InFlight(), Unknown("silence"), None])
async def test_what_may_still_arrive_is_not_called_off(counter: Counter, said: PaymentOutcome | None) -> None:
    await counter.owe()
    counter.faults.next("pay_invoice", HeldFor(looks=9), Says(Unknown("timed out")))
    await counter.claim(await counter.invoice())
    await counter.work()
    counter.clock.advance(seconds=GIVE_BACK_SECONDS)
    await unchanged(counter, give_back(counter, said), MayStillArrive)


@pytest.mark.fault("D05", "D06")
@pytest.mark.parametrize("said", [NeverSent(), Failed("no route")])
async def test_what_the_wallet_denies_is_called_off_once_no_try_of_it_can_come_any_more(counter: Counter, said: PaymentOutcome) -> None:
    await counter.owe()
    counter.faults.always("pay_invoice", DownBefore())
    await counter.claim(await counter.invoice())
    await counter.work()
    await unchanged(counter, give_back(counter, said), MayStillArrive)
    counter.clock.advance(seconds=GIVE_BACK_SECONDS)
    await give_back(counter, said)
    assert await counter.owed() == OWED
    await unchanged(counter, give_back(counter, said), PayoutEnded)
    counter.faults.heal()
    await counter.work(seconds=600)
    assert await counter.received() == Sats(0)


@pytest.mark.fault("B08", "B11")
async def test_a_worker_that_tries_again_meanwhile_wins_over_the_operator(counter: Counter) -> None:
    await counter.owe()
    await counter.claim(await counter.invoice())
    seen = await counter.payout()
    counter.faults.next("pay_invoice", DownAfter())
    await counter.work()  # it arrives, and nobody knows
    counter.clock.advance(seconds=GIVE_BACK_SECONDS)
    await unchanged(counter, give_back(counter, None, seen), MayStillArrive)
    await counter.work(seconds=600)
    assert (await counter.payout()).state == "sent"
    assert await counter.received() == OWED


async def test_a_worker_that_is_about_to_try_finds_it_called_off(counter: Counter) -> None:
    await counter.owe()
    payout = await counter.claim(await counter.invoice())
    task = (await counter.db.write(counter.worker._take, 1))[0]
    await give_back(counter)
    assert await counter.db.write(payouts.begin_try, task, payout, TERMS, counter.clock.now_ms()) == "another worker has taken this over"
    await counter.worker._do(task)
    assert await counter.tries() == 0


# proved -----------------------------------------------------------------------------------------------


@pytest.mark.fault("D07")
async def test_a_payment_that_the_operator_proves_is_booked_once(counter: Counter) -> None:
    await counter.owe()
    counter.faults.always("lookup_payment", Says(Unknown("the node was replaced")))
    counter.faults.next("pay_invoice", DownAfter())
    payout = await counter.claim(await counter.invoice())
    counter.faults.next("lookup_payment", Says(NeverSent()))
    await counter.work()
    await unchanged(counter, arrived(counter, payout, "00" * 32), NoProof)
    preimage = await counter.db.read(preimage_of, payout.payment_hash)
    tasks = await counter.db.write(counter.worker._take, 1)
    await arrived(counter, payout, preimage)
    await unchanged(counter, arrived(counter, payout, preimage), PayoutEnded)
    for task in tasks:
        await counter.worker._do(task)
    await counter.work(seconds=600)
    assert (await counter.payout()).state == "sent"
    assert await counter.received() == OWED


@pytest.mark.fault("B12")
async def test_a_look_up_and_an_operator_that_prove_it_at_once_book_it_once(counter: Counter) -> None:
    """The operator's word comes while the worker's transaction is open, with another fee."""
    await counter.owe()
    payout = await counter.claim(await counter.invoice())
    ended = threading.Event()
    sent = payouts.sent

    def slow_sent(*args: Any) -> None:
        sent(*args)
        ended.set()

    payouts_module: Any = payouts
    payouts_module.sent = slow_sent
    try:
        working = asyncio.create_task(counter.work())
        assert await asyncio.to_thread(ended.wait, 20)
        preimage = await counter.db.read(preimage_of, payout.payment_hash)
        with pytest.raises(PayoutEnded):
            await arrived(counter, payout, preimage)
        await working
    finally:
        payouts_module.sent = sent
    assert (await counter.payout()).state == "sent"


async def test_whoever_waits_for_a_payout_hears_that_the_operator_proved_it(counter: Counter) -> None:
    await counter.owe()
    payout = await counter.claim(await counter.invoice())
    preimage = await counter.db.read(preimage_of, payout.payment_hash)
    heard: list[str] = []

    def on_ended(_tx: Tx, ended: Payout, _at_ms: int) -> None:
        heard.append(ended.id)

    await counter.db.write(byhand.has_arrived, payout.id, preimage, Msats(0), WHY, counter.clock.now_ms(), on_ended)
    assert heard == [payout.id]


async def arrived(counter: Counter, payout: Payout, preimage: str) -> Payout:
    return await counter.db.write(byhand.has_arrived, payout.id, preimage, Msats(77), WHY, counter.clock.now_ms())


def preimage_of(tx: Tx, payment_hash: str) -> str:
    row = tx.one("SELECT preimage FROM builtin_invoices WHERE payment_hash = :hash", hash=payment_hash)
    assert row is not None
    return str(row["preimage"])


def operator(tx: Tx) -> int:
    return available(tx, chart.OPERATOR).value if available(tx, chart.OPERATOR) else 0
