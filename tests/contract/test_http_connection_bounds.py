"""What nobody has paid for costs little: a connection holds no more than a head may be, waits no longer than a head may take, and when its
reader has gone, whoever was answering is told."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.contract.http_desk import PATIENCE_SECONDS
from tests.contract.test_http_connection import LENGTH, Wire, body, saying, start
from uvicorn.config import Config
from uvicorn.server import ServerState

from timmy.web import connections
from timmy.web.connections import HEAD_BYTES_MAX, Connection
from timmy.web.sockets import Socket, Sockets

POST = b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWER = (start(LENGTH), body(b"abc"))


class Spoken:
    """A connection that a test speaks over, and whose application it is."""

    def __init__(self, app: ASGIApp, *, keep_alive_seconds: int = 5) -> None:
        self.line = Wire()
        self.state = ServerState()
        sockets = Sockets()
        config = Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws=lambda **given: Socket(**given, sockets=sockets),  # type: ignore[arg-type]
            timeout_keep_alive=keep_alive_seconds,
        )
        self.protocol: Any = Connection(config, self.state, {})
        self.protocol.access_log = False  # pytest's own handlers would be taken for one
        self.line.set_protocol = self._swapped  # type: ignore[attr-defined]
        self.protocol.connection_made(cast(Any, self.line))

    def _swapped(self, protocol: Any) -> None:
        self.protocol = protocol

    @property
    def told(self) -> bytes:
        return b"".join(self.line.written)

    async def say(self, *parts: bytes) -> bytes:
        for part in parts:
            if not self.line.is_closed:
                self.protocol.data_received(part)
            await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.state.tasks:
                await asyncio.gather(*self.state.tasks)
                await asyncio.sleep(0)
        return self.told


async def closed(spoken: Spoken) -> bool:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not spoken.line.is_closed:
            await asyncio.sleep(0.005)
    return True


def saying_once(go: asyncio.Event) -> ASGIApp:
    """An application that answers when it is let."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        await saying(*ANSWER)(scope, receive, send)

    return app


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"GET / HTTP/1.1\r\n", b"X-A: b\r\n" * 512),
        (b"GET / HTTP/1.1\r\nX-A: ", b"a" * 4_096),
        (b"GET /", b"a" * 4_096),
        (b"", b"\r\n" * 2_048),
        (POST + b"3\r\nabc\r\n0\r\n", b"X-A: b\r\n" * 512),
        (POST + b"3\r\nabc\r\n0\r\nX-A: ", b"a" * 4_096),
        (POST + b"3;", b"a" * 4_096),
    ],
)
@pytest.mark.fault("F07")
async def test_a_head_without_an_end_is_not_kept(first: bytes, again: bytes) -> None:
    spoken = Spoken(saying(*ANSWER))
    most = 2 * HEAD_BYTES_MAX // len(again)
    await spoken.say(first, *[again] * most)
    assert spoken.line.is_closed


