"""Answers as they leave: one piece where that can be, and to the byte what uvicorn would have written."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.contract.http_desk import PATIENCE_SECONDS, World
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from timmy.web import create_app, server
from timmy.web.bodies import HERE
from timmy.web.connections import TOGETHER_BYTES_MAX, Connection

ASK = b"GET /api/nothing HTTP/1.1\r\nHost: t\r\nX-Request-Id: mine\r\n\r\n"


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 5), "sockname": ("127.0.0.1", 1)}.get(name, default)

    def write(self, data: bytes) -> None:
        self.written += [bytes(data)] if data else []

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def wire(kind: type[HttpToolsProtocol], app: ASGIApp, *sent: bytes) -> Wire:
    """What is written to who sends this, once all of it was seen to."""
    state, line = ServerState(), Wire()
    protocol = kind(Config(app, log_config=None, access_log=False, lifespan="off"), state, {})
    protocol.access_log = False  # pytest's own handlers would be taken for one
    protocol.connection_made(line)  # type: ignore[arg-type]
    async with asyncio.timeout(PATIENCE_SECONDS):
        for part in sent:
            protocol.data_received(part)
            await asyncio.sleep(0)
        while state.tasks:
            await asyncio.gather(*state.tasks)
            await asyncio.sleep(0)
    protocol._unset_keepalive_if_required()
    return line


async def both(app: ASGIApp, *sent: bytes) -> Wire:
    ours, theirs = await wire(Connection, app, *sent), await wire(HttpToolsProtocol, app, *sent)
    assert b"".join(ours.written) == b"".join(theirs.written)
    assert ours.is_closed is theirs.is_closed
    return ours


def saying(*messages: Message) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(content: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


def test_the_server_speaks_by_it() -> None:
    house = World.build().house
    config = server(create_app(house), house, host="127.0.0.1", port=0).config
    config.load()
    assert config.http_protocol_class is Connection


@pytest.mark.parametrize(
    "sent",
    [
        ASK,
        ASK.replace(b"/api/nothing", b"/v1/models"),
        ASK.replace(b"/api/nothing", b"/v1/chat/completions"),
        b"POST /api/jobs HTTP/1.1\r\nHost: t\r\nX-Request-Id: mine\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_an_answer_that_is_whole_leaves_in_one_piece(sent: bytes) -> None:
    line = await both(create_app(World.build(talks=True).house), sent)
    assert len(line.written) == 1
    assert not line.is_closed


@pytest.mark.parametrize(
    "sent",
    [
        ASK.replace(b"GET", b"HEAD"),
        ASK.replace(b"1.1", b"1.0"),
        ASK.replace(b"Host: t", b"Host: t\r\nConnection: close"),
        ASK * 3,
        b"POST /api/jobs HTTP/1.1\r\nHost: t\r\nX-Request-Id: mine\r\nContent-Length: 99999999999\r\n\r\n{",
    ],
)
async def test_what_is_out_of_the_ordinary_is_written_as_uvicorn_writes_it(sent: bytes) -> None:
    assert (await both(create_app(World.build().house), sent)).written


LENGTH = (b"content-length", b"3")


@pytest.mark.parametrize(
    "messages",
    [
        (start(), body(b"abc")),
        (start(LENGTH), body(b"a", more=True), body(b"bc")),
        (start(LENGTH), body(b"too long")),
        (start(LENGTH), body(b"")),
        (start(LENGTH), start(LENGTH)),
        (start((b"content-length", b"0")), body(b"")),
        (start((b"Content-Length", b"3")), body(b"abc")),
        (start(LENGTH, (b"Connection", b"close")), body(b"abc")),
        (start(LENGTH, (b"connection", b"close")), body(b"abc")),
        (start(LENGTH, (b"transfer-encoding", b"chunked")), body(b"abc")),
        (start(LENGTH, (b"www-authenticate", b"a"), (b"www-authenticate", b"b")), body(b"abc")),
        (start(LENGTH, (b"x-none", b"")), body(b"abc")),
        (start((b"content-length", b"%d" % (TOGETHER_BYTES_MAX + 1))), body(b"x" * (TOGETHER_BYTES_MAX + 1))),
    ],
)
async def test_whatever_an_application_says_is_told_as_uvicorn_tells_it(messages: tuple[Message, ...]) -> None:
    await both(saying(*messages), ASK)


@pytest.mark.parametrize("odd", [(b"x-told", b"a\r\nset-cookie: b"), (b"x told", b"a"), (b"x-told", b"a\x00"), (b"x:told", b"a")])
async def test_no_header_can_be_made_into_two(odd: tuple[bytes, bytes]) -> None:
    line = await both(saying(start(LENGTH, odd), body(b"abc")), ASK)
    assert b"told" not in b"".join(line.written)


async def test_an_answer_that_ends_before_its_body_is_a_500() -> None:
    line = await wire(Connection, saying(start(LENGTH)), ASK)
    assert b"".join(line.written).startswith(b"HTTP/1.1 500 ")
    assert line.is_closed


async def test_it_is_told_whether_all_of_a_body_is_there() -> None:
    told = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        told.append(scope[HERE])
        await receive()
        await saying(start(LENGTH), body(b"abc"))(scope, receive, send)

    post = b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\n"
    await wire(Connection, app, post + b"here")
    await wire(Connection, app, post, b"late")
    assert told == [True, False]
