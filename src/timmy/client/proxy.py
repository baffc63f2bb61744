"""A paid upstream for the tools of this machine: OpenAI's interface on 127.0.0.1, forwarded to a Timmy with a key that has a budget.

The budget is no bookkeeping of ours. It is a caveat in the macaroon that is forwarded, so the server itself holds it, to the millisat and
for calls that are made at once. A day's key names the day before it names the budget: started again, it is the same key, and the budget is
what the day has left of it. The session's own macaroon never leaves this process.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler

from timmy.client.http import CALL_TIMEOUT_SECONDS
from timmy.client.prefunding import narrowed
from timmy.clock import SECOND_MS, Clock
from timmy.money import Sats

HOST = "127.0.0.1"
DAY_SECONDS = 86_400
BODY_BYTES_MAX = 32 * 2**20
KEEP_SECONDS = 3.0  # after it was closed, for the receipts of the last calls
BEGINNING_BYTES = 512  # of an answer, in which its id stands
COMPLETION_ID = re.compile(rb'"id":\s?"(chatcmpl-[a-z0-9]{1,60})"')
SENT_ON = ("Content-Type", "Accept", "User-Agent", "Idempotency-Key", "X-Stainless-Retry-Count")
SENT_BACK = (
    *("Content-Type", "Cache-Control", "Retry-After", "X-Request-Id", "X-Should-Retry"),
    *("X-Cost-Msat", "X-Balance-Msat", "X-Completion-Id"),
)
LOCAL_NAMES = frozenset({"127.0.0.1", "localhost"})


class Budget:
    """Which key is forwarded now. `per_day` in sats from midnight to midnight UTC, `in_all` for as long as the session lives."""

    def __init__(self, macaroon: str, clock: Clock, *, per_day: Sats | None, in_all: Sats | None, per_request: Sats | None = None) -> None:
        if per_day is None and in_all is None:
            raise ValueError("A proxy has a budget: name one, for the day or in all.")
        self._macaroon = narrowed(macaroon, capabilities=("chat",), only="/v1")
        if in_all is not None:
            self._macaroon = narrowed(self._macaroon, most=in_all)
        if per_request is not None:
            self._macaroon = narrowed(self._macaroon, most_per_request=per_request)
        self._per_day = per_day
        self._clock = clock

    def key(self) -> str:
        if self._per_day is None:
            return self._macaroon
        midnight_seconds = (self._clock.now_ms() // SECOND_MS // DAY_SECONDS + 1) * DAY_SECONDS
        # The day first: the purse of a budget is named after all that stands before it, so each day has its own.
        day = narrowed(self._macaroon, valid_until_ms=midnight_seconds * SECOND_MS)
        return narrowed(day, most=self._per_day)


class Proxy:
    """`local_key`: what the tools of this machine must send as their API key. Without it, every page in a browser here could spend."""

    def __init__(
        self,
        url: str,
        budget: Budget,
        local_key: str,
        tell: Callable[[str], None],
        keep: Callable[[str, str], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        """`keep`: told each completion's id, and the key that paid for it, when it has ended."""
        self._url = url.rstrip("/")
        self._keep = keep
        self._keeping: set[asyncio.Task[None]] = set()
        self._budget = budget
        self._local_key = local_key
        self._tell = tell
        self._upstream: aiohttp.ClientSession | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        refused = self._refused(request)
        if refused is not None:
            return refused
        assert self._upstream is not None, "requests come while it is open"
        headers = {name: request.headers[name] for name in SENT_ON if name in request.headers}
        key = self._budget.key()
        headers["Authorization"] = f"Bearer {key}"
        body = await request.read() if request.can_read_body else None
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CALL_TIMEOUT_SECONDS)
        try:
            # No redirect is followed: the key is for this server, and for no other.
            async with self._upstream.request(
                request.method, self._url + request.path_qs, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                return await self._pass_on(request, answer, key)
        except (aiohttp.ClientConnectionError, TimeoutError) as trouble:
            return error(502, "upstream_down", f"{self._url} is not answering ({type(trouble).__name__}).")

    def _refused(self, request: web.Request) -> web.Response | None:
        # A page of any site may make a browser send requests here, and a name of that site may lead here (DNS rebinding).
        if request.url.host not in LOCAL_NAMES or "Origin" in request.headers:
            return error(403, "not_from_here", "This proxy is for the programs of this machine, not for pages in a browser.")
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._local_key.encode()):
            return error(401, "local_key_wanted", "Send the API key that timmy proxy printed when it started.")
        return None

    async def _pass_on(self, request: web.Request, answer: aiohttp.ClientResponse, key: str) -> web.StreamResponse:
        """Piece by piece as it comes. A tool that hangs up ends this, and the call upstream, which is charged what it produced."""
        headers = {name: answer.headers[name] for name in SENT_BACK if name in answer.headers}
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        begun = b""
        try:
            async for piece in answer.content.iter_any():
                begun = begun if len(begun) >= BEGINNING_BYTES else begun + piece[:BEGINNING_BYTES]
                await response.write(piece)
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError):
            # The upstream broke in the middle. Ended properly, half an answer would pass for a whole one.
            if request.transport is not None:
                request.transport.abort()
            return response
        await response.write_eof()
        cost, left = answer.headers.get("X-Cost-Msat", ""), answer.headers.get("X-Balance-Msat", "")
        spent = f", {cost} msat, {left} msat are left" if cost.isdigit() and left.isdigit() else ""
        self._tell(f"{request.method} {request.path} {answer.status}{spent}")
        named = COMPLETION_ID.search(begun) if answer.status == 200 and request.method == "POST" else None
        if named is not None and self._keep is not None:
            keeping = asyncio.create_task(self._keep(named.group(1).decode(), key))
            self._keeping.add(keeping)
            keeping.add_done_callback(self._keeping.discard)
        return response

    async def _end_keeping(self) -> None:
        """Whoever closes it does not wait for a server that is gone."""
        late = (await asyncio.wait(self._keeping, timeout=KEEP_SECONDS))[1] if self._keeping else set()
        for one in late:
            one.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    @asynccontextmanager
    async def open(self, port: int) -> AsyncIterator[int]:
        """Listening, on this machine only; the port (one that was free, for 0). OSError when it is taken."""
        app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[in_openais_shape])
        app.router.add_route("*", "/v1/{rest:.*}", self.handle)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        self._upstream = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=True)
        try:
            await runner.setup()
            site = web.TCPSite(runner, HOST, port)
            await site.start()
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()
            await self._end_keeping()
            await self._upstream.close()


@web.middleware
async def in_openais_shape(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What aiohttp refuses by itself it tells in plain text, which a tool of OpenAI's cannot read."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return error(404, "not_found", f"Only what begins with /v1 is sold here: the base URL is http://{request.host}/v1.")
    except web.HTTPRequestEntityTooLarge:
        return error(413, "body_too_large", f"A request has {BODY_BYTES_MAX} bytes at most. Send less.")


def error(status: int, code: str, message: str) -> web.Response:
    """In OpenAI's shape, which is what its clients show to a person."""
    document = {"error": {"message": message, "type": "proxy_error", "param": None, "code": code}}
    return web.Response(status=status, text=json.dumps(document), content_type="application/json")
