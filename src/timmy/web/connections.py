"""An answer that is whole leaves in one piece. uvicorn writes head and body apart: two calls into the kernel, and two times that whoever
waits for it is woken.
"""

from __future__ import annotations

from typing import Any, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from timmy.web.bodies import HERE

TOGETHER_BYTES_MAX = 65_536  # of a body; to copy a longer one would cost more than to write it by itself


class Connection(HttpToolsProtocol):
    """uvicorn's own, up to where the application is called for a request."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
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
