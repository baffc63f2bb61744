"""When a provider fails: what is tried again, what is given up, what is hung up on, and what is never said aloud."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from tests.contract.model_servers.bench import ASK, Bench, bench
from tests.contract.model_servers.script import API_KEY, MODEL, SHORT, Broken, Fail, Raw, Say, Stall
from tests.contract.model_servers.wire import WireServer, whole

from timmy.models import ProviderDown, ProviderRefused
from timmy.models.anthropic import Anthropic
from timmy.models.openai import OpenAICompatible
from timmy.models.protocol import OPERATORS_OWN, Delta
from timmy.models.retry import Patience, Retry
from timmy.models.upstream import Timeouts

KINDS = ["openai", "anthropic"]
IMPATIENT = Timeouts(connect_seconds=5, first_byte_seconds=0.15, idle_seconds=0.15, total_seconds=0.6)
SILENCE_ONLY = Timeouts(connect_seconds=5, first_byte_seconds=0.15, idle_seconds=0.15, total_seconds=600)
ONCE = Patience(attempts_max=1)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def streamed(request: pytest.FixtureRequest) -> bool:
    answer: bool = request.param
    return answer


@pytest.fixture
async def remote(kind: str) -> AsyncIterator[Bench]:
    async with bench(kind) as under_test:
        yield under_test


async def ask(remote: Bench, streamed: bool, *, limit: int = 1_000) -> str:
    if streamed:
        texts, _ = await remote.stream(limit=limit)
        return "".join(texts)
    return (await remote.complete(limit=limit)).text


async def heard_until_it_broke(remote: Bench) -> tuple[list[object], Exception | None]:
    heard: list[object] = []
    try:
        async for item in remote.provider.stream(ASK, model=MODEL, max_output_tokens=100):
            heard.append(item)
    except (ProviderDown, ProviderRefused) as trouble:
        return heard, trouble
    return heard, None


# ---- asking again


@pytest.mark.fault("D17")
@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
async def test_a_busy_provider_is_asked_three_times_and_then_it_is_down(remote: Bench, streamed: bool, status: int) -> None:
    remote.server.always = Fail(status)
    with pytest.raises(ProviderDown):
        await ask(remote, streamed)
    assert len(remote.server.calls) == 3
    assert len(remote.slept) == 2


@pytest.mark.fault("D17")
async def test_a_provider_that_recovers_is_not_noticed(remote: Bench, streamed: bool) -> None:
    remote.server.script.extend([Fail(529), Fail(500)])
    assert await ask(remote, streamed) == SHORT
    assert len(remote.server.calls) == 3


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
async def test_a_refusal_is_final(remote: Bench, streamed: bool, status: int) -> None:
    remote.server.always = Fail(status, echoes=False)
    with pytest.raises(ProviderRefused):
        await ask(remote, streamed)
    # The one exception: a key that is not accepted is shown in the other of Anthropic's two ways.
    assert len(remote.server.calls) == (2 if status == 401 and remote.provider.name == "anthropic" else 1)
    assert not remote.slept


async def test_a_wrong_key_is_refused(kind: str, streamed: bool) -> None:
    async with bench(kind, key="sk-wrong") as remote:
        with pytest.raises(ProviderRefused) as refused:
            await ask(remote, streamed)
        assert refused.value.extra == {"reason": "bad_key"}
        with pytest.raises(ProviderRefused):
            await remote.provider.check()


async def test_an_unknown_model_is_refused(remote: Bench) -> None:
    with pytest.raises(ProviderRefused) as refused:
        await remote.provider.complete(ASK, model="no-such-model", max_output_tokens=10)
    assert refused.value.extra == {"reason": "unknown_model"}


async def test_an_empty_account_is_not_waited_for() -> None:
    async with bench("openai") as remote:
        remote.server.always = Fail(429, code="insufficient_quota")
        with pytest.raises(ProviderRefused) as refused:
            await remote.complete()
        assert refused.value.extra == {"reason": "no_credit"}
        assert len(remote.server.calls) == 1


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, {"error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access the API."}}, "no_credit"),
        (400, [{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "API key not valid. Please pass one."}}], "bad_key"),
        (400, {"error": {"code": "billing_hard_limit_reached", "type": "invalid_request_error"}}, "no_credit"),
        (400, {"error": {"code": "model_decommissioned", "type": "invalid_request_error"}}, "unknown_model"),
        (403, {"error": {"code": "content_filter"}}, "bad_key"),
        (413, {"error": "Payload too large"}, "too_large"),
        (422, {"detail": [{"msg": "Your credit balance is too low"}]}, "bad_request"),
        (400, {"error": {"message": "Unknown role 'Your credit balance is too low'"}}, "bad_request"),
        (400, {"error": {"code": "content_filter", "message": "The response was filtered."}}, "content"),
        (400, {"message": "This model's maximum context length is 4096 tokens.", "type": "BadRequestError", "code": 400}, "too_large"),
        (400, {"error": {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"}}, "too_large"),
    ],
)
async def test_whose_it_is_to_mend_is_read_from_what_the_provider_says(kind: str, status: int, body: object, reason: str) -> None:
    """Providers say 400 of an empty account and of a key, too: that is the operator's, and nobody else is blamed for it."""
    async with WireServer((whole(json.dumps(body).encode(), status=f"{status} No"),)).running() as server:
        url = f"http://127.0.0.1:{server.port}"
        provider = OpenAICompatible(url, "k") if kind == "openai" else Anthropic("k", url)
        with pytest.raises(ProviderRefused) as refused:
            await provider.complete(ASK, model=MODEL, max_output_tokens=10)
        await provider.aclose()
    assert refused.value.extra == {"reason": reason}
    assert refused.value.is_the_operators == (reason in OPERATORS_OWN)


