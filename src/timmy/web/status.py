"""How the server is: for people, for load balancers, for Prometheus."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from timmy.clock import iso
from timmy.web import refusals
from timmy.web.house import Condition, Health, WebHouse
from timmy.web.operations import Document, Operation, Sends
from timmy.web.render import Json


class StatusRoutes:
    def __init__(self, house: WebHouse) -> None:
        self.house = house

    async def healthz(self, _request: Request) -> Response:
        """Always 200 while there is a process to answer: what is wrong with the parts is in the body, and restarting would not mend it."""
        return Json(report(await self.house.health(), self.house))

    async def readyz(self, _request: Request) -> Response:
        health = await self.house.ready()
        if health.condition is Condition.DOWN:
            down = [part.name for part in health.parts if part.condition is Condition.DOWN]
            # The report's own `status` would take the place of the problem's.
            members = {name: value for name, value in report(health, self.house).items() if name != "status"}
            raise refusals.NotReady(f"Down: {', '.join(down)}. Nothing is lost; ask again shortly.", **members)
        return Json(report(health, self.house))

    async def metrics(self, request: Request) -> Response:
        if self.house.operator_keys is not None:
            # With a token set, the operator's figures are the operator's. Without one they are as open as the address that is listened on.
            self.house.operator_keys.program(request)
        text, content_type = self.house.metrics.exposition()
        return Response(text, headers={"Content-Type": content_type})


def report(health: Health, house: WebHouse) -> dict[str, object]:
    return {
        "status": health.condition.value,
        "version": house.version,
        "time": iso(house.clock.now_ms()),
        "parts": {
            part.name: {"status": part.condition.value, "kind": part.kind, "detail": part.detail, "standIn": part.stand_in}
            for part in health.parts
        },
        "standIns": [part.stand_in for part in health.parts if part.stand_in],
    }


EXAMPLE: Document = {
    "status": "ok",
    "version": "0.1.0",
    "time": "2026-01-01T00:00:00.000Z",
    "parts": {"wallet": {"status": "ok", "kind": "builtin", "detail": None, "standIn": "Its sats are not real. Set WALLET to earn."}},
    "standIns": ["Its sats are not real. Set WALLET to earn."],
}


def operations(house: WebHouse) -> tuple[Operation, ...]:
    routes = StatusRoutes(house)
    return (
        Operation(
            method="GET",
            path="/api/healthz",
            name="health",
            summary="How each part is",
            about="Always 200 while the process lives. `standIns` names whatever is not the real thing.",
            endpoint=routes.healthz,
            sends=(Sends(200, "The parts, each with its condition.", "HealthReport", example=EXAMPLE),),
        ),
        Operation(
            method="GET",
            path="/api/readyz",
            name="ready",
            summary="Whether a job can be taken right now",
            about="For load balancers: 200 or 503.",
            endpoint=routes.readyz,
            sends=(Sends(200, "Ready.", "HealthReport", example=EXAMPLE),),
            refuses=(refusals.NotReady,),
        ),
        Operation(
            method="GET",
            path="/metrics",
            name="metrics",
            summary="Figures for Prometheus",
            about="If ADMIN_TOKEN is set, it must be sent as a bearer token.",
            endpoint=routes.metrics,
            sends=(Sends(200, "Prometheus' text format.", media_type="text/plain"),),
            refuses=(refusals.AdminTokenWanted, refusals.RateLimited),
        ),
    )
