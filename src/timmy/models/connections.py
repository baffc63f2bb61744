"""Connections to one provider, kept open between questions: without a limit, since the house limits how much runs at once, not this.

Names are looked up once for all who come within a few seconds, and IPv4 is tried a moment after IPv6 (RFC 8305). Certificates are checked
against what the system trusts. A proxy that the environment names is not used: whom the key is shown to is the operator's setting alone.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from typing import Any

import aiohappyeyeballs
from yarl import URL

from timmy.models.connection import Connection, Response

IDLE_SECONDS_MAX = 15.0
ADDRESSES_SECONDS_MAX = 10.0
NEXT_ADDRESS_SECONDS = 0.25

Addresses = Sequence[Any]  # as `getaddrinfo` gives them


class Connections:
    """`url` is http or https, and has a host."""

    def __init__(self, url: URL, *, connect_seconds: float) -> None:
        self._host = url.raw_host or ""
        self._port = url.port or 0  # where none is named, it is that of the scheme
        self._tls = _tls() if url.scheme == "https" else None
        self._connect_seconds = connect_seconds
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []  # the one that was used last is last, and used next
        self._sweeping: asyncio.TimerHandle | None = None
        self._looking_up = asyncio.Lock()
        self._addresses: Addresses = []
        self._addresses_until = 0.0

    def idle(self) -> Connection | None:
        """One that was used before and is still good, as far as can be known."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.loop.time() - connection.idle_since <= IDLE_SECONDS_MAX:
                return connection
            connection.hang_up()
        return None

    async def connected(self, until: float) -> Connection:
        """A new one, at most until this time of the loop. TimeoutError; OSError (TLS and certificates, too)."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout_at(min(until, loop.time() + self._connect_seconds)):
            try:
                found = await aiohappyeyeballs.start_connection(
                    await self._looked_up(loop), happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=1, loop=loop
                )
            except RuntimeError as refused:  # uvloop's, where others have an OSError
                raise OSError("no address answered") from refused
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            name = None if self._tls is None else self._host.rstrip(".")
            _, connection = await loop.create_connection(
                lambda: Connection(self._open.discard), sock=found, ssl=self._tls, server_hostname=name
            )
        if connection.is_open:
            self._open.add(connection)
        return connection

    def take_back(self, response: Response) -> None:
        """After a response: the connection is kept where another question can follow, and closed otherwise, at once."""
        connection = response.connection
        if not connection.is_free():
            connection.hang_up()
            return
        connection.idle_since = connection.loop.time()
        self._idle.append(connection)
        if self._sweeping is None:
            self._sweeping = connection.loop.call_later(IDLE_SECONDS_MAX, self._sweep)

    async def aclose(self) -> None:
        """All of them, in use or not."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        self._idle.clear()
        for connection in tuple(self._open):
            connection.hang_up()
        await asyncio.sleep(0)  # for the transports to be gone before the loop is

    async def _looked_up(self, loop: asyncio.AbstractEventLoop) -> Addresses:
        async with self._looking_up:  # who comes while another looks finds what that one has found
            if loop.time() >= self._addresses_until:
                try:
                    self._addresses = await resolved(self._host, self._port)
                except UnicodeError:
                    raise OSError("no name of a host") from None
                self._addresses_until = loop.time() + ADDRESSES_SECONDS_MAX
            return self._addresses

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        waiting, self._idle = self._idle, []
        for connection in waiting:
            if connection.is_open and loop.time() - connection.idle_since < IDLE_SECONDS_MAX:
                self._idle.append(connection)
            else:
                connection.hang_up()
        self._sweeping = loop.call_at(self._idle[0].idle_since + IDLE_SECONDS_MAX, self._sweep) if self._idle else None


async def resolved(host: str, port: int) -> Addresses:
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _tls() -> ssl.SSLContext:
    tls = ssl.create_default_context()
    tls.set_alpn_protocols(["http/1.1"])  # where a server would rather speak HTTP/2, it is told that we do not
    return tls
