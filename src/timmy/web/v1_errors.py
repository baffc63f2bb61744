"""Trouble on /v1, in the shape that OpenAI's clients read: `{"error": {message, type, param, code}}`, with our codes."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from timmy.completions.refusals import CompletionInProgress
from timmy.errors import Outage, Refusal, TimmyError
from timmy.models import ProviderRefused
from timmy.web.refusals import RateLimited
from timmy.web.render import to_json

PREFIX = "/v1/"
KINDS = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}
OUR_FAULT = "Something broke on our side; nothing that you sent is to blame. Try again."
RETRY_AFTER_MS = 1_000


def is_v1(path: str) -> bool:
    return path.startswith(PREFIX)


class OpenAIError(Response):
    media_type = "application/json"

    def __init__(
        self,
        error: TimmyError,
        headers: Mapping[str, str] | None = None,
        *,
        status: int | None = None,
        more: Mapping[str, object] | None = None,
        problem: Mapping[str, object] | None = None,
    ) -> None:
        """`status`: another than the error's own. `more` goes into `metadata`. `problem`: the members of RFC 9457, for a client that reads
        these; they stand beside `error`."""
        status = status or error.status
        told = body(error, status, more or {})
        super().__init__(
            to_json({**problem, **told} if problem else told),
            status,
            {**_headers(error), **(headers or {})},
            "application/problem+json" if problem else None,
        )


def body(error: TimmyError, status: int = 0, more: Mapping[str, object] | None = None) -> dict[str, object]:
    """`metadata` holds what a program needs to go on: amounts in millisats, an invoice, where to top up."""
    told = error.message if isinstance(error, Refusal | Outage) else OUR_FAULT
    members = {name: value for name, value in {**error.extra, **(more or {})}.items() if name != "param"}
    status = status or error.status
    found: dict[str, object] = {
        "message": told,
        "type": KINDS.get(status, "invalid_request_error" if status < 500 else "server_error"),
        "param": error.extra.get("param"),
        "code": error.code,
    }
    return {"error": {**found, "metadata": members} if members else found}


def _headers(error: TimmyError) -> dict[str, str]:
    """The SDKs retry 408, 409, 429 and 5xx on their own: `x-should-retry` tells them when that is pointless."""
    again = isinstance(error, CompletionInProgress) or not isinstance(error, Refusal | ProviderRefused)
    headers = {"Cache-Control": "no-store", "x-should-retry": "true" if again else "false"}
    if isinstance(error, CompletionInProgress):
        headers |= {"retry-after-ms": str(RETRY_AFTER_MS), "Retry-After": str(error.retry_after_seconds)}
    elif isinstance(error, Outage | RateLimited):
        headers["Retry-After"] = str(error.retry_after_seconds)
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="timmy"'
    return headers
