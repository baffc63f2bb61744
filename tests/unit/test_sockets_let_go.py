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
        self.aborted = asyncio.Event()

    def write(self, _data: bytes) -> None: ...

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
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
