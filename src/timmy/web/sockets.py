"""WebSockets that cost little: uvicorn's own protocol, which after the handshake is handed over to whoever listens.

What ASGI asks for, a task for each connection and a call for each message to each reader, is what a crowd cannot afford. So here a
connection that was accepted calls its listener when something was said, and takes frames that were encoded once for everybody. Everything
that comes in is bounded before it is parsed: the size of a message, the frames in a second, the pieces of one message.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import InvalidState
from websockets.frames import Frame

EXTENSION = "timmy.socket"  # in the scope: the connection itself, to be handed over

MESSAGE_BYTES_MAX = 4_096  # 250 characters, each escaped as twelve, and some room
PARSED_AT_ONCE = 512  # bytes: between two pieces it is looked whether the sender has already said too much
PIECES_MAX = 16  # frames of one message
FRAMES_AT_ONCE, FRAMES_PER_SECOND = 40, 10  # of any kind, pings too: no page sends so many
UNSENT_BYTES_MAX = 256 * 1_024  # what waits for a reader that takes nothing
KERNEL_BYTES_MAX = 64 * 1_024  # or the kernel would keep megabytes for it before we notice
LINGER_SECONDS = 2.0  # what was said last can be read, before the connection is gone
CLOSE_SECONDS = 5.0
GOING_AWAY, POLICY = 1001, 1008

Heard = Callable[[str | bytes], None]


class Socket(WebSocketsSansIOProtocol):
    """`sockets`: all that are open. They are not among uvicorn's connections, which it counts, and refuses requests when they are many."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        sockets: set[asyncio.Protocol],
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.connections = cast(Any, sockets)
        self.tasks = set()
        self._heard: Heard | None = None
        self._gone: Callable[[], None] | None = None
        self._frames_left = float(FRAMES_AT_ONCE)
        self._counted_at = self.loop.time()
        self._is_deaf = False

    # for whoever it was handed over to -----------------------------------------------------------------------

    def hand_over(self, heard: Heard, gone: Callable[[], None]) -> None:
        """After it was accepted. `heard` is called with each message, `gone` once, when nothing more can come."""
        if self.disconnected:  # it left while it was being let in
            gone()
            return
        self._heard = heard
        self._gone = gone
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES_MAX)
        while not self.queue.empty():  # what was said before anybody listened
            early = cast(dict[str, Any], self.queue.get_nowait())
            if early["type"] == "websocket.receive":
                heard(early.get("text") or early.get("bytes") or b"")
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def push(self, frames: bytes) -> bool:
        """Write whole frames. False: it is closing, or its reader is so slow that it was let go."""
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return False
        if self.transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            self.transport.abort()
            return False
        self.transport.write(frames)
        return True

    def close(self, code: int, reason: str) -> None:
        """Say goodbye, and take nothing more."""
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return
        try:
            self.conn.send_close(code, reason)
        except InvalidState:  # its own goodbye has just come in
            return
        self._part(deaf=code == POLICY)

    # from the server -----------------------------------------------------------------------------------------

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions = cast(dict[str, Any], self.scope["extensions"])
            extensions[EXTENSION] = self

    async def run_asgi(self) -> None:
        """As in uvicorn, but that a connection which was handed over stays open when its application has returned."""
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            self.transport.close()
        except BaseException:
            self.logger.exception("Exception in ASGI application\n")
            self.send_500_response()
            self.transport.close()
        else:
            if not self.handshake_complete and self.initial_response is None:
                self.send_500_response()
            if self._heard is None and self.close_timer is None:
                self.transport.close()
        # Nobody reads them any more, and there may be thousands of these.
        self.scope = self.request = self.response = cast(Any, None)

    def data_received(self, data: bytes) -> None:
        for begin in range(0, len(data), PARSED_AT_ONCE):
            if self._is_deaf:
                return
            self.conn.receive_data(data[begin : begin + PARSED_AT_ONCE])
            if self.conn.parser_exc is not None:
                self._part(deaf=True)
                return
            self.handle_events()

    def handle_events(self) -> None:
        if self._heard is not None and not self._may_send(sum(isinstance(event, Frame) for event in self.conn.events)):
            self.conn.events.clear()
            self.close(POLICY, "too many messages")
            return
        super().handle_events()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= PIECES_MAX:
            self.close(POLICY, "too many pieces")
            return
        super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        if self._heard is None:
            super().send_receive_event_to_app()
            return
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent:
            return
        if self.curr_msg_data_type == "bytes":
            self._heard(bytes(data))
            return
        try:
            text = str(data, "utf-8")
        except UnicodeDecodeError:
            self.close(1007, "not UTF-8")
            return
        self._heard(text)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        gone, self._gone = self._gone, None
        if gone is not None:
            gone()

    def keepalive_timeout(self) -> None:
        """Whoever does not answer would not read what still waits for them either."""
        super().keepalive_timeout()
        self.transport.abort()

    def shutdown(self) -> None:
        """The server stops: not an error of anybody's (uvicorn would say 1012)."""
        self.stop_keepalive()
        if self.handshake_complete:
            self.close(GOING_AWAY, "the server is stopping")
            self.transport.close()
        else:
            super().shutdown()

    # bounds --------------------------------------------------------------------------------------------------

    def _may_send(self, frames: int) -> bool:
        now = self.loop.time()
        self._frames_left = min(FRAMES_AT_ONCE, self._frames_left + (now - self._counted_at) * FRAMES_PER_SECOND) - frames
        self._counted_at = now
        return self._frames_left >= 0

    def _part(self, *, deaf: bool) -> None:
        """Write the goodbye. `deaf`: read nothing more, neither close at once: with a hundred megabytes still coming in that would be a
        reset, and the other side would never read why."""
        self.stop_keepalive()
        self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        if deaf:
            self._is_deaf = True
            self.transport.pause_reading()
            if self.transport.can_write_eof():
                self.transport.write_eof()
        self.close_timer = self.loop.call_later(LINGER_SECONDS if deaf else CLOSE_SECONDS, self.transport.abort)
