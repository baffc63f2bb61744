"""An answer as OpenAI streams it: `data:` lines of chunks and `[DONE]`, no named events (their SDK reads the data of each as a chunk)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from timmy.completions import LiveCompletion
from timmy.errors import TimmyError
from timmy.models.chat import Piece
from timmy.web.render import PRIVATE
from timmy.web.stream import send_body, send_message, until_gone
from timmy.web.v1_views import Chunks

KEEP_ALIVE_SECONDS = 15
HEADERS = {"content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no", **PRIVATE}


async def until_first(request: Request, live: LiveCompletion) -> Sequence[Piece] | None:
    """The first pieces; None: the reader has gone before they came, and a model that thinks for long would think for nobody."""
    gone, taking = asyncio.create_task(until_gone(request.receive)), asyncio.create_task(live.take())
    try:
        await asyncio.wait({gone, taking}, return_when=asyncio.FIRST_COMPLETED)
        return None if gone.done() else taking.result()
    finally:
        gone.cancel()
        taking.cancel()
        await asyncio.gather(gone, taking, return_exceptions=True)


class CompletionStream:
    """An ASGI response. Whatever becomes of it, the answer is not written on when nobody reads it."""

    def __init__(self, live: LiveCompletion, first: Sequence[Piece], chunks: Chunks, headers: dict[str, str]) -> None:
        self._live = live
        self._batch = first
        self._chunks = chunks
        self.headers = {**HEADERS, **headers}
        self._pending: asyncio.Task[Sequence[Piece]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(until_gone(receive))
        try:
            headers = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
            await send_message(send, {"type": "http.response.start", "status": 200, "headers": headers})
            await self._tell(send, gone)
        except (TimeoutError, OSError):
            return  # the reader takes nothing any more, or has hung up while we were writing
        finally:
            gone.cancel()
            if self._pending is not None:
                self._pending.cancel()
            await self._live.leave()

    async def _tell(self, send: Send, gone: asyncio.Task[None]) -> None:
        out = self._chunks.first()
        try:
            while self._batch:
                await send_body(send, out + b"".join(self._chunks.delta(piece.delta) for piece in self._batch))
                out = b""
                if not await self._next(send, gone):
                    return
            out += self._chunks.last(await self._live.ended())
        except TimmyError as trouble:
            out += self._chunks.trouble(trouble)
        await send_message(send, {"type": "http.response.body", "body": out, "more_body": False})

    async def _next(self, send: Send, gone: asyncio.Task[None]) -> bool:
        """False: the reader has gone."""
        self._pending = asyncio.create_task(self._live.take())
        while not self._pending.done():
            await asyncio.wait({self._pending, gone}, timeout=KEEP_ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return False
            if not self._pending.done():
                await send_body(send, b": still here\n\n")
        self._batch = self._pending.result()
        return True
