"""Asking a wallet's backend over HTTP: one session, one time limit, one size limit, and the difference that matters for money.

`NotSent` says that no byte left this machine. `NoAnswer` says that something may have happened over there. A payment that ended in the
first may be tried again; one that ended in the second may only be asked about.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import aiohttp
from yarl import URL

ANSWER_BYTES_MAX = 32 * 1024 * 1024  # a node's whole payment history may be one answer


class NotSent(Exception):
    """Nobody listens there: the request never left."""


class NoAnswer(Exception):
    """The request may have arrived; no whole answer came back in time, or it was no JSON that can be read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is parsed JSON with exact numbers, or None when the answer was something else (a proxy's page, nothing)."""

    status: int
    body: Any
    date: str | None = None  # the `Date` that came with it: what time it is over there

    def member(self, name: str) -> Any:
        """A member of the body, if the body is an object."""
        return self.body.get(name) if isinstance(self.body, dict) else None


class JsonCalls:
    """A small HTTP client for one backend. A session that is handed in stays its owner's; one made here is closed here."""

    def __init__(self, session: aiohttp.ClientSession | None, *, timeout_seconds: float) -> None:
        self._session = session
        self._owns_session = session is None
        self._closed = False
        self._timeout_seconds = timeout_seconds

    def session(self) -> aiohttp.ClientSession:
        """Made on first use, because it belongs to the event loop that runs then."""
        if self._closed:
            raise NotSent("this wallet has been closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    async def ask(
        self,
        method: str,
        url: URL,
        *,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Answer:
        """One request, one answer. No redirect is followed: whoever sends us elsewhere is not the backend."""
        timeout = aiohttp.ClientTimeout(total=timeout_seconds or self._timeout_seconds)
        try:
            async with self.session().request(method, url, json=body, headers=headers, timeout=timeout, allow_redirects=False) as response:
                return Answer(response.status, _parse(await _read(response)), response.headers.get("Date"))
        except aiohttp.ClientConnectorError as problem:  # refused, no route, no such name, a bad certificate
            raise NotSent(type(problem).__name__) from None
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as problem:
            # `from None` and no text: what aiohttp raises may quote the address, and a wallet's address may hold its key.
            raise NoAnswer(type(problem).__name__) from None

    async def aclose(self) -> None:
        self._closed = True
        if self._owns_session and self._session is not None:
            await self._session.close()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > ANSWER_BYTES_MAX:
            raise ValueError("the answer is too long")
        chunks.append(chunk)
    return b"".join(chunks)


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not a number")  # NaN and the infinities, which JSON does not have
