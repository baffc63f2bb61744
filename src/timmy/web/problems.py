"""Trouble on the wire: RFC 9457 problem documents, with a stable `code` for programs and an `error` that a person can act on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from timmy.errors import Breach, Outage, Refusal, TimmyError
from timmy.identity.login import ChallengeExpired, ChallengeUnknown, EventNotForThis, EventReplayed, EventStale
from timmy.identity.nostr import NostrEventInvalid
from timmy.identity.tokens import TokenExpired, TokenInvalid
from timmy.money import Msats, NanoUsd, Sats
from timmy.sessions.refusals import RequestInProgress
from timmy.web.refusals import (
    IdentitiesDisagree,
    IdentityWanted,
    InvalidJson,
    MethodNotAllowed,
    RateLimited,
    RouteNotFound,
)
from timmy.web.render import to_json
from timmy.web.v1_errors import OpenAIError, is_v1

log = structlog.get_logger("timmy.web")

IDENTITY = (
    TokenInvalid,
    TokenExpired,
    NostrEventInvalid,
    EventStale,
    EventReplayed,
    EventNotForThis,
    IdentitiesDisagree,
)  # what somebody who shows a key can be told
LOGIN = (ChallengeUnknown, ChallengeExpired)
STANDARD = frozenset({"type", "title", "status", "detail", "code", "error", "instance", "requestId"})
OUR_FAULT = "Something broke on our side; nothing that you sent is to blame. Try again, and if it stays, show the operator this requestId."


class Problem(Response):
    media_type = "application/problem+json"

    def __init__(
        self, error: TimmyError, request_id: str, headers: Mapping[str, str] | None = None, *, by_scheme: Mapping[str, object] | None = None
    ) -> None:
        """`by_scheme`: members that a client of another specification knows it by, instead of ours."""
        super().__init__(
            to_json({**document(error, request_id), **(by_scheme or {})}), error.status, {**_headers(error), **(headers or {})}
        )


def trouble(error: TimmyError, path: str, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for an error, in the shape that is read at this address."""
    return OpenAIError(error, headers) if is_v1(path) else Problem(error, request_id, headers)


def document(error: TimmyError, request_id: str) -> dict[str, object]:
    """The members of the problem document. What `error.extra` holds is added, but cannot replace a standard member."""
    # What a Breach says is about our books. It goes to the log, where the operator reads it, and to nobody else.
    detail = error.message if isinstance(error, Refusal | Outage) else OUR_FAULT
    return {
        "type": f"/api/docs#error-{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": detail,
        "code": error.code,
        "error": detail,
        "instance": f"urn:timmy:request:{request_id}",
        "requestId": request_id,
        **{name: _plain(value) for name, value in error.extra.items() if name not in STANDARD},
    }


def _headers(error: TimmyError) -> dict[str, str]:
    headers = {"Cache-Control": "no-store", "X-Robots-Tag": "noindex, nofollow"}
    if isinstance(error, Outage):
        headers["Retry-After"] = str(error.retry_after_seconds)
    # RFC 9110 section 11.6.1: a 401 names a scheme.
    if isinstance(error, (*IDENTITY, *LOGIN, IdentityWanted)):
        headers["WWW-Authenticate"] = 'Nostr realm="timmy"'
    elif error.status == 401:  # the operator's token, or a session's macaroon
        headers["WWW-Authenticate"] = 'Bearer realm="timmy"'
    if isinstance(error, RequestInProgress | RateLimited):
        headers["Retry-After"] = str(error.retry_after_seconds)
    return headers


def _plain(value: object) -> object:
    """As JSON. Amounts become their number; anything unforeseen becomes text rather than an exception within an error."""
    match value:
        case Sats(value=number) | Msats(value=number):
            return number
        case NanoUsd():
            return str(value)
        case bool() | int() | str() | None:
            return value
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case _:
            return str(value)


def request_id_of(request: Request) -> str:
    found: object = request.scope.get("state", {}).get("request_id")
    return found if isinstance(found, str) else "unknown"


def all_errors(family: type[TimmyError] = TimmyError) -> Iterator[type[TimmyError]]:
    """Every error class that has been imported, for the documentation."""
    for kind in family.__subclasses__():
        yield kind
        yield from all_errors(kind)


# Exceptions into problems ------------------------------------------------------------------------------


async def on_timmy_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, TimmyError)
    match error:
        case Refusal():
            log.debug("refused", code=error.code)
        case Outage():
            log.warning("outage", code=error.code)
        case Breach():
            log.critical("breach", code=error.code, message=error.message)
        case _:
            log.error("error", code=error.code, message=error.message)
    return trouble(error, request.scope["path"], request_id_of(request))


async def on_http_exception(request: Request, error: Exception) -> Response:
    """The framework's own refusals: only 404 and 405 can happen with the routes that we have."""
    assert isinstance(error, HTTPException)
    ours: TimmyError
    match error.status_code:
        case 404:
            ours = RouteNotFound("There is nothing at this address. What there is, is listed at /api/docs.")
        case 405:
            allowed = (error.headers or {}).get("Allow", "")
            ours = MethodNotAllowed(f"This address does not take {request.method}; it takes {allowed or 'another method'}.", allow=allowed)
        case _:
            ours = InvalidJson("The request could not be understood. What is expected is described at /api/docs.")
    return trouble(ours, request.scope["path"], request_id_of(request), error.headers)


def install(app: Starlette) -> None:
    app.add_exception_handler(TimmyError, on_timmy_error)
    app.add_exception_handler(HTTPException, on_http_exception)
