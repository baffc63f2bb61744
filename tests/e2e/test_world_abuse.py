"""Sockets that are used badly: bounded, answered or let go, and never felt by the other visitors."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
import websockets

from tests.contract.visiting import visiting
from tests.e2e.serving import Site, serving
from timmy.web import sockets
from timmy.world.frames import frame

PATIENCE_SECONDS = 60
TEXT, CONTINUED, PING = 0x1, 0x0, 0x9


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with serving({"DATA_DIR": str(tmp_path), "VIEWERS_PER_ADDRESS": "1000"}) as found:
        yield found


class Raw:
    """A connection that sends whatever it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError:
            return  # it has been let go: what it was told is read below

    async def closing_code(self) -> int:
        """Of the first close frame that comes."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                head, size = await self.reader.readexactly(2)
                if size == 126:
                    size = int.from_bytes(await self.reader.readexactly(2))
                payload = await self.reader.readexactly(size)
                if head & 0xF == 0x8:
                    return int.from_bytes(payload[:2])


@asynccontextmanager
async def raw(site: Site, *, receive_bytes: int | None = None) -> AsyncIterator[Raw]:
    """A WebSocket by hand, after its handshake."""
    host, port = site.url.removeprefix("http://").split(":")
    plain = socket.socket()
    if receive_bytes is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    plain.connect((host, int(port)))
    reader, writer = await asyncio.open_connection(sock=plain, limit=2**16)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /api/ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b" 101 " in await reader.readline()
    while await reader.readline() != b"\r\n":
        continue
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()


def masked(opcode: int, payload: bytes, *, final: bool = True, claimed: int | None = None) -> bytes:
    """A client's frame. `claimed`: what it says its size is."""
    size = len(payload) if claimed is None else claimed
    head = opcode | (0x80 if final else 0)
    if size < 126:
        start = struct.pack("!BB", head, 0x80 | size)
    elif size < 65_536:
        start = struct.pack("!BBH", head, 0x80 | 126, size)
    else:
        start = struct.pack("!BBQ", head, 0x80 | 127, size)
    return start + b"\0\0\0\0" + payload


async def feels_nothing(site: Site) -> None:
    """Somebody else, who comes, asks and is answered."""
    async with visiting(site.url) as other:
        await other.next()
        await other.send({"type": "ping"})
        await other.of_type("pong")


@pytest.mark.fault("H05")
async def test_a_hundred_megabytes_are_refused_at_their_first_bytes(site: Site) -> None:
    async with raw(site) as bad:
        await bad.send(masked(TEXT, b"x" * 10, claimed=100_000_000))
        assert await bad.closing_code() == 1009, "nothing more of it was ever sent"
    async with visiting(site.url) as honest:
        await honest.next()
        with pytest.raises(websockets.ConnectionClosed):
            await honest.socket.send("x" * 100_000_000)
        assert await honest.closing_code() == 1009, "and whoever goes on sending can read why"
    await feels_nothing(site)


@pytest.mark.fault("H05")
async def test_a_large_message_in_small_pieces_is_as_large(site: Site) -> None:
    async with raw(site) as bad:
        await bad.send(masked(TEXT, b"x" * 2_000, final=False) + masked(CONTINUED, b"x" * 2_000, final=False))
        await bad.send(masked(CONTINUED, b"x" * 2_000, final=False))
        assert await bad.closing_code() == 1009
    async with raw(site) as bad:
        await bad.send(masked(TEXT, b"", final=False) + masked(CONTINUED, b"", final=False) * 30)
        assert await bad.closing_code() == 1008, "a message of nothing, for ever"


@pytest.mark.fault("H05")
async def test_ten_thousand_messages_a_second_are_not_felt_by_anybody_else(site: Site) -> None:
    flood = masked(TEXT, b'{"type":"visitor_message","text":"spam"}') * 10_000
    async with visiting(site.url) as other:
        await other.next()
        async with raw(site) as bad, raw(site) as worse, raw(site) as pinging:
            await asyncio.gather(bad.send(flood), worse.send(masked(TEXT, b"") * 50_000), pinging.send(masked(PING, b"x") * 10_000))
            assert [await each.closing_code() for each in (bad, worse, pinging)] == [1008] * 3
        await other.send({"type": "ping"})
        await other.of_type("pong")
        await other.say("Peace and quiet?")
        await other.of_type("chat", mine=True)
        spam = [said for said in other.seen if said.get("text") == "spam"]
        assert len(spam) <= 5, "what one connection may say at once"


