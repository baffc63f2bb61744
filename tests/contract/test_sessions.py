"""A session's life, on both databases: opened, spent from, topped up, left alone, closed; and every way to be told no on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.contract.session_house import DEPOSIT, TERMS, House, at_home

from timmy.clock import ManualClock
from timmy.db import Database
from timmy.errors import Refusal
from timmy.idempotency import Key, KeyReused
from timmy.identity.caveats import NotAllowed
from timmy.ledger import chart
from timmy.lightning.bolt11 import InvalidInvoice, InvoiceAmountless, InvoiceAmountMismatch, InvoiceExpired
from timmy.lightning.lnurl import LightningAddressMalformed
from timmy.lightning.payouts import InvoiceIsOurs, InvoiceUsed, NothingOwed, PayoutInProgress
from timmy.lightning.receiving import LAPSE_GRACE_MS
from timmy.money import Msats, Sats
from timmy.sessions import RequestState, SessionState, SessionView
from timmy.sessions.protocol import RefundState, ToInvoice, ToLightningAddress
from timmy.sessions.refusals import (
    AmountOutOfBounds,
    InsufficientBalance,
    NotOpenYet,
    RequestInProgress,
    RequestNotFound,
    RequestsRunning,
    SessionEnded,
    SessionNotFound,
    TopupPending,
)

COST = Msats(3_570)  # of a request to the agent of these tests: 2,100 for the judging, 1,470 for the work
TTL_SECONDS = TERMS.ttl_days * 86_400
BODY, OTHER_BODY = "0" * 64, "1" * 64


@pytest.fixture
async def house(db: Database, clock: ManualClock) -> AsyncIterator[House]:
    async for house in at_home(db, clock):
        yield house


async def lapse(house: House) -> None:
    """The invoices that are open expire, and the sweep sees that nobody paid them."""
    house.clock.advance(ms=600_000 + LAPSE_GRACE_MS + 1_000)
    await house.receiving.sweep_once()


async def emptied(house: House, view: SessionView) -> SessionView:
    """Spent down to less than a request needs, and no less than the minimum."""
    house.agent.work = "dear"
    while (view := await house.sessions.view(view.id)).balance > Sats(40).msats:
        try:
            await house.ask(view)
        except InsufficientBalance:
            break
    house.agent.work = "done"
    return view


async def left_of(house: House, view: SessionView) -> str:
    """An invoice for all that closing pays out."""
    return await house.customer.create_invoice((await house.sessions.view(view.id)).balance.floor_sats().msats)


# a life ----------------------------------------------------------------------------------------------


async def test_a_session_is_paid_for_spent_from_and_paid_out(house: House) -> None:
    view = await house.sessions.open(DEPOSIT)
    assert (view.state, view.macaroon, view.balance) == (SessionState.AWAITING_PAYMENT, None, Msats(0))
    view = await house.paid(view)
    assert (view.state, view.balance, view.trust_tier) == (SessionState.ACTIVE, DEPOSIT.msats, "anonymous")
    first = await house.ask(view)
    assert (first.state, first.result, first.debited, first.free_tier) == (RequestState.COMPLETE, "forty-two", COST, False)
    assert first.cost is not None
    assert first.debited == first.cost.charged < first.cost.reserved
    assert first.balance_remaining == DEPOSIT.msats - COST
    view = await house.sessions.view(view.id)
    assert (view.balance, view.held) == (first.balance_remaining, Msats(0))
    left = view.balance.floor_sats()
    closed = await house.sessions.close(await house.permit(view), ToInvoice(await left_of(house, view)))
    assert (closed.state, closed.refund.state, closed.refund.owed) == (SessionState.EXPIRED, RefundState.PENDING, left)
    await house.worker.run_due()
    closed = await house.sessions.view(view.id)
    assert (closed.refund.state, closed.refund.paid, closed.balance) == (RefundState.PAID, left, view.balance - left.msats)
    await house.wallet_agrees()


async def test_a_part_of_every_charge_goes_into_the_pool(house: House) -> None:
    await house.ask(await house.opened())
    assert await house.balance(chart.POOL) == Msats(357)
    assert await house.balance(chart.REVENUE) == COST - Msats(357)


async def test_an_answer_may_take_no_more_than_what_is_held_can_pay(house: House) -> None:
    house.agent.work = "cut"
    view = await house.opened()
    cut = await house.ask(view)
    assert cut.cost is not None
    assert cut.truncated
    assert Msats(0) <= cut.cost.reserved - cut.debited < Msats(30), "one more token would not have been paid for"
    assert house.agent.limits[-1] < TERMS.max_output_tokens


@pytest.mark.fault("A04", "A05")
@pytest.mark.parametrize("arrives", [Sats(90), Sats(5_000)])
async def test_however_much_of_the_deposit_arrives_it_is_the_balance(house: House, arrives: Sats) -> None:
    view = await house.paid(await house.sessions.open(DEPOSIT), received=arrives)
    assert (view.state, view.balance) == (SessionState.ACTIVE, arrives.msats)


@pytest.mark.fault("A06")
async def test_a_deposit_that_is_reported_by_everybody_is_credited_once(house: House) -> None:
    view = await house.opened()
    for _ in range(3):
        await house.receiving.look(view.deposit.payment_hash)
    await asyncio.gather(*(house.receiving.report(view.deposit.payment_hash, DEPOSIT.msats) for _ in range(5)))
    assert (await house.sessions.view(view.id)).balance == DEPOSIT.msats


@pytest.mark.fault("A08")
async def test_a_deposit_that_comes_late_opens_the_session_all_the_same(house: House) -> None:
    view = await house.sessions.open(DEPOSIT)
    await lapse(house)
    assert (await house.sessions.view(view.id)).state is SessionState.EXPIRED
    view = await house.paid(view)
    assert (view.state, view.balance) == (SessionState.ACTIVE, DEPOSIT.msats)
    assert (await house.ask(view)).state is RequestState.COMPLETE


@pytest.mark.fault("F01")
@pytest.mark.parametrize("amount", [Sats(0), Sats(99), Sats(100_001)])
async def test_a_deposit_out_of_bounds_is_refused_with_the_bounds(house: House, amount: Sats) -> None:
    refusal = await house.refused(house.sessions.open(amount), AmountOutOfBounds)
    assert (refusal.extra, refusal.status) == ({"minSats": 100, "maxSats": 100_000}, 422)
    view = await house.opened(Sats(100))
    await house.refused(house.sessions.topup(view.id, amount), AmountOutOfBounds)


async def test_a_key_opens_one_session_however_often_it_is_sent(house: House) -> None:
    key = Key("open", BODY)
    first, *others = await asyncio.gather(*(house.sessions.open(DEPOSIT, key=key) for _ in range(5)))
    assert {view.id for view in others} == {first.id}
    assert (await house.sessions.open(DEPOSIT, key=key)).id == first.id
    await house.refused(house.sessions.open(DEPOSIT, key=Key("open", OTHER_BODY)), KeyReused)


async def test_a_session_that_is_not_there_is_not_found(house: House) -> None:
    await house.refused(house.sessions.view("ses_nobody"), SessionNotFound)
    await house.refused(house.sessions.topup("ses_nobody", DEPOSIT), SessionNotFound)


# paused, topped up -----------------------------------------------------------------------------------


async def test_too_little_is_refused_with_what_is_needed_what_is_there_and_a_way_out(house: House) -> None:
    view = await emptied(house, await house.opened(Sats(100)))
    refusal = await house.refused(house.ask(view, "Write an essay about the sea, in 2000 words."), InsufficientBalance)
    assert refusal.status == 402
    assert refusal.extra["balanceMsat"] == view.balance.value < refusal.extra["neededMsat"]  # type: ignore[operator]
    assert Sats(int(str(refusal.extra["topupSats"]))).msats >= Msats(int(str(refusal.extra["neededMsat"]))) - view.balance
    assert view.id not in refusal.message + str(refusal.extra), "who has a narrowed key must not learn the session's id"


async def test_a_session_below_the_minimum_is_paused_until_a_topup_wakes_it(house: House) -> None:
    view = await house.paid(await house.sessions.open(DEPOSIT), received=Sats(19))
    assert view.state is SessionState.PAUSED
    refusal = await house.refused(house.ask(view), InsufficientBalance)
    assert refusal.extra["neededMsat"] == TERMS.minimum_balance.msats.value
    invoice = await house.sessions.topup(view.id, Sats(200))
    assert (await house.sessions.view(view.id)).pending_topup == invoice
    await house.customer.pay(invoice.payment_request)
    await house.receiving.look(invoice.payment_hash)
    view = await house.sessions.view(view.id)
    assert (view.state, view.balance, view.pending_topup) == (SessionState.ACTIVE, Sats(219).msats, None)
    assert (await house.ask(view)).state is RequestState.COMPLETE


async def test_a_second_topup_is_refused_with_the_one_that_waits_until_that_has_lapsed(house: House) -> None:
    view = await house.opened()
    key = Key("topup", BODY)
    first = await house.sessions.topup(view.id, Sats(200), key=key)
    refusal = await house.refused(house.sessions.topup(view.id, Sats(300)), TopupPending)
    shown = refusal.extra["invoice"]
    assert isinstance(shown, dict)
    assert (shown["paymentRequest"], shown["amountSats"]) == (first.payment_request, 200)
    assert await house.sessions.topup(view.id, Sats(200), key=key) == first
    await lapse(house)
    second = await house.sessions.topup(view.id, Sats(300))
    assert second.payment_hash != first.payment_hash


async def test_of_many_topups_at_once_one_is_made(house: House) -> None:
    view = await house.opened()
    outcomes = await asyncio.gather(*(house.sessions.topup(view.id, Sats(200)) for _ in range(8)), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["InvoiceView"] + ["TopupPending"] * 7


@pytest.mark.fault("A08", "B05")
async def test_a_topup_that_comes_after_the_session_was_closed_is_owed_back(house: House) -> None:
    view = await house.opened()
    topup = await house.sessions.topup(view.id, Sats(200))
    permit = await house.permit(view)
    await house.sessions.close(permit, ToInvoice(await left_of(house, view)))
    await house.worker.run_due()
    await house.customer.pay(topup.payment_request)
    await house.receiving.look(topup.payment_hash)
    late = await house.sessions.view(view.id)
    assert (late.state, late.balance, late.refund.owed) == (SessionState.EXPIRED, Msats(0), Sats(200))
    await house.sessions.close(permit, ToInvoice(await house.customer.create_invoice(Sats(200).msats)))
    await house.worker.run_due()
    assert (await house.sessions.view(view.id)).refund.paid == DEPOSIT + Sats(200)
    await house.wallet_agrees()


async def test_nothing_is_topped_up_before_the_deposit_or_after_the_end(house: House) -> None:
    waiting = await house.sessions.open(DEPOSIT)
    await house.refused(house.sessions.topup(waiting.id, Sats(200)), NotOpenYet)
    view = await house.opened()
    house.clock.advance(seconds=TTL_SECONDS)
    await house.refused(house.sessions.topup(view.id, Sats(200)), SessionEnded)


# left alone ------------------------------------------------------------------------------------------


async def test_a_session_expires_when_it_is_not_used_and_what_is_left_stays_claimable(house: House) -> None:
    view = await house.opened()
    house.clock.advance(seconds=TTL_SECONDS - 1)
    await house.ask(view)  # a use begins the time anew
    house.clock.advance(seconds=TTL_SECONDS - 1)
    assert (await house.sessions.view(view.id)).state is SessionState.ACTIVE
    house.clock.advance(seconds=1)
    view = await house.sessions.view(view.id)
    assert view.state is SessionState.EXPIRED
    assert view.expires_at_ms == house.clock.now_ms()
    await house.refused(house.ask(view), SessionEnded)
    house.clock.advance(seconds=10 * TTL_SECONDS)
    closed = await house.sessions.close(await house.permit(view), ToInvoice(await left_of(house, view)))
    await house.worker.run_due()
    assert (await house.sessions.view(view.id)).refund.paid == closed.refund.owed == (DEPOSIT.msats - COST).floor_sats()


async def test_a_topup_that_was_asked_for_in_time_wakes_an_expired_session(house: House) -> None:
    view = await house.opened()
    house.clock.advance(seconds=TTL_SECONDS - 1)
    topup = await house.sessions.topup(view.id, Sats(200))
    house.clock.advance(seconds=2)
    assert (await house.sessions.view(view.id)).state is SessionState.EXPIRED
    await house.customer.pay(topup.payment_request)
    await house.receiving.look(topup.payment_hash)
    assert (await house.sessions.view(view.id)).state is SessionState.ACTIVE


# closed ----------------------------------------------------------------------------------------------


@pytest.mark.fault("A09", "A10", "A11", "F04")
async def test_an_invoice_that_does_not_fit_closes_nothing(house: House) -> None:
    view = await house.opened()
    permit, exact = await house.permit(view), DEPOSIT.msats
    too_much = await house.customer.create_invoice(exact + Msats(1_000))
    too_little = await house.customer.create_invoice(exact - Msats(1_000))
    amountless = await house.customer.create_invoice(None)
    expiring = await house.customer.create_invoice(exact, expiry_seconds=30)
    ours = await house.sessions.open(DEPOSIT)
    wrong: list[tuple[str, type[Refusal]]] = [
        (too_much, InvoiceAmountMismatch),
        (too_little, InvoiceAmountMismatch),
        (amountless, InvoiceAmountless),
        (expiring, InvoiceExpired),
        (ours.deposit.payment_request, InvoiceIsOurs),
        ("lnbcrt1nonsense", InvalidInvoice),
    ]
    for request, kind in wrong:
        refusal = await house.refused(house.sessions.close(permit, ToInvoice(request)), kind)
        if kind is InvoiceAmountMismatch:
            assert refusal.extra["owedSats"] == DEPOSIT.value
    assert (await house.ask(view)).state is RequestState.COMPLETE, "the session goes on"


@pytest.mark.fault("A12", "B03")
async def test_a_session_is_paid_out_once(house: House) -> None:
    view = await house.opened()
    permit, first, second = await house.permit(view), await left_of(house, view), await left_of(house, view)
    outcomes = await asyncio.gather(
        *(house.sessions.close(permit, ToInvoice(request)) for request in (first, second) * 4), return_exceptions=True
    )
    assert {type(outcome).__name__ for outcome in outcomes} == {"SessionView", "PayoutInProgress"}
    await house.worker.run_due()
    paid = [request for request, outcome in zip((first, second) * 4, outcomes, strict=True) if isinstance(outcome, SessionView)]
    assert len(set(paid)) == 1
    assert (await house.sessions.close(permit, ToInvoice(paid[0]))).refund.paid == DEPOSIT
    spare = await house.customer.create_invoice(DEPOSIT.msats)
    await house.refused(house.sessions.close(permit, ToInvoice(spare)), NothingOwed)
    other = await house.opened()
    await house.refused(house.sessions.close(await house.permit(other), ToInvoice(paid[0])), InvoiceUsed)
    await house.wallet_agrees()


async def test_a_session_is_closed_to_a_lightning_address(house: House) -> None:
    view = await house.opened()
    permit = await house.permit(view)
    await house.refused(house.sessions.close(permit, ToLightningAddress("nobody")), LightningAddressMalformed)
    to = ToLightningAddress("alice@example.com")
    for _ in range(2):  # asked again, it is the same payout
        closed = await house.sessions.close(permit, to)
        assert (closed.refund.owed, closed.refund.destination) == (DEPOSIT, "lightning_address")
    other = ToLightningAddress("bob@example.com")
    await house.refused(house.sessions.close(permit, other), PayoutInProgress)
    await house.worker.run_due()
    assert house.address.asked == [("alice@example.com", DEPOSIT.msats)]
    assert (await house.sessions.view(view.id)).refund.paid == DEPOSIT
    assert (await house.sessions.close(permit, to)).refund.paid == DEPOSIT
    await house.refused(house.sessions.close(permit, other), NothingOwed)
    assert len(house.address.asked) == 1


@pytest.mark.fault("E06")
async def test_a_key_that_may_spend_a_part_cannot_pay_out_the_whole(house: House) -> None:
    view = await house.opened()
    invoice = ToInvoice(await left_of(house, view))
    for caveat in ("max_sats=50", "timmy_max_msat=1000", "timmy_max_msat_per_request=1000"):
        await house.refused(house.sessions.close(await house.permit(view, caveat), invoice), NotAllowed)


@pytest.mark.fault("B04")
async def test_a_session_is_not_closed_while_requests_of_it_are_running(house: House) -> None:
    view = await house.opened()
    permit, invoice = await house.permit(view), ToInvoice(await left_of(house, view))
    house.agent.gate = asyncio.Event()
    asking = asyncio.create_task(house.ask(view))
    while not house.agent.calls["work"]:
        await asyncio.sleep(0.01)
    assert (await house.sessions.view(view.id)).held > Msats(0)
    await house.refused(house.sessions.close(permit, invoice), RequestsRunning)
    house.agent.gate.set()
    assert (await asking).balance_remaining == DEPOSIT.msats - COST
    await house.sessions.close(permit, ToInvoice(await left_of(house, view)))


# asked twice, left alone -----------------------------------------------------------------------------


@pytest.mark.fault("B06", "B07")
async def test_a_key_is_one_request_and_its_answer_stays_the_same(house: House) -> None:
    view, other = await house.opened(), await house.opened()
    key = Key("ask", BODY)
    house.agent.gate = asyncio.Event()
    asking = asyncio.create_task(house.ask(view, key=key))
    while not house.agent.calls["work"]:
        await asyncio.sleep(0.01)
    refusal = await house.refused(house.ask(view, key=key), RequestInProgress)
    assert str(refusal.extra["runningRequestId"]).startswith("req_")
    await house.refused(house.ask(view, key=Key("ask", OTHER_BODY)), KeyReused)
    house.agent.gate.set()
    answer = await asking
    await house.ask(view)
    assert await house.ask(view, key=key) == answer, "the balance that it tells is the one of then"
    assert (await house.ask(other, key=key)).id != answer.id, "another session's keys are its own"
    assert house.agent.calls["work"] == 3


@pytest.mark.fault("C11", "D25")
async def test_a_caller_who_leaves_finds_the_answer_later(house: House) -> None:
    view = await house.opened()
    permit = await house.permit(view)
    house.agent.gate = asyncio.Event()
    asking = asyncio.create_task(house.sessions.request(permit, "What is 6 * 7?", key=Key("ask", BODY)))
    while not house.agent.calls["work"]:
        await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    house.agent.gate.set()
    while (await house.sessions.view(view.id)).held:
        await asyncio.sleep(0.01)
    answer = await house.sessions.request(permit, "What is 6 * 7?", key=Key("ask", BODY))
    assert (answer.state, answer.debited, house.agent.calls["work"]) == (RequestState.COMPLETE, COST, 1)
    assert await house.sessions.request_view(permit, answer.id) == answer


@pytest.mark.fault("F08")
async def test_a_request_of_another_session_is_not_found(house: House) -> None:
    one, other = await house.opened(), await house.opened()
    answer = await house.ask(one)
    await house.refused(house.sessions.request_view(await house.permit(other), answer.id), RequestNotFound)
    await house.refused(house.sessions.request_view(await house.permit(one), "req_nobody"), RequestNotFound)
