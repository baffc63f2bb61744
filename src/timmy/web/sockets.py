"""WebSockets that cost little: uvicorn's own protocol for the handshake, and after it a connection that is hardly there.

What ASGI asks for, a task for each connection and a call for each message to each reader, is what a crowd cannot afford. So here a
connection that was accepted calls its listener when something was said, and takes frames that were encoded once for everybody. Everything
that comes in is bounded before it is parsed: the size of a message, the frames in a second, the pieces of one message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Any, Generic, TypeVar, cast

from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

EXTENSION = "timmy.socket"  # in the scope: the connection itself, to be handed over

MESSAGE_BYTES_MAX = 4_096  # 250 characters, each escaped as twelve, and some room
PARSED_AT_ONCE = 512  # bytes: between two pieces it is looked whether the sender has already said too much
PIECES_MAX = 16  # frames of one message
FRAMES_AT_ONCE, FRAMES_PER_SECOND = 40, 10  # of any kind, pings too: no page sends so many
UNSENT_BYTES_MAX = 64 * 1_024  # what waits for a reader that takes nothing
ALL_UNSENT_BYTES_MAX = 16 * 1_024 * 1_024  # what waits for all slow readers of this process together
ALL_UNSENT_BYTES_AFTER = ALL_UNSENT_BYTES_MAX * 3 // 4  # so far the slowest go when it is more, and not one by one
KERNEL_BYTES_MAX = 64 * 1_024  # or the kernel would keep megabytes for it before we notice
LINGER_SECONDS = 2.0  # what was said last can be read, before the connection is gone
CLOSE_SECONDS = 5.0
PING_SECONDS = 25.0  # proxies give up on a silent connection after 30 or 60
PONG_SECONDS = 20.0
ROUND_SECONDS = 5.0
PING = b"\x89\x00"  # RFC 6455 section 5.5.2, without a payload: the same for all
UNREADABLE = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
GOING_AWAY, NOT_TEXT, POLICY = 1001, 1007, 1008

Whose = TypeVar("Whose")


class Sockets:
    """All that are open in this process. They are not among uvicorn's connections, which it counts, and refuses requests when they are
    many. One timer for all of them sees to the pings, and there is none while there are none."""

    def __init__(self) -> None:
        self.opening: set[Socket] = set()
        self.lines: set[Line[Any]] = set()
        self.unsent_bytes = 0  # what was waiting for each, as each was last written to
        self._round: asyncio.TimerHandle | None = None

    def relieve(self) -> None:
        """Too much waits for slow readers: count anew, for some have read on meanwhile, and let the slowest go."""
        for line in self.lines:
            line.count_unsent()
        if self.unsent_bytes <= ALL_UNSENT_BYTES_MAX:
            return
        for line in sorted(self.lines, key=lambda line: line.unsent_bytes, reverse=True):
            if self.unsent_bytes <= ALL_UNSENT_BYTES_AFTER:
                break
            line.let_go()

    def add(self, line: Line[Any]) -> None:
        self.lines.add(line)
        if self._round is None:
            self._round = asyncio.get_running_loop().call_later(ROUND_SECONDS, self._go_round)

    def shut_down(self) -> None:
        for socket in list(self.opening):
            socket.shutdown()
        for line in list(self.lines):
            line.shutdown()

    def _go_round(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for line in list(self.lines):
            line.see_alive(now)
        self._round = loop.call_later(ROUND_SECONDS, self._go_round) if self.lines else None


class Socket(WebSocketsSansIOProtocol):
    """A connection until it is handed over."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        sockets: Sockets,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.connections = cast(Any, sockets.opening)
        self.tasks = set()
        self._sockets = sockets
        self._is_handed_over = False

    def hand_over(self, line: Line[Any]) -> None:
        """After it was accepted. From here on there is only the line; this object goes."""
        self.stop_keepalive()
        self._is_handed_over = True
        if self.disconnected:  # it left while it was being let in
            line.connection_lost(None)
            return
        self.connections.discard(self)
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(SOL_SOCKET, SO_SNDBUF, KERNEL_BYTES_MAX)
        self.transport.set_protocol(line)
        line.begin(self.transport, self.conn, self._sockets)
        while not self.queue.empty():  # what was said before anybody listened
            early = cast(dict[str, Any], self.queue.get_nowait())
            if early["type"] == "websocket.receive":
                line.hear(early.get("text") or early.get("bytes") or b"")
        if self.read_paused and not line.is_closing:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated and not self.transport.is_closing():
            # A request that the protocol cannot read is no event to uvicorn, which would wait for another.
            self.transport.write(b"".join(self.conn.data_to_send()) or UNREADABLE)
            self.transport.close()

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
        except Exception:  # uvicorn's last net: the application's own is inside, so this is a bug there
            self.logger.exception("Exception in ASGI application\n")
            self.send_500_response()
            self.transport.close()
        else:
            if not self.handshake_complete and self.initial_response is None:
                self.send_500_response()
            if not self._is_handed_over and self.close_timer is None:
                self.transport.close()
        self.scope = self.request = self.response = cast(Any, None)  # a circle, which would keep all of this alive


