"""Streams that are cut: a model that stops where it is told, and readers who hear every byte until the connection is gone.

What a call is to say and how it is to be cut stand in its prompt, so that the model's server needs no memory, and whoever knows the number
of a call knows what of its answer could have been handed over.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import random
import socket
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.contract.model_servers.openai_server import OpenAIServer
from tests.contract.model_servers.script import MODEL

WORDS = ("rain ", "on the ", "window, ", "Grüße ", "and then nothing at all was heard of it for a while ", "x", "\n")
PIECES_MAX = 60
PACE_SECONDS = 0.02
RECEIVE_BYTES = 65_536


@dataclass(frozen=True)
class Plan:
    """Call `number` is told `count` pieces of its answer, and then its model hangs up ("upstream") or says nothing more."""

    number: int
    cut_by: str  # "client", "upstream", "kill"
    count: int

    @property
    def pieces(self) -> list[str]:
        chance = random.Random(self.number)
        return [chance.choice(WORDS) for _ in range(self.count)]

    @property
    def body(self) -> bytes:
        told = json.dumps([self.number, self.cut_by, self.count])
        return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": told}], "stream": True, "max_tokens": 1_000}).encode()

    @property
    def body_sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


class CuttingServer(OpenAIServer):
    """OpenAI's wire format, and in each prompt a plan."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        call = await self.heard(request)
        refusal = self.refusal_of(call)
        if refusal is not None:
            return refusal
        plan = Plan(*json.loads(call.body["messages"][-1]["content"]))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in plan.pieces:
            await response.write(self.delta(piece, call))
            await asyncio.sleep(random.uniform(0, PACE_SECONDS))
        if plan.cut_by != "upstream":
            await asyncio.Event().wait()  # whoever reads hangs up
        assert request.transport is not None
        request.transport.abort()
        return response


@dataclass
class Heard:
    """What came of a call. `batches`: the text of each HTTP chunk, as the server handed it over."""

    plan: Plan
    session_id: str
    end: str = ""  # "left": we hung up; "told": the server said how it ended; "gone": it was cut off; "refused": `status` says why
    status: int = 0
    batches: list[str] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def text(self) -> str:
        return "".join(self.batches)


async def listen(heard: Heard, port: int, macaroon: str) -> None:
    """Ask, and read to the end; a client's cut is made when all that is to come has come.

    By hand and on the bare socket: what the kernel has is read in any case, and a chunk is what the server sent at once. A client that is
    built for its users forgets what it has not shown yet when the connection breaks.
    """
    loop = asyncio.get_running_loop()
    body = heard.plan.body
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {macaroon}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with socket.socket() as wire:
        wire.setblocking(False)
        await loop.sock_connect(wire, ("127.0.0.1", port))
        reading = _Reading(heard)
        if _is_our_own(wire):
            raise ConnectionRefusedError  # nobody listens, and the kernel has connected us to ourselves
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # killed: the same as an end that comes too early
            await loop.sock_sendall(wire, head.encode() + body)
            while received := await loop.sock_recv(wire, RECEIVE_BYTES):
                reading.feed(received)
                if heard.plan.cut_by == "client" and heard.text == "".join(heard.plan.pieces):
                    heard.end = "left"
                    return
    heard.end = reading.end


def _is_our_own(wire: socket.socket) -> bool:
    try:
        return bool(wire.getsockname() == wire.getpeername())
    except OSError as trouble:
        if trouble.errno != errno.ENOTCONN:
            raise
        raise ConnectionResetError("it was killed as we came") from None


class _Reading:
    """HTTP/1.1 as far as it is needed here: a head, and a body in chunks (RFC 9112, section 7.1)."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._unread = b""
        self._is_chunked = False
        self._is_told = False

    @property
    def end(self) -> str:
        if self._heard.status >= 400:
            return "refused"
        return "told" if self._is_told else "gone"

    def feed(self, received: bytes) -> None:
        self._unread += received
        if not self._heard.status and not self._take_head():
            return
        while self._is_chunked and (chunk := self._take_chunk()):
            self._read_events(chunk.decode())

    def _take_head(self) -> bool:
        head, found, rest = self._unread.partition(b"\r\n\r\n")
        if not found:
            return False
        self._heard.status = int(head.split()[1])
        self._is_chunked = b"transfer-encoding: chunked" in head.lower()
        self._unread = rest
        return True

    def _take_chunk(self) -> bytes:
        """b"": it has not come whole, or it was the last."""
        line, found, rest = self._unread.partition(b"\r\n")
        size = int(line, 16) if found else 0
        if not size or len(rest) < size + 2:
            return b""
        self._unread = rest[size + 2 :]
        return rest[:size]

    def _read_events(self, chunk: str) -> None:
        text = ""
        for line in chunk.split("\n"):
            if line == "data: [DONE]":
                self._is_told = True
            elif line.startswith("data: "):
                event: dict[str, Any] = json.loads(line.removeprefix("data: "))
                text += "".join(choice["delta"].get("content") or "" for choice in event["choices"])
        if text:
            self._heard.batches.append(text)
            self._heard.begun.set()