@pytest.mark.fault("D17")
@pytest.mark.parametrize("headers", [{"Retry-After": "7"}, {"retry-after-ms": "7000"}])
async def test_the_provider_is_given_the_time_that_it_asks_for(remote: Bench, streamed: bool, headers: dict[str, str]) -> None:
    remote.server.script.append(Fail(429, headers))
    assert await ask(remote, streamed) == SHORT
    assert remote.slept == [7.0]


async def test_a_provider_that_asks_for_an_hour_is_not_waited_for_and_the_caller_is_told(remote: Bench) -> None:
    remote.server.always = Fail(429, {"Retry-After": "3000"})
    with pytest.raises(ProviderDown) as down:
        await remote.complete()
    assert len(remote.server.calls) == 1
    assert down.value.retry_after_seconds == 3000


@pytest.mark.parametrize("nonsense", ["soon", "-5", "nan", "inf", "Thu, 99 Foo 2099"])
async def test_a_nonsensical_retry_after_is_no_reason_to_give_up(remote: Bench, nonsense: str) -> None:
    remote.server.script.append(Fail(503, {"Retry-After": nonsense}))
    assert await ask(remote, False) == SHORT


async def test_a_retry_after_in_the_past_is_no_wait(remote: Bench) -> None:
    remote.server.script.append(Fail(503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}))
    assert await ask(remote, True) == SHORT


async def test_where_nothing_listens_the_provider_is_down(kind: str, streamed: bool) -> None:
    async with bench(kind, patience=Patience(attempts_max=2)) as remote:
        closed_port = remote.server.url
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    retry = Retry(Patience(attempts_max=2), sleep=sleep)
    provider = OpenAICompatible(closed_port, "k", retry=retry) if kind == "openai" else Anthropic("k", closed_port, retry=retry)
    with pytest.raises(ProviderDown):
        await ask(Bench(provider, remote.server), streamed)
    await provider.aclose()
    assert len(slept) == 1


# ---- silence


@pytest.mark.fault("D18")
async def test_a_provider_that_says_nothing_is_down(kind: str, streamed: bool) -> None:
    async with bench(kind, timeouts=IMPATIENT) as remote:
        remote.server.always = Stall()
        with pytest.raises(ProviderDown):
            await ask(remote, streamed)
        assert len(remote.server.calls) == 3


