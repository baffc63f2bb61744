"""What surrounds every answer: a request id, the headers that protect, a line in the log, a count in the metrics, and the last net."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence

import structlog
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from timmy.errors import TimmyError
from timmy.ids import new_id
from timmy.web.address import client_address, networks
from timmy.web.house import WebHouse
from timmy.web.problems import OUR_FAULT, trouble
from timmy.web.refusals import HeadersTooLarge, OriginNotAllowed

log = structlog.get_logger("timmy.web")

HEADERS_MAX = 100
HEADER_BYTES_MAX = 32_768
SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")

SECURITY: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",  # what may be kept says so itself
}
HSTS = "max-age=31536000"
QUIET = frozenset({"/api/healthz", "/api/readyz", "/metrics"})  # asked every few seconds by machines: debug lines

EXPOSED = (
    "WWW-Authenticate", "Payment-Receipt", "Retry-After", "X-Request-Id", "Location", "X-Cost-Msat", "X-Balance-Msat", "X-Completion-Id",
    "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
)  # fmt: skip


class Envelope:
    """The outermost layer of the app. Nothing leaves without it, and no exception gets past it."""

    def __init__(self, app: ASGIApp, house: WebHouse) -> None:
        self.app = app
        self.house = house
        self.proxies = networks(house.settings.trusted_proxies)
        self._log = log.bind()  # once: to find it anew for each request takes longer than to write nothing
        headers = dict(SECURITY)
        if house.settings.public_url.startswith("https://"):
            headers["Strict-Transport-Security"] = HSTS
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self._names = frozenset(name for name, _ in self._headers)
        self._besides: dict[frozenset[bytes], list[tuple[bytes, bytes]]] = {}  # by which of them an answer has said itself

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, within = _looked_over(scope["headers"])
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0  # none sent yet
        started_at = time.perf_counter()

        async def sealed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                said = message["headers"]
                given = [*said, *self._unsaid(said), (b"x-request-id", request_id.encode())]
                if status in (408, 413):
                    given.append((b"connection", b"close"))  # else the rest of what we refused to read would have to be read
                message["headers"] = given
            await send(message)

        bound = structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            if not within:
                raise HeadersTooLarge(f"Send at most {HEADERS_MAX} headers with {HEADER_BYTES_MAX} bytes in all.")
            await self.app(scope, receive, sealed)
        except Exception as error:  # whatever a client may send, it gets an answer: the one place where everything is caught, and logged
            if not isinstance(error, TimmyError):
                log.exception("unexpected", route=_route(scope))
            if status == 0:  # an answer that had begun can only be broken off
                told = error if isinstance(error, TimmyError) else TimmyError(OUR_FAULT)
                await trouble(told, scope["path"], request_id)(scope, receive, sealed)
        finally:
            # Also when the task was cancelled because the client has left: status 0 then says that it got no answer.
            self._note(scope, status, time.perf_counter() - started_at)
            structlog.contextvars.reset_contextvars(**bound)

    def _unsaid(self, said: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Those of the protecting headers that the answer has not said itself."""
        theirs = self._names.intersection([name for name, _ in said])
        if (found := self._besides.get(theirs)) is None:
            found = self._besides[theirs] = [pair for pair in self._headers if pair[0] not in theirs]
        return found

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        """Never the path, the query, a header or a body: a path may hold an id that opens a job, or the webhook's secret."""
        route = _route(scope)
        # Methods are a client's own words as well: an unknown one must not become a new time series for each request.
        method = scope["method"] if scope["method"] in KNOWN_METHODS else "OTHER"
        self.house.metrics.http_request(method=method, route=route, status=status, seconds=seconds)
        level = logging.DEBUG if route in QUIET and status < 500 else logging.INFO
        if self._log.is_enabled_for(level):
            client = client_address(scope, self.proxies)
            self._log.log(level, "http", method=method, route=route, status=status, duration_ms=round(seconds * 1000, 1), client=client)


KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _route(scope: Scope) -> str:
    template = getattr(scope.get("route"), "path", None)
    return template if isinstance(template, str) else "unmatched"


def _looked_over(headers: Sequence[tuple[bytes, bytes]]) -> tuple[str, bool]:
    """The request's id, and whether its headers are within the limits. The id is the caller's, so that they find it again in their own
    log; ours, when theirs could do harm in a log."""
    size, given = 0, None
    for name, value in headers:
        size += len(name) + len(value)
        if given is None and name == b"x-request-id":
            given = value.decode("latin-1")
    within = len(headers) <= HEADERS_MAX and size <= HEADER_BYTES_MAX
    return (given if given is not None and SANE_REQUEST_ID.fullmatch(given) else new_id("req")), within


class Origins(CORSMiddleware):
    """Which pages of other origins may call: those of the allow-list. No cookie may come along: the operator's is for our own pages."""

    def __init__(self, app: ASGIApp, house: WebHouse) -> None:
        super().__init__(
            app,
            allow_origins=house.settings.cors_origins,
            allow_methods=("GET", "HEAD", "POST", "OPTIONS"),
            allow_headers=("*",),  # to the listed origins: SDKs in a browser send headers of their own, and new ones with each version
            allow_credentials=False,
            expose_headers=EXPOSED,
            max_age=600,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Where no other origin is allowed, no answer is another for one: there is nothing to add to those that name none."""
        if not self.allow_origins and scope["type"] == "http" and not any(name == b"origin" for name, _ in scope["headers"]):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        # Raised, so that it is told in the shape that is read at its address.
        raise OriginNotAllowed("The operator has to add this page's origin to CORS_ORIGINS first, and the method must be GET or POST.")
