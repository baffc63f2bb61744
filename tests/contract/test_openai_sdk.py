"""The official OpenAI SDK buys from a real server by changing `base_url` and `api_key`, and pays what it got."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import openai
import pytest
from tests.contract.completion_house import Talker
from tests.contract.test_completions import TALK
from tests.e2e.serving import Site, serving

from timmy.identity.macaroons import decode
from timmy.models import Usage

MODEL = "timmy-demo"
MESSAGES: Any = [{"role": "user", "content": "Say something."}]
TOOLS: Any = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}]


class Shop:
    """A server, what it sells, and a customer with a paid session."""

    def __init__(self, site: Site, agent: Talker, session: dict[str, Any]) -> None:
        self.site, self.agent = site, agent
        self.session_id: str = session["sessionId"]
        self.key: str = session["macaroon"]

    def client(self, *caveats: str, retries: int = 0, **more: Any) -> openai.AsyncOpenAI:
        macaroon = decode(self.key)
        for caveat in caveats:
            macaroon = macaroon.with_caveat(caveat)
        return openai.AsyncOpenAI(base_url=f"{self.site.url}/v1", api_key=macaroon.encode(), max_retries=retries, **more)

    async def session(self) -> Any:
        return await self.site.get(f"/api/sessions/{self.session_id}")

    async def settled(self) -> int:
        """The balance, once nothing is held any more."""
        async with asyncio.timeout(20):
            while (shown := await self.session())["heldMsat"]:
                await asyncio.sleep(0.02)
        balance: int = shown["balanceMsat"]
        return balance


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    agent = Talker()
    async with serving({"DATA_DIR": str(tmp_path)}, provider=agent) as site:
        opened = await site.post("/api/sessions", {"amountSats": 1_000}, status=201)
        await site.pay(opened["invoice"])
        yield Shop(site, agent, await site.get(f"/api/sessions/{opened['sessionId']}"))


def extra(model: Any) -> Any:
    return model.model_extra


# it works --------------------------------------------------------------------------------------------


async def test_an_answer_and_what_it_cost(shop: Shop) -> None:
    async with shop.client() as client:
        raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES, max_tokens=100)
        answer = raw.parse()
    assert answer.choices[0].message.content == "".join(TALK)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    cost = int(raw.headers["x-cost-msat"])
    assert extra(answer.usage)["cost_msat"] == cost > 0
    assert int(raw.headers["x-balance-msat"]) == 1_000_000 - cost == await shop.settled()


@pytest.mark.parametrize("include_usage", [False, True])
async def test_a_stream_with_its_usage_only_if_asked(shop: Shop, include_usage: bool) -> None:
    shop.agent.usage = Usage(40, 10)
    options: Any = {"stream_options": {"include_usage": True}} if include_usage else {}
    async with shop.client() as client:
        stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True, **options)
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "".join(TALK)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    told = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert len(told) == include_usage
    assert (not chunks[-1].choices) == include_usage
    if told and told[0]:
        assert (told[0].prompt_tokens, told[0].completion_tokens) == (40, 10)
        assert extra(told[0])["cost_msat"] == 1_000_000 - await shop.settled()


async def test_the_sync_client_too(shop: Shop) -> None:
    def ask() -> str | None:
        with openai.OpenAI(base_url=f"{shop.site.url}/v1", api_key=shop.key, max_retries=0) as client:
            return client.chat.completions.create(model=MODEL, messages=MESSAGES).choices[0].message.content

    assert await asyncio.to_thread(ask) == "".join(TALK)


async def test_the_models_and_their_prices(shop: Shop) -> None:
    async with shop.client() as client:
        models = [model async for model in client.models.list()]
        assert [model.id for model in models] == ["timmy-demo", "timmy-demo-small"]
        assert extra(models[0])["pricing"]["prompt_per_million"] == "4.20"
        assert (await client.models.retrieve(MODEL)).id == MODEL
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("gpt-9")


async def test_what_a_key_can_spend(shop: Shop) -> None:
    async with shop.client("max_sats=50") as client:
        shown: Any = await client.get("/key", cast_to=object)
    assert (shown["balance_msat"], shown["limits"]) == (1_000_000, [{"max_msat": 50_000, "left_msat": 50_000}])
    assert shop.session_id not in json.dumps(shown)


async def test_tools_pictures_and_json_reach_the_model(shop: Shop) -> None:
    picture: Any = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://example.com/cat.png", "detail": "low"}},
    ]
    async with shop.client() as client:
        await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": picture}],
            tools=TOOLS,
            tool_choice="auto",
            response_format={"type": "json_object"},
            temperature=0.5,
            n=1,
            user="me",
        )
    chat, _ = shop.agent.chats[0]
    assert chat.images == 1
    assert set(chat.options) == {"tools", "tool_choice", "response_format", "temperature"}
    assert chat.messages[0]["content"] == picture


async def test_what_was_given_is_found_again(shop: Shop) -> None:
    async with shop.client() as client:
        answer = await client.chat.completions.create(model=MODEL, messages=MESSAGES)
        again = await client.chat.completions.retrieve(answer.id)
    assert again.choices[0].message.content == answer.choices[0].message.content


# errors ----------------------------------------------------------------------------------------------


async def test_errors_are_the_sdks_own(shop: Shop) -> None:
    async with shop.client() as client:
        with pytest.raises(openai.NotFoundError) as missing:
            await client.chat.completions.create(model="gpt-9", messages=MESSAGES)
        assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    async with openai.AsyncOpenAI(base_url=f"{shop.site.url}/v1", api_key="sk-nonsense", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.chat.completions.create(model=MODEL, messages=MESSAGES)
    async with shop.client("only=/api") as narrowed:
        with pytest.raises(openai.PermissionDeniedError):
            await narrowed.chat.completions.create(model=MODEL, messages=MESSAGES)


@pytest.mark.fault("E19")
@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"n": 2}, "n"),
        ({"api_base": "http://evil"}, "api_base"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_cost_msat": "5"}, "max_cost_msat"),
        ({"temperature": 3}, "temperature"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "x", "cache_control": {}}]}, "messages[0].cache_control"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}]},
            "messages[0].content[0].image_url.url",
        ),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
    ],
)
async def test_what_is_not_taken_is_a_400_that_names_it_and_costs_nothing(shop: Shop, body: dict[str, Any], named: str) -> None:
    async with shop.client() as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.post("/chat/completions", body={"model": MODEL, "messages": MESSAGES, **body}, cast_to=object)
    assert refused.value.param == named
    assert shop.agent.calls["chat"] == 0
    assert await shop.settled() == 1_000_000


async def test_an_upstream_that_is_down_is_a_status_before_the_first_piece_and_an_error_after_it(shop: Shop) -> None:
    shop.agent.then, shop.agent.breaks_at = "down", 0
    async with shop.client() as client:
        for streams in (False, True):
            with pytest.raises(openai.InternalServerError):
                await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=streams)
        assert await shop.settled() == 1_000_000
        shop.agent.breaks_at = 2
        stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        texts: list[str] = []

        async def read() -> None:
            async for chunk in stream:
                texts.append(chunk.choices[0].delta.content or "")

        with pytest.raises(openai.APIError, match="broke off"):
            await read()
    assert "".join(texts) == "".join(TALK[:2])
    assert 0 < 1_000_000 - await shop.settled() < 3_000


# retries ---------------------------------------------------------------------------------------------


async def test_the_sdks_own_retry_after_a_lost_answer_pays_once(shop: Shop) -> None:
    """The answer is lost on the way to the customer; the SDK asks again by itself, and says so in its header."""

    class Lossy(httpx.AsyncHTTPTransport):
        lost = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await super().handle_async_request(request)
            if not self.lost:
                self.lost += 1
                await answer.aread()
                raise httpx.ReadError("lost on the way", request=request)
            return answer

    transport = Lossy()
    async with httpx.AsyncClient(transport=transport) as http, shop.client(retries=2, http_client=http) as client:
        raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES)
    assert transport.lost == 1
    assert raw.retries_taken == 1
    assert shop.agent.calls["chat"] == 1
    assert await shop.settled() == 1_000_000 - int(raw.headers["x-cost-msat"])


async def test_what_will_never_work_is_not_retried(shop: Shop) -> None:
    async with shop.client("max_sats=1", retries=2) as client:
        with pytest.raises(openai.APIStatusError) as refused:
            await client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert refused.value.status_code == 402
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert "x-stainless-retry-count" in refused.value.request.headers
    assert refused.value.request.headers["x-stainless-retry-count"] == "0"


# cut -------------------------------------------------------------------------------------------------


@pytest.mark.fault("D25", "D26")
@pytest.mark.parametrize("read", range(1, len(TALK)))
async def test_a_client_that_hangs_up_stops_the_model_and_pays_what_came(shop: Shop, read: int) -> None:
    shop.agent.gates = asyncio.Semaphore(read)
    async with shop.client() as client:
        stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        texts: list[str] = []
        async for chunk in stream:
            texts += [chunk.choices[0].delta.content or ""]
            if "".join(texts) == "".join(TALK[:read]):
                break
        id = chunk.id
        await stream.close()
        async with asyncio.timeout(20):
            await shop.agent.hung_up.wait()
        balance = await shop.settled()
        kept = await client.chat.completions.retrieve(id)
    assert shop.agent.said == read
    assert kept.choices[0].message.content == "".join(TALK[:read])
    assert extra(kept)["timmy"]["ending"] == "left"
    assert balance == 1_000_000 - extra(kept)["timmy"]["cost_msat"]


@pytest.mark.fault("D26")
async def test_a_client_that_hangs_up_before_the_first_word_stops_the_model_and_pays_for_the_prompt_at_most(shop: Shop) -> None:
    shop.agent.gates = asyncio.Semaphore(0)
    async with shop.client() as client:
        asking = asyncio.create_task(client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True))
        async with asyncio.timeout(20):
            while not shop.agent.calls["chat"]:
                await asyncio.sleep(0.01)
            asking.cancel()
            await shop.agent.hung_up.wait()
    assert shop.agent.said == 0
    assert 1_000_000 - await shop.settled() < 3_000


# L402 ------------------------------------------------------------------------------------------------


async def test_without_a_key_there_is_an_offer_and_paying_it_is_enough(shop: Shop) -> None:
    """What any L402 client does: ask, parse the challenge, pay its invoice, ask again with macaroon and preimage."""
    body = {"model": MODEL, "messages": MESSAGES}
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{shop.site.url}/v1/chat/completions", json=body) as asked:
            assert asked.status == 402
            challenges = asked.headers.getall("WWW-Authenticate")
            error = (await asked.json())["error"]
        assert [challenge.split()[0] for challenge in challenges] == ["LSAT", "L402", "Payment", "Payment"]
        fields = dict(part.strip().split("=", 1) for part in challenges[1].removeprefix("L402 ").split(","))
        assert list(fields) == ["macaroon", "invoice", "version", "token"]
        macaroon, invoice = fields["macaroon"].strip('"'), fields["invoice"].strip('"')
        assert error["metadata"]["invoice"] == invoice
        preimage = await paid(shop, invoice)
        for scheme, given in (("L402", macaroon), ("LSAT", macaroon.rstrip("=").replace("+", "-").replace("/", "_")), ("l402", macaroon)):
            headers = {"Authorization": f"{scheme} {given}:{preimage}"}
            async with http.post(f"{shop.site.url}/v1/chat/completions", json=body, headers=headers) as served:
                assert served.status == 200, await served.text()
                assert int(served.headers["X-Balance-Msat"]) < 100_000
        wrong = {"Authorization": f"L402 {macaroon}:{'0' * 64}"}
        async with http.post(f"{shop.site.url}/v1/chat/completions", json=body, headers=wrong) as refused:
            assert refused.status == 401
        async with http.get(f"{shop.site.url}/v1/key", headers={"Authorization": f"Bearer {macaroon}"}) as key:
            assert (await key.json())["state"] == "active"


async def paid(shop: Shop, invoice: str) -> str:
    """Pay as somebody else's wallet would; we are not told. The preimage is the proof."""
    payment = await customer_of(shop).pay(invoice)
    preimage: str = payment
    return preimage


