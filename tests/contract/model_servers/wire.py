"""A provider as bytes on a socket: it says what it is told to, for each question one answer, however wrong that may be."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any, cast


class Then(Enum):
    HANG_UP = "the connection is closed in order"
    RESET = "it is torn down"
    WAIT = "nothing more is said until the other side has gone"


Run = Callable[[Coroutine[Any, Any, None]], None]
Part = bytes | asyncio.Event | Then  # an event is waited for
Answer = tuple[Part, ...]

OK = b'{"ok": true}'


def whole(body: bytes = OK, *fields: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(*chunks: bytes, fields: str = "", end: bytes = b"0\r\n\r\n") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{fields}\r\n".encode()
    return head + b"".join(map(chunk, chunks)) + end


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class WireServer:
    """`answers` are given one after the other, whatever connection asks, and the last one for ever."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = deque(answers)
        self._writers: list[asyncio.StreamWriter] = []
        self._serving: list[asyncio.Task[None]] = []
        self.port = 0
        self.connections = 0
        self.heard: list[tuple[int, bytes]] = []  # the number of the connection and the question, as it came
        self.asked = asyncio.Event()
        self.left = asyncio.Event()  # a client has closed its end while it was waited for
        self.gone = 0  # connections that have ended
        self.sent_bytes = 0

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[WireServer]:
        server = await asyncio.start_server(self._serve, host, 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.gather(*self._serving)

    async def say_unasked(self, text: bytes) -> None:
        """Over the connection that was made last."""
        self._writers[-1].write(text)
        await self._writers[-1].drain()

    def close_connections(self) -> None:
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self._writers.append(writer)
        self._serving.append(cast(asyncio.Task[None], asyncio.current_task()))
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                _, _, length = head.lower().partition(b"content-length:")
                body = await reader.readexactly(int(length.split(b"\r\n", 1)[0]) if length else 0)
                self.heard.append((number, head + body))
                self.asked.set()
                await self._answer(self._answers[0] if len(self._answers) == 1 else self._answers.popleft(), reader, writer)
        self.gone += 1
        self.left.set()
        writer.transport.abort()

    async def _answer(self, answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in answer:
            match part:
                case bytes():
                    writer.write(part)
                    await writer.drain()
                    self.sent_bytes += len(part)
                case asyncio.Event():
                    await part.wait()
                case Then.HANG_UP:
                    writer.close()
                    await writer.wait_closed()
                case Then.RESET:
                    # No end, but an RST (socket(7), SO_LINGER).
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    writer.transport.abort()
                case Then.WAIT:
                    await reader.read()
