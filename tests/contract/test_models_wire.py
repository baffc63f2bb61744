"""The two wire formats in detail: how answers are read, and how the differences between servers are met."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.model_servers.anthropic_server import AnthropicServer
from tests.contract.model_servers.bench import ASK, Bench, bench
from tests.contract.model_servers.openai_server import REASONER, OpenAIServer
from tests.contract.model_servers.script import API_KEY, LONG, MODEL, SHORT, Fail, Raw, Say

from timmy.models import Finish, Prompt, ProviderDown, ProviderRefused, Usage
from timmy.models.openai import OpenAICompatible
from timmy.models.protocol import Turn
from timmy.models.usage import count_prompt, count_tokens, estimated

KINDS = ["openai", "anthropic"]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["cached_tokens", "reasoning_tokens", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)
USAGE_FIELDS = {
    "openai": ("prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details"),
    "anthropic": ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens_details"),
}


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


def openai_server(remote: Bench) -> OpenAIServer:
    assert isinstance(remote.server, OpenAIServer)
    return remote.server


def data(*chunks: object) -> tuple[bytes, ...]:
    return tuple(b"data: " + (chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode()) + b"\n\n" for chunk in chunks)


def said(content: object, finish: str | None = None, **delta: object) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content, **delta}, "finish_reason": finish}]}


# ---- both formats


async def test_a_stream_may_be_cut_anywhere(remote: Bench) -> None:
    """Every byte alone: in the middle of characters, of lines, of line ends."""
    whole = await remote.complete()
    call = remote.server.calls[-1]
    call.body["stream"] = True
    call.body["stream_options"] = {"include_usage": True}
    server = remote.server
    chunks = b"".join([*server.opening(Say(), call), *(server.delta(char, call) for char in SHORT), *server.closing(Say(), call)])
    for stream in (chunks, chunks.replace(b"\n", b"\r\n"), chunks.replace(b"\n", b"\r")):
        server.script.append(Raw(tuple(stream[at : at + 1] for at in range(len(stream)))))
        texts, [streamed] = await remote.stream()
        assert streamed == whole
        assert "".join(texts) == SHORT


@pytest.mark.fault("D24")
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_empty_answer_is_an_answer(remote: Bench, streamed: bool) -> None:
    remote.server.always = Say("")
    answer = (await remote.stream())[1][0] if streamed else await remote.complete()
    assert (answer.text, answer.finish) == ("", Finish.STOP)
    assert answer.usage.input > 0
    assert answer.usage.output == 0


@pytest.mark.fault("D24")
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_safety_stop_is_told_and_its_words_are_kept(remote: Bench, streamed: bool) -> None:
    remote.server.always = Say("I would rather not.", refused=True)
    answer = (await remote.stream())[1][0] if streamed else await remote.complete()
    assert (answer.text, answer.finish) == ("I would rather not.", Finish.REFUSED)


@pytest.mark.parametrize("streamed", [False, True])
async def test_reasoning_is_paid_for_and_not_shown(remote: Bench, streamed: bool) -> None:
    remote.server.always = Say("42", reasoning="Let me think about this for a while. " * 100)
    answer = (await remote.stream())[1][0] if streamed else await remote.complete()
    assert answer.text == "42"
    assert answer.usage.output > 800
    assert not answer.usage.estimated


@pytest.mark.fault("D20")
async def test_a_stream_without_usage_is_counted_by_us(remote: Bench) -> None:
    remote.server.always = Say(usage=None)
    _, [answer] = await remote.stream()
    assert answer.usage == estimated(ASK, SHORT)
    assert answer.usage == Usage(count_prompt(ASK), count_tokens(SHORT), 0, estimated=True)


async def test_a_stream_without_its_last_word_is_whole_if_it_said_why_it_ended(remote: Bench) -> None:
    remote.server.always = Say(last_words=False)
    _, [answer] = await remote.stream()
    assert (answer.text, answer.finish) == (SHORT, Finish.STOP)


@pytest.mark.fault("D22")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_provider_that_reports_ten_times_too_much_is_not_believed(kind: str, streamed: bool) -> None:
    prompt = Prompt("You are a test. " * 100, "Say something long. " * 100)
    async with bench(kind) as remote:
        names = USAGE_FIELDS[kind]
        real = estimated(prompt, LONG)
        remote.server.always = Say(LONG, usage={names[0]: real.input * 10, names[1]: real.output * 10})
        answer = (await remote.stream(prompt, limit=50_000))[1][0] if streamed else await remote.complete(prompt, limit=50_000)
    assert answer.usage.estimated
    assert answer.usage.input <= real.input * 1.2 + 1
    assert answer.usage.output <= real.output * 1.2 + 1


@pytest.mark.fault("D21")
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_no_usage_report_can_hurt(kind: str, data: st.DataObject) -> None:
    fields = st.fixed_dictionaries({}, optional=dict.fromkeys(USAGE_FIELDS[kind], json_values))
    usage = data.draw(fields | json_values, label="usage")
    streamed = data.draw(st.booleans(), label="streamed")
    async with bench(kind) as remote:
        remote.server.always = Say(usage=usage)
        answer = (await remote.stream())[1][0] if streamed else await remote.complete()
    assert answer.text == SHORT
    believed = answer.usage
    assert all(type(count) is int for count in (believed.input, believed.output, believed.cached))
    assert 0 <= believed.cached <= believed.input
    # The prompt and the answer are a few words: whatever is claimed, what is believed stays near them.
    assert 0 < believed.input < 2_000
    assert 0 < believed.output < 2_000


@pytest.mark.fault("E16")
async def test_a_model_that_ignores_its_limit_is_stopped(remote: Bench) -> None:
    server = remote.server
    await remote.complete()
    call = server.calls[-1]
    call.body["stream"] = True
    endless = [server.delta("and on and on " * 100, call)] * 100
    server.always = Raw((*server.opening(Say(), call), *endless), then="stall")
    texts, [answer] = await remote.stream(limit=50)
    assert answer.finish is Finish.LENGTH
    assert len("".join(texts)) < 10_000


async def test_an_empty_system_text_is_left_out(remote: Bench) -> None:
    assert (await remote.complete(Prompt("", "Hello"))).text == SHORT


async def test_a_conversation_arrives_in_order(remote: Bench) -> None:
    await remote.complete(Prompt("Be brief.", "third", (Turn("user", "first"), Turn("assistant", "second"))))
    messages = [(each["role"], each["content"]) for each in remote.server.calls[0].body["messages"] if each["role"] != "system"]
    assert messages == [("user", "first"), ("assistant", "second"), ("user", "third")]


@pytest.mark.fault("D23")
async def test_text_that_no_database_takes_is_mended(remote: Bench) -> None:
    """NUL, half an emoji, and an emoji whose halves come in two pieces, as servers that count in UTF-16 send it."""
    server = remote.server
    await remote.complete()
    call = server.calls[-1]
    call.body["stream"] = True
    escaped = [server.delta(mark, call) for mark in ("a@0@b", "@1@", "@2@ c", "@1@")]
    halves = [chunk.replace(b"@0@", b"\\u0000").replace(b"@1@", b"\\ud83e").replace(b"@2@", b"\\uddd9") for chunk in escaped]
    server.always = Raw((*server.opening(Say(), call), *halves, *server.closing(Say(), call)))
    texts, [answer] = await remote.stream()
    assert answer.text == "".join(texts) == "a\ufffdb\U0001f9d9 c\ufffd"
    server.always = Say("a\x00b\ud83e")
    assert (await remote.complete()).text == "a\ufffdb\ufffd"


# ---- OpenAI and its imitators


async def test_usage_is_asked_for_in_streams_only(openai: Bench) -> None:
    await openai.complete()
    await openai.stream()
    assert [call.body.get("stream_options") for call in openai.server.calls] == [None, {"include_usage": True}]


async def test_a_server_that_refuses_to_report_usage_is_asked_without_and_that_is_remembered(openai: Bench) -> None:
    openai_server(openai).knows_stream_options = False
    for _ in range(2):
        _, [answer] = await openai.stream()
        assert answer.text == SHORT
        assert answer.usage.estimated
    assert ["stream_options" in call.body for call in openai.server.calls] == [True, False, False]


async def test_an_error_that_only_quotes_our_fields_teaches_nothing(openai: Bench) -> None:
    openai.server.script.extend([Fail(400), Fail(400)])
    with pytest.raises(ProviderRefused):
        await openai.stream()
    await openai.stream()
    assert "stream_options" in openai.server.calls[-1].body


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_reasoning_model_gets_its_limit_under_the_other_name(openai: Bench, streamed: bool) -> None:
    openai_server(openai).knows_stream_options = False
    for _ in range(2):
        if streamed:
            items = [item async for item in openai.provider.stream(ASK, model=REASONER, max_output_tokens=9)]
            assert items
        else:
            await openai.provider.complete(ASK, model=REASONER, max_output_tokens=9)
    last = openai.server.calls[-1].body
    assert last["max_completion_tokens"] == 9
    assert "max_tokens" not in last
    assert len(openai.server.calls) == (4 if streamed else 3)


async def test_a_local_server_needs_no_key() -> None:
    async with bench("openai", key=None) as remote:
        with pytest.raises(ProviderRefused):
            await remote.complete()
        assert "authorization" not in remote.server.calls[0].headers


async def test_a_server_without_a_list_of_models_passes_the_check(openai: Bench) -> None:
    openai_server(openai).has_models = False
    await openai.provider.check()


async def test_comments_and_empty_choices_are_skipped(openai: Bench) -> None:
    chunks = (b": OPENROUTER PROCESSING\n\n", *data({"choices": []}, {"id": "x"}, said("Hi"), said(None, "stop"), b"[DONE]"))
    openai.server.always = Raw(chunks)
    texts, [answer] = await openai.stream()
    assert texts == ["Hi"]
    assert answer.finish is Finish.STOP


async def test_done_is_an_end_even_where_no_reason_was_given(openai: Bench) -> None:
    openai.server.always = Raw(data(said("Hi"), b"[DONE]"))
    _, [answer] = await openai.stream()
    assert (answer.text, answer.finish) == ("Hi", Finish.STOP)


async def test_the_last_event_counts_even_without_the_empty_line_after_it(openai: Bench) -> None:
    openai.server.always = Raw((*data(said("Hi")), b"data: " + json.dumps(said("!", "length")).encode()))
    _, [answer] = await openai.stream()
    assert (answer.text, answer.finish) == ("Hi!", Finish.LENGTH)


async def test_a_server_that_stays_after_done_is_not_waited_for(openai: Bench) -> None:
    openai.server.always = Raw(data(said("Hi", "stop"), b"[DONE]"), then="stall")
    _, [answer] = await openai.stream()
    assert answer.text == "Hi"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", Finish.STOP),
        ("length", Finish.LENGTH),
        ("content_filter", Finish.REFUSED),
        ("tool_calls", Finish.STOP),
        ("eos", Finish.STOP),
    ],
)
async def test_every_reason_to_end_is_understood(openai: Bench, reason: str, finish: Finish) -> None:
    openai.server.always = Raw(data(said("Hi", reason), b"[DONE]"))
    _, [answer] = await openai.stream()
    assert answer.finish is finish


async def test_a_models_own_refusal_is_a_refusal(openai: Bench) -> None:
    openai.server.always = Raw(data(said(None, refusal="No, "), said(None, refusal="thanks."), said(None, "stop"), b"[DONE]"))
    _, [answer] = await openai.stream()
    assert (answer.text, answer.finish) == ("No, thanks.", Finish.REFUSED)


async def test_content_in_parts_is_read(openai: Bench) -> None:
    openai.server.always = Raw(
        data(said([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}], "stop"), b"[DONE]")
    )
    _, [answer] = await openai.stream()
    assert answer.text == "ab"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 429, "message": "slow down"}, ProviderDown),
        ({"code": 502, "message": "upstream"}, ProviderDown),
        ({"code": 401, "message": "key"}, ProviderRefused),
        ({"code": "invalid_api_key"}, ProviderRefused),
        ({"type": "rate_limit_exceeded"}, ProviderDown),
        ({"message": "?"}, ProviderDown),
        ("just text", ProviderDown),
    ],
)
async def test_an_error_inside_a_success_is_an_error(openai: Bench, error: object, kind: type[Exception]) -> None:
    openai.server.always = Raw(data({"error": error}))
    with pytest.raises(kind):
        await openai.stream()
    openai.server.always = Raw((json.dumps({"error": error}).encode(),), content_type="application/json")
    with pytest.raises(kind):
        await openai.complete()


async def test_openrouters_broken_ending_is_down(openai: Bench) -> None:
    openai.server.always = Raw(data(said("Hi"), said("", "error"), b"[DONE]"))
    with pytest.raises(ProviderDown):
        await openai.stream()


async def test_usage_on_every_chunk_is_a_running_total(openai: Bench) -> None:
    running = [{**said("a", None), "usage": {"prompt_tokens": 9, "completion_tokens": n}} for n in (1, 2, 3)]
    openai.server.always = Raw(data(*running, said("", "stop"), b"[DONE]"))
    _, [answer] = await openai.stream()
    assert answer.usage == Usage(9, 3)


async def test_cached_input_is_a_part_of_the_input(openai: Bench) -> None:
    usage = {"prompt_tokens": 40, "completion_tokens": 12, "prompt_tokens_details": {"cached_tokens": 30}}
    openai.server.always = Say(usage=usage)
    assert (await openai.complete()).usage == Usage(input=40, output=12, cached=30)


async def test_a_trailing_slash_does_not_matter() -> None:
    async with OpenAIServer().running() as server:
        provider = OpenAICompatible(server.url + "/v1/", API_KEY)
        assert (await provider.complete(ASK, model=MODEL, max_output_tokens=100)).text == SHORT
        await provider.aclose()


# ---- Anthropic


async def test_input_is_all_of_the_input_whatever_the_cache_did(anthropic: Bench) -> None:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 5, "output_tokens": 12}
    anthropic.server.always = Say(usage=usage)
    assert (await anthropic.complete()).usage == Usage(input=35, output=12, cached=20)
    _, [answer] = await anthropic.stream()
    assert answer.usage == Usage(input=35, output=12, cached=20)


async def test_a_cache_that_is_null_is_no_cache(anthropic: Bench) -> None:
    usage = {"input_tokens": 30, "cache_read_input_tokens": None, "cache_creation_input_tokens": None, "output_tokens": 12}
    anthropic.server.always = Say(usage=usage)
    assert (await anthropic.complete()).usage == Usage(input=30, output=12)


async def test_events_of_an_unknown_kind_are_skipped(anthropic: Bench) -> None:
    server = anthropic.server
    await anthropic.complete()
    call = server.calls[-1]
    new = b'event: content_block_sparkle\ndata: {"type": "content_block_sparkle", "index": 0}\n\n'
    server.always = Raw((*server.opening(Say(), call), new, server.delta("Hi", call), new, *server.closing(Say(), call)))
    _, [answer] = await anthropic.stream()
    assert answer.text == "Hi"


@pytest.mark.parametrize("how", ["checked", "whole", "streamed"])
async def test_a_gateway_that_only_knows_bearer_tokens_is_understood(anthropic: Bench, how: str) -> None:
    assert isinstance(anthropic.server, AnthropicServer)
    anthropic.server.schemes = {"authorization": "Bearer "}
    for _ in range(2):
        if how == "checked":
            await anthropic.provider.check()
        elif how == "whole":
            await anthropic.complete()
        else:
            await anthropic.stream()
    assert ["authorization" in call.headers for call in anthropic.server.calls] == [False, True, True]


async def test_the_version_of_the_api_is_named(anthropic: Bench) -> None:
    await anthropic.complete()
    assert anthropic.server.calls[0].headers["anthropic-version"] == "2026-10-21"
