"""Money out: who may write what became of a payout, who waits for whom, and an address that is asked once."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest
from tests.contract.payout_counter import OWED, TERMS, Counter, counter

from timmy.db import Tx, open_database
from timmy.idempotency import Key, KeyReused
from timmy.ledger import chart
from timmy.lightning import payouts
from timmy.lightning.paying import RESEND_AFTER_MS, SEND_WITHIN_SECONDS
from timmy.lightning.payouts import NothingOwed, Payout, PayoutInProgress
from timmy.lightning.wallets.builtin_faults import HeldFor
from timmy.lightning.wallets.protocol import Succeeded
from timmy.money import Msats
from timmy.tasks import Task

__all__ = ["counter"]

RESEND_SECONDS = RESEND_AFTER_MS // 1_000


# who may write ----------------------------------------------------------------------------------------


@pytest.mark.fault("B08", "B09", "B11")
async def test_only_whoever_holds_the_task_may_say_what_became_of_a_payout(counter: Counter) -> None:
    await counter.owe()
    payout = await counter.claim(await counter.invoice())
    stale = (await counter.db.write(counter.worker._take, 1))[0]
    counter.clock.advance(seconds=31)
    fresh = (await counter.db.write(counter.worker._take, 1))[0]
    before = await counter.books()
    assert await counter.db.write(payouts.begin_try, stale, payout, TERMS, counter.clock.now_ms()) is not None
    await counter.db.write(payouts.note_said_failed, stale, payout, 1, "no route")
    await counter.db.write(payouts.returned, stale, payout, "no route", counter.clock.now_ms())
    await counter.db.write(payouts.sent, stale, payout, Succeeded(None, Msats(1)), counter.clock.now_ms())
    assert await counter.books() == before, "a claimant whose lease has passed on wrote something"
    await counter.paying.pay(fresh)
    assert (await counter.payout()).state == "sent"
    assert await counter.received() == OWED


@pytest.mark.fault("B09")
async def test_a_worker_that_was_paused_before_it_could_send_sends_nothing_new(counter: Counter) -> None:
    """Both reach the wallet with the same hash, and a node pays a hash once."""
    await counter.owe()
    await counter.claim(await counter.invoice())
    stale = (await counter.db.write(counter.worker._take, 1))[0]
    counter.clock.advance(seconds=31)
    await counter.work()
    assert (await counter.payout()).state == "sent"
    before = await counter.books()
    await counter.paying.pay(Task(stale.id, stale.kind, stale.subject, stale.attempts, stale.fence))
    assert await counter.books() == before
    assert await counter.received() == OWED


# addresses --------------------------------------------------------------------------------------------


async def to(counter: Counter, address: str, **more: Any) -> Payout:
    return await counter.paying.to_address(chart.owed("job_1"), "job_1", address, destination="lightning_address", **more)


async def test_an_address_is_asked_once_while_its_payout_is_on_its_way_and_when_it_has_arrived(counter: Counter) -> None:
    await counter.owe()
    counter.faults.next("pay_invoice", HeldFor(looks=3))
    first = await to(counter, "me@example.com")
    await counter.work()
    assert (await to(counter, "lightning:ME@Example.com")).id == first.id, "the same place, however it is written"
    for _ in range(5):
        await counter.work(seconds=60)
    again = await to(counter, "me@example.com")
    assert (again.id, again.state) == (first.id, "sent")
    assert counter.address.asked == 1
    assert isinstance(await counter.refused(await counter.invoice()), NothingOwed)
    assert await counter.received() == OWED


@pytest.mark.fault("B03", "D09")
async def test_while_a_refund_goes_to_one_address_another_is_refused(counter: Counter) -> None:
    await counter.owe()
    counter.faults.next("pay_invoice", HeldFor(looks=3))
    first = await to(counter, "me@example.com")
    for state in ("planned", "tried"):
        for other in ("me@example.org", "you@example.com", "lnurlp://example.com/me"):
            with pytest.raises(PayoutInProgress):
                await to(counter, other)
        with pytest.raises(PayoutInProgress):
            await to(counter, "you@example.com", key=Key(state, "c" * 64))
        assert isinstance(await counter.refused(await counter.invoice()), PayoutInProgress)
        await counter.work()
    assert counter.address.asked == 1
    assert (await counter.payout()).id == first.id


@pytest.mark.fault("B03")
async def test_many_who_ask_at_once_for_one_address_have_one_refund_and_the_others_are_told(counter: Counter) -> None:
    await counter.owe()
    asked = [to(counter, "me@example.com" if n % 2 else "you@example.com") for n in range(12)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    paid = {outcome.id for outcome in outcomes if isinstance(outcome, Payout)}
    assert len(paid) == 1
    places = {n % 2 for n, outcome in enumerate(outcomes) if isinstance(outcome, Payout)}
    assert len(places) == 1, "one of the two addresses"
    assert sum(isinstance(outcome, PayoutInProgress) for outcome in outcomes) == 6, "and those of the other are all told so"
    await counter.work()
    assert await counter.received() == OWED


async def test_more_that_comes_to_be_owed_goes_to_the_same_address_again(counter: Counter) -> None:
    await counter.owe()
    first = await to(counter, "me@example.com")
    await counter.work()
    await counter.owe()
    second = await to(counter, "me@example.com")
    await counter.work()
    assert first.id != second.id
    assert (await counter.payout()).state == "sent"


@pytest.mark.fault("B07")
async def test_a_key_belongs_to_the_refund_that_it_was_answered_with(counter: Counter) -> None:
    """Also where that one had been begun without it."""
    await counter.owe()
    counter.faults.next("pay_invoice", HeldFor(looks=9))
    first = await to(counter, "me@example.com")
    assert (await to(counter, "me@example.com", key=Key("k", "a" * 64))).id == first.id
    with pytest.raises(KeyReused):
        await to(counter, "you@example.com", key=Key("k", "b" * 64))
    with pytest.raises(KeyReused):
        await to(counter, "me@example.com", key=Key("k", "b" * 64))


async def test_a_key_finds_the_payout_that_it_began_whatever_became_of_it(counter: Counter) -> None:
    await counter.owe()
    key = Key("k", "a" * 64)
    owed = chart.owed("job_1")
    first = await counter.paying.to_address(owed, "job_1", "me@example.com", destination="lightning_address", key=key)
    await counter.work()
    again = await counter.paying.to_address(owed, "job_1", "me@example.com", destination="lightning_address", key=key)
    assert again.id == first.id
    assert again.state == "sent"


# limits -----------------------------------------------------------------------------------------------


async def test_a_second_process_waits_until_the_first_has_written_its_try_down(counter: Counter, database_url: str) -> None:
    """On SQLite there is one writer anyway; on PostgreSQL, without the lock, both would look at the limit before either counts."""
    terms = replace(TERMS, per_hour_max=OWED)
    tries = []
    for job in ("job_1", "job_2"):
        await counter.owe(job)
        payout = await counter.claim(await counter.invoice(), job)
        tries.append((payout, (await counter.db.write(counter.worker._take, 1))[0]))
    first_looked, second_done = threading.Event(), threading.Event()

    def first(tx: Tx, payout: Payout, task: Task) -> str | None:
        why_not = payouts.begin_try(tx, task, payout, terms, counter.clock.now_ms())
        first_looked.set()
        second_done.wait(1.0)  # in vain: the second cannot be done before this transaction is
        return why_not

    def second(tx: Tx, payout: Payout, task: Task) -> str | None:
        return payouts.begin_try(tx, task, payout, terms, counter.clock.now_ms())

    other = open_database(database_url)
    try:
        one = asyncio.ensure_future(counter.db.write(first, *tries[0]))
        assert await asyncio.to_thread(first_looked.wait, 30.0)  # not inside a transaction of the second: on SQLite it could hold the lock
        two = asyncio.ensure_future(other.write(second, *tries[1]))
        two.add_done_callback(lambda _: second_done.set())
        assert await one is None
        assert await two is not None, "two tries passed a limit that has room for one"
    finally:
        await other.aclose()


# a process that stood still ---------------------------------------------------------------------------


@pytest.mark.fault("B09", "D06")
@pytest.mark.parametrize("notices", ["monotonic", "wall"])
async def test_a_process_that_stood_still_after_noting_its_try_does_not_pay_any_more(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, notices: str
) -> None:
    """While it stood still, somebody else may have looked the payment up, found nothing, and given the sats back."""
    await counter.owe()
    payout = await counter.claim(await counter.invoice())
    stood_seconds = [0]

    def begin_and_stand_still(*args: Any) -> str | None:
        why_not = begin_try(*args)
        stood_seconds[0] += SEND_WITHIN_SECONDS + 1  # a machine that sleeps stops the one clock, an adjusted clock is not the other
        if notices == "wall":
            counter.clock.advance(seconds=SEND_WITHIN_SECONDS + 1)
        return why_not

    begin_try = payouts.begin_try
    with monkeypatch.context() as patched:
        patched.setattr(payouts, "begin_try", begin_and_stand_still)
        counter.with_terms(monotonic=lambda: float(stood_seconds[0] if notices == "monotonic" else 0))
        await counter.work()
    assert await counter.tries() == 0
    found = await counter.payout()
    assert (found.id, found.state, found.tries) == (payout.id, "planned", 1)
    await counter.work(seconds=RESEND_SECONDS)
    await counter.work(seconds=RESEND_SECONDS)
    assert (await counter.payout()).state == "sent"
    assert await counter.tries() == 1
    assert await counter.received() == OWED
