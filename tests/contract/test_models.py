"""What every language model provider promises, the built-in agent and both wire formats alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from tests.contract.model_servers.bench import Remote, bench, drained
from tests.contract.model_servers.script import MODEL

from timmy.models import Accepted, Declined, Finish, Prompt, ProviderDown, ProviderRefused, judge, work_prompt
from timmy.models.builtin import BuiltinAgent
from timmy.models.protocol import Delta, Turn

Provided = Remote | BuiltinAgent


@pytest.fixture(params=["builtin", "openai", "anthropic"])
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[Provided]:
    if request.param == "builtin":
        yield BuiltinAgent(delta_seconds=0)
        return
    async with bench(request.param) as under_test:
        yield under_test.provider


async def test_an_answer_arrives_whole(provider: Provided) -> None:
    answer = await provider.complete(work_prompt("What is 2 + 2?"), model=MODEL, max_output_tokens=500)
    assert answer.text
    assert answer.finish is Finish.STOP


async def test_the_pieces_of_a_stream_add_up_to_its_completion(provider: Provided) -> None:
    texts, completions = await drained(provider, work_prompt("please write at length"), limit=300)
    assert len(completions) == 1
    assert len(texts) > 1
    assert all(texts), "a delta is never empty"
    assert "".join(texts) == completions[0].text


async def test_streamed_or_not_it_is_the_same_answer(provider: Provided) -> None:
    prompt = work_prompt("What is a macaroon?")
    whole = await provider.complete(prompt, model=MODEL, max_output_tokens=500)
    _, [streamed] = await drained(provider, prompt, limit=500)
    assert streamed == whole


async def test_usage_is_counted(provider: Provided) -> None:
    short = (await provider.complete(work_prompt("Hello!"), model=MODEL, max_output_tokens=500)).usage
    long = (await provider.complete(work_prompt("Hello! " * 200), model=MODEL, max_output_tokens=500)).usage
    assert 0 < short.input < long.input
    assert 0 < short.output <= 500
    assert 0 <= short.cached <= short.input
    assert not short.estimated


async def test_what_was_said_before_is_part_of_the_input(provider: Provided) -> None:
    earlier = (Turn("user", "Who wrote Faust? " * 20), Turn("assistant", "Goethe. " * 20))
    alone = await provider.complete(Prompt("Be brief.", "And when?"), model=MODEL, max_output_tokens=500)
    later = await provider.complete(Prompt("Be brief.", "And when?", earlier), model=MODEL, max_output_tokens=500)
    assert later.usage.input > alone.usage.input + 40


@pytest.mark.fault("E16")
async def test_the_token_limit_is_kept_and_told(provider: Provided) -> None:
    prompt = work_prompt("please write at length")
    whole = await provider.complete(prompt, model=MODEL, max_output_tokens=40)
    _, [streamed] = await drained(provider, prompt, limit=40)
    for answer in (whole, streamed):
        assert answer.finish is Finish.LENGTH
        assert answer.usage.output == 40


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_will_never_work_is_refused(provider: Provided, streamed: bool) -> None:
    with pytest.raises(ProviderRefused):
        await _ask(provider, "please fail", streamed)


@pytest.mark.fault("D17")
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_may_work_later_is_down(provider: Provided, streamed: bool) -> None:
    with pytest.raises(ProviderDown):
        await _ask(provider, "please be down", streamed)


async def test_a_stream_may_be_left_in_the_middle(provider: Provided) -> None:
    async with aclosing(provider.stream(work_prompt("please write at length"), model=MODEL, max_output_tokens=500)) as items:
        first = await anext(items)
        assert isinstance(first, Delta)
    with pytest.raises(StopAsyncIteration):
        await anext(items)
    assert (await provider.complete(work_prompt("Hello!"), model=MODEL, max_output_tokens=500)).text


async def test_it_can_be_checked(provider: Provided) -> None:
    await provider.check()


async def test_it_can_judge(provider: Provided) -> None:
    yes = await judge(provider, "Write a haiku", MODEL)
    no = await judge(provider, "please reject this", MODEL)
    assert isinstance(yes, Accepted)
    assert isinstance(no, Declined)
    assert no.reason
    assert min(yes.usage.input, yes.usage.output, no.usage.input, no.usage.output) > 0


async def _ask(provider: Provided, request: str, streamed: bool) -> None:
    if streamed:
        await drained(provider, work_prompt(request))
    else:
        await provider.complete(work_prompt(request), model=MODEL, max_output_tokens=100)
