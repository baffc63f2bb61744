"""What a buyer may spend, with limits, failures, interruptions and races: against a real server."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tests.e2e.counting_purse import CountingPurse, counted
from tests.e2e.serving import Site
from timmy.client import Answer, AsyncTimmy, Limits, Notebook
from timmy.client.answers import Offer, SessionStatus
from timmy.client.errors import (
    InvoiceNotAsOffered,
    LimitReached,
    OtherWallet,
    PaymentFailed,
)
from timmy.client.notebook import NO_LIMITS
from timmy.client.spending import Fate
from timmy.lightning.wallets.protocol import Failed, InFlight, Unknown, WalletDown
from timmy.money import Msats, Sats

QUESTION = "What is a satoshi?"


# Limits ------------------------------------------------------------------------------------------------


async def test_a_call_that_costs_more_than_it_may_is_refused_before_anything_is_paid(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        whole = (await timmy.estimate(QUESTION)).total
        with pytest.raises(LimitReached, match="Nothing was paid") as refused:
            await timmy.ask(QUESTION, most=whole)  # the routing fees do not fit
    assert refused.value.extra["limit"] == "per_call"
    assert purse.asked == []
    assert await counted(notebook) == 0


async def test_a_price_that_rises_after_the_estimate_is_held_by_the_reservation(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        id = await timmy._buying.order(QUESTION, most=Sats(16))  # the judging fits, the work does not; no estimate was asked
        with pytest.raises(LimitReached):
            async for _ in timmy.follow(id):
                pass
    assert len(purse.paid) == 1
    assert await counted(notebook) <= 16_000


async def test_two_callers_at_once_cannot_spend_more_than_the_day_allows(site: Site, notebook: Notebook) -> None:
    """Eight programs, each with a connection to the notebook of its own, and room for three deposits."""
    limits = Limits(per_call=None, per_day=Sats(345))  # three times 100, with 5 for routing, and not four
    purses = [CountingPurse(site.url) for _ in range(8)]
    start = asyncio.Event()

    async def spend(purse: CountingPurse) -> object:
        async with AsyncTimmy(site.url, purse=purse, notebook=Notebook(notebook.path), limits=limits) as timmy:
            await start.wait()
            return (await timmy.open_session(Sats(100))).id

    everybody = [asyncio.create_task(spend(purse)) for purse in purses]
    start.set()
    ended = await asyncio.gather(*everybody, return_exceptions=True)
    assert sum(isinstance(each, str) for each in ended) == 3
    assert sum(isinstance(each, LimitReached) for each in ended) == 5
    assert sum(len(purse.paid) for purse in purses) == 3
    assert await counted(notebook) == 300_000


async def test_the_notebooks_limits_hold_for_a_program_that_names_wider_ones(site: Site, notebook: Notebook) -> None:
    await notebook.set_limits(Limits(per_call=Sats(50), per_day=None))
    async with AsyncTimmy(site.url, purse="dev", notebook=notebook, limits=NO_LIMITS) as timmy:
        with pytest.raises(LimitReached):
            await timmy.open_session(Sats(100))


async def test_routing_fees_count(site: Site, notebook: Notebook) -> None:
    async with AsyncTimmy(site.url, purse=CountingPurse(site.url, fee=Msats(1_234)), notebook=notebook) as timmy:
        await timmy.open_session(Sats(100))
    assert await counted(notebook) == 101_234


async def test_a_payment_that_surely_failed_is_not_counted(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    purse.says = Failed("No route.")
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        with pytest.raises(PaymentFailed, match="No route"):
            await timmy.open_session(Sats(100))
        assert await counted(notebook) == 0
        purse.says = None
        [status] = await timmy.resume()  # the same invoice, once a route is there
    assert isinstance(status, SessionStatus)
    assert status.balance == Sats(100).msats
    assert len(purse.paid) == 1


async def test_a_payment_of_unknown_fate_stays_counted_and_is_not_sent_again(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    purse.says = Unknown("the line broke")

    purse.sees = InFlight()
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        purchase, purpose, offer = await offered(timmy, site)
        assert await timmy._spending.pay(purchase, purpose, offer) is Fate.OPEN
        assert await timmy._spending.pay(purchase, purpose, offer) is Fate.OPEN
        await timmy._spending.seen_lapsed(offer)  # the server has given up waiting; whether it arrives, only the wallet can tell
    assert len(purse.asked) == 1
    assert await counted(notebook) == 105_000


# Interrupted -------------------------------------------------------------------------------------------


class Stopped(BaseException):
    """As Ctrl-C, or a kill: not an error that anybody handles."""


async def stop() -> None:
    raise Stopped


async def test_a_purchase_interrupted_after_paying_is_not_paid_again(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    purse.after = stop
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        with pytest.raises(Stopped):
            await timmy.ask(QUESTION)
    assert len(purse.paid) == 1
    purse.after = None
    async with AsyncTimmy(site.url, purse=purse, notebook=Notebook(notebook.path)) as timmy:
        [answer] = await timmy.resume()
    assert isinstance(answer, Answer)
    assert answer.state == "complete"
    assert len(purse.paid) == 2  # to be judged, and for the work: each once
    assert {preimage for _, _, preimage in answer.payments} == {"ab" * 32}
    assert await counted(notebook) == answer.paid.value


async def test_a_purchase_interrupted_before_paying_is_paid_once(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    purse.before = stop
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        with pytest.raises(Stopped):
            await timmy.ask(QUESTION)
        assert await counted(notebook) > 0  # nobody can tell whether it left: it counts
        purse.before = None
        [answer] = await timmy.resume()
    assert isinstance(answer, Answer)
    assert answer.state == "complete"
    assert len(purse.paid) == 2


async def test_whoever_is_stopped_while_the_outcome_is_written_down_keeps_nobody_waiting(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    purse.says = InFlight()
    loop, threads, free = asyncio.get_running_loop(), ThreadPoolExecutor(max_workers=1), Event()
    loop.set_default_executor(threads)  # it is what the notebook writes in

    async def stopped() -> None:
        threads.submit(free.wait)
        loop.call_soon(free.set)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()  # what Ctrl-C does: it is felt when the outcome waits for its turn

    purse.before = stopped
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        given = await offered(timmy, site)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(timmy._spending.pay(*given))
        assert await notebook.claim(given[2].payment_hash), "nobody is at it"


async def test_two_who_resume_at_once_pay_once(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    purse.before = stop
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        with pytest.raises(Stopped):
            await timmy.open_session(Sats(100))
        purse.before = None

        async def resume() -> object:
            async with AsyncTimmy(site.url, purse=purse, notebook=Notebook(notebook.path)) as again:
                return await again.resume()

        await asyncio.gather(resume(), resume(), resume())  # CountingPurse does not let an invoice be paid twice
    assert len(purse.paid) == 1
    assert await counted(notebook) == 100_000


async def test_what_one_wallet_began_another_does_not_pay(site: Site, notebook: Notebook) -> None:
    first, other = CountingPurse(site.url), CountingPurse(site.url, "another wallet")
    first.after = stop
    async with AsyncTimmy(site.url, purse=first, notebook=notebook) as timmy:
        with pytest.raises(Stopped):
            await timmy._spending.pay(*await offered(timmy, site))
    async with AsyncTimmy(site.url, purse=other, notebook=notebook) as timmy:
        with pytest.raises(OtherWallet, match="a wallet that counts"):
            await timmy._spending.pay(*await offered(timmy, site, first.paid[0]))
    assert other.asked == []


async def test_a_wallet_that_cannot_be_asked_costs_nothing(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)

    async def down() -> None:
        raise WalletDown("It is switched off.")

    purse.before = down
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        with pytest.raises(WalletDown):
            await timmy.open_session(Sats(100))
    assert await counted(notebook) == 0


offers: dict[str, Offer] = {}


async def offered(timmy: AsyncTimmy, site: Site, payment_hash: str | None = None) -> tuple[str, str, Offer]:
    """A purchase, and an invoice for it: a new one, or the one with this hash."""
    if payment_hash is None:
        session = await site.post("/api/sessions", {"amountSats": 100}, status=201)
        invoice = session["invoice"]
        offer = Offer(invoice["paymentRequest"], invoice["paymentHash"], Sats(invoice["amountSats"]), 0)
        offers[offer.payment_hash] = offer
    else:
        offer = offers[payment_hash]
    return await timmy._buying.order(QUESTION), "deposit", offer


async def test_an_invoice_for_more_than_was_said_is_not_paid(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        purchase, purpose, offer = await offered(timmy, site)
        lie = Offer(offer.payment_request, offer.payment_hash, Sats(99), offer.expires_at_ms)
        with pytest.raises(InvoiceNotAsOffered):
            await timmy._spending.pay(purchase, purpose, lie)
    assert (purse.asked, await counted(notebook)) == ([], 0)