def customer_of(shop: Shop) -> Any:
    desk: Any = shop.site.app.house.dev
    return desk._customer


@pytest.mark.parametrize(("body", "unpaid"), [("no JSON", 400), ('{"messages": 1}', 400), (" " * 65_536 + '{"messages": 1}', 402)])
async def test_a_credential_is_looked_at_before_the_body_and_without_one_only_a_short_body_is(shop: Shop, body: str, unpaid: int) -> None:
    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as http:
        for key, status in (("", unpaid), ("Bearer none", 401), (f"L402 {shop.key}:{'0' * 64}", 401), (f"Bearer {shop.key}", 400)):
            headers = {"Authorization": key} if key else {}
            async with http.post(f"{shop.site.url}/v1/chat/completions", data=body, headers=headers) as refused:
                assert refused.status == status, await refused.text()


async def test_used_up_or_unpaid_is_402_with_a_fresh_offer(shop: Shop) -> None:
    long: Any = [{"role": "user", "content": "x" * 80_000}]
    async with shop.client() as client:
        async with shop.client("max_sats=1") as narrowed:
            for caller, messages in ((client, long * 4), (narrowed, MESSAGES)):
                with pytest.raises(openai.APIStatusError) as refused:
                    await caller.chat.completions.create(model=MODEL, messages=messages)
                assert refused.value.status_code == 402
                assert "L402 macaroon=" in refused.value.response.headers["www-authenticate"]
                assert isinstance(refused.value.body, dict)
                assert refused.value.body["type"] == "insufficient_quota"
                assert shop.session_id not in refused.value.response.text
    assert await shop.settled() == 1_000_000


