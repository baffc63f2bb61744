"""HTTP to one provider: every wait has an end, every answer has a size, every failure becomes one of a closed set.

Redirects are not followed: the key would travel with them. What a provider writes in an error is read only to tell kinds apart.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import orjson
from pydantic import SecretStr
from yarl import URL

from timmy import __version__
from timmy.clock import SECOND_MS, Clock, SystemClock
from timmy.models import trouble
from timmy.models.connection import Broken, Response
from timmy.models.connections import Connections
from timmy.models.protocol import ProviderDown, ProviderRefused
from timmy.models.sse import Event, EventParser, EventTooLong

ANSWER_BYTES_MAX = 8_388_608
ERROR_BYTES_MAX = 65_536
ERROR_SECONDS_MAX = 5.0
WHOLE_DIGITS_MAX = 640  # of a number: what Python reads whatever its own limit is set to (int_max_str_digits)
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
        body = loads(self.text)
        body = body[0] if isinstance(body, list) and body else body  # Gemini's
        message = member(body, "error", "message") or member(body, "message")
        return trouble.of_status(
            self.status, error_names(body), message if isinstance(message, str) else "", wait_seconds=self.wait_seconds
        )


def loads(text: str | bytes | bytearray) -> object:
    """JSON of unknown origin; None for what is none. Deep nesting is none, too; a number that nobody can mean is None in its place, so that
    a nonsensical usage does not cost the answer that it came with."""
    answer: object
    try:
        answer = orjson.loads(text)
    except orjson.JSONDecodeError:
        if not isinstance(text, str):
            return loads(text.decode("utf-8", "replace"))
        try:
            # Half a surrogate pair, where a token ends in the middle of one, and a number of any length: no JSON for it, and yet an answer.
            answer = json.loads(text, parse_int=_whole_number)
        except (ValueError, RecursionError):
            return None
    return answer


def _whole_number(digits: str) -> int | None:
    return int(digits) if len(digits) <= WHOLE_DIGITS_MAX else None


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


def fields(value: object) -> Mapping[str, object]:
    """What `value` holds if it is an object, and nothing otherwise."""
    return value if isinstance(value, dict) else {}


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
    """One provider's address: http or https, without user and password in it."""

    def __init__(self, base_url: str, *, timeouts: Timeouts | None = None, clock: Clock | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._timeouts = timeouts or Timeouts()
        self._clock = clock or SystemClock()
        self._connections = Connections(_address(base_url), connect_seconds=self._timeouts.connect_seconds)
        self._heads: dict[tuple[str, str], str] = {}  # of questions, by method and path: a handful

    async def aclose(self) -> None:
        await self._connections.aclose()

    async def get(self, path: str, headers: Mapping[str, str]) -> object:
        """BadStatus; ProviderDown."""
        return await self._asked("GET", path, headers, b"", self._timeouts.first_byte_seconds)

    async def post(self, path: str, headers: Mapping[str, str], body: Mapping[str, object]) -> object:
        """An answer in one piece. Only the total time bounds it: a model that thinks says nothing. BadStatus; ProviderDown."""
        return await self._asked("POST", path, headers, dumps(body), self._timeouts.total_seconds)

    async def _asked(self, method: str, path: str, headers: Mapping[str, str], body: bytes, most_seconds: float) -> object:
        until = _now() + most_seconds
        response = await self._opened(method, path, headers, body, until)
        try:
            return await _whole(response, until)
        finally:
            self._connections.take_back(response)

    async def events(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, object], *, is_last: Callable[[Event], bool]
    ) -> AsyncGenerator[Event, None]:
        """A stream until `is_last` or its end. Closing the generator hangs up. BadStatus before the first event; ProviderDown."""
        begun_at = _now()
        deadline = begun_at + self._timeouts.total_seconds
        silence_seconds = min(self._timeouts.first_byte_seconds, self._timeouts.total_seconds)
        response = await self._opened("POST", path, headers, dumps(body), begun_at + silence_seconds)
        try:
            parser = EventParser()
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
            self._connections.take_back(response)

    async def _opened(self, method: str, path: str, headers: Mapping[str, str], body: bytes, until: float) -> Response:
        """The response, its headers read: for the caller to give back. BadStatus; ProviderDown."""
        request = self._request(method, path, headers, body)
        try:
            response = await self._headed(request, until, is_repeatable=method == "GET")
        except TimeoutError:
            raise trouble.down(trouble.Down.TIMED_OUT) from None
        except (Broken, OSError):
            # `from None`: the system's own message names the address, which is the operator's business, not the customer's.
            raise trouble.down(trouble.Down.UNREACHABLE) from None
        if response.status < 300:
            return response
        try:
            raise await self._bad_status(response, until)
        finally:
            self._connections.take_back(response)

    async def _headed(self, request: bytes, until: float, *, is_repeatable: bool) -> Response:
        """TimeoutError; Broken; OSError."""
        while True:
            used = self._connections.idle()
            response = (used or await self._connections.connected(until)).ask(request)
            try:
                await response.headed(until)
            except Broken:
                self._connections.take_back(response)
                # A server may close a connection in the very moment when it is used again. What is not a GET may have been heard all the
                # same (RFC 9110, section 9.2.2), so whether it is asked again is decided where all trouble is weighed, in `Retry`.
                if not is_repeatable or used is None or response.has_begun:
                    raise
            except BaseException:  # too late, or cancelled
                self._connections.take_back(response)
                raise
            else:
                return response

    def _request(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        head = self._heads.get((method, path))
        if head is None:
            head = self._heads[method, path] = self._head(method, path)
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if not lines.count("\r") == lines.count("\n") == len(headers):
            raise ValueError("a header is one line")  # it is not shown: it may hold the key
        length = f"Content-Length: {len(body)}\r\n\r\n" if method == "POST" else "\r\n"
        return (head + lines + length).encode("ascii") + body

    def _head(self, method: str, path: str) -> str:
        url = URL(self._base_url + path)
        # identity: a compressed stream arrives in lumps.
        return (
            f"{method} {url.raw_path_qs} HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\nUser-Agent: timmy/{__version__}\r\n"
            "Accept: */*\r\nAccept-Encoding: identity\r\nContent-Type: application/json\r\n"
        )

    async def _bad_status(self, response: Response, until: float) -> BadStatus:
        until = min(until, _now() + ERROR_SECONDS_MAX)
        content = bytearray()
        try:
            while len(content) <= ERROR_BYTES_MAX and (chunk := await response.read(until)):
                content += chunk
        except (TimeoutError, Broken):
            content.clear()  # the status alone says enough
        return BadStatus(response.status, content[:ERROR_BYTES_MAX].decode("utf-8", "replace"), self._asked_wait(response.headers))

    def _asked_wait(self, headers: Mapping[bytes, bytes]) -> float | None:
        """Retry-After in seconds or as a date (RFC 9110, section 10.2.3), or `retry-after-ms`, as OpenAI and Azure send it."""
        for name, per_second in ((b"retry-after-ms", 1_000), (b"retry-after", 1)):
            try:
                seconds = float(headers.get(name, b"")) / per_second
            except ValueError:
                continue
            if 0 <= seconds < float("inf"):
                return seconds
        try:
            at = parsedate_to_datetime(headers.get(b"retry-after", b"").decode("latin-1"))
            return max(0.0, at.timestamp() - self._clock.now_ms() / SECOND_MS)
        except (ValueError, OverflowError):
            return None


def _address(base_url: str) -> URL:
    try:
        url = URL(base_url)
    except ValueError:
        url = URL()  # told below, without what may hold a password
    if url.scheme not in {"http", "https"} or not url.host or url.raw_user is not None or url.raw_password is not None:
        raise ValueError("a model provider's base URL is http(s)://host[:port]/path, without user and password in it")
    return url


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _chunk(response: Response, deadline: float, silence_seconds: float) -> bytes:
    """The next bytes, empty at the end. At most `silence_seconds` of waiting, and none beyond `deadline`."""
    now = _now()
    if now >= deadline:  # although there is more: whoever takes it slowly does not make it longer
        raise trouble.down(trouble.Down.TIMED_OUT)
    is_late = deadline - now <= silence_seconds
    try:
        return await response.read(deadline if is_late else now + silence_seconds)
    except TimeoutError:
        raise trouble.down(trouble.Down.TIMED_OUT if is_late else trouble.Down.STALLED) from None
    except Broken:
        raise trouble.down(trouble.Down.CUT_OFF) from None


async def _whole(response: Response, until: float) -> object:
    try:
        content: bytes | bytearray = await response.read(until)
        if not response.is_read:
            content = bytearray(content)
            while chunk := await response.read(until):
                content += chunk
                if len(content) > ANSWER_BYTES_MAX:
                    raise trouble.down(trouble.Down.GARBLED)
    except TimeoutError:
        raise trouble.down(trouble.Down.TIMED_OUT) from None
    except Broken:
        raise trouble.down(trouble.Down.CUT_OFF) from None
    answer = loads(content)
    if not isinstance(answer, dict):
        raise trouble.down(trouble.Down.GARBLED)
    return answer


async def _linger(response: Response) -> None:
    until = _now() + LINGER_SECONDS
    try:
        while await response.read(until):
            continue  # whatever a server says after its last word is not read
    except (TimeoutError, Broken):
        return  # then the connection is closed instead of kept
