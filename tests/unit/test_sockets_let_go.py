"""A connection that says goodbye and then reads nothing must not be kept."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from timmy.web import sockets
from timmy.web.sockets import Line, Sockets


class Stuck:
    """A transport whose reader takes nothing: what is closed with unsent bytes stays open until it is aborted."""

    def __init__(self) -> None:
        self.closed = False
        self.unsent_bytes = 0
        self.aborted = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.unsent_bytes += len(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True
        self.unsent_bytes = 0
        self.aborted.set()


@pytest.mark.fault("H05")
async def test_who_says_goodbye_and_reads_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "CLOSE_SECONDS", 0.01)
    transport, line = Stuck(), Line[object](lambda _who, _said: None, lambda _who: None)
    line.begin(cast(Any, transport), ServerProtocol(state=State.OPEN), Sockets())
    line.data_received(Frame(Opcode.CLOSE, Close(1000, "bye").serialize()).serialize(mask=True))
    assert transport.closed
    async with asyncio.timeout(5):
        await transport.aborted.wait()


def watching(together: Sockets) -> tuple[Stuck, Line[object]]:
    transport, line = Stuck(), Line[object](lambda _who, _said: None, lambda _who: None)
    line.begin(cast(Any, transport), ServerProtocol(state=State.OPEN), together)
    return transport, line


@pytest.mark.fault("H05")
async def test_what_is_kept_for_all_slow_readers_is_bounded_and_the_slowest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "ALL_UNSENT_BYTES_MAX", 100)
    monkeypatch.setattr(sockets, "ALL_UNSENT_BYTES_AFTER", 75)
    together = Sockets()
    readers = [watching(together) for _ in range(4)]
    for size, (_, line) in enumerate(readers, 1):
        line.push(b"x" * 10 * size)
        line.push(b"")
    assert together.unsent_bytes == 100
    readers[0][1].push(b"x")
    assert not any(transport.aborted.is_set() for transport, _ in readers), "so much is allowed"
    readers[0][1].push(b"x")
    assert [transport.aborted.is_set() for transport, _ in readers] == [False, False, False, True]
    assert together.unsent_bytes <= 75
    assert not readers[3][1].push(b"x"), "it was let go"


@pytest.mark.fault("H05")
async def test_who_has_read_on_is_not_counted_with_those_who_have_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "ALL_UNSENT_BYTES_MAX", 100)
    together = Sockets()
    (slow, line), (quick, other) = watching(together), watching(together)
    for each in (line, other):
        each.push(b"x" * 60)
    line.push(b"")
    quick.unsent_bytes = 0
    assert other.push(b"x" * 60)
    quick.unsent_bytes = 0
    assert line.push(b"x" * 30)
    assert line.push(b"x")
    assert not slow.aborted.is_set()
    assert together.unsent_bytes == 90
    line.connection_lost(None)
    other.connection_lost(None)
    assert together.unsent_bytes == 0