@pytest.mark.fault("D19")
async def test_a_stream_that_stalls_is_down_and_hung_up_on(kind: str) -> None:
    async with bench(kind, timeouts=SILENCE_ONLY) as remote:
        remote.server.always = Broken("stall")
        heard, trouble = await asyncio.wait_for(heard_until_it_broke(remote), 60)
        assert heard == [Delta("piece 0 "), Delta("piece 1 ")], "what was said before the silence has been handed on"
        assert isinstance(trouble, ProviderDown)
        assert trouble.extra == {"reason": "stalled"}
        assert len(remote.server.calls) == 1, "an answer that has begun is not begun again"
        await asyncio.wait_for(remote.server.hung_up.wait(), 60)


@pytest.mark.fault("E16")
async def test_a_stream_that_only_pings_is_ended_by_the_total_time(kind: str) -> None:
    async with bench(kind, timeouts=IMPATIENT, patience=ONCE) as remote:
        remote.server.always = Broken("drip")
        with pytest.raises(ProviderDown) as down:
            await remote.stream()
        assert down.value.extra == {"reason": "timed_out"}
        await asyncio.wait_for(remote.server.hung_up.wait(), 60)


# ---- breaking off


@pytest.mark.parametrize("how", ["cut", "error", "end"])
async def test_a_stream_that_breaks_off_is_never_taken_for_an_answer(remote: Bench, how: str) -> None:
    remote.server.always = Broken(how)
    heard, trouble = await heard_until_it_broke(remote)
    assert heard == [Delta("piece 0 "), Delta("piece 1 ")]
    assert isinstance(trouble, ProviderDown)
    assert len(remote.server.calls) == 1


async def test_a_stream_that_breaks_off_before_its_first_piece_is_asked_for_again(remote: Bench) -> None:
    remote.server.script.append(Broken("cut", deltas=0))
    assert await ask(remote, True) == SHORT
    assert len(remote.server.calls) == 2


@pytest.mark.fault("D23")
@pytest.mark.parametrize(
    "chunks",
    [
        (b"data: {not json}\n\n",),
        (b"data: [1, 2]\n\n",),
        (b"data: " + b"[" * 100_000 + b"\n\n",),
        (b'event: x\ndata: {"type"\n\n',),
        (b"\xff\xfe\x00\x01" * 10,),
        (b"<html>bad gateway</html>",),
        (),
    ],
)
async def test_a_stream_of_rubbish_is_down(kind: str, chunks: tuple[bytes, ...]) -> None:
    async with bench(kind, patience=ONCE) as remote:
        remote.server.always = Raw(chunks)
        with pytest.raises(ProviderDown):
            await remote.stream()


@pytest.mark.fault("D23")
async def test_a_line_of_ten_megabytes_ends_the_stream_long_before_it_is_read(kind: str) -> None:
    async with bench(kind, patience=ONCE) as remote:
        remote.server.always = Raw((b"data: ", *([b"x" * 65_536] * 160)), then="stall")
        with pytest.raises(ProviderDown) as down:
            await remote.stream()
        assert down.value.extra == {"reason": "garbled"}
        await asyncio.wait_for(remote.server.hung_up.wait(), 60)


@pytest.mark.fault("D23")
@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"<html>", b'{"choices": []}', b'{"content": 3}', b"[" * 100_000])
async def test_an_answer_of_rubbish_is_down(kind: str, body: bytes) -> None:
    async with bench(kind, patience=ONCE) as remote:
        remote.server.always = Raw((body,), content_type="application/json")
        with pytest.raises(ProviderDown):
            await remote.complete()


@pytest.mark.fault("D23")
async def test_an_answer_without_end_is_not_read_to_its_end(kind: str) -> None:
    async with bench(kind, patience=ONCE) as remote:
        remote.server.always = Raw(tuple([b'{"x": "' + b"y" * 1_048_576] * 12), then="stall", content_type="application/json")
        with pytest.raises(ProviderDown) as down:
            await remote.complete()
        assert down.value.extra == {"reason": "garbled"}


