"""Models that think where nobody sees it: what they may come to is held before they begin, and what they came to is paid whoever leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.contract.completion_house import HELLO, Chatting, at_home, read_all
from tests.contract.model_servers.bench import bench
from tests.contract.model_servers.script import MODEL, Say
from tests.contract.session_house import TERMS
from tests.contract.test_completions import TALK, balance, house_most, quote

from timmy.clock import ManualClock
from timmy.completions import CompletionView, Ending
from timmy.db import Database
from timmy.ledger import chart
from timmy.models import Usage
from timmy.models.chat import Chat
from timmy.models.thinking import Thinking, thinking_of
from timmy.money import Msats, Sats
from timmy.sessions.refusals import InsufficientBalance

THOUGHT = Usage(50, 3_000)  # far more than is seen of it


@pytest.fixture
async def house(db: Database, clock: ManualClock) -> AsyncIterator[Chatting]:
    async for home in at_home(db, clock):
        yield home


@pytest.mark.fault("B02", "E16")
@pytest.mark.parametrize("thinks", [Thinking.PERHAPS, Thinking.UNSEEN])
async def test_streams_that_may_think_unseen_are_given_no_more_than_is_held_for_them(house: Chatting, thinks: Thinking) -> None:
    session = await house.opened(Sats(300))
    house.agent.thinks, house.agent.gates = thinks, asyncio.Semaphore(0)
    outcomes = await asyncio.gather(*(house.stream(session) for _ in range(20)), return_exceptions=True)
    lives = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert all(isinstance(outcome, InsufficientBalance) for outcome in outcomes if isinstance(outcome, BaseException))
    async with asyncio.timeout(20):
        while house.agent.calls["chat"] < len(lives):
            await asyncio.sleep(0.01)
    held = (await house.books())[chart.session(session.id)][1]
    given = [quote().charge(house_most(), limit) for _, limit in house.agent.chats]
    assert sum(given, Msats(0)).value <= held <= 300_000
    assert max(limit for _, limit in house.agent.chats) == TERMS.max_output_tokens
    for _ in range(len(lives) * len(TALK)):
        house.agent.gates.release()
    for live in lives:
        await read_all(live)
        await live.ended()


@pytest.mark.fault("D25", "D26")
@pytest.mark.parametrize("read", range(len(TALK)))
async def test_whoever_leaves_a_model_that_thinks_unseen_pays_what_it_thought(house: Chatting, read: int) -> None:
    session = await house.opened()
    house.agent.thinks, house.agent.usage, house.agent.gates = Thinking.UNSEEN, THOUGHT, asyncio.Semaphore(read)
    live = await house.stream(session)
    while not house.agent.calls["chat"]:
        await asyncio.sleep(0)
    if read:
        await read_all(live, read)
    await live.leave()
    assert not house.agent.hung_up.is_set()
    for _ in TALK:
        house.agent.gates.release()
    view = await live.ended()
    assert (view.ending, view.charged) == (Ending.COMPLETE, quote().charge(THOUGHT.input, THOUGHT.output))
    kept = await house.completions.view(house.key(session), house.use(), live.id)
    assert kept.message is not None
    assert kept.message["content"] == "".join(TALK), "it is found whole by whoever paid for it"
    assert await balance(house, session.id) == session.balance - view.charged
    await house.stands_still()


async def test_whoever_leaves_before_a_thinker_was_asked_pays_nothing(house: Chatting) -> None:
    session = await house.opened()
    house.agent.thinks = Thinking.UNSEEN
    live = await house.stream(session)
    await live.leave()
    assert ((await live.ended()).ending, house.agent.calls["chat"]) == (Ending.FAILED, 0)
    assert await balance(house, session.id) == session.balance


async def test_a_server_that_stops_waits_for_no_thinker_whose_reader_has_left(house: Chatting) -> None:
    session = await house.opened()
    house.agent.thinks, house.agent.gates = Thinking.UNSEEN, asyncio.Semaphore(1)
    live = await house.stream(session)
    await live.take()
    await live.leave()
    await house.completions.aclose(5.0)
    view: CompletionView = await live.ended()
    assert view.ending is Ending.LEFT
    await house.stands_still()


# what is known of a model ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "thinks"),
    [
        ("gpt-4o-mini", Thinking.NEVER),
        ("openai/gpt-4.1", Thinking.NEVER),
        ("claude-sonnet-4-5", Thinking.NEVER),
        ("o3-mini", Thinking.UNSEEN),
        ("openrouter/openai/GPT-5-nano", Thinking.UNSEEN),
        ("my-own", Thinking.PERHAPS),
    ],
)
def test_a_model_is_taken_for_one_that_may_think_unless_it_is_known_not_to(model: str, thinks: Thinking) -> None:
    assert thinking_of(model) is thinks


async def test_a_call_that_asks_for_reasoning_is_one_that_thinks_unseen() -> None:
    async with bench("openai") as remote:
        assert remote.provider.thinking("gpt-4o", {"reasoning_effort": "low"}) is Thinking.UNSEEN
        assert remote.provider.thinking("gpt-4o", {"reasoning_effort": "none"}) is Thinking.NEVER


@pytest.mark.parametrize("shown", [False, True])
async def test_a_model_that_was_seen_to_think_unseen_is_believed_to(shown: bool) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 400, "completion_tokens_details": {"reasoning_tokens": 380}}
    async with bench("openai") as remote:
        remote.server.always = Say("Yes.", usage=usage, reasoning="hm " * 300 if shown else "")
        assert remote.provider.thinking(MODEL, {}) is Thinking.PERHAPS
        await remote.provider.chat(Chat.of(HELLO, {}), model=MODEL, max_output_tokens=1_000)
        assert remote.provider.thinking(MODEL, {}) is (Thinking.PERHAPS if shown else Thinking.UNSEEN)
