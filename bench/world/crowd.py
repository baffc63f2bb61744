"""Viewers, all in one process: they read as little as they must, so that the servers have the machine to themselves.

Speaks in lines with its parent: `first` when the first of them are in, `joined` when all are, then one line of JSON with what was seen of
each event. Between them it waits for `go`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop

TAIL_BYTES = 63  # a mark may come in two pieces
JOINING_AT_ONCE = 100
EVENT_SECONDS_MAX = 60


class Event:
    def __init__(self, number: int, viewers: int) -> None:
        self.mark = f"<event {number:04d}>".encode()
        self.left = viewers
        self.first_at = self.last_at = 0.0
        self.all_have_it = asyncio.Event()

    def seen(self) -> None:
        now = time.perf_counter()
        self.first_at = self.first_at or now
        self.left -= 1
        if not self.left:
            self.last_at = now
            self.all_have_it.set()


class Viewer(asyncio.Protocol):
    """`greeted`: it is in once the server has said something; otherwise when the handshake is done."""

    now: Event | None = None  # what all of them wait for

    def __init__(self, host: str, *, greeted: bool) -> None:
        self._host = host
        self._greeted = greeted
        self._kept = b""
        self._has: Event | None = None
        self.is_in = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport.write(
            f"GET /api/ws HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._kept += data
        if not self.is_in.done():
            head, found, rest = self._kept.partition(b"\r\n\r\n")
            if found and (not self._greeted or b'"world_state"' in rest):
                good = head.startswith(b"HTTP/1.1 101")
                self.is_in.set_result(None) if good else self.is_in.set_exception(ConnectionError(head.decode()))
        event = Viewer.now
        if event is not None and self._has is not event and event.mark in self._kept:
            self._has = event
            event.seen()
        self._kept = self._kept[-TAIL_BYTES:] if self.is_in.done() else self._kept

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.is_in.done():
            self.is_in.set_exception(exc or ConnectionError("hung up on"))
        elif Viewer.now is not None and Viewer.now.left:
            print(f"a viewer was hung up on: {exc}", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        payload = json.dumps({"type": "visitor_message", "text": text}).encode()
        assert len(payload) < 126
        self.transport.write(bytes((0x81, 0x80 | len(payload))) + b"\0\0\0\0" + payload)


async def watch(order: dict[str, Any]) -> None:
    url = urlsplit(order["url"])
    crowd: list[Viewer] = []
    loop = asyncio.get_running_loop()
    places = asyncio.Semaphore(JOINING_AT_ONCE)

    async def join() -> None:
        async with places:
            _, viewer = await loop.create_connection(
                lambda: Viewer(f"{url.hostname}:{url.port}", greeted=order["greeted"]), cast(str, url.hostname), url.port
            )
            await viewer.is_in
            crowd.append(viewer)

    await asyncio.gather(*(join() for _ in range(order["first"])))
    await pause("first")
    began = time.perf_counter()
    await asyncio.gather(*(join() for _ in range(order["viewers"] - order["first"])))
    join_seconds = time.perf_counter() - began
    await pause("joined")
    seen = []
    for number in range(order["events"]):
        event = Viewer.now = Event(number, len(crowd))
        sent_at = time.perf_counter()
        crowd[number].say(event.mark.decode())  # another one each time: nobody speaks too often
        async with asyncio.timeout(EVENT_SECONDS_MAX):
            await event.all_have_it.wait()
        seen.append({"last_ms": (event.last_at - sent_at) * 1e3, "fan_out_ms": (event.last_at - event.first_at) * 1e3})
        await asyncio.sleep(order["pause_seconds"])
    print(json.dumps({"join_seconds": join_seconds, "events": seen}), flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    for viewer in crowd:
        viewer.transport.abort()


async def pause(word: str) -> None:
    print(word, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


if __name__ == "__main__":
    uvloop.run(watch(json.loads(sys.argv[1])))
