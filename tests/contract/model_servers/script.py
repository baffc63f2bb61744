"""What a model server does next, whatever wire format it speaks, and the machinery that both servers share."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

API_KEY = "sk-secret-0123456789abcdef"
MODEL = "test-model"
TOKEN_CHARS = 4  # the servers' own tokenizer: so many characters are a token
HONEST: Any = object()  # a usage that is counted, not made up

LONG = "All work and no play makes a long answer. " * 500
SHORT = "Grüße from the model: 🧙 is a wizard."


@dataclass(frozen=True)
class Say:
    """An answer. `usage` replaces the honest report by whatever it is; None leaves it out."""

    text: str = SHORT
    usage: Any = HONEST
    reasoning: str = ""
    refused: bool = False  # the provider's filter or the model's own refusal
    last_words: bool = True  # False: [DONE] or message_stop is missing


@dataclass(frozen=True)
class Fail:
    """An HTTP status instead of an answer, with an error text that echoes the key and more, as real ones do."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None
    echoes: bool = True


@dataclass(frozen=True)
class Raw:
    """Bytes, as they are, one write each. `then`: "end", "late" (end a moment later), "stall" (say nothing more) or "cut" (hang up)."""

    chunks: tuple[bytes, ...]
    then: str = "end"
    content_type: str = "text/event-stream"


@dataclass(frozen=True)
class Stall:
    """Not even a status."""


@dataclass(frozen=True)
class Broken:
    """A good answer up to `deltas` pieces, and then: "stall", "cut", "error" (the format's own error event), "drip" (pings without end)."""

    then: str
    deltas: int = 2


Step = Say | Fail | Raw | Stall | Broken


@dataclass
class Call:
    path: str
    headers: Mapping[str, str]  # names in lower case
    body: dict[str, Any]
    port: int  # the client's: two calls from one port came over one connection


class ModelServer(ABC):
    """`script` is played first, one step a call; after it the server answers like a model that reads its prompt."""

    def __init__(self) -> None:
        self.script: deque[Step] = deque()
        self.always: Step | None = None
        self.calls: list[Call] = []
        self.called = asyncio.Event()
        self.hung_up = asyncio.Event()  # a client went away before its answer was complete
        self.url = ""

    # ---- what the wire formats fill in

    @abstractmethod
    def refusal_of(self, call: Call) -> web.Response | None:
        """What is wrong with the request, as the real server would say it."""

    @abstractmethod
    def error(self, status: int, code: str | None, text: str, headers: Mapping[str, str] | None = None) -> web.Response: ...

    @abstractmethod
    def whole(self, say: Say, call: Call) -> dict[str, Any]: ...

    @abstractmethod
    def opening(self, say: Say, call: Call) -> list[bytes]: ...

    @abstractmethod
    def delta(self, text: str, call: Call) -> bytes: ...

    @abstractmethod
    def closing(self, say: Say, call: Call) -> list[bytes]: ...

    @abstractmethod
    def error_event(self) -> bytes: ...

    @abstractmethod
    def ping(self) -> bytes: ...

    @abstractmethod
    def limit(self, call: Call) -> int: ...

    @abstractmethod
    def asked(self, call: Call) -> tuple[str, str]:
        """The system text and the last message."""

    @abstractmethod
    def routes(self) -> list[web.RouteDef]: ...

    # ---- what they share

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ModelServer]:
        app = web.Application()
        app.add_routes(self.routes())
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        call = await self.heard(request)
        refusal = self.refusal_of(call)
        if refusal is not None:
            return refusal
        step = self.script.popleft() if self.script else self.always or self._by_prompt(call)
        try:
            return await self._play(step, request, call)
        except (asyncio.CancelledError, ConnectionResetError):
            self.hung_up.set()
            raise

    async def heard(self, request: web.Request) -> Call:
        raw = await request.read()
        body = json.loads(raw) if raw else {}
        peer = request.transport.get_extra_info("peername") if request.transport else ("", 0)
        call = Call(request.path_qs, {name.lower(): value for name, value in request.headers.items()}, body, peer[1])
        self.calls.append(call)
        self.called.set()
        return call

    def tokens(self, text: str) -> int:
        return -(-len(text) // TOKEN_CHARS)

    def within_limit(self, say: Say, call: Call) -> str:
        return say.text[: self.limit(call) * TOKEN_CHARS]

    def _by_prompt(self, call: Call) -> Step:
        system, user = self.asked(call)
        if '"accept"' in system:
            return Say(json.dumps({"accept": "please reject this" not in user, "reason": "That is how I see it."}))
        if "please fail" in user:
            return Fail(400)
        if "please be down" in user:
            return Fail(503)
        return Say(LONG if "please write at length" in user else SHORT)

    async def _play(self, step: Step, request: web.Request, call: Call) -> web.StreamResponse:
        streams = bool(call.body.get("stream"))
        match step:
            case Fail():
                text = f"key {API_KEY} at {self.url} said: {call.body}" if step.echoes else "no"
                return self.error(step.status, step.code, text, step.headers)
            case Stall():
                await asyncio.Event().wait()
                raise AssertionError
            case Say() if not streams:
                return web.json_response(self.whole(step, call))
            case Say():
                text = self.within_limit(step, call)
                pieces = [text[at : at + 7] for at in range(0, len(text), 7)]
                chunks = [*self.opening(step, call), *(self.delta(piece, call) for piece in pieces), *self.closing(step, call)]
                return await self._write(request, Raw(tuple(chunks)))
            case Broken():
                said = [self.delta(f"piece {n} ", call) for n in range(step.deltas)]
                chunks = [*self.opening(Say(), call), *said]
                if step.then == "error":
                    return await self._write(request, Raw((*chunks, self.error_event())))
                return await self._write(request, Raw(tuple(chunks), step.then))
            case Raw():
                return await self._write(request, step)

    async def _write(self, request: web.Request, raw: Raw) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": raw.content_type, "Cache-Control": "no-cache"})
        await response.prepare(request)
        for chunk in raw.chunks:
            await response.write(chunk)
        if raw.then == "stall":
            await asyncio.Event().wait()
        while raw.then == "drip":
            await response.write(self.ping())
            await asyncio.sleep(0.01)
        if raw.then == "cut":
            assert request.transport is not None
            request.transport.abort()
            return response
        if raw.then == "late":
            await asyncio.sleep(0.03)
        await response.write_eof()
        return response
