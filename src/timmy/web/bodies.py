"""Bodies, read within limits and parsed without mercy: what is accepted has one meaning only."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
from collections.abc import Iterable

from starlette.requests import Request
from starlette.types import Receive

from timmy.errors import Refusal
from timmy.web.headers import first, sent
from timmy.web.refusals import (
    BodyTooLarge,
    BodyTooSlow,
    InvalidJson,
    JsonDuplicateKey,
    JsonNotFinite,
    JsonNotObject,
    JsonTooDeep,
    TextInvalid,
    UnsupportedMediaType,
)

DEPTH_MAX = 64
BODY_SECONDS_MAX = 20
HERE = "timmy.body_is_here"  # in the scope, by who serves: all of the body had arrived before the request was begun
NUMBER_DIGITS_MAX = 400  # far below Python's own limit for int(), which answers with an exception of its own

# `*+` never goes back, and the closing quote may be absent: with `*` and `"` a body of quotes without an end would take quadratic time.
STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
JSON_TYPE = re.compile(r"application/(?:[a-z0-9.!#$&^_-]+\+)?json", re.IGNORECASE)


async def read_object(request: Request, *, bytes_max: int) -> dict[str, object]:
    """The request's body as a JSON object. Refusals: 400, 408, 413, 415, 422, each with a code of its own."""
    document, _ = await read_signed(request, bytes_max=bytes_max)
    return document


async def read_signed(request: Request, *, bytes_max: int) -> tuple[dict[str, object], bytes]:
    """The same, and the bytes as they came: a signature is of those, and not of what they mean."""
    raw = await read_bytes(request, bytes_max=bytes_max)
    return parse_object(raw), raw


async def read_bytes(request: Request, *, bytes_max: int) -> bytes:
    """Only the bytes, for a route that looks at something else before it looks into them."""
    _check_type(request)
    return await read_raw(request, bytes_max=bytes_max)


def _check_type(request: Request) -> None:
    """A page of another origin can send a form or plain text without asking; JSON it can only send after a preflight (H08)."""
    given = sent(request, b"content-type")
    if given and JSON_TYPE.fullmatch(given[0].partition(";")[0].strip()) is None:
        raise UnsupportedMediaType("Send the body as JSON, with the header Content-Type: application/json.")


async def read_raw(request: Request, *, bytes_max: int) -> bytes:
    """All of the body, of whatever type, or a refusal after at most `bytes_max` bytes: what a client announces is believed only when
    it is too much."""
    announced = first(request, b"content-length", "0")
    if announced.isascii() and announced.isdigit() and (len(announced) > 18 or int(announced) > bytes_max):
        raise _too_large(bytes_max)
    if request.scope.get(HERE, False):  # nothing to wait for, so no clock is set
        return await _received(request.receive, bytes_max)
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            return await _received(request.receive, bytes_max)
    except TimeoutError:
        raise BodyTooSlow(f"The body must arrive within {BODY_SECONDS_MAX} seconds.") from None


async def _received(receive: Receive, bytes_max: int) -> bytes:
    """From ASGI's messages, without the framework's generator between: most bodies are one message."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise InvalidJson("The connection was closed before all of the body had arrived.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > bytes_max:
            raise _too_large(bytes_max)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _too_large(bytes_max: int) -> Refusal:
    return BodyTooLarge(f"A body may have at most {bytes_max} bytes here.", maxBytes=bytes_max)


# From bytes to an object ----------------------------------------------------------------------------------


def parse_object(raw: bytes) -> dict[str, object]:
    """Strict JSON (RFC 8259): UTF-8, finite numbers, no name twice, at most DEPTH_MAX levels, an object at the top."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidJson("The body is not UTF-8, so it is not JSON.") from None
    if not text.strip():
        raise InvalidJson("The body is empty; a JSON object is expected.")
    _check_depth(text)
    try:
        document: object = STRICT.decode(text)
    except json.JSONDecodeError as trouble:
        raise InvalidJson(
            f"The body is not JSON: line {trouble.lineno}, column {trouble.colno}.", line=trouble.lineno, column=trouble.colno
        ) from None
    if not isinstance(document, dict):
        raise JsonNotObject('The body must be a JSON object, like {"request": "…"}.')
    if "\\u" in text:  # what it looks for can come by an escape only: JSON allows no bare NUL, and UTF-8 no bare half of a pair
        check_texts(document)
    return document


def _check_depth(text: str) -> None:
    """Before parsing, because the parser recurses: depth is counted over brackets that stand outside of strings."""
    if text.count("[") + text.count("{") <= DEPTH_MAX:
        return
    depth = 0
    for token in STRING_OR_BRACKET.finditer(text):
        mark = token.group()
        if mark in ("[", "{"):
            depth += 1
            if depth > DEPTH_MAX:
                raise JsonTooDeep(f"JSON may be nested at most {DEPTH_MAX} levels deep here.", maxDepth=DEPTH_MAX)
        elif mark in ("]", "}"):
            depth -= 1


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise JsonDuplicateKey("A field is named twice in the same object; it is not clear which of the two is meant.")
    return found


def _no_constant(literal: str) -> object:
    raise JsonNotFinite(f"{literal} is not a number that JSON knows.")


def _finite_number(literal: str) -> object:
    number = float(literal)
    if not math.isfinite(number):
        raise JsonNotFinite("A number in the body is larger than any that can be kept.")
    return number


def _whole_number(literal: str) -> object:
    if len(literal) > NUMBER_DIGITS_MAX:
        raise JsonNotFinite("A number in the body is larger than any that can be kept.")
    return int(literal)


STRICT = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_no_constant, parse_float=_finite_number, parse_int=_whole_number)


def check_texts(document: object) -> None:
    """No NUL (PostgreSQL cannot keep one) and no lone surrogate (UTF-8 has none), in values as in names. Raises TextInvalid."""
    for text in _texts(document):
        if "\x00" in text:
            raise TextInvalid("A text in it holds the NUL character; leave it out.")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise TextInvalid("A text in it holds half of a surrogate pair, which is no character; leave it out.") from None


def _texts(document: object) -> Iterable[str]:
    match document:
        case str():
            yield document
        case dict():
            for name, value in document.items():
                yield name
                yield from _texts(value)
        case list():
            for value in document:
                yield from _texts(value)


def sha256_of(document: dict[str, object]) -> str:
    """The hash of the body's meaning: spaces, the order of names and how a character is escaped do not matter."""
    canonical = json.dumps(document, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()
