"""Answers that stream: what is handed over is paid for, what is not produced is not, wherever it is cut and by whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.contract.completion_house import HELLO, Chatting, at_home, read_all, wanted
from tests.contract.test_completions import INPUT, TALK, balance, quote

from timmy.clock import ManualClock
from timmy.completions import CompletionView, Ending, LiveCompletion, store
from timmy.completions.running import UNHEARD_MS
from timmy.completions.terms import STEP_TOKENS
from timmy.db import Database, Tx
from timmy.ledger import Code, Reserve, Void, chart, commit
from timmy.models import ProviderDown, Usage
from timmy.models.chat import Chat
from timmy.models.usage import count_tokens
from timmy.money import Msats, Sats

PIECES = len(TALK)


@pytest.fixture
async def house(db: Database, clock: ManualClock) -> AsyncIterator[Chatting]:
    async for home in at_home(db, clock):
        yield home


def worth(text: str) -> Msats:
    """What this much of an answer to HELLO is charged, by our own count."""
    return quote().charge(INPUT, count_tokens(text))


async def test_a_stream_hands_over_all_pieces_and_costs_what_a_whole_answer_costs(house: Chatting) -> None:
    session = await house.opened()
    house.agent.usage = Usage(100, 50)
    live = await house.stream(session)
    assert await read_all(live) == "".join(TALK)
    view = await live.ended()
    assert (view.ending, view.finish, view.charged) == (Ending.COMPLETE, "stop", quote().charge(100, 50))
    assert await balance(house, session.id) == session.balance - view.charged


@pytest.mark.fault("D20", "D21")
async def test_without_a_report_our_own_count_is_charged_and_marked(house: Chatting) -> None:
    live = await house.stream(await house.opened())
    await read_all(live)
    view = await live.ended()
    assert view.usage is not None
    assert view.usage.estimated
    assert view.charged == worth("".join(TALK))


@pytest.mark.fault("D25", "D26")
@pytest.mark.parametrize("read", range(PIECES + 1))
async def test_whoever_leaves_pays_what_was_produced_and_finds_it_again(house: Chatting, read: int) -> None:
    """Cut by the client after each piece: the provider is hung up on, and the charge is that of the pieces that came."""
    session = await house.opened()
    house.agent.gates = asyncio.Semaphore(read)
    live = await house.stream(session)
    while not house.agent.calls["chat"]:
        await asyncio.sleep(0)
    text = await read_all(live, read) if read else ""
    await live.leave()
    view = await live.ended()
    assert text == "".join(TALK[:read])
    assert view.charged == worth(text)
    assert view.ending is (Ending.COMPLETE if read == PIECES else Ending.LEFT)
    if read < PIECES:
        assert house.agent.hung_up.is_set()
        assert house.agent.said == read
    kept = await house.completions.view(house.key(session), house.use(), live.id)
    assert kept.message is not None
    assert kept.message["content"] == text
    assert await balance(house, session.id) == session.balance - view.charged
    await house.stands_still()


@pytest.mark.fault("D18", "D19")
@pytest.mark.parametrize("breaks_at", range(PIECES + 1))
@pytest.mark.parametrize("then", ["down", "bug"])
async def test_a_provider_that_breaks_off_is_paid_for_what_came(house: Chatting, breaks_at: int, then: str) -> None:
    session = await house.opened()
    house.agent.breaks_at, house.agent.then = breaks_at, then
    live = await house.stream(session)
    texts = [await read_all(live, breaks_at)] if breaks_at else []
    with pytest.raises(ProviderDown):
        await live.take()
    view = await live.ended()
    assert "".join(texts) == "".join(TALK[:breaks_at]), "what had come is handed over before the trouble is told"
    if breaks_at == 0:
        assert (view.ending, view.charged) == (Ending.FAILED, Msats(0))
    else:
        assert (view.ending, view.charged) == (Ending.BROKEN, worth("".join(texts)))
    assert await balance(house, session.id) == session.balance - view.charged
    await house.stands_still()


# the hold, step by step ------------------------------------------------------------------------------


def wordy(tokens: int) -> list[str]:
    return [f"w{place % 10} " for place in range(tokens // 3)]


async def test_a_long_answer_reserves_as_it_goes(house: Chatting) -> None:
    session = await house.opened()
    house.agent.words = wordy(STEP_TOKENS * 5)
    house.agent.gates = asyncio.Semaphore(1)
    live = await house.stream(session)
    await live.take()
    first = (await house.books())[chart.session(session.id)][1]
    assert first == quote().charge(Chat.of(HELLO, {}).most_input("timmy-demo"), STEP_TOKENS).value
    for _ in house.agent.words:
        house.agent.gates.release()
    await read_all(live)
    assert (await live.ended()).charged > Msats(first)
    assert (await house.books())[chart.session(session.id)][1] == 0


@pytest.mark.fault("E16", "B02")
async def test_when_no_more_can_be_reserved_it_stops_and_says_so(house: Chatting) -> None:
    """A neighbour takes what is left while the answer streams: it ends at what is held, and that is what it costs."""
    session = await house.opened(Sats(100))
    house.agent.words = wordy(STEP_TOKENS * 6)
    house.agent.gates = asyncio.Semaphore(1)
    live = await house.stream(session)
    first = [piece.text for piece in await live.take()]
    left = await house.balance(chart.session(session.id)) - Msats(2_000)
    neighbour = Reserve("neighbour", chart.session(session.id), chart.REVENUE, left, Code.SESSION_CHARGE)
    await house.db.write(commit, 0, neighbour)
    for _ in house.agent.words:
        house.agent.gates.release()
    text = "".join(first) + await read_all(live)
    view = await live.ended()
    await house.db.write(commit, 0, Void("neighbour"))
    assert (view.ending, view.finish) == (Ending.BUDGET, "length")
    assert STEP_TOKENS // 2 < count_tokens(text) < STEP_TOKENS * 2
    assert view.charged == worth(text)
    assert await balance(house, session.id) == session.balance - view.charged


async def test_what_a_provider_thought_unseen_is_paid_as_far_as_there_is_money(house: Chatting) -> None:
    session = await house.opened()
    house.agent.usage = Usage(50, 3_000)
    live = await house.stream(session)
    await read_all(live)
    assert (await live.ended()).charged == quote().charge(50, 3_000)


@pytest.mark.parametrize("words", [wordy(STEP_TOKENS * 6), ["".join(wordy(STEP_TOKENS))]])
async def test_a_provider_that_ignores_its_limit_is_stopped_at_it_and_not_for_want_of_money(house: Chatting, words: list[str]) -> None:
    house.agent.words = words
    live = await house.stream(await house.opened(), max_tokens=50)
    text = await read_all(live)
    view = await live.ended()
    assert count_tokens(text) <= 50 * 2 + 64
    assert (view.ending, view.finish) == (Ending.COMPLETE, "length")
    assert view.charged == min(worth(text), view.held)


@pytest.mark.fault("E16")
@pytest.mark.parametrize("usage", [None, Usage(INPUT, 5_000), Usage(5_000, 50)])
async def test_no_stream_costs_more_than_it_was_said_to_come_to(house: Chatting, usage: Usage | None) -> None:
    """What a provider writes beyond the caller's `max_tokens`, or says that it has, is not the caller's to pay."""
    house.agent.words, house.agent.usage = wordy(120), usage
    session = await house.opened()
    live = await house.stream(session, max_tokens=50)
    text = await read_all(live)
    view = await live.ended()
    assert count_tokens(text) > 50
    assert view.charged <= house.completions.most(wanted(stream=True, max_tokens=50))
    assert view.ending is Ending.COMPLETE
    await house.stands_still()


# our own server goes ---------------------------------------------------------------------------------


@pytest.mark.fault("C09", "C23")
@pytest.mark.parametrize("read", range(PIECES))
async def test_what_was_handed_over_by_a_server_that_died_is_charged_and_kept_but_for_the_last_piece(house: Chatting, read: int) -> None:
    """The process is gone between two pieces: nothing of it runs any more, and another one sweeps up."""
    session = await house.opened()
    house.agent.gates = asyncio.Semaphore(0)
    live = await house.stream(session)
    texts: list[str] = []
    for _ in range(read):
        house.agent.gates.release()
        texts += [piece.text for piece in await live.take()]
    following = asyncio.create_task(live.take())  # asking for more says that what came before was handed on
    await durable(house, live, read)
    survivor = Chatting(house.db, house.clock)
    house.clock.advance(ms=UNHEARD_MS + 1)
    assert await survivor.completions.running.sweep_once() == 1
    view = await survivor.completions.view(house.key(session), house.use(), live.id) if read else None
    text = "".join(texts)
    charged = worth(text) if read else Msats(0)
    if view is not None:
        assert view.message is not None
        assert (view.ending, view.message["content"], view.charged) == (Ending.DIED, text, charged)
    assert await balance(house, session.id) == session.balance - charged
    await house.stands_still()
    # The server was only paused after all: it comes back, finds the call ended, and changes nothing.
    following.cancel()
    await live.leave()
    assert await balance(house, session.id) == session.balance - charged


async def durable(house: Chatting, live: LiveCompletion, pieces: int) -> None:
    async with asyncio.timeout(20):
        while await house.db.read(count_pieces, live.id) < pieces:
            await asyncio.sleep(0.005)


def count_pieces(tx: Tx, id: str) -> int:
    return len(store.pieces(tx, id))


@pytest.mark.fault("B10")
async def test_no_clock_ends_a_call_whose_server_lives(house: Chatting) -> None:
    house.agent.gates = asyncio.Semaphore(1)
    live = await house.stream(await house.opened())
    await live.take()
    house.clock.advance(ms=UNHEARD_MS * 2)
    assert await house.completions.running.sweep_once() == 0
    for _ in TALK:
        house.agent.gates.release()
    await read_all(live)
    assert (await live.ended()).ending is Ending.COMPLETE


async def test_a_server_that_stops_charges_what_was_produced(house: Chatting) -> None:
    session = await house.opened()
    house.agent.gates = asyncio.Semaphore(2)
    live = await house.stream(session)
    text = await read_all(live, 2)
    await house.completions.aclose(5.0)
    assert (await live.ended()).charged == worth(text)


@pytest.mark.fault("D25")
async def test_whoever_leaves_before_a_provider_was_asked_pays_nothing(house: Chatting) -> None:
    session = await house.opened()
    live = await house.stream(session)
    await live.leave()
    assert ((await live.ended()).ending, house.agent.calls["chat"]) == (Ending.FAILED, 0)
    assert await balance(house, session.id) == session.balance


async def test_many_streams_cut_anywhere_leave_the_books_right(house: Chatting) -> None:
    session = await house.opened(Sats(5_000))
    house.agent.words = TALK * 4

    async def cut(place: int) -> CompletionView:
        live = await house.stream(session)
        await read_all(live, 1 + place % (len(TALK) * 4))
        await live.leave()
        return await live.ended()

    views = await asyncio.gather(*(cut(place) for place in range(40)))
    charged = sum((view.charged for view in views), Msats(0))
    assert await balance(house, session.id) == session.balance - charged
    assert all(view.charged for view in views)
