"""Asking a cloud's API over HTTP: every way in which it can answer becomes one of four words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import structlog

from timmy.bootstrap.cloud import CloudBusy, CloudDown, CloudRefused
from timmy.errors import TimmyError

ANSWER_BYTES_MAX = 8 * 1024 * 1024
WORDS_CHARS_MAX = 300  # of what the other side says, shown to a person
WAIT_SECONDS_MAX = 3_600.0
FOR_NOW = frozenset({409, 423, 425, 429})  # something else has to end first, or less has to be asked
NO_ANSWER = frozenset({408})

log = structlog.get_logger("timmy.bootstrap")

Document = dict[str, Any]


class Api:
    """One API, and our token for it. Nothing is asked twice by itself: whoever asks knows whether that is safe."""

    def __init__(self, who: str, base_url: str, token: str, *, timeout_seconds: float) -> None:
        """`who` is told to people."""
        self._who = who
        self._base_url = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "User-Agent": "timmy"}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._http: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def ask(self, method: str, path: str, *, body: Document | None = None, params: Mapping[str, str] | None = None) -> Document:
        """What it answers; `{}` where it answers with nothing. Raises CloudDown, CloudBusy, CloudRefused."""
        found = await self.look(method, path, body=body, params=params)
        if found is None:
            raise CloudRefused(f"{self._who} does not know what it was asked for ({method} {path.split('?')[0]}).")
        return found

    async def look(
        self, method: str, path: str, *, body: Document | None = None, params: Mapping[str, str] | None = None
    ) -> Document | None:
        """The same, and None for 404: there is no such thing."""
        if self._http is None:
            self._http = aiohttp.ClientSession(headers=self._headers, timeout=self._timeout)
        try:
            async with self._http.request(method, self._base_url + path, json=body, params=params, allow_redirects=False) as answer:
                text = await answer.content.read(ANSWER_BYTES_MAX + 1)
                while len(text) <= ANSWER_BYTES_MAX and not answer.content.at_eof():
                    text += await answer.content.read(ANSWER_BYTES_MAX + 1)
                status, headers = answer.status, answer.headers
        except (aiohttp.ClientError, TimeoutError, OSError) as trouble:
            raise CloudDown(f"{self._who} did not answer ({type(trouble).__name__}).") from trouble
        if status == 404:
            return None
        if status >= 300 or len(text) > ANSWER_BYTES_MAX:
            raise self._trouble(status, text, headers)
        return self._document(text)

    def _document(self, text: bytes) -> Document:
        if not text.strip():
            return {}
        try:
            document = json.loads(text)
        except ValueError:
            raise CloudDown(f"{self._who} answered with something that is no JSON.") from None
        if document is None:
            return {}  # Tailscale's way of saying nothing
        if not isinstance(document, dict):
            raise CloudDown(f"{self._who} answered with something that is no JSON object.")
        return document

    def _trouble(self, status: int, text: bytes, headers: Mapping[str, str]) -> TimmyError:
        said = _words(text)
        if status in FOR_NOW:
            return CloudBusy(f"{self._who} asks us to wait ({status}): {said}", _wait_seconds(headers))
        if status >= 500 or status < 400 or status in NO_ANSWER:
            return CloudDown(f"{self._who} answered {status}.")
        if status in (401, 403):
            log.error("bootstrap.token_refused", who=self._who, status=status)
            return CloudRefused(f"{self._who} does not accept this server's token. Its operator has been told.")
        return CloudRefused(f"{self._who} refuses ({status}): {said}")


def _words(text: bytes) -> str:
    """`message` of a body, as both APIs have it."""
    try:
        found = json.loads(text).get("message", "")
    except (ValueError, AttributeError):
        found = ""
    shown = "".join(letter if letter.isprintable() else " " for letter in str(found))[:WORDS_CHARS_MAX]
    return shown or "it does not say why"


def _wait_seconds(headers: Mapping[str, str]) -> float | None:
    given = headers.get("Retry-After", "")
    return min(float(given), WAIT_SECONDS_MAX) if given.isascii() and given.isdigit() and len(given) < 8 else None
