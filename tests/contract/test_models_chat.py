"""Conversations in OpenAI's form, by every provider: what is sent, what comes back, and how it is counted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from tests.contract.model_servers.bench import Bench, bench
from tests.contract.model_servers.script import LONG, MODEL, SHORT, Broken, Fail, Raw, Say

from timmy.models import ProviderDown, ProviderRefused
from timmy.models.builtin import BuiltinAgent
from timmy.models.chat import IMAGE_TOKENS, Chat, Piece, Reply, Skill, deltas_of, image_tokens, message_of
from timmy.models.usage import count_tokens

KINDS = ["openai", "anthropic"]
ASK: list[dict[str, Any]] = [{"role": "system", "content": "You are a test."}, {"role": "user", "content": "Say something."}]
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "weather", "description": "It rains.", "parameters": {"type": "object", "properties": {}}}}
]
CALLED: dict[str, Any] = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"at": "Bern"}'}}],
}
TOLD: dict[str, Any] = {"role": "tool", "tool_call_id": "call_1", "content": "Rain."}
PICTURE: dict[str, Any] = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
CALL = [{"id": "call_7", "type": "function", "function": {"name": "weather", "arguments": '{"at":"Bern"}'}}]


def chat(*messages: dict[str, Any], **options: Any) -> Chat:
    return Chat.of(messages or ASK, options)


@pytest.fixture(params=KINDS)
async def remote(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with bench(request.param) as under_test:
        yield under_test


@pytest.fixture
async def openai() -> AsyncIterator[Bench]:
    async with bench("openai") as under_test:
        yield under_test


@pytest.fixture
async def anthropic() -> AsyncIterator[Bench]:
    async with bench("anthropic") as under_test:
        yield under_test


async def streamed(remote: Bench, asked: Chat, limit: int = 1_000) -> tuple[list[Piece], Reply]:
    pieces: list[Piece] = []
    replies: list[Reply] = []
    async with aclosing(remote.provider.chat_stream(asked, model=MODEL, max_output_tokens=limit)) as items:
        async for item in items:
            assert not replies, "nothing may follow the reply"
            if isinstance(item, Piece):
                pieces.append(item)
            else:
                replies.append(item)
    return pieces, replies[0]


async def test_an_answer_whole_and_in_pieces_is_the_same(remote: Bench) -> None:
    whole = await remote.provider.chat(chat(), model=MODEL, max_output_tokens=1_000)
    pieces, reply = await streamed(remote, chat())
    assert whole.message == reply.message == message_of([piece.delta for piece in pieces])[0]
    assert (whole.message["role"], whole.message["content"], whole.finish) == ("assistant", SHORT, "stop")
    assert whole.usage == reply.usage
    assert not whole.usage.estimated
    assert "".join(piece.text for piece in pieces) == SHORT


async def test_the_limit_ends_it_with_length(remote: Bench) -> None:
    remote.server.always = Say(LONG)
    _, reply = await streamed(remote, chat(), limit=20)
    assert (reply.finish, reply.message["content"]) == ("length", LONG[:80])


async def test_reasoning_is_a_part_of_what_is_shown_and_paid(openai: Bench) -> None:
    openai.server.always = Say("Yes.", reasoning="Hm, let me think.")
    pieces, reply = await streamed(openai, chat())
    assert reply.message["reasoning_content"] == "Hm, let me think."
    assert {"reasoning_content": "Hm, let me think."} in [piece.delta for piece in pieces]


async def test_trouble_is_told_as_in_other_calls(remote: Bench) -> None:
    remote.server.always = Fail(400)
    with pytest.raises(ProviderRefused):
        await remote.provider.chat(chat(), model=MODEL, max_output_tokens=10)
    remote.server.always = Broken("cut")
    with pytest.raises(ProviderDown):
        await streamed(remote, chat())


async def test_to_openai_all_goes_as_it_came(openai: Bench) -> None:
    messages = [*ASK, CALLED, TOLD, {"role": "user", "content": [{"type": "text", "text": "And this?"}, PICTURE]}]
    options = {"tools": TOOLS, "tool_choice": "auto", "temperature": 0.5, "response_format": {"type": "json_object"}}
    await openai.provider.chat(chat(*messages, **options), model=MODEL, max_output_tokens=50)
    body = openai.server.calls[0].body
    assert body == {"model": MODEL, "messages": messages, "max_tokens": 50, "stream": False, **options}


async def test_to_anthropic_it_goes_in_its_own_words(anthropic: Bench) -> None:
    messages = [*ASK, CALLED, TOLD, {"role": "user", "content": [{"type": "text", "text": "And this?"}, PICTURE]}]
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    options: dict[str, Any] = {
        "tools": TOOLS,
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "temperature": 1.7,
        "stop": "END",
        "seed": 7,
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    }
    await anthropic.provider.chat(chat(*messages, **options), model=MODEL, max_output_tokens=50)
    assert anthropic.server.calls[0].body == {
        "model": MODEL,
        "max_tokens": 50,
        "stream": False,
        "system": "You are a test.",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Say something."}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "weather", "input": {"at": "Bern"}}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "Rain."},
                    {"type": "text", "text": "And this?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                ],
            },
        ],
        "temperature": 1.0,
        "stop_sequences": ["END"],
        "tools": [{"name": "weather", "description": "It rains.", "input_schema": {"type": "object", "properties": {}}}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
    }


def data(*chunks: dict[str, Any]) -> tuple[bytes, ...]:
    return tuple(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)


def delta(**members: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": members, "finish_reason": None}]}


def call_delta(**function: Any) -> dict[str, Any]:
    return delta(tool_calls=[{"index": 0, "function": function}])


async def test_tool_calls_are_put_together_from_openais_pieces(openai: Bench) -> None:
    first = delta(tool_calls=[{"index": 0, "id": "call_7", "type": "function", "function": {"name": "weather", "arguments": ""}}])
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    openai.server.always = Raw((*data(first, call_delta(arguments='{"at":'), call_delta(arguments='"Bern"}'), end), b"data: [DONE]\n\n"))
    pieces, reply = await streamed(openai, chat(tools=TOOLS))
    assert (reply.finish, reply.message["tool_calls"], reply.message["content"]) == ("tool_calls", CALL, None)
    assert message_of([piece.delta for piece in pieces])[0] == reply.message
    assert "".join(piece.text for piece in pieces) == 'weather{"at":"Bern"}', "what a call is made of is paid for"


@pytest.mark.parametrize("index", [{}, {"index": None}, {"index": 0}])
async def test_tool_calls_that_share_an_index_are_as_many_as_their_ids(openai: Bench, index: dict[str, int | None]) -> None:
    """Ollama and Gemini number all of them 0 (ollama/ollama#15457), or none."""

    def call(id: str, arguments: str) -> dict[str, Any]:
        return delta(tool_calls=[{**index, "id": id, "type": "function", "function": {"name": "weather", "arguments": arguments}}])

    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    first, more, second = call("call_7", '{"at":'), call("call_7", '"Bern"}'), call("call_8", '{"at":"Rom"}')
    whole = [call("call_7", '{"at":"Bern"}'), second] if not index else [first, more, second]
    openai.server.always = Raw((*data(*whole, end), b"data: [DONE]\n\n"))
    pieces, reply = await streamed(openai, chat(tools=TOOLS))
    told = [(one["id"], one["function"]["arguments"]) for one in reply.message["tool_calls"]]
    assert told == [("call_7", '{"at":"Bern"}'), ("call_8", '{"at":"Rom"}')]
    assert message_of([piece.delta for piece in pieces])[0] == reply.message


async def test_tool_calls_are_read_from_anthropics_blocks(anthropic: Bench) -> None:
    block: dict[str, Any] = {"type": "tool_use", "id": "call_7", "name": "weather", "input": {}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 20, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"at":'}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '"Bern"}'}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 12}},
        {"type": "message_stop"},
    ]
    anthropic.server.script.append(Raw(tuple(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)))
    pieces, reply = await streamed(anthropic, chat(tools=TOOLS))
    assert (reply.finish, reply.message["tool_calls"]) == ("tool_calls", CALL)
    assert message_of([piece.delta for piece in pieces])[0] == reply.message
    whole = {"content": [{**block, "input": {"at": "Bern"}}], "stop_reason": "tool_use", "usage": {"input_tokens": 20, "output_tokens": 12}}
    anthropic.server.script.append(Raw((json.dumps(whole).encode(),), content_type="application/json"))
    answer = await anthropic.provider.chat(chat(tools=TOOLS), model=MODEL, max_output_tokens=50)
    assert json.loads(answer.message["tool_calls"][0]["function"]["arguments"]) == {"at": "Bern"}
    assert answer.finish == "tool_calls"


