"""Connections, bounded before anything is known of who speaks; and answers that leave whole.

uvicorn keeps a head however long it becomes, and waits for its end for ever. It takes what comes behind a body for headers, and tells the
request that came last, and not the one that is being answered, when the reader has gone. It loses the body where another protocol is
offered. And it writes head and body apart: two calls into the kernel, and two times that whoever waits for it is woken.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, NoReturn, cast

import httptools
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from timmy.errors import TimmyError
from timmy.ids import new_id
from timmy.web.bodies import HERE
from timmy.web.problems import trouble
from timmy.web.refusals import HeadersTooLarge, RequestMalformed

TOGETHER_BYTES_MAX = 65_536  # of a body; to copy a longer one would cost more than to write it by itself
HEAD_BYTES_MAX = 65_536  # in a row that bring nothing of a body: of a head, of trailers, of what stands beside a chunk's size
HEAD_SECONDS_MAX = 20.0
TRAILERS: Any = deque(maxlen=0)  # keeps nothing


class Connection(HttpToolsProtocol):
    """uvicorn's own, within bounds, up to where the application is called for a request."""

    url = b""  # of the head that is being read
    _has_moved = False  # by what came last: a head was whole, or there was something of a body
    _barren_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _answering: RequestResponseCycle | None = None  # the last that was begun; uvicorn knows the last that was asked
    _is_socket = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._is_idle()  # who says nothing at all is as idle as one that was answered

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._has_moved = False
        self._hear(data)
        if self._has_moved:
            self._barren_bytes = 0
        else:
            self._barren_bytes += len(data)
            if self._barren_bytes > HEAD_BYTES_MAX and not self._is_socket:
                self._refuse(HeadersTooLarge(f"The head of a request may have at most {HEAD_BYTES_MAX} bytes."))
        if self.cycle is not None and self.cycle.scope is self.scope:  # the head of what came last is whole
            if self._head_timer is not None:
                self._stop_clock()
            if self.cycle.response_complete:
                self._is_idle()  # an empty line between two requests, or the rest of a body that nobody wanted, asks for nothing
        elif self._head_timer is None and not self._is_socket:
            self._start_clock()

    def _hear(self, data: bytes) -> None:
        left = [memoryview(data)]
        while left:
            part = left.pop()
            try:
                self.parser.feed_data(part)
            except httptools.HttpParserUpgrade as offer:
                if self._should_upgrade():
                    return self.handle_websocket_upgrade()
                left += [part[offer.args[0] :], memoryview(self._without_offer())]  # first the latter
            except httptools.HttpParserError:
                return self.send_400_response("")

    def _without_offer(self) -> bytes:
        """The head that was heard, to be heard in HTTP/1.1, where another protocol was offered that is not spoken here (RFC 9110, section
        7.8): curl and Java's client offer HTTP/2 with any request. The parser would take the body for that protocol's."""
        head = [self.parser.get_method(), b" ", self.url, b" HTTP/", self.parser.get_http_version().encode(), b"\r\n"]
        head += [b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        return b"".join([*head, b"\r\n"])

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_clock()
        self._unset_keepalive_if_required()
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._head_timer is not None:  # of the request behind it, which we have not read on till now
            self._stop_clock()
            self._start_clock()

    def handle_websocket_upgrade(self) -> None:
        self._is_socket = True
        self._stop_clock()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        self._refuse(
            RequestMalformed("This is not HTTP/1.1 as it can be read here. Look at the request line, the headers and the lengths.")
        )

    def _refuse(self, error: TimmyError) -> None:
        """And hang up: nobody knows where the next request would begin."""
        if self.transport.is_closing():
            return
        if self._answering is None or self._answering.response_complete or not self._answering.response_started:
            answer = trouble(error, self.url.decode("latin-1"), new_id("req"))
            fields = [*self.server_state.default_headers, *answer.raw_headers, (b"connection", b"close")]
            lines = b"".join(b"%b: %b\r\n" % field for field in fields)
            self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[answer.status_code], lines, bytes(answer.body)))
        self.transport.close()

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._answering is not None and not self._answering.response_complete:  # it is we who have not read on
            self._head_timer = self.loop.call_later(HEAD_SECONDS_MAX, self._head_is_late)
        else:
            self.transport.close()

    def _is_idle(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _start_clock(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS_MAX, self._head_is_late)

    def _stop_clock(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    # ---- for the parser

    def on_headers_complete(self) -> None:
        self._has_moved = True
        hosts = [name for name, _ in self.headers].count(b"host")
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            self._stop(RequestMalformed("Send one Host header, and no second one (RFC 9112, section 3.2)."))
        if self.parser.should_upgrade() and not self._should_upgrade():
            if self.parser.get_method() == b"CONNECT":  # what follows is meant for somebody else (RFC 9110, section 9.3.6)
                self._stop(RequestMalformed("This is no proxy: CONNECT leads nowhere. Ask for a path."))
            return  # it will be heard again
        super().on_headers_complete()
        if self.cycle is not None and self.cycle.scope is self.scope:
            # What is named behind the body would pass for what a proxy has said in front of it (RFC 9110, section 6.5.1).
            self.headers = TRAILERS

    def _stop(self, error: TimmyError) -> NoReturn:
        """In the middle of the parser's work, which ends with it."""
        self._refuse(error)
        raise error

    def on_body(self, body: bytes) -> None:
        self._has_moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.cycle is not None and self.cycle.scope is self.scope:
            super().on_message_complete()

    def _should_upgrade(self) -> bool:
        return self.parser.get_method() == b"GET" and super()._should_upgrade()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, cast(Any, Answering(cycle, app)))


class Answering:
    """The application, called for one request. The head of an answer that says its length waits for the body."""

    __slots__ = ("_app", "_cycle", "_head")

    def __init__(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:
        self._cycle = cycle
        self._app = app
        self._head: Message | None = None

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        scope[HERE] = not self._cycle.more_body
        await self._app(scope, receive, self._send)

    async def _send(self, message: Message) -> None:
        head, self._head = self._head, None
        if head is not None:
            if self._leaves_whole(head, message):
                return
            await self._cycle.send(cast(Any, head))
        elif message["type"] == "http.response.start" and b"content-length" in dict(message["headers"]):
            self._head = message
            return
        await self._cycle.send(cast(Any, message))

    def _leaves_whole(self, head: Message, message: Message) -> bool:
        """Written, and done with. False: something about the answer is out of the ordinary, and uvicorn knows what is to be done."""
        cycle = self._cycle
        headers = dict(cycle.default_headers + head["headers"])
        body = message.get("body", b"")
        if (
            message["type"] != "http.response.body"
            or message.get("more_body", False)
            or not cycle.keep_alive
            or cycle.disconnected
            or cycle.response_started
            or cycle.flow.write_paused
            or cycle.access_log
            or cycle.scope["method"] == "HEAD"
            or len(body) > TOGETHER_BYTES_MAX
            or headers[b"content-length"] != b"%d" % len(body)
            or len(headers) != len(cycle.default_headers) + len(head["headers"])  # one that comes twice
            or b"connection" in headers
            or b"transfer-encoding" in headers
            or not (names := b"".join(headers)).islower()
            or HEADER_RE.search(names)
            or HEADER_VALUE_RE.search(b"".join(headers.values()))
        ):
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        lines = b"\r\n".join(map(b": ".join, headers.items()))
        cycle.transport.write(b"%b%b\r\n\r\n%b" % (STATUS_LINE[head["status"]], lines, body))
        cycle.message_event.set()
        cycle.on_response()
        return True