@pytest.mark.fault("H05")
async def test_a_reader_that_takes_nothing_is_let_go(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "UNSENT_BYTES_MAX", 16_384)
    world = site.app.house.world
    assert world is not None
    async with visiting(site.url) as other, raw(site, receive_bytes=4_096):
        await other.next()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(world.crowd) < 2:
                await asyncio.sleep(0.01)
            much = frame({"type": "error", "code": "too_busy", "error": "x" * 8_000, "at": "2026-01-01T00:00:00.000Z"})
            sent = 0
            while len(world.crowd) == 2:
                world.crowd.tell(much, but={})
                sent += 1
                await other.of_type("error")
            assert sent < 400, "what the kernel and we keep for it is bounded"
        await other.send({"type": "ping"})
        await other.of_type("pong")


@pytest.mark.fault("H05")
async def test_slow_readers_together_are_kept_no_more_than_so_much_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them alone would be borne with; the slowest go first, and who reads stays."""
    monkeypatch.setattr(sockets, "ALL_UNSENT_BYTES_MAX", 64_000)
    monkeypatch.setattr(sockets, "ALL_UNSENT_BYTES_AFTER", 48_000)
    world = site.app.house.world
    assert world is not None
    slow = 6
    async with visiting(site.url) as other, AsyncExitStack() as readers:
        await other.next()
        for _ in range(slow):
            await readers.enter_async_context(raw(site, receive_bytes=4_096))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(world.crowd) < 1 + slow:
                await asyncio.sleep(0.01)
            much = frame({"type": "error", "code": "too_busy", "error": "x" * 4_000, "at": "2026-01-01T00:00:00.000Z"})
            while len(world.crowd) > 3:
                world.crowd.tell(much, but={})
                await other.of_type("error")
        await other.send({"type": "ping"})
        await other.of_type("pong")


async def test_bytes_and_broken_text_are_refused(site: Site) -> None:
    async with visiting(site.url) as visitor:
        await visitor.next()
        await visitor.socket.send(b"\x00\x01")
        await visitor.of_type("error", code="binary")
        await visitor.socket.send("{")
        await visitor.of_type("error", code="not_json")
        await visitor.say("x" * 251)
        await visitor.of_type("error", code="message_too_long")
        await visitor.send({"type": "ping"})
        await visitor.of_type("pong")
    async with raw(site) as bad:
        await bad.send(masked(TEXT, b"\xff\xfe"))
        assert await bad.closing_code() == 1007
    async with raw(site) as bad:
        await bad.send(b"\x81\x05hello")  # not masked: RFC 6455 section 5.1 forbids it
        assert await bad.closing_code() == 1002


async def test_who_leaves_without_a_word_leaves_nothing_behind(site: Site) -> None:
    world = site.app.house.world
    assert world is not None
    for _ in range(20):
        async with raw(site) as bad:
            bad.writer.transport.abort()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(world.crowd) or world.crowd.room_for("127.0.0.1") is not None:
            await asyncio.sleep(0.01)
    await feels_nothing(site)


async def test_those_who_were_let_in_and_left_without_a_word_take_nobodys_place(tmp_path: Path) -> None:
    async with serving({"DATA_DIR": str(tmp_path), "VIEWERS_MAX": "3", "VIEWERS_PER_ADDRESS": "3"}) as site:
        world = site.app.house.world
        assert world is not None
        for _ in range(3):
            async with raw(site) as one, raw(site) as two, raw(site) as three:
                assert world.crowd.room_for("127.0.0.1") is not None
                for each in (one, two, three):
                    each.writer.transport.abort()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while world.crowd.room_for("127.0.0.1") is not None:
                    await asyncio.sleep(0.01)
            await feels_nothing(site)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(world.crowd):
                    await asyncio.sleep(0.01)


async def test_who_does_not_answer_a_ping_is_let_go_and_who_does_stays(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("ROUND_SECONDS", 0.02), ("PING_SECONDS", 0.1), ("PONG_SECONDS", 0.5)):
        monkeypatch.setattr(sockets, name, seconds)
    world = site.app.house.world
    assert world is not None
    async with visiting(site.url) as answering, raw(site) as silent:
        await answering.next()
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await silent.closing_code()
            while len(world.crowd) != 1:
                await asyncio.sleep(0.01)
        await answering.send({"type": "ping"})
        await answering.of_type("pong")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(world.crowd):
            await asyncio.sleep(0.01)