async def test_who_sends_too_large_a_head_is_told() -> None:
    spoken = Spoken(saying(*ANSWER))
    head, _, content = (await spoken.say(b"GET /api/x HTTP/1.1\r\n", *[b"X-A: b\r\n" * 512] * 40)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert json.loads(content)["code"] == "headers_too_large"


async def test_a_long_body_is_no_head() -> None:
    seen = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal seen
        while True:
            message = await receive()
            seen += len(message["body"])
            if not message["more_body"]:
                break
        await saying(*ANSWER)(scope, receive, send)

    length = 8 * HEAD_BYTES_MAX
    spoken = Spoken(app)
    sent = b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % length
    told = await spoken.say(sent, *[b"a" * 4_096] * (length // 4_096))
    assert (seen, told.endswith(b"abc"), spoken.line.is_closed) == (length, True, False)


@pytest.mark.fault("F07")
async def test_a_head_that_comes_drop_by_drop_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS_MAX", 0.01)
    spoken = Spoken(saying(*ANSWER))
    await spoken.say(b"GET / HTTP/1.1\r\n", b"X-A: b\r\n")
    assert await closed(spoken)
    assert spoken.told == b""


async def test_a_connection_that_says_nothing_is_closed_as_one_that_has_been_answered_is() -> None:
    spoken = Spoken(saying(*ANSWER), keep_alive_seconds=0)
    assert await closed(spoken)


@pytest.mark.fault("F07")
@pytest.mark.parametrize("more", [b"\r\n", b"\n\r\n"])
async def test_an_empty_line_behind_a_request_is_no_reason_to_wait_for_ever(more: bytes) -> None:
    spoken = Spoken(saying(*ANSWER), keep_alive_seconds=0)
    spoken.protocol._unset_keepalive_if_required()
    spoken.protocol.timeout_keep_alive = PATIENCE_SECONDS
    await spoken.say(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
    spoken.protocol.timeout_keep_alive = 0
    await spoken.say(more)
    assert await closed(spoken)


async def test_a_head_that_we_have_not_read_on_has_all_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS_MAX", 0.2)
    go = asyncio.Event()
    spoken = Spoken(saying_once(go))
    spoken.protocol.data_received(b"GET / HTTP/1.1\r\nHost: t\r\n\r\nGET / HTTP/1.1\r\n")
    due = spoken.protocol._head_timer.when()
    await asyncio.sleep(0.05)
    go.set()
    await spoken.say()
    assert spoken.protocol._head_timer.when() >= due + 0.05
    spoken.protocol.connection_lost(None)
    assert (spoken.protocol._head_timer, spoken.protocol.timeout_keep_alive_task) == (None, None)


async def test_a_connection_that_is_reset_leaves_no_timer_behind() -> None:
    spoken = Spoken(saying(*ANSWER))
    await spoken.say(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
    spoken.protocol.connection_lost(ConnectionResetError())
    assert (spoken.protocol._head_timer, spoken.protocol.timeout_keep_alive_task) == (None, None)


@pytest.mark.fault("F07")
async def test_a_body_that_comes_byte_by_byte_is_whole() -> None:
    heard: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        content, more = b"", True
        while more:
            message = await receive()
            content, more = content + message["body"], message["more_body"]
        heard.append(content)
        await saying(*ANSWER)(scope, receive, send)

    words = b"abcdefgh" * 1_000
    spoken = Spoken(app)
    by_length = b"POST / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(words)
    by_chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in words) + b"0\r\n\r\n"
    for head, content in ((by_length, words), (POST, by_chunks)):
        told = await spoken.say(head, *[bytes([byte]) for byte in content])
    assert (heard, told.count(b"abc"), told.count(b" 100 Continue"), spoken.line.is_closed) == ([words, words], 2, 1, False)


@pytest.mark.parametrize(
    ("head", "is_served"),
    [
        (b"GET / HTTP/1.1\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: t\r\nhost: t\r\n", False),
        (b"GET / HTTP/1.0\r\nHost: t\r\nHost: u\r\n", False),
        (b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n", False),
        (b"GET /v1/models HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", False),
        (b"POST / HTTP/1.1\r\nContent-Length: 2\r\n", False),
        (b"GET http://u/ HTTP/1.1\r\n", False),
        (b"GET / HTTP/1.0\r\n", True),
        (b"GET / HTTP/1.0\r\nHost: t\r\n", True),
        (b"GET / HTTP/1.1\r\nHost:\r\n", True),
    ],
)
async def test_a_request_names_one_host(head: bytes, is_served: bool) -> None:
    """RFC 9112, section 3.2: whom it was meant for is not guessed."""
    spoken = Spoken(saying(*ANSWER))
    told = await spoken.say(head + b"\r\n", b"" if is_served else b"{}")
    assert told.startswith(b"HTTP/1.1 200 " if is_served else b"HTTP/1.1 400 ")
    assert told.count(b"\r\n\r\n") == 1
    assert is_served or (spoken.line.is_closed and b"Host header" in told and not spoken.state.tasks)


@pytest.mark.parametrize("target", [b"/", b"*", b"http://u/", b"u:443"])
async def test_no_proxy_is_played(target: bytes) -> None:
    told = await Spoken(saying(*ANSWER)).say(b"CONNECT %b HTTP/1.1\r\nHost: t\r\n\r\n" % target)
    assert told.startswith(b"HTTP/1.1 400 ")


async def test_an_offer_of_another_protocol_for_an_address_that_is_none_is_refused() -> None:
    told = await Spoken(saying(*ANSWER)).say(b"GET http://:99999999/ HTTP/1.1\r\n" + H2C + b"\r\n")
    assert told.startswith(b"HTTP/1.1 400 ")


async def test_a_thousand_offers_of_another_protocol_at_once_are_as_many_requests() -> None:
    told = await Spoken(saying(*ANSWER)).say((b"GET / HTTP/1.1\r\n" + H2C + b"\r\n") * 1_000)
    assert told.count(b"abc") == 1_000


async def test_a_head_behind_a_request_that_is_being_answered_waits_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS_MAX", 0.01)
    go = asyncio.Event()
    spoken = Spoken(saying_once(go))
    spoken.protocol.data_received(b"GET / HTTP/1.1\r\nHost: t\r\n\r\nGET / HTTP/1.1\r\n")
    await asyncio.sleep(0.05)
    assert not spoken.line.is_closed
    go.set()
    assert (await spoken.say(b"Host: t\r\n\r\n")).count(b"abc") == 2
    spoken.protocol.connection_lost(None)


async def test_what_comes_behind_a_body_is_no_header() -> None:
    names: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            continue
        names.extend(name for name, _ in scope["headers"])
        await saying(*ANSWER)(scope, receive, send)

    spoken = Spoken(app)
    await spoken.say(POST + b"3\r\nabc\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\nAuthorization: Bearer x\r\n\r\n")
    assert names == [b"host", b"transfer-encoding"]


@pytest.mark.fault("D25")
async def test_whoever_answers_is_told_that_the_reader_has_gone_also_when_more_was_asked_already() -> None:
    told = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            continue
        told.append((scope["path"], message["type"]))

    spoken = Spoken(app)
    spoken.protocol.data_received(b"GET /stream HTTP/1.1\r\nHost: t\r\n\r\nGET /next HTTP/1.1\r\nHost: t\r\n\r\n")
    await asyncio.sleep(0)
    spoken.line.is_closed = True
    spoken.protocol.connection_lost(None)
    await spoken.say()
    assert told == [("/stream", "http.disconnect")]


async def test_what_is_no_http_is_told_so_as_every_trouble_is() -> None:
    head, _, content = (await Spoken(saying(*ANSWER)).say(b"hello there\r\n\r\n")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in head
    assert json.loads(content)["code"] == "request_malformed"


async def test_nothing_is_written_into_an_answer_that_has_begun() -> None:
    go = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"half", more=True))
        await go.wait()

    spoken = Spoken(app)
    spoken.protocol.data_received(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
    await asyncio.sleep(0.01)
    spoken.protocol.data_received(b"\x00garbage\r\n\r\n")
    assert spoken.line.is_closed
    assert spoken.told.count(b"HTTP/1.1 ") == 1
    go.set()
    spoken.protocol.connection_lost(None)
    await spoken.say()


H2C = b"Host: t\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"


@pytest.mark.parametrize("parts", [1, 2, 3, 200])
async def test_who_offers_another_protocol_is_served_in_this_one(parts: int) -> None:
    """As `curl --http2` and Java's client do."""
    heard = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        content, more = b"", True
        while more:
            message = await receive()
            content, more = content + message["body"], message["more_body"]
        heard.append((scope["path"], content))
        await saying(*ANSWER)(scope, receive, send)

    one = b"POST /one HTTP/1.1\r\n" + H2C + b"Content-Length: 5\r\n\r\nwords"
    two = b"POST /two HTTP/1.1\r\n" + H2C + b"Transfer-Encoding: chunked\r\n\r\n4\r\nmore\r\n0\r\n\r\n"
    sent = one + b"GET /none HTTP/1.1\r\n" + H2C + b"\r\n" + two + b"GET /last HTTP/1.1\r\nHost: t\r\n\r\n"
    size = -(-len(sent) // parts)
    spoken = Spoken(app)
    told = await spoken.say(*[sent[at : at + size] for at in range(0, len(sent), size)])
    assert heard == [("/one", b"words"), ("/none", b""), ("/two", b"more"), ("/last", b"")]
    assert (told.count(b"abc"), spoken.line.is_closed) == (4, False)


KEY = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
UPGRADE = b"Host: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + KEY


async def test_only_a_get_opens_a_websocket() -> None:
    told = await Spoken(saying(*ANSWER)).say(b"POST / HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 2\r\n\r\n{}")
    assert told.endswith(b"\r\n\r\nabc")


@pytest.mark.parametrize("odd", [b"Content-Length: 2\r\n", b"X-A: " + b"a" * 9_000 + b"\r\n", b"X-A: b\r\n" * 200])
async def test_a_websocket_that_cannot_be_opened_is_refused_and_not_left_open(odd: bytes) -> None:
    spoken = Spoken(saying(*ANSWER))
    told = await spoken.say(b"GET / HTTP/1.1\r\n" + UPGRADE + odd + b"\r\n")
    assert told.startswith(b"HTTP/1.1 4")
    assert spoken.line.is_closed