# ---- hanging up


@pytest.mark.fault("D25")
async def test_leaving_a_stream_hangs_up_on_the_provider(kind: str) -> None:
    async with bench(kind) as remote:
        remote.server.always = Broken("drip")
        async with aclosing(remote.provider.stream(ASK, model=MODEL, max_output_tokens=100)) as items:
            assert isinstance(await anext(items), Delta)
        await asyncio.wait_for(remote.server.hung_up.wait(), 60)


@pytest.mark.fault("D25")
@pytest.mark.parametrize("step", [Broken("stall"), Stall()])
async def test_a_cancelled_call_hangs_up_on_the_provider(remote: Bench, streamed: bool, step: Broken | Stall) -> None:
    remote.server.always = step
    calling = asyncio.create_task(ask(remote, streamed))
    await asyncio.wait_for(remote.server.called.wait(), 60)
    await asyncio.sleep(0.02)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await asyncio.wait_for(remote.server.hung_up.wait(), 60)


async def test_a_connection_is_used_again(remote: Bench, streamed: bool) -> None:
    for _ in range(3):
        await ask(remote, streamed)
    assert len({call.port for call in remote.server.calls}) == 1


async def test_a_connection_is_used_again_even_if_the_end_of_the_stream_comes_late(kind: str) -> None:
    async with bench(kind) as remote:
        await remote.complete()
        call, server = remote.server.calls[0], remote.server
        call.body["stream"] = True
        server.always = Raw((*server.opening(Say(), call), server.delta("Hi", call), *server.closing(Say(), call)), then="late")
        for _ in range(3):
            assert (await remote.stream())[0] == ["Hi"]
        assert len({call.port for call in server.calls}) == 1


# ---- keeping quiet


@pytest.mark.fault("G10")
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
async def test_what_the_provider_says_about_our_key_and_address_goes_no_further(
    kind: str, streamed: bool, status: int, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async with bench(kind) as remote:
        remote.server.always = Fail(status)
        with pytest.raises((ProviderDown, ProviderRefused)) as trouble:
            await ask(remote, streamed)
        told = "".join(traceback.format_exception(trouble.value)) + repr(trouble.value) + str(trouble.value.extra)
        told += caplog.text + "".join(capsys.readouterr()) + repr(remote.provider) + repr(vars(remote.provider))
        for secret in (API_KEY, remote.server.url, ASK.user, "said:"):
            assert secret not in told


@pytest.mark.fault("G10")
async def test_an_error_in_the_middle_of_a_stream_is_told_in_our_words(remote: Bench) -> None:
    remote.server.always = Broken("error")
    with pytest.raises(ProviderDown) as down:
        await remote.stream()
    assert API_KEY not in "".join(traceback.format_exception(down.value))


@pytest.mark.fault("G10")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_the_key_does_not_follow_a_redirect(kind: str, status: int) -> None:
    async with bench(kind) as elsewhere, bench(kind) as remote:
        remote.server.always = Fail(status, {"Location": elsewhere.server.url + remote.server.url})
        with pytest.raises(ProviderRefused) as refused:
            await remote.complete()
        assert refused.value.extra == {"reason": "moved"}
        assert not elsewhere.server.calls


@pytest.mark.parametrize("url", ["ftp://x", "x", "", "http://", "https://user:pass@example.com/v1"])
def test_a_base_url_that_cannot_be_one_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        OpenAICompatible(url, "k")
    with pytest.raises(ValueError, match="base URL"):
        Anthropic("k", url)


@pytest.mark.parametrize("key", ["two\nlines", "käse", "a\x00b"])
def test_a_key_that_cannot_be_one_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ValueError, match="API key") as refused:
        OpenAICompatible(api_key=key)
    assert key not in str(refused.value)


async def test_a_compressed_answer_is_not_asked_for(remote: Bench) -> None:
    await remote.complete()
    assert remote.server.calls[0].headers["accept-encoding"] == "identity"
