"""What a call costs, and what it may cost, for whoever asks and however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.contract.completion_house import HELLO, Chatting, at_home, read_all, wanted
from tests.contract.session_house import ALICE, RATES, TERMS

from timmy.clock import ManualClock
from timmy.completions import CompletionView, Ending, store
from timmy.completions.begin import Replayed
from timmy.completions.refusals import (
    CompletionInProgress,
    CompletionNotFound,
    MaxCostTooLow,
    ModelNotFound,
    NotSupported,
    PromptTooLong,
)
from timmy.completions.running import KEPT_MS
from timmy.completions.terms import PROMPT_TOKENS_MAX
from timmy.db import Database
from timmy.idempotency import KeyReused
from timmy.identity.caveats import NotAllowed
from timmy.ledger import chart
from timmy.models import ProviderDown, Usage
from timmy.models.chat import Chat
from timmy.money import Msats, NanoUsd, Sats
from timmy.pricing import make_quote
from timmy.pricing.quote import BtcPrice, Quote
from timmy.sessions.protocol import ToInvoice
from timmy.sessions.refusals import InsufficientBalance, KeyLimitReached, MacaroonUnknown, RequestsRunning, SessionEnded

TALK = ["one ", "two ", "three ", "four ", "five."]
INPUT = Chat.of(HELLO, {}).count_input("timmy-demo")


@pytest.fixture
async def house(db: Database, clock: ManualClock) -> AsyncIterator[Chatting]:
    async for home in at_home(db, clock):
        yield home


def quote(model: str = "timmy-demo") -> Quote:
    btc = BtcPrice(100_000_00, "test", 0)
    return make_quote(
        model=model, rate=RATES.rate(model), btc=btc, margin_bp=TERMS.margin_bp, infra=TERMS.infra, input_tokens=1, output_tokens=1
    )


async def balance(house: Chatting, session_id: str) -> Msats:
    return (await house.sessions.view(session_id)).balance


# whole answers ---------------------------------------------------------------------------------------


@pytest.mark.fault("A01", "D24")
async def test_a_call_costs_what_the_provider_counted_and_the_rest_is_free_again(house: Chatting) -> None:
    session = await house.opened()
    house.agent.usage = Usage(100, 50, cached=20)
    view = await house.complete(session)
    assert view.ending is Ending.COMPLETE
    assert view.message is not None
    assert view.message["content"] == "".join(TALK)
    assert view.charged == quote().charge(100, 50, 20)
    assert await balance(house, session.id) == session.balance - view.charged == view.balance
    await house.stands_still()


async def test_the_pool_and_the_payers_key_learn_from_it_as_from_other_work(house: Chatting) -> None:
    await house.known()
    session = await house.opened(pubkey=ALICE)
    before, score = await house.balance(chart.POOL), (await house.sessions.view(session.id)).trust_tier
    view = await house.complete(session)
    assert score == "trusted"
    assert await house.balance(chart.POOL) == before + Msats(view.charged.value // 10)
    learnt = [row for row in (await house.everything())["score_changes"] if row["id"] == f"completion/{view.id}"]
    assert [row["why"] for row in learnt] == ["work_paid"]


async def test_an_answer_that_costs_nothing_to_make_costs_nothing(house: Chatting) -> None:
    session = await house.opened()
    house.agent.then, house.agent.breaks_at = "down", 0
    with pytest.raises(ProviderDown):
        await house.complete(session)
    assert await balance(house, session.id) == session.balance


@pytest.mark.fault("A02", "D22")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_never_costs_more_than_there_is(house: Chatting, stream: bool) -> None:
    session = await house.opened(Sats(100))
    house.agent.usage = Usage(10**7, 10**7)
    if stream:
        live = await house.stream(session)
        await read_all(live)
        view = await live.ended()
    else:
        view = await house.complete(session)
    assert view.charged <= session.balance
    assert await balance(house, session.id) == session.balance - view.charged


@pytest.mark.fault("E16")
async def test_the_model_is_given_no_more_tokens_than_there_is_money_for(house: Chatting) -> None:
    session = await house.opened(Sats(100))
    house.agent.finish = "length"
    view = await house.complete(session, messages=[{"role": "user", "content": "x" * 9_000}])
    _, limit = house.agent.chats[0]
    assert 16 <= limit < TERMS.max_output_tokens
    assert quote().charge(house.agent.chats[0][0].most_input("timmy-demo"), limit) <= session.balance
    assert view.ending is Ending.BUDGET
    await house.complete(session, max_tokens=20)
    assert house.agent.chats[1][1] == 20


async def test_a_guard_of_the_callers_own_bounds_the_call(house: Chatting) -> None:
    session = await house.opened()
    most = quote().charge(house_most(), 100)
    view = await house.complete(session, max_cost=most)
    assert house.agent.chats[0][1] <= 100
    assert view.charged <= most
    refusal = await house.refused(house.complete(session, max_cost=Msats(1)), MaxCostTooLow)
    assert isinstance(refusal.extra["neededMsat"], int)


def house_most() -> int:
    return Chat.of(HELLO, {}).most_input("timmy-demo")


# what is refused, and leaves nothing -----------------------------------------------------------------


async def test_what_cannot_be_sold_is_refused_before_it_costs_anything(house: Chatting) -> None:
    session = await house.opened()
    await house.refused(house.complete(session, model="gpt-9"), ModelNotFound)
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
    refusal = await house.refused(house.complete(session, response_format=schema), NotSupported)
    assert refusal.extra == {"param": "response_format"}
    long = [{"role": "user", "content": "x " * (PROMPT_TOKENS_MAX + 1)}]
    await house.refused(house.complete(session, messages=long), PromptTooLong)
    assert house.agent.calls["chat"] == 0


@pytest.mark.fault("E06", "E07", "E09")
async def test_keys_that_may_not_are_refused(house: Chatting) -> None:
    session = await house.opened()
    with pytest.raises(NotAllowed):
        await house.complete(session, "only=/api/sessions")
    with pytest.raises(NotAllowed):
        await house.complete(session, "timmy_capabilities=session")
    forged = house.key(session).with_caveat("x=y")
    with pytest.raises(MacaroonUnknown):
        await house.completions.complete(type(forged)(forged.location, forged.identifier, (), forged.signature), house.use(), wanted())


async def test_too_little_is_402_with_the_way_on(house: Chatting) -> None:
    session = await house.opened(Sats(100))
    long = [{"role": "user", "content": "x" * 80_000}]
    refusal = await house.refused(house.complete(session, messages=long), InsufficientBalance)
    assert isinstance(refusal.extra["neededMsat"], int)
    assert refusal.extra["balanceMsat"] == 100_000


async def test_a_narrowed_key_spends_no_more_than_it_may(house: Chatting) -> None:
    session = await house.opened()
    house.agent.usage = Usage(10, 10**6)
    view = await house.complete(session, "max_sats=12")
    assert view.charged == Sats(12).msats
    await house.refused(house.complete(session, "max_sats=12"), KeyLimitReached)
    live = await house.stream(session, "timmy_max_msat_per_request=9000")
    await read_all(live)
    assert (await live.ended()).charged == Msats(9_000)
    key = await house.completions.key(house.key(session, "max_sats=12"), house.use("/v1/key"))
    assert [(limit.most, limit.left) for limit in key.limits] == [(Sats(12).msats, Msats(0))]
    assert not key.is_whole


async def test_a_session_that_has_ended_sells_nothing(house: Chatting) -> None:
    session = await house.opened()
    house.clock.advance(ms=TERMS.ttl_ms)
    await house.refused(house.complete(session), SessionEnded)


@pytest.mark.fault("B02")
async def test_many_at_once_spend_no_more_than_there_is(house: Chatting) -> None:
    session = await house.opened(Sats(100))
    house.agent.usage = Usage(10, 100)
    each = quote().charge(10, 100)
    outcomes = await asyncio.gather(*(house.complete(session, max_tokens=100) for _ in range(30)), return_exceptions=True)
    served = [outcome for outcome in outcomes if isinstance(outcome, CompletionView)]
    assert served
    assert all(isinstance(outcome, CompletionView | InsufficientBalance) for outcome in outcomes)
    assert await balance(house, session.id) == Msats(100_000 - len(served) * each.value)


async def test_a_session_is_not_closed_under_a_call(house: Chatting) -> None:
    session = await house.opened()
    house.agent.gates = asyncio.Semaphore(1)
    live = await house.stream(session)
    await live.take()
    invoice = await house.customer.create_invoice(Sats(990).msats)
    with pytest.raises(RequestsRunning):
        await house.sessions.close(await house.permit(session), ToInvoice(invoice))
    await live.leave()


# asked again -----------------------------------------------------------------------------------------


@pytest.mark.fault("C11", "B06")
async def test_an_sdks_retry_is_told_the_answer_again_and_does_not_pay_again(house: Chatting) -> None:
    session = await house.opened()
    first = await house.complete(session)
    again = await house.complete(session, retry=True)
    assert (again.id, again.message, again.charged) == (first.id, first.message, first.charged)
    assert house.agent.calls["chat"] == 1
    other = await house.complete(session, retry=True, max_tokens=7)
    assert other.id != first.id, "another body is another call"
    narrowed = await house.complete(session, "max_sats=500", retry=True)
    assert narrowed.id != first.id, "what one key has bought is not another's to read"
    assert await balance(house, session.id) == session.balance - first.charged - other.charged - narrowed.charged


async def test_a_retry_of_a_call_that_runs_waits_for_its_end(house: Chatting, monkeypatch: pytest.MonkeyPatch) -> None:
    found, replay = asyncio.Event(), house.completions.running._replay

    async def replaying(replayed: Replayed) -> CompletionView:
        found.set()
        return await replay(replayed)

    monkeypatch.setattr(house.completions.running, "_replay", replaying)
    session = await house.opened()
    house.agent.gates = asyncio.Semaphore(0)
    first = asyncio.create_task(house.complete(session))
    while not house.agent.calls["chat"]:
        await asyncio.sleep(0)
    again = asyncio.create_task(house.complete(session, retry=True))
    await found.wait()
    assert not first.done()
    for _ in TALK:
        house.agent.gates.release()
    assert (await first).id == (await again).id
    assert house.agent.calls["chat"] == 1


async def test_a_retry_of_a_call_that_failed_is_a_new_call(house: Chatting) -> None:
    session = await house.opened()
    house.agent.then, house.agent.breaks_at = "down", 0
    with pytest.raises(ProviderDown):
        await house.complete(session, key="k")
    house.agent.then = "ends"
    assert (await house.complete(session, retry=True, key="k")).ending is Ending.COMPLETE


@pytest.mark.fault("B06", "B07")
async def test_one_idempotency_key_is_one_call(house: Chatting) -> None:
    session = await house.opened()
    outcomes = await asyncio.gather(*(house.complete(session, key="k") for _ in range(5)), return_exceptions=True)
    served = [outcome for outcome in outcomes if isinstance(outcome, CompletionView)]
    assert len({view.id for view in served}) == 1
    assert all(isinstance(outcome, CompletionView | CompletionInProgress) for outcome in outcomes)
    assert (await house.complete(session, key="k")).id == served[0].id
    assert house.agent.calls["chat"] == 1
    await house.refused(house.complete(session, key="k", max_tokens=3), KeyReused)


# kept for a day --------------------------------------------------------------------------------------


async def test_an_answer_is_kept_for_a_day_for_the_keys_of_its_session(house: Chatting) -> None:
    session, other = await house.opened(), await house.opened()
    view = await house.complete(session)
    found = await house.completions.view(house.key(session), house.use(), view.id)
    assert found.message == view.message
    with pytest.raises(CompletionNotFound):
        await house.completions.view(house.key(other), house.use(), view.id)
    house.clock.advance(ms=KEPT_MS + 1)
    await house.completions.running.sweep_once()
    with pytest.raises(CompletionNotFound):
        await house.completions.view(house.key(session), house.use(), view.id)


async def test_a_piece_that_came_too_late_to_be_dropped_is_not_kept_longer_than_the_answer(house: Chatting) -> None:
    view = await house.complete(await house.opened())
    late = "INSERT INTO completion_pieces (completion_id, place, deltas) VALUES (:id, 0, '[]')"
    await house.db.write(lambda tx: tx.run(late, id=view.id))
    await house.completions.running.sweep_once()
    assert await house.db.read(store.pieces, view.id) == ["[]"]
    house.clock.advance(ms=KEPT_MS + 1)
    await house.completions.running.sweep_once()
    assert await house.db.read(store.pieces, view.id) == []


def test_models_are_shown_with_what_they_cost(house: Chatting) -> None:
    shown = {model.id: model for model in house.completions.models()}
    assert set(shown) == {"timmy-demo", "timmy-demo-small"}
    assert shown["timmy-demo"].input == NanoUsd.parse("4.2")
    assert shown["timmy-demo"].output_msat == NanoUsd.parse("21").at(cents_per_btc=100_000_00)