@pytest.mark.fault("D21", "D23")
@pytest.mark.parametrize(
    "calls", ["x", [None], [{"index": -1}], [{"index": 10**9}], [{"function": "x"}], [{"index": 0, "function": {"name": 3}}]]
)
async def test_tool_calls_that_make_no_sense_break_nothing(openai: Bench, calls: Any) -> None:
    openai.server.always = Raw((*data(delta(tool_calls=calls), delta(content="ok")), b"data: [DONE]\n\n"))
    _, reply = await streamed(openai, chat())
    assert reply.message["content"] == "ok"


@pytest.mark.fault("D21", "D23")
async def test_arguments_that_come_as_an_object_go_on_as_the_text_that_clients_read(openai: Bench) -> None:
    """Ollama's own form, which servers that stand before it pass on."""
    call = {"id": "call_7", "type": "function", "function": {"name": "weather", "arguments": {"at": "Bern"}}}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    openai.server.always = Raw((*data(delta(tool_calls=[{"index": 0, **call}]), end), b"data: [DONE]\n\n"))
    pieces, reply = await streamed(openai, chat(tools=TOOLS))
    assert (reply.finish, reply.message["tool_calls"]) == ("tool_calls", CALL)
    assert message_of([piece.delta for piece in pieces])[0] == reply.message
    assert "".join(piece.text for piece in pieces) == 'weather{"at":"Bern"}', "what a call is made of is paid for"
    whole = {"choices": [{"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    openai.server.always = Raw((json.dumps(whole).encode(),), content_type="application/json")
    answer = await openai.provider.chat(chat(tools=TOOLS), model=MODEL, max_output_tokens=50)
    assert answer.message["tool_calls"] == CALL


async def test_an_end_for_calls_without_any_is_an_end_like_any_other(remote: Bench) -> None:
    reason = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    ended: list[dict[str, Any]] = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "ok"}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
    ]
    told = data(delta(content="ok"), reason) if remote.provider.name == "openai" else data(*ended)
    remote.server.always = Raw(tuple(told))
    _, reply = await streamed(remote, chat(tools=TOOLS))
    assert (reply.finish, reply.message["content"]) == ("stop", "ok")


@pytest.mark.fault("D21")
@pytest.mark.parametrize("count", ["9" * 5_000, "-" + "9" * 5_000, "1e999", "NaN", "9" * 300])
async def test_a_number_that_nobody_can_mean_does_not_cost_the_answer(openai: Bench, count: str) -> None:
    usage = f'"usage": {{"prompt_tokens": 3, "completion_tokens": {count}}}'
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    last = f'data: {{"choices": [], {usage}}}\n\ndata: [DONE]\n\n'.encode()
    openai.server.always = Raw((*data(delta(content="Half an answer"), end), last))
    _, reply = await streamed(openai, chat())
    assert (reply.message["content"], reply.finish) == ("Half an answer", "stop")
    assert (reply.usage.output, reply.usage.estimated) == (count_tokens("Half an answer"), True)
    whole = f'{{"choices": [{{"message": {{"content": "All of it"}}, "finish_reason": "stop"}}], {usage}}}'
    openai.server.always = Raw((whole.encode(),), content_type="application/json")
    answer = await openai.provider.chat(chat(), model=MODEL, max_output_tokens=50)
    assert (answer.message["content"], answer.usage.estimated) == ("All of it", True)


# our own count ---------------------------------------------------------------------------------------


def test_nothing_is_forgotten_in_the_count_of_a_prompt() -> None:
    plain = chat()
    for more in (chat(*ASK, CALLED), chat(tools=TOOLS), chat(*ASK, {"role": "user", "content": [PICTURE]})):
        assert more.count_input(MODEL) > plain.count_input(MODEL)
        assert more.most_input(MODEL) >= more.count_input(MODEL)
    assert chat(*ASK, {"role": "user", "content": [PICTURE]}).images == 1
    assert image_tokens("gpt-4o-mini-2024-07-18") > IMAGE_TOKENS == image_tokens("gpt-4o")


def test_an_answer_can_be_told_again_as_a_stream() -> None:
    message = {"role": "assistant", "content": "Look:", "refusal": None, "reasoning_content": "Hm.", "tool_calls": CALL}
    assert message_of(deltas_of(message))[0] == message


async def test_the_demo_agent_streams_what_it_answers_and_can_be_asked_for_a_tool_call() -> None:
    agent = BuiltinAgent(delta_seconds=0.0)
    asked = chat({"role": "user", "content": "Please use a tool."}, tools=TOOLS)
    called = await agent.chat(asked, model="timmy-demo", max_output_tokens=50)
    assert (called.finish, called.message["tool_calls"][0]["function"]["name"]) == ("tool_calls", "weather")
    as_json = await agent.chat(chat(response_format={"type": "json_object"}), model="timmy-demo", max_output_tokens=500)
    assert isinstance(as_json.message["content"], str)
    assert "answer" in json.loads(as_json.message["content"])
    assert (await agent.chat(chat(), model="timmy-demo", max_output_tokens=3)).finish == "length"
    assert Skill.IMAGES not in agent.skills
