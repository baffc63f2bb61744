"""The official OpenAI client, told nothing but a base URL and a key, buys through the proxy and stays within its budget."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from tests.e2e.serving import Site
from timmy.client import AsyncSession, AsyncTimmy, Notebook, receipts, store
from timmy.client.http import TimmyHttp
from timmy.client.proxy import BODY_BYTES_MAX, Budget, Proxy
from timmy.clock import ManualClock, SystemClock
from timmy.identity import macaroons
from timmy.money import Sats

KEY = "sk-timmy-of-this-test"
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is a satoshi?"}]
MODEL = "timmy-demo"
Keep = Callable[[str, str], Coroutine[Any, Any, None]]


@pytest.fixture
async def session(site: Site, tmp_path: Path) -> AsyncIterator[AsyncSession]:
    async with AsyncTimmy(site.url, purse="dev", notebook=Notebook(tmp_path / "notebook.sqlite")) as timmy:
        yield await timmy.open_session(Sats(900))


@asynccontextmanager
async def proxied(site: Site, session: AsyncSession, keep: Keep | None = None, **budget: Sats) -> AsyncIterator[str]:
    limits = Budget(
        session.macaroon, SystemClock(), per_day=budget.get("per_day"), in_all=budget.get("in_all"), per_request=budget.get("per_request")
    )
    async with Proxy(site.url, limits, KEY, lambda _line: None, keep).open(0) as port:
        yield f"http://127.0.0.1:{port}/v1"


async def test_the_official_client_chats_and_streams_through_it(site: Site, session: AsyncSession) -> None:
    async with proxied(site, session, per_day=Sats(500)) as url, openai.AsyncOpenAI(base_url=url, api_key=KEY) as client:
        whole = await client.chat.completions.create(model=MODEL, messages=MESSAGES)
        assert "satoshi" in (whole.choices[0].message.content or "")
        streamed = ""
        stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        async for chunk in stream:
            streamed += chunk.choices[0].delta.content or "" if chunk.choices else ""
        assert "satoshi" in streamed
        assert MODEL in [model.id async for model in client.models.list()]
    assert (await session.status()).balance < Sats(900).msats


@pytest.mark.parametrize("stream", [False, True])
async def test_what_was_bought_through_it_has_its_receipt_kept(site: Site, session: AsyncSession, tmp_path: Path, stream: bool) -> None:
    notebook, http = Notebook(tmp_path / "kept.sqlite"), TimmyHttp(site.url)

    async def keep(completion_id: str, key: str) -> None:
        await receipts.keep(http, notebook, receipts.completion_path(completion_id), completion_id, key)

    try:
        async with proxied(site, session, keep, per_day=Sats(500)) as url, openai.AsyncOpenAI(base_url=url, api_key=KEY) as client:
            if stream:
                chunks = [chunk async for chunk in await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)]
                id = chunks[0].id
            else:
                id = (await client.chat.completions.create(model=MODEL, messages=MESSAGES)).id
            with pytest.raises(openai.BadRequestError):
                await client.chat.completions.create(model=MODEL, messages=[])
            await client.models.list()
    finally:
        await http.aclose()
    kept = await notebook.do(store.session_receipts, 10)
    assert [row["subject"] for row in kept] == [id], "of what was paid for, and of nothing else"
    receipt = receipts.read(json.dumps(await receipts.file_of(notebook, id)))
    receipts.check_bill(receipt)
    assert receipt.told["chargedMsat"] == (Sats(900).msats - (await session.status()).balance).value


async def test_a_receipt_that_cannot_be_had_keeps_neither_the_answer_back_nor_the_proxy_open(site: Site, session: AsyncSession) -> None:
    asked, given_up = asyncio.Event(), asyncio.Event()

    async def keep(_completion_id: str, _key: str) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    async with proxied(site, session, keep, per_day=Sats(500)) as url, openai.AsyncOpenAI(base_url=url, api_key=KEY) as client:
        assert (await client.chat.completions.create(model=MODEL, messages=MESSAGES)).choices
        await asked.wait()
    assert given_up.is_set()


async def test_what_is_not_sold_there_is_refused_in_openais_shape(site: Site, session: AsyncSession) -> None:
    async with proxied(site, session, per_day=Sats(500)) as url, aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as http:
        async with http.get(url.removesuffix("/v1") + "/models") as answer:
            assert answer.status == 404
            assert (await answer.json())["error"]["message"].endswith(f"the base URL is {url}.")
        async with http.post(f"{url}/chat/completions", data=b" " * (BODY_BYTES_MAX + 1)) as answer:
            assert answer.status == 413
            assert (await answer.json())["error"]["code"] == "body_too_large"


async def test_calls_at_once_stay_within_the_budget_and_so_does_a_proxy_started_again(site: Site, session: AsyncSession) -> None:
    ended: list[object] = []
    for _ in range(2):
        async with (
            proxied(site, session, per_day=Sats(20)) as url,
            openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client,
        ):
            calls = [client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=400) for _ in range(8)]
            ended += await asyncio.gather(*calls, return_exceptions=True)
    assert any(isinstance(each, ChatCompletion) for each in ended)
    refused = [each for each in ended if isinstance(each, openai.APIStatusError)]
    assert refused
    assert {each.status_code for each in refused} == {402}
    spent = Sats(900).msats - (await session.status()).balance
    assert spent <= Sats(20).msats


async def test_whoever_lacks_the_local_key_and_every_page_in_a_browser_is_turned_away(site: Site, session: AsyncSession) -> None:
    before = (await session.status()).balance
    async with proxied(site, session, per_day=Sats(100)) as url, aiohttp.ClientSession() as http:
        right = {"Authorization": f"Bearer {KEY}"}
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer sk-guess"}, 401),
            ({**right, "Origin": "https://site.example"}, 403),
            ({**right, "Host": "site.example"}, 403),
            (right, 200),
        ):
            async with http.get(f"{url}/models", headers=headers) as answer:
                assert answer.status == status, headers
    assert (await session.status()).balance == before


async def test_a_server_that_is_gone_is_an_error_in_openais_shape(session: AsyncSession, site: Site) -> None:
    limits = Budget(session.macaroon, SystemClock(), per_day=Sats(10), in_all=None)
    async with Proxy("http://127.0.0.1:1", limits, KEY, lambda _line: None).open(0) as port:
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY, max_retries=0) as client:
            with pytest.raises(openai.APIStatusError, match="is not answering") as refused:
                await client.models.list()
    assert refused.value.status_code == 502


async def test_each_day_has_one_key_and_the_next_has_another(session: AsyncSession) -> None:
    clock = ManualClock()
    first = Budget(session.macaroon, clock, per_day=Sats(50), in_all=None)
    today = first.key()
    clock.advance(seconds=60)
    assert first.key() == today
    assert Budget(session.macaroon, clock, per_day=Sats(50), in_all=None).key() == today
    clock.advance(seconds=86_400)
    assert first.key() != today
    assert macaroons.decode(today).caveats[-1] == b"timmy_max_msat=50000"
    with pytest.raises(ValueError):
        Budget(session.macaroon, clock, per_day=None, in_all=None)
