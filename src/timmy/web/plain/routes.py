"""The plain page's addresses. Each form is answered with a redirection, so that loading a page again sends nothing twice."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from timmy.errors import TimmyError
from timmy.web.house import WebHouse
from timmy.web.operations import PageRoute
from timmy.web.plain import sheet
from timmy.web.plain.jobs import JobPages
from timmy.web.plain.sessions import SessionPages
from timmy.web.plain.trouble import trouble_page

Endpoint = Callable[[Request], Awaitable[Response]]


def routes(house: WebHouse) -> tuple[BaseRoute, ...]:
    jobs, sessions = JobPages(house), SessionPages(house)

    def at(method: str, path: str, endpoint: Endpoint) -> BaseRoute:
        return PageRoute(path, told_on_a_page(endpoint), methods=[method])

    pretended = (
        at("POST", "/api/ui/jobs/{jobId}/paid", jobs.pretend_to_pay),
        at("POST", "/api/ui/sessions/{sessionId}/paid", sessions.pretend_to_pay),
    )
    return (
        at("GET", "/api/ui", jobs.home),
        at("GET", sheet.STYLE_PATH, sheet.style),
        at("POST", "/api/ui/estimate", jobs.estimate),
        at("POST", "/api/ui/demo", jobs.demo),
        at("POST", "/api/ui/jobs", jobs.create),
        at("GET", "/api/ui/jobs/{jobId}", jobs.show),
        at("POST", "/api/ui/jobs/{jobId}/refund", jobs.refund),
        at("POST", "/api/ui/sessions", sessions.open),
        at("POST", "/api/ui/sessions/key", sessions.find),
        at("GET", "/api/ui/sessions/{sessionId}", sessions.show),
        at("POST", "/api/ui/sessions/{sessionId}/request", sessions.ask),
        at("GET", "/api/ui/sessions/{sessionId}/requests/{requestId}", sessions.show_request),
        at("POST", "/api/ui/sessions/{sessionId}/topup", sessions.topup),
        at("POST", "/api/ui/sessions/{sessionId}/close", sessions.close),
        *(pretended if house.dev is not None else ()),
    )


def told_on_a_page(endpoint: Endpoint) -> Endpoint:
    """What a page cannot tell beside what was typed gets a page of its own."""

    @functools.wraps(endpoint)
    async def told(request: Request) -> Response:
        try:
            return await endpoint(request)
        except TimmyError as error:
            return trouble_page(error, request)

    return told
