"""One Timmy over HTTP: calls that may be repeated are repeated while the network is poor, and every no keeps the server's own words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from timmy.client.errors import AnswerInvalid, ServerDown, ServerRefused

CALL_TIMEOUT_SECONDS = 30
WORK_TIMEOUT_SECONDS = 600  # a session's request is judged and worked on in one call
SILENCE_SECONDS_MAX = 60  # of an event stream, in which the server says something every 15 seconds
TRIES = 6
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.25, 4.0
RETRY_AFTER_SECONDS_MAX = 30
EVENT_LINE_BYTES_MAX = 4 * 2**20
AGAIN = frozenset({429, 502, 503, 504})

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One server-sent event (WHATWG HTML, section 9.2.6)."""

    kind: str
    data: Document


class TimmyHttp:
    """`token`: a login (`X-Nostr-Token`) that goes with every call."""

    def __init__(self, url: str, *, token: str | None = None) -> None:
        url = str(url)  # None, where a setting is missing, is told like any other wrong address
        address = URL(url.rstrip("/"))
        if address.scheme not in ("http", "https") or not address.host:
            raise ValueError("The address of a Timmy looks like https://timmy.example.com")
        # A password would be kept in the notebook and shown in errors, and cannot go beside a macaroon; a query would eat the paths.
        if address.user is not None or address.password is not None or "?" in url or "#" in url:
            raise ValueError("The address of a Timmy has no user name, password, ? or # in it: https://timmy.example.com")
        self.url = str(address).rstrip("/")
        self._token = token
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """Made on first use, because it belongs to the event loop that runs then."""
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, path: str, *, bearer: str | None = None) -> Document:
        return await self._call("GET", path, None, None, bearer, CALL_TIMEOUT_SECONDS, tries=TRIES)

    async def post(
        self, path: str, body: object, *, key: str | None = None, bearer: str | None = None, timeout_seconds: float = CALL_TIMEOUT_SECONDS
    ) -> Document:
        """`key`: an Idempotency-Key. Only with one is the call repeated when its answer was lost."""
        return await self._call("POST", path, body, key, bearer, timeout_seconds, tries=TRIES if key else 1)

    async def _call(
        self, method: str, path: str, body: object, key: str | None, bearer: str | None, timeout_seconds: float, *, tries: int
    ) -> Document:
        pause_seconds = PAUSE_SECONDS
        while True:
            tries -= 1
            try:
                return await self._once(method, path, body, self._headers(key, bearer), timeout_seconds)
            except ServerRefused as refused:
                if tries <= 0 or refused.answer_status not in AGAIN:
                    raise
                pause_seconds = max(pause_seconds, _retry_after(refused.document))
            except ServerDown:
                if tries <= 0:
                    raise
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, PAUSE_SECONDS_MAX)

    async def _once(self, method: str, path: str, body: object, headers: Mapping[str, str], timeout_seconds: float) -> Document:
        timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        try:
            # No redirect is followed: a macaroon goes to the server that it is for, and to no other.
            async with self.session().request(
                method, self.url + path, json=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                raw = await response.read()
                status, retry_after = response.status, response.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError, OSError) as trouble:
            raise ServerDown(f"{self.url} is not answering ({type(trouble).__name__}). Is the address right?") from None
        document = _object(raw)
        if 200 <= status < 300 and document is not None:
            return document
        if 200 <= status < 400:
            raise AnswerInvalid(f"{self.url}{path} answered {status} with something that is not Timmy's. Is the address right?")
        raise ServerRefused(status, {**(document or {}), "retryAfter": retry_after})

    def _headers(self, key: str | None, bearer: str | None) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if self._token and not bearer:
            headers["X-Nostr-Token"] = self._token
        if key:
            headers["Idempotency-Key"] = key
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        return headers

    async def events(self, path: str) -> AsyncGenerator[ServerEvent, None]:
        """What happens, from the beginning to the event `end`. A stream that breaks is taken up where it broke (`Last-Event-ID`)."""
        last_id, failures = "", 0
        while failures < TRIES:
            if failures:
                await asyncio.sleep(min(PAUSE_SECONDS * 2**failures, PAUSE_SECONDS_MAX))
            failures += 1
            headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CALL_TIMEOUT_SECONDS, sock_read=SILENCE_SECONDS_MAX)
            try:
                async with self.session().get(
                    self.url + path, headers=headers, timeout=timeout, read_bufsize=EVENT_LINE_BYTES_MAX, allow_redirects=False
                ) as response:
                    if response.status == 204:
                        return
                    if response.status != 200:
                        await self._refused_stream(response)
                        continue
                    async for id, event in _parsed(response.content):
                        last_id, failures = id or last_id, 0
                        if event is None:
                            continue
                        yield event
                        if event.kind == "end":
                            return
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                continue  # taken up again; a server that stays away is told below
        raise ServerDown(f"{self.url} broke the event stream {TRIES} times in a row.")

    async def _refused_stream(self, response: aiohttp.ClientResponse) -> None:
        """Returns when it may be tried again."""
        refused = ServerRefused(response.status, _object(await response.read()) or {})
        if response.status not in AGAIN:
            raise refused


async def _parsed(lines: aiohttp.StreamReader) -> AsyncGenerator[tuple[str, ServerEvent | None], None]:
    """Each block's id, and its event if it has data."""
    kind, data, id = "message", list[str](), ""
    async for raw in lines:
        line = raw.decode().rstrip("\r\n")
        if not line:
            document = _object("\n".join(data).encode()) if data else None
            if id or document is not None:
                yield id, ServerEvent(kind, document) if document is not None else None
            kind, data, id = "message", [], ""
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif name == "id":
            id = value


def _object(raw: bytes) -> Document | None:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _retry_after(document: Mapping[str, Any]) -> float:
    given = str(document.get("retryAfter", ""))
    return float(min(int(given), RETRY_AFTER_SECONDS_MAX)) if given.isascii() and given.isdigit() else 0.0
