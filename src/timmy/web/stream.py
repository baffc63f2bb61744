"""Something as server-sent events (WHATWG HTML, section 9.2): what it is at once, and again whenever it changes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from timmy.jobs.model import JobNews, JobView
from timmy.sessions.protocol import SessionNews, SessionView
from timmy.web import session_views, views
from timmy.web.house import WebHouse
from timmy.web.refusals import StreamsFull
from timmy.web.render import PRIVATE, to_json

HEARTBEAT_SECONDS = 15  # proxies give up on a silent connection after 30 or 60
SEND_SECONDS_MAX = 30  # a reader that takes nothing for so long holds memory for nobody
RETRY_MS = 2_000
RECONNECT_SECONDS = 1  # how long a reader that comes back is kept waiting to learn that there is nothing more
STREAMS_MAX = 1_000  # open event streams in one process
SEQ = re.compile(r"[0-9]{1,18}")

HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no", **PRIVATE}


def event(kind: str, document: object, seq: int | None = None) -> bytes:
    head = f"id: {seq}\n" if seq is not None else ""
    # JSON has no raw line feeds, so the data is always one line.
    return f"{head}event: {kind}\ndata: ".encode() + to_json(document) + b"\n\n"


class HasSeq(Protocol):
    @property
    def seq(self) -> int: ...


News = TypeVar("News", bound=HasSeq)
Shown = dict[str, object]


async def next_news(news: AsyncIterator[News]) -> News | None:
    return await anext(news, None)


class Stream(Generic[News]):
    """An ASGI response. It ends when its subject has, when the reader leaves, or when the server stops; then nothing of it is left."""

    def __init__(
        self,
        house: WebHouse,
        kind: str,
        shown: Shown,
        last: Shown,
        look: Callable[[], Awaitable[Shown]],
        tell: Callable[[News], tuple[str, Shown] | None],
        news: AsyncIterator[News],
        first: asyncio.Task[News | None],
        *,
        heartbeat_seconds: int = HEARTBEAT_SECONDS,
    ) -> None:
        """`kind` names the event that carries the whole, as `look` finds it. `tell`: news that are an event of their own."""
        self.house = house
        self.kind = kind
        self.shown = shown
        self.last = last
        self.look = look
        self.tell = tell
        self.news = news
        self.pending = first
        self.heartbeat_seconds = heartbeat_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(until_gone(receive))
        closing = asyncio.create_task(self.house.closing.wait())
        try:
            await send_message(send, {"type": "http.response.start", "status": 200, "headers": _raw(HEADERS)})
            if scope["method"] == "HEAD":
                await send_message(send, {"type": "http.response.body", "body": b""})
                return
            await send_body(send, f"retry: {RETRY_MS}\n\n".encode() + event(self.kind, self.shown))
            while True:
                await asyncio.wait({self.pending, gone, closing}, timeout=self.heartbeat_seconds, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    return
                if closing.done():
                    break
                if not self.pending.done():
                    await send_body(send, b": still here\n\n")
                    continue
                item = self.pending.result()
                if item is None:
                    await send_body(send, await self._last())
                    break
                await send_body(send, await self._told(item))
                self.pending = asyncio.create_task(next_news(self.news))
            await send_message(send, {"type": "http.response.body", "body": b"", "more_body": False})
        except (TimeoutError, OSError):
            return  # the reader takes nothing any more, or has hung up while we were writing
        finally:
            await release(self.news, gone, closing, self.pending)

    async def _told(self, item: News) -> bytes:
        """What the reader gets. Its `id` is what a reader that comes back asks after, so every piece of news carries one."""
        own = self.tell(item)
        if own is not None:
            name, document = own
            return event(name, document, item.seq)
        changed = await self._changed()
        # Nothing to see: the view that was sent earlier held this already. An id alone is remembered by the reader and shown to nobody.
        return event(self.kind, self.shown, item.seq) if changed else f"id: {item.seq}\n\n".encode()

    async def _last(self) -> bytes:
        final = event(self.kind, self.shown) if await self._changed() else b""
        return final + event("end", self.last)

    async def _changed(self) -> bool:
        now = await self.look()
        if now == self.shown:
            return False
        self.shown = now
        return True


class JobStream(Stream[JobNews]):
    """A job as it happens."""

    def __init__(
        self,
        house: WebHouse,
        view: JobView,
        news: AsyncIterator[JobNews],
        first: asyncio.Task[JobNews | None],
        *,
        heartbeat_seconds: int = HEARTBEAT_SECONDS,
    ) -> None:
        async def look() -> Shown:
            return views.job(await house.jobs.view(view.id))

        last: Shown = {"jobId": view.id}
        super().__init__(house, "job", views.job(view), last, look, _progress, news, first, heartbeat_seconds=heartbeat_seconds)


def _progress(item: JobNews) -> tuple[str, Shown] | None:
    match item.kind:
        case "progress":
            return "progress", {"text": item.text or ""}
        case "restarted":
            return "restarted", {}
        case _:
            return None


class SessionStream(Stream[SessionNews]):
    """A session as it is spent. Its macaroon is no news: it is had by asking for the session."""

    def __init__(
        self, house: WebHouse, view: SessionView, news: AsyncIterator[SessionNews], first: asyncio.Task[SessionNews | None]
    ) -> None:
        async def look() -> Shown:
            return session_views.session_without_key(await house.sessions.view(view.id))

        last: Shown = {"sessionId": view.id}
        super().__init__(house, "session", session_views.session_without_key(view), last, look, session_views.balance_news, news, first)


async def begin(news: AsyncIterator[News], *, seen: int, is_over: bool) -> asyncio.Task[News | None] | None:
    """The first of the news, on its way. None: it is over, and the reader that came back knows all of it; then nothing is left open."""
    first = asyncio.create_task(next_news(news))
    if seen and is_over:
        await asyncio.wait({first}, timeout=RECONNECT_SECONDS)
        if first.done() and first.exception() is None and first.result() is None:
            await release(news, first)
            return None
    return first


def last_seen(given: str) -> int:
    """`Last-Event-ID` as we gave it; anything else is a reader who has seen nothing."""
    return int(given) if SEQ.fullmatch(given) else 0


class OpenStreams:
    """How many there are in this process: each holds a connection and a cursor."""

    def __init__(self) -> None:
        self.count = 0

    def check(self) -> None:
        if self.count >= STREAMS_MAX:
            raise StreamsFull(f"There are {STREAMS_MAX} open streams already; ask again later, or poll.")

    def counted(self, stream: ASGIApp) -> ASGIApp:
        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            self.count += 1
            try:
                await stream(scope, receive, send)
            finally:
                self.count -= 1

        return counted


async def release(news: AsyncIterator[News], *tasks: asyncio.Task[Any]) -> None:
    """Without this a reader that left would keep its cursor on the events, and its place in the server, until the process ends."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if isinstance(news, AsyncGenerator):
        await news.aclose()


async def until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_message(send: Send, message: Message) -> None:
    async with asyncio.timeout(SEND_SECONDS_MAX):
        await send(message)


async def send_body(send: Send, chunk: bytes) -> None:
    await send_message(send, {"type": "http.response.body", "body": chunk, "more_body": True})


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]
