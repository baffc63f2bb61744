"""Money out: who may write what became of a payout, who waits for whom, and an address that is asked once."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest
from tests.contract.payout_counter import OWED, TERMS, Counter, counter

from timmy.db import Tx, open_database
from timmy.idempotency import Key
from timmy.ledger import chart
from timmy.lightning import Payout, payouts
from timmy.lightning.paying import RESEND_AFTER_MS
from timmy.lightning.payouts import NothingOwed, PayoutInProgress
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


async def test_an_address_is_asked_once_while_its_payout_is_on_its_way(counter: Counter) -> None:
    await counter.owe()
    counter.faults.next("pay_invoice", HeldFor(looks=3))
    first = await counter.paying.to_address(chart.owed("job_1"), "job_1", "me@example.com", destination="lightning_address")
    await counter.work()
    again = await counter.paying.to_address(chart.owed("job_1"), "job_1", "me@example.com", destination="lightning_address")
    assert again.id == first.id
    assert counter.address.asked == 1
    with pytest.raises(PayoutInProgress):
        await counter.paying.to_address(chart.owed("job_1"), "job_1", "lnurl1…", destination="lnurl")
    for _ in range(5):
        await counter.work(seconds=60)
    with pytest.raises(NothingOwed):
        await counter.paying.to_address(chart.owed("job_1"), "job_1", "me@example.com", destination="lightning_address")
    assert await counter.received() == OWED


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
