"""HTTP to one provider: every wait has an end, every answer has a size, every failure becomes one of a closed set.

Redirects are not followed: the key would travel with them. What a provider writes in an error is read only to tell kinds apart.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp
import orjson
from pydantic import SecretStr

from timmy import __version__
from timmy.clock import SECOND_MS, Clock, SystemClock
from timmy.models import trouble
from timmy.models.protocol import ProviderDown, ProviderRefused
from timmy.models.sse import Event, EventParser, EventTooLong

ANSWER_BYTES_MAX = 8_388_608
ERROR_BYTES_MAX = 65_536
ERROR_SECONDS_MAX = 5.0
LINGER_SECONDS = 0.2  # after the last event: how long to wait for the end, so that the connection can be used again


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In seconds. `idle` is the longest silence in the middle of a stream, `total` bounds a whole call, whatever keeps trickling in."""

    connect_seconds: float = 10.0
    first_byte_seconds: float = 120.0  # a small machine may read a long prompt for a minute before it says anything
    idle_seconds: float = 60.0
    total_seconds: float = 600.0


class BadStatus(Exception):
    """The provider answered with a status of 300 or above. `text` is the provider's: never to be shown."""

    def __init__(self, status: int, text: str, wait_seconds: float | None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.text = text
        self.wait_seconds = wait_seconds

    def as_trouble(self) -> ProviderDown | ProviderRefused:
        return trouble.of_status(self.status, error_names(loads(self.text)), wait_seconds=self.wait_seconds)


def loads(text: str) -> object:
    """JSON of unknown origin; None for what is none. Deep nesting and huge numbers are none, too."""
    answer: object
    try:
        answer = orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            answer = json.loads(text)  # half a surrogate pair, where a token ends in the middle of one: no JSON, and yet an answer
        except (ValueError, RecursionError):
            return None
    return answer


def dumps(body: Mapping[str, object]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:  # a whole number of more than 64 bits, which JSON does not forbid
        return json.dumps(body, separators=(",", ":")).encode()


def member(value: object, *path: str) -> object:
    """`value[path[0]][path[1]]…`, None where anything on the way is missing or not an object."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def error_names(body: object) -> tuple[str, ...]:
    """The machine-readable names of an error in OpenAI's or Anthropic's shape, most telling first."""
    found = (member(body, "error", "code"), member(body, "error", "type"), member(body, "code"), member(body, "type"))
    return tuple(name for name in found if isinstance(name, str))


class Key:
    """An API key that shows itself in a header and nowhere else. None or empty: no header at all."""

    def __init__(self, key: str | None) -> None:
        key = (key or "").strip()
        if not (key.isascii() and key.isprintable()):
            raise ValueError("an API key is one line of printable ASCII; this one is not (it is not shown here)")
        self._secret = SecretStr(key)

    def header(self, name: str, scheme: str = "") -> dict[str, str]:
        key = self._secret.get_secret_value()
        return {name: scheme + key} if key else {}


class Upstream:
    """One provider's address: http or https, without user and password in it. A `session` that is given is not closed here."""

    def __init__(
        self,
        base_url: str,
        *,
        session: aiohttp.ClientSession | None = None,
        timeouts: Timeouts | None = None,
        clock: Clock | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.password:
            raise ValueError("a model provider's base URL is http(s)://host[:port]/path, without user and password in it")
        self._base_url = base_url.rstrip("/")
        self._given = session
        self._own: aiohttp.ClientSession | None = None
        self._timeouts = timeouts or Timeouts()
        self._connecting = aiohttp.ClientTimeout(connect=self._timeouts.connect_seconds, sock_connect=self._timeouts.connect_seconds)
        self._clock = clock or SystemClock()

    async def aclose(self) -> None:
        if self._own is not None:
            await self._own.close()
            self._own = None

    async def get(self, path: str, headers: Mapping[str, str]) -> object:
        """BadStatus; ProviderDown."""
        return await self._asked("GET", path, headers, None, self._timeouts.first_byte_seconds)

    async def post(self, path: str, headers: Mapping[str, str], body: Mapping[str, object]) -> object:
        """An answer in one piece. Only the total time bounds it: a model that thinks says nothing. BadStatus; ProviderDown."""
        return await self._asked("POST", path, headers, body, self._timeouts.total_seconds)

    async def _asked(
        self, method: str, path: str, headers: Mapping[str, str], body: Mapping[str, object] | None, most_seconds: float
    ) -> object:
        try:
            async with asyncio.timeout(most_seconds):
                response = await self._opened(method, path, headers, body)
                try:
                    return await _whole(response)
                finally:
                    _let_go(response)
        except TimeoutError:
            raise trouble.down(trouble.Down.TIMED_OUT) from None

    async def events(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, object], *, is_last: Callable[[Event], bool]
    ) -> AsyncGenerator[Event, None]:
        """A stream until `is_last` or its end. Closing the generator hangs up. BadStatus before the first event; ProviderDown."""
        deadline = _now() + self._timeouts.total_seconds
        wait_seconds = min(self._timeouts.first_byte_seconds, self._timeouts.total_seconds)
        try:
            async with asyncio.timeout(wait_seconds):
                response = await self._opened("POST", path, headers, body)
        except TimeoutError:
            raise trouble.down(trouble.Down.TIMED_OUT) from None
        try:
            parser = EventParser()
            silence_seconds = wait_seconds
            while chunk := await _chunk(response, deadline, silence_seconds):
                silence_seconds = self._timeouts.idle_seconds
                for event in parser.feed(chunk):
                    yield event
                    if is_last(event):
                        await _linger(response)
                        return
            for event in parser.end():
                yield event
        except EventTooLong:
            raise trouble.down(trouble.Down.GARBLED) from None
        finally:
            _let_go(response)

    async def _opened(
        self, method: str, path: str, headers: Mapping[str, str], body: Mapping[str, object] | None
    ) -> aiohttp.ClientResponse:
        """The response, its headers read: for the caller to let go. BadStatus; ProviderDown."""
        # identity: a compressed stream arrives in lumps, and a small bomb would unpack to gigabytes.
        always = {"User-Agent": f"timmy/{__version__}", "Accept-Encoding": "identity", "Content-Type": "application/json"}
        try:
            response = await self._session().request(
                method,
                self._base_url + path,
                data=None if body is None else dumps(body),
                headers={**always, **headers},
                allow_redirects=False,
                timeout=self._connecting,
            )
        except TimeoutError:  # aiohttp's own, of connecting
            raise trouble.down(trouble.Down.TIMED_OUT) from None
        except (aiohttp.ClientError, OSError):
            # `from None`: aiohttp's own message names the address, which is the operator's business, not the customer's.
            raise trouble.down(trouble.Down.UNREACHABLE) from None
        if response.status < 300:
            return response
        try:
            raise await self._bad_status(response)
        finally:
            _let_go(response)

    async def _bad_status(self, response: aiohttp.ClientResponse) -> BadStatus:
        content = bytearray()
        try:
            async with asyncio.timeout(ERROR_SECONDS_MAX):
                while len(content) <= ERROR_BYTES_MAX and (chunk := await response.content.readany()):
                    content += chunk
        except (TimeoutError, aiohttp.ClientError, OSError):
            content.clear()  # the status alone says enough
        return BadStatus(response.status, content[:ERROR_BYTES_MAX].decode("utf-8", "replace"), self._asked_wait(response.headers))

    def _asked_wait(self, headers: Mapping[str, str]) -> float | None:
        """Retry-After in seconds or as a date (RFC 9110, section 10.2.3), or `retry-after-ms`, as OpenAI and Azure send it."""
        for name, per_second in (("retry-after-ms", 1_000), ("retry-after", 1)):
            try:
                seconds = float(headers.get(name, "")) / per_second
            except ValueError:
                continue
            if 0 <= seconds < float("inf"):
                return seconds
        try:
            at = parsedate_to_datetime(headers.get("retry-after", ""))
            return max(0.0, at.timestamp() - self._clock.now_ms() / SECOND_MS)
        except (ValueError, OverflowError):
            return None

    def _session(self) -> aiohttp.ClientSession:
        if self._given is not None:
            return self._given
        if self._own is None:
            # One per adapter, made where a loop runs. No limit on connections: the house limits how much runs at once, not this.
            self._own = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar())
        return self._own


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _chunk(response: aiohttp.ClientResponse, deadline: float, silence_seconds: float) -> bytes:
    """The next bytes, empty at the end. At most `silence_seconds` of waiting, and none beyond `deadline`."""
    left = deadline - _now()
    try:
        async with asyncio.timeout(min(silence_seconds, left)):
            return await response.content.readany()
    except TimeoutError:
        raise trouble.down(trouble.Down.TIMED_OUT if left <= silence_seconds else trouble.Down.STALLED) from None
    except (aiohttp.ClientError, OSError):
        raise trouble.down(trouble.Down.CUT_OFF) from None


def _let_go(response: aiohttp.ClientResponse) -> None:
    """With anything unread the connection is closed: that is what stops the provider's work."""
    if response.content.at_eof():
        response.release()
    else:
        response.close()


async def _whole(response: aiohttp.ClientResponse) -> object:
    content = bytearray()
    try:
        while chunk := await response.content.readany():
            content += chunk
            if len(content) > ANSWER_BYTES_MAX:
                raise trouble.down(trouble.Down.GARBLED)
    except (aiohttp.ClientError, OSError):
        raise trouble.down(trouble.Down.CUT_OFF) from None
    answer = loads(content.decode("utf-8", "replace"))
    if not isinstance(answer, dict):
        raise trouble.down(trouble.Down.GARBLED)
    return answer


async def _linger(response: aiohttp.ClientResponse) -> None:
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while await response.content.readany():
                continue  # whatever a server says after its last word is not read
    except (TimeoutError, aiohttp.ClientError, OSError):
        return  # then the connection is closed instead of kept
