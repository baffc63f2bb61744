"""Visitors of a world: over a real WebSocket, or on a line that only writes down. Whatever either gets is held against the schema."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import jsonschema_rs
import orjson
import websockets
from websockets.asyncio.client import ClientConnection

from timmy.world import Viewer, World, shapes

PATIENCE_SECONDS = 60
BROKEN_OFF = 1006  # without a word
Said = dict[str, Any]

DOCUMENT = shapes.document()
VALIDATOR = jsonschema_rs.validator_for(DOCUMENT)
MEMBERS = {
    shape["properties"]["type"]["const"]: shape["properties"]
    for shape in DOCUMENT["$defs"].values()
    if "type" in shape.get("properties", {})
}


def checked(message: Said) -> Said:
    """As described, and with nothing that is not described."""
    VALIDATOR.validate(message)
    assert set(message) <= set(MEMBERS[message["type"]]), message
    return message


class Visitor:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.seen: list[Said] = []

    async def next(self) -> Said:
        async with asyncio.timeout(PATIENCE_SECONDS):
            message = checked(orjson.loads(await self.socket.recv()))
        self.seen.append(message)
        return message

    async def until(self, wanted: Callable[[Said], bool]) -> Said:
        while not wanted(message := await self.next()):
            continue
        return message

    async def of_type(self, kind: str, **members: object) -> Said:
        return await self.until(lambda said: said["type"] == kind and all(said.get(name) == value for name, value in members.items()))

    async def say(self, text: str) -> None:
        await self.send({"type": "visitor_message", "text": text})

    async def send(self, message: object) -> None:
        await self.socket.send(orjson.dumps(message).decode())

    async def closing_code(self) -> int:
        """What the server says last; everything before it is read."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                while True:
                    self.seen.append(checked(orjson.loads(await self.socket.recv())))
            except websockets.ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd is not None else BROKEN_OFF


@asynccontextmanager
async def visiting(url: str, **options: Any) -> AsyncIterator[Visitor]:
    """Somebody who has connected; nothing has been read yet."""
    async with websockets.connect(url.replace("http", "ws", 1) + "/api/ws", max_size=None, **options) as socket:
        yield Visitor(socket)


class Ear:
    """A line of a viewer that is in this process: what was written to it, decoded."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self.takes = True

    def push(self, frames: bytes) -> bool:
        if self.takes:
            self.frames.append(frames)
        return self.takes

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    @property
    def heard(self) -> list[Said]:
        return [checked(orjson.loads(payload)) for frames in self.frames for payload in payloads(frames)]

    def of_type(self, kind: str, **members: object) -> list[Said]:
        return [said for said in self.heard if said["type"] == kind and all(said.get(name) == value for name, value in members.items())]


def payloads(frames: bytes) -> list[bytes]:
    """RFC 6455 section 5.2, as far as an unmasked text frame of a server goes."""
    found = []
    while frames:
        assert frames[0] == 0x81
        assert frames[1] < 128
        size, begin = frames[1], 2
        if size == 126:
            size, begin = int.from_bytes(frames[2:4]), 4
        elif size == 127:
            size, begin = int.from_bytes(frames[2:10]), 10
        found.append(frames[begin : begin + size])
        assert len(found[-1]) == size
        frames = frames[begin + size :]
    return found


async def arrive(world: World, address: str = "192.0.2.1") -> tuple[Viewer, Ear]:
    ear = Ear()
    viewer = Viewer(address, ear)
    world.crowd.take(viewer)
    await world.join(viewer)
    return viewer, ear


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0.01)
