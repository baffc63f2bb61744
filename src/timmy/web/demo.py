"""A first answer for nothing, over HTTP."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from timmy.clock import SECOND_MS
from timmy.models import ProviderDown, ProviderRefused
from timmy.models.evaluate import JudgementUnclear
from timmy.web import fields, refusals
from timmy.web.address import client_address, networks
from timmy.web.bodies import read_object
from timmy.web.examples_world import DEMO
from timmy.web.house import DemoDesk, WebHouse
from timmy.web.operations import Document, Operation, Sends, Takes
from timmy.web.people import query_parameter
from timmy.web.problems import Problem, request_id_of
from timmy.web.render import private
from timmy.web.turnstile import counted
from timmy.world.demo import DemoClosed, DemoUsedUp
from timmy.world.free_words import TooBusy
from timmy.world.uses import Use


class DemoRoutes:
    def __init__(self, house: WebHouse, demo: DemoDesk) -> None:
        self.house = house
        self.demo = demo
        self.proxies = networks(house.settings.trusted_proxies)

    async def by_query(self, request: Request) -> Response:
        return await self._answer(request, fields.query(request, ("request",)))

    async def by_body(self, request: Request) -> Response:
        return await self._answer(request, await read_object(request, bytes_max=self.house.settings.max_body_bytes))

    async def _answer(self, request: Request, document: Mapping[str, object]) -> Response:
        text = fields.session_request(document, request_chars_max=self.house.settings.max_request_chars)
        try:
            answer = await self.demo.ask(text, counted(client_address(request.scope, self.proxies)))
        except DemoUsedUp as refusal:
            headers = {"Retry-After": str(refusal.retry_after_seconds), **(limits(self.demo, refusal.use) if refusal.use else {})}
            return Problem(refusal, request_id_of(request), headers)
        shown = {
            "state": "complete" if answer.reason is None else "rejected",
            "request": text,
            "result": answer.result,
            "reason": answer.reason,
            "truncated": answer.truncated,
            "left": answer.use.left,
        }
        return private(shown, headers=limits(self.demo, answer.use))


def limits(demo: DemoDesk, use: Use) -> dict[str, str]:
    """`Reset` is a time, in seconds since 1970."""
    return {
        "X-RateLimit-Limit": str(demo.per_address.most),
        "X-RateLimit-Remaining": str(use.left),
        "X-RateLimit-Reset": str(-(-use.ends_at_ms // SECOND_MS)),
    }


# Described ------------------------------------------------------------------------------------------------

ABOUT = """\
One answer without paying, so that you see what you would pay for: a short one, by the small model. How many your address may have in an
hour is in `X-RateLimit-Limit`, how many are left in `X-RateLimit-Remaining`, and when all are there again in `X-RateLimit-Reset` (seconds
since 1970). Where the model is down, nothing is counted. A query stands in access logs: POST the same fields where that matters."""
LIMITS: Document = {
    name: {"description": about, "schema": {"type": "integer"}}
    for name, about in (
        ("X-RateLimit-Limit", "Free answers in an hour for one address."),
        ("X-RateLimit-Remaining", "How many are left."),
        ("X-RateLimit-Reset", "When all are there again, in seconds since 1970."),
    )
}
REFUSES = (
    refusals.FieldUnknown,
    refusals.RequestMissing,
    refusals.RequestEmpty,
    refusals.RequestTooLong,
    refusals.RequestWrongType,
    DemoClosed,
    DemoUsedUp,
    TooBusy,
    ProviderDown,
    ProviderRefused,
    JudgementUnclear,
)


def operations(house: WebHouse, demo: DemoDesk) -> tuple[Operation, ...]:
    routes = DemoRoutes(house, demo)
    return (
        Operation(
            method="GET",
            path="/api/demo",
            name="demo",
            summary="A first answer for nothing",
            about=ABOUT,
            endpoint=routes.by_query,
            sends=(Sends(200, "The answer.", "Demo", example=DEMO, headers=LIMITS),),
            refuses=(*REFUSES, refusals.FieldRepeated, refusals.TextInvalid),
            parameters=(query_parameter("request", "What should be done.", house.settings.max_request_chars, required=True),),
            tag="world",
        ),
        Operation(
            method="POST",
            path="/api/demo",
            name="demoOfBody",
            summary="A first answer for nothing, asked in private",
            about="The same as GET, so that a request need not stand in an access log.",
            endpoint=routes.by_body,
            takes=Takes("DemoWanted", {"plain": {"value": {"request": "Write a haiku about rain."}}}),
            sends=(Sends(200, "The answer.", "Demo", example=DEMO, headers=LIMITS),),
            refuses=REFUSES,
            tag="world",
        ),
    )
