"""The second opinion: the providers' own SDKs talk to our local servers and must understand every word of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest
from tests.contract.model_servers.anthropic_server import AnthropicServer
from tests.contract.model_servers.bench import ASK, bench
from tests.contract.model_servers.openai_server import REASONER, OpenAIServer
from tests.contract.model_servers.script import API_KEY, LONG, MODEL, SHORT, Broken, Fail, Say


@pytest.fixture
async def openai_sdk() -> AsyncIterator[tuple[openai.AsyncOpenAI, OpenAIServer]]:
    server = OpenAIServer()
    async with server.running(), openai.AsyncOpenAI(base_url=server.url + "/v1", api_key=API_KEY, max_retries=0) as client:
        yield client, server


@pytest.fixture
async def anthropic_sdk() -> AsyncIterator[tuple[anthropic.AsyncAnthropic, AnthropicServer]]:
    server = AnthropicServer()
    async with server.running(), anthropic.AsyncAnthropic(base_url=server.url, api_key=API_KEY, max_retries=0) as client:
        yield client, server


MESSAGES: Any = [{"role": "user", "content": ASK.user}]
SYSTEM: Any = [{"role": "system", "content": ASK.system}]


class TestOpenAI:
    async def test_an_answer(self, openai_sdk: tuple[openai.AsyncOpenAI, OpenAIServer]) -> None:
        client, _ = openai_sdk
        answer = await client.chat.completions.create(model=MODEL, messages=SYSTEM + MESSAGES, max_tokens=1_000)
        assert answer.choices[0].message.content == SHORT
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens

    async def test_a_stream_with_usage(self, openai_sdk: tuple[openai.AsyncOpenAI, OpenAIServer]) -> None:
        client, server = openai_sdk
        server.always = Say(LONG)
        chunks = [
            chunk
            async for chunk in await client.chat.completions.create(
                model=MODEL, messages=MESSAGES, max_tokens=30, stream=True, stream_options={"include_usage": True}
            )
        ]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == LONG[:120]
        assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 30

    async def test_the_sdk_and_we_see_the_same(self, openai_sdk: tuple[openai.AsyncOpenAI, OpenAIServer]) -> None:
        client, server = openai_sdk
        theirs = await client.chat.completions.create(model=MODEL, messages=SYSTEM + MESSAGES, max_tokens=1_000)
        async with bench("openai") as remote:
            ours = await remote.complete()
            sent = remote.server.calls[0].body
        assert theirs.usage is not None
        assert theirs.usage.prompt_tokens_details is not None
        assert (ours.text, ours.usage.input, ours.usage.output, ours.usage.cached) == (
            theirs.choices[0].message.content,
            theirs.usage.prompt_tokens,
            theirs.usage.completion_tokens,
            theirs.usage.prompt_tokens_details.cached_tokens,
        )
        assert {**server.calls[0].body, "stream": False} == sent

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (400, openai.BadRequestError),
            (401, openai.AuthenticationError),
            (403, openai.PermissionDeniedError),
            (404, openai.NotFoundError),
            (422, openai.UnprocessableEntityError),
            (429, openai.RateLimitError),
            (500, openai.InternalServerError),
        ],
    )
    async def test_errors(
        self, openai_sdk: tuple[openai.AsyncOpenAI, OpenAIServer], status: int, error: type[openai.APIStatusError]
    ) -> None:
        client, server = openai_sdk
        server.always = Fail(status, code="some_code")
        with pytest.raises(error) as raised:
            await client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=5)
        assert raised.value.code == "some_code"

    async def test_an_error_in_a_stream(self, openai_sdk: tuple[openai.AsyncOpenAI, OpenAIServer]) -> None:
        client, server = openai_sdk
        server.always = Broken("error")
        stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=5, stream=True)
        with pytest.raises(openai.APIError):
            [chunk async for chunk in stream]

    async def test_a_reasoning_model_wants_the_other_limit(self, openai_sdk: tuple[openai.AsyncOpenAI, OpenAIServer]) -> None:
        client, _ = openai_sdk
        with pytest.raises(openai.BadRequestError, match="max_completion_tokens") as raised:
            await client.chat.completions.create(model=REASONER, messages=MESSAGES, max_tokens=5)
        assert raised.value.code == "unsupported_parameter"
        answer = await client.chat.completions.create(model=REASONER, messages=MESSAGES, max_completion_tokens=500)
        assert answer.choices[0].message.content == SHORT

    async def test_the_list_of_models(self, openai_sdk: tuple[openai.AsyncOpenAI, OpenAIServer]) -> None:
        client, _ = openai_sdk
        assert [model.id async for model in client.models.list()] == [MODEL, REASONER]


class TestAnthropic:
    async def test_an_answer(self, anthropic_sdk: tuple[anthropic.AsyncAnthropic, AnthropicServer]) -> None:
        client, _ = anthropic_sdk
        answer = await client.messages.create(model=MODEL, system=ASK.system, messages=MESSAGES, max_tokens=1_000)
        assert [block.text for block in answer.content if block.type == "text"] == [SHORT]
        assert answer.stop_reason == "end_turn"
        assert answer.usage.input_tokens > 0
        assert answer.usage.output_tokens > 0

    async def test_a_stream_with_usage(self, anthropic_sdk: tuple[anthropic.AsyncAnthropic, AnthropicServer]) -> None:
        client, server = anthropic_sdk
        server.always = Say(LONG, reasoning="Hm.")
        async with client.messages.stream(model=MODEL, messages=MESSAGES, max_tokens=30) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
        assert text == LONG[:120]
        assert final.stop_reason == "max_tokens"
        assert final.usage.output_tokens == 31

    async def test_the_sdk_and_we_see_the_same(self, anthropic_sdk: tuple[anthropic.AsyncAnthropic, AnthropicServer]) -> None:
        client, server = anthropic_sdk
        theirs = await client.messages.create(model=MODEL, system=ASK.system, messages=MESSAGES, max_tokens=1_000)
        async with bench("anthropic") as remote:
            ours = await remote.complete()
            sent = remote.server.calls[0]
        usage = theirs.usage
        read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        assert (ours.usage.input, ours.usage.output, ours.usage.cached) == (usage.input_tokens + read + written, usage.output_tokens, read)
        assert {**server.calls[0].body, "stream": False} == sent.body
        for name in ("anthropic-version", "content-type"):
            assert server.calls[0].headers[name] == sent.headers[name]

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (400, anthropic.BadRequestError),
            (401, anthropic.AuthenticationError),
            (404, anthropic.NotFoundError),
            (429, anthropic.RateLimitError),
            (500, anthropic.InternalServerError),
            (529, anthropic.InternalServerError),
        ],
    )
    async def test_errors(
        self, anthropic_sdk: tuple[anthropic.AsyncAnthropic, AnthropicServer], status: int, error: type[anthropic.APIStatusError]
    ) -> None:
        client, server = anthropic_sdk
        server.always = Fail(status)
        with pytest.raises(error):
            await client.messages.create(model=MODEL, messages=MESSAGES, max_tokens=5)

    async def test_an_error_in_a_stream(self, anthropic_sdk: tuple[anthropic.AsyncAnthropic, AnthropicServer]) -> None:
        client, server = anthropic_sdk
        server.always = Broken("error")
        stream = await client.messages.create(model=MODEL, messages=MESSAGES, max_tokens=5, stream=True)
        with pytest.raises(anthropic.APIStatusError):
            [event async for event in stream]

    async def test_the_list_of_models(self, anthropic_sdk: tuple[anthropic.AsyncAnthropic, AnthropicServer]) -> None:
        client, _ = anthropic_sdk
        assert [model.id async for model in client.models.list()] == [MODEL]
