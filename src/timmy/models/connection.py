"""One connection to a provider, and one response at a time as it comes over it (HTTP/1.1, RFC 9112).

llhttp reads the bytes; what is decided here is when a response is whole, how much of it may wait in memory, and whether another question
may follow over the same connection. Half an answer must never look like a whole one: a response ends where its own length or its last
chunk says so, and with the connection only where it says neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from timmy.models.packing import BadPacking, Unpacking, unpacking

WAITING_BYTES_MAX = 262_144  # of a body that nobody reads: then the server is made to wait
BARREN_BYTES_MAX = 65_536  # in a row that bring nothing of a body: of a head, of interim responses, of trailers


class Broken(Exception):
    """It ended before its end, or is no HTTP."""


class Response:
    """`headers` has names in lower case, of each field the first. Whoever asked reads the body and gives the connection back."""

    __slots__ = (
        "_barren_bytes",
        "_broken",
        "_connection",
        "_loop",
        "_parser",
        "_pieces",
        "_reader",
        "_unpacking",
        "_waiting_bytes",
        "has_begun",
        "headers",
        "is_headed",
        "is_whole",
        "keeps_alive",
        "status",
    )

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loop = connection.loop
        self._reader: asyncio.Future[None] | None = None
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._barren_bytes = 0
        self._broken = False
        self._unpacking: Unpacking | None = None
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.has_begun = False  # a byte of it has come
        self.is_headed = False
        self.is_whole = False  # it has come to its end, read or not
        self.keeps_alive = False
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        # What servers are known to get wrong, and what cannot be taken for anything else: odd characters in a field that is not looked at,
        # a line that ends without CR, a blank behind the size of a chunk.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )

    # ---- for whoever asked

    @property
    def connection(self) -> Connection:
        return self._connection

    @property
    def is_read(self) -> bool:
        """To its end, in order: nothing of it is left, neither here nor to come."""
        return self.is_whole and not self._pieces and (self._unpacking is None or self._unpacking.is_whole)

    async def headed(self, until: float) -> None:
        """Waits for status and headers, at most until this time of the loop. TimeoutError; Broken."""
        while not self.is_headed:
            if self._broken:
                raise Broken
            await self._news(until)

    async def read(self, until: float) -> bytes:
        """The next bytes of the body, empty at its end. TimeoutError; Broken."""
        if self._unpacking is None:
            return await self._read_packed(until)
        while True:
            packed = b"" if self._unpacking.more else await self._read_packed(until)
            if not packed and not self._unpacking.more:
                if not self._unpacking.is_whole:
                    raise Broken
                return b""
            try:
                if piece := self._unpacking.feed(packed):
                    return piece
            except BadPacking:
                raise Broken from None

    async def _read_packed(self, until: float) -> bytes:
        while not self._pieces:
            if self.is_whole:
                return b""
            if self._broken:
                raise Broken
            await self._news(until)
        pieces, self._pieces = self._pieces, []
        if self._waiting_bytes > WAITING_BYTES_MAX:
            self._connection.resume()
        self._waiting_bytes = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _news(self, until: float) -> None:
        if self._loop.time() >= until:
            raise TimeoutError  # bytes that come without a pause would be here before any timer
        self._reader = reader = self._loop.create_future()
        timer = self._loop.call_at(until, _too_late, reader)
        try:
            await reader
        finally:
            timer.cancel()
            self._reader = None

    def end(self) -> None:
        """Nobody waits for any of it any more."""
        self._parser = None  # it knows us as we know it: parted, neither waits for the garbage collector

    # ---- for the connection

    def feed(self, data: bytes) -> None:
        if self._parser is None or self._broken:
            return
        self.has_begun = True
        waited_bytes = self._waiting_bytes
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # Behind its end, it is of no meaning any more, but what it comes from is not to be asked again.
            self.keeps_alive = False
            self._broken = not self.is_whole
        if self._waiting_bytes > waited_bytes:
            self._barren_bytes = 0
            if self._waiting_bytes > WAITING_BYTES_MAX >= waited_bytes and not self.is_whole:
                self._connection.pause()
        elif not self.is_whole:
            self._barren_bytes += len(data)
            self._broken = self._broken or self._barren_bytes > BARREN_BYTES_MAX
        self._wake()

    def lost(self, error: Exception | None) -> None:
        """The connection has ended. Only a response that names no length ends with it (RFC 9112, section 6.3, rule 8)."""
        self.keeps_alive = False
        if not self.is_whole and not self._broken:
            is_bounded = b"content-length" in self.headers or b"transfer-encoding" in self.headers
            self.is_whole = self.is_headed and error is None and not is_bounded
            self._broken = not self.is_whole
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # ---- for the parser

    def on_message_begin(self) -> None:
        if self.is_whole:
            raise Broken  # a second response to one question: ends the parsing

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.is_headed:  # otherwise it is a trailer
            self.headers.setdefault(name.lower(), value)

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status < 200:  # interim: the response is still to come
            self.headers.clear()
            return
        self.status = status
        self.is_headed = True
        self.keeps_alive = self._parser.should_keep_alive()
        if coding := self.headers.get(b"content-encoding"):
            self._unpacking = unpacking(coding)

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._waiting_bytes += len(piece)

    def on_message_complete(self) -> None:
        self.is_whole = self.is_headed


class Connection(asyncio.Protocol):
    """Asked again only after the last response has ended. `on_lost` is called once, when it is no more."""

    def __init__(self, on_lost: Callable[[Connection], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.idle_since = 0.0  # the loop's time, in seconds
        self._on_lost = on_lost
        self._is_open = True
        self._response: Response | None = None
        self._transport: asyncio.Transport

    def ask(self, request: bytes) -> Response:
        self._response = Response(self)
        if self.is_open:
            self._transport.write(request)
        else:
            self._response.lost(None)
        return self._response

    def is_free(self) -> bool:
        """After a response: whether another question can follow. Lets go of the response."""
        response, self._response = self._response, None
        if response is None:
            return False
        response.end()
        # A server that has answered before it had heard all of the question would take the rest of it for the next one.
        return response.is_read and response.keeps_alive and self.is_open and not self._transport.get_write_buffer_size()

    @property
    def is_open(self) -> bool:
        return self._is_open and not self._transport.is_closing()

    def hang_up(self) -> None:
        """At once, whatever is still to be sent: that is what stops the provider's work."""
        self._is_open = False
        self._transport.abort()

    def pause(self) -> None:
        if self.is_open:
            self._transport.pause_reading()

    def resume(self) -> None:
        if self.is_open:
            self._transport.resume_reading()

    # ---- for the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        if self._response is None:
            self.hang_up()  # nobody has asked: whatever it is, it must not be taken for the answer to what is asked next
        else:
            self._response.feed(data)

    def eof_received(self) -> None:
        self._is_open = False  # and the transport closes itself

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_open = False
        if self._response is not None:
            self._response.lost(exc)
        self._on_lost(self)


def _too_late(reader: asyncio.Future[None]) -> None:
    if not reader.done():
        reader.set_exception(TimeoutError())