class Line(asyncio.Protocol, Generic[Whose]):
    """A WebSocket that belongs to somebody. `heard` is called with them and each message, `gone` once, when nothing more can come."""

    __slots__ = (
        "_conn", "_counted_at", "_frames_left", "_gone", "_heard", "_heard_at", "_is_binary", "_is_deaf", "_pieces", "_pinged_at",
        "_sockets", "_timer", "_transport", "_whose", "is_closing", "unsent_bytes",
    )  # fmt: skip

    def __init__(self, heard: Callable[[Whose, str | bytes], None], gone: Callable[[Whose], None]) -> None:
        self._heard = heard
        self._gone = gone
        self._whose: Whose | None = None
        self._frames_left = float(FRAMES_AT_ONCE)
        self._pieces: list[bytes] | None = None
        self._is_binary = False
        self._is_deaf = False
        self._pinged_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sockets: Sockets | None = None
        self.is_closing = False
        self.unsent_bytes = 0  # as it was last counted

    def belongs_to(self, whose: Whose) -> None:
        self._whose = whose

    def begin(self, transport: asyncio.Transport, conn: ServerProtocol, sockets: Sockets) -> None:
        self._transport = transport
        self._conn = conn
        self._sockets = sockets
        self._counted_at = self._heard_at = asyncio.get_running_loop().time()
        sockets.add(self)

    # to whoever it belongs to --------------------------------------------------------------------------------

    def push(self, frames: bytes) -> bool:
        """Write whole frames. False: it is closing, or its reader is so slow that it was let go."""
        if self.is_closing or self._transport.is_closing():
            return False
        if self._transport.get_write_buffer_size() or self.unsent_bytes:  # the reader is behind, or was
            self.count_unsent()
            if self.unsent_bytes > UNSENT_BYTES_MAX:
                self.let_go()
            elif self._sockets is not None and self._sockets.unsent_bytes > ALL_UNSENT_BYTES_MAX:
                self._sockets.relieve()
            if self._transport.is_closing():
                return False
        self._transport.write(frames)
        return True

    def count_unsent(self) -> None:
        self._count(self._transport.get_write_buffer_size())

    def let_go(self) -> None:
        """At once, and without a word: it would not read that either."""
        self._count(0)
        self._transport.abort()

    def _count(self, unsent_bytes: int) -> None:
        if self._sockets is not None:
            self._sockets.unsent_bytes += unsent_bytes - self.unsent_bytes
        self.unsent_bytes = unsent_bytes

    def close(self, code: int, reason: str) -> None:
        """Say goodbye, and listen no more."""
        if self.is_closing or self._transport.is_closing():
            return
        try:
            self._conn.send_close(code, reason)
        except InvalidState:  # its own goodbye has just come in
            return
        self._part(deaf=code == POLICY)

    # from the server -----------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """The server stops: not an error of anybody's."""
        self.close(GOING_AWAY, "the server is stopping")
        self._transport.close()

    def see_alive(self, now: float) -> None:
        if self.is_closing:
            return
        if self._pinged_at is not None and now - self._pinged_at >= PONG_SECONDS:
            self._transport.abort()  # whoever does not answer would not read why either
        elif self._pinged_at is None and now - self._heard_at >= PING_SECONDS - ROUND_SECONDS:
            self._pinged_at = now
            self.push(PING)

    def data_received(self, data: bytes) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        self._pinged_at = None
        for begin in range(0, len(data), PARSED_AT_ONCE):
            if self._is_deaf:
                return
            self._conn.receive_data(data[begin : begin + PARSED_AT_ONCE])
            if self._conn.parser_exc is not None:
                return self._part(deaf=True)
            self._take(self._conn.events_received())

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._count(0)
        if self._sockets is not None:
            self._sockets.lines.discard(self)
        whose, self._whose = self._whose, None
        if whose is not None:
            self._gone(whose)

    # bounds --------------------------------------------------------------------------------------------------

    def _take(self, events: list[Any]) -> None:
        if not self._may_send(len(events)):
            return self.close(POLICY, "too many messages")
        for event in events:
            match cast(Frame, event).opcode:
                case Opcode.TEXT | Opcode.BINARY:
                    self._is_binary = event.opcode is Opcode.BINARY
                    self._piece([event.data], final=event.fin)
                case Opcode.CONT:
                    self._piece([*(self._pieces or ()), event.data], final=event.fin)
                case Opcode.CLOSE:
                    self.is_closing = True
                    self._transport.write(b"".join(self._conn.data_to_send()))
                    # Whoever reads nothing would be kept for ever: what is unsent has to go before the connection is closed.
                    self._timer = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.abort)
                    return self._transport.close()
            if self.is_closing:
                return
        if answers := self._conn.data_to_send():  # pongs
            self.push(b"".join(answers))

    def _piece(self, pieces: list[bytes], *, final: bool) -> None:
        if len(pieces) > PIECES_MAX:
            return self.close(POLICY, "too many pieces")
        self._pieces = None if final else pieces
        if not final:
            return
        data = b"".join(pieces)
        if self._is_binary:
            return self.hear(data)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return self.close(NOT_TEXT, "not UTF-8")
        self.hear(text)

    def hear(self, given: str | bytes) -> None:
        if self._whose is not None and not self.is_closing:
            self._heard(self._whose, given)

    def _may_send(self, frames: int) -> bool:
        self._frames_left += (self._heard_at - self._counted_at) * FRAMES_PER_SECOND
        self._frames_left = min(FRAMES_AT_ONCE, self._frames_left) - frames
        self._counted_at = self._heard_at
        return self._frames_left >= 0

    def _part(self, *, deaf: bool) -> None:
        """Write the goodbye. `deaf`: read nothing more, neither close at once: with a hundred megabytes still coming in that would be a
        reset, and the other side would never read why."""
        self.is_closing = True
        self._transport.write(b"".join(self._conn.data_to_send()))
        if deaf:
            self._is_deaf = True
            self._transport.pause_reading()
            if self._transport.can_write_eof():
                self._transport.write_eof()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LINGER_SECONDS if deaf else CLOSE_SECONDS, self._transport.abort)