async def test_a_program_finds_out_by_itself_what_is_sold_and_how(shop: Shop) -> None:
    found = await shop.site.get("/.well-known/l402")
    assert (found["schemes"], found["depositSats"]["min"]) == (["L402", "LSAT", "Payment"], 100)
    assert [model["id"] for model in found["models"]] == ["timmy-demo", "timmy-demo-small"]
    async with shop.site.http.get(f"{shop.site.url}/llms.txt") as told:
        assert "/v1/chat/completions" in await told.text()
    document = await shop.site.get("/api/openapi.json")
    for path, intents in (("/v1/chat/completions", ["charge", "session"]), ("/api/jobs", ["session"])):
        described = document["paths"][path]["post"]
        assert described["x-payment-info"]["protocols"] == ["L402", "LSAT", "Payment"]
        assert [offer["intent"] for offer in described["x-payment-info"]["offers"]] == intents
        assert "402" in described["responses"]


async def test_a_sessions_routes_take_a_paid_credential_and_offer_one_where_money_is_missing(shop: Shop) -> None:
    opened = await shop.site.post("/api/sessions", {"amountSats": 100}, status=201)
    preimage = await paid(shop, opened["invoice"]["paymentRequest"])
    async with asyncio.timeout(20):
        while (shown := await shop.site.get(f"/api/sessions/{opened['sessionId']}"))["macaroon"] is None:
            await asyncio.sleep(0.05)
    url = f"{shop.site.url}/api/sessions/{opened['sessionId']}/request"
    headers = {"Authorization": f"L402 {shown['macaroon']}:{preimage}"}
    async with shop.site.http.post(url, json={"request": "Why?"}, headers=headers) as served:
        assert served.status == 200, await served.text()
    narrowed = decode(shown["macaroon"]).with_caveat("max_sats=1").encode()
    async with shop.site.http.post(url, json={"request": "Why?"}, headers={"Authorization": f"L402 {narrowed}:{preimage}"}) as refused:
        assert refused.status == 402
        assert [line.split()[0] for line in refused.headers.getall("WWW-Authenticate")] == ["LSAT", "L402", "Payment"]
        assert (await refused.json())["offer"]["invoice"] in refused.headers.getall("WWW-Authenticate")[1]
