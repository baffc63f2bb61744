"""The world over HTTP: how it stands, and a WebSocket that tells what happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send

from timmy.errors import Outage
from timmy.web.address import client_address, networks
from timmy.web.examples_world import STATE
from timmy.web.house import WebHouse, WorldDesk
from timmy.web.operations import Operation, Sends
from timmy.web.problems import Problem
from timmy.web.refusals import OriginNotAllowed
from timmy.web.render import Json
from timmy.web.sockets import EXTENSION, Line, Socket
from timmy.web.turnstile import counted
from timmy.world import Viewer
from timmy.world.crowd import GOING_AWAY, TRY_LATER

log = structlog.get_logger("timmy.web")

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class WorldRoutes:
    def __init__(self, house: WebHouse, world: WorldDesk) -> None:
        self.house = house
        self.world = world

    async def state(self, _request: Request) -> Response:
        return Json(await self.world.state())


class WorldSocket:
    """An ASGI application for `/api/ws`. It lets the visitor in, hands the connection over, and is done."""

    def __init__(self, house: WebHouse, world: WorldDesk) -> None:
        self.house = house
        self.world = world
        self.proxies = networks(house.settings.trusted_proxies)
        self.origins = {origin.lower() for origin in (*house.settings.cors_origins, house.settings.public_url)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        headers = Headers(scope=scope)
        if not may_call(headers.getlist("origin"), headers.get("host", ""), self.origins):
            return await _refuse(scope, send)
        socket: Socket = scope["extensions"][EXTENSION]
        line: Line[Viewer] = Line(self.world.talk.hear, self.world.leave)
        viewer = Viewer(counted(client_address(scope, self.proxies)), line)
        no_room = self.world.crowd.room_for(viewer.address)
        await send({"type": "websocket.accept"})
        if self.house.closing.is_set():
            no_room = GOING_AWAY, "the server is stopping"
        if no_room is not None:
            code, why = no_room
            return await send({"type": "websocket.close", "code": code, "reason": why})
        self.world.crowd.take(viewer)
        line.belongs_to(viewer)
        socket.hand_over(line)
        try:
            await self.world.join(viewer)
        except Outage as outage:
            log.warning("world.nobody_let_in", code=outage.code)
            line.close(TRY_LATER, "The workshop is dark. Come back in a moment.")


def may_call(origins: list[str], host: str, allowed: set[str]) -> bool:
    """A page may open a socket if it is our own, or on the allow-list. Programs send no Origin, and may.

    Without this, any page could make its readers talk here, at the cost of their address."""
    if not origins:
        return True
    origin = origins[0].lower()
    if len(origins) > 1:
        return False
    return origin in allowed or "*" in allowed or _place(origin) == _place(f"{urlsplit(origin).scheme}://{host.lower()}") is not None


def _place(origin: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(origin)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port else None


async def _refuse(scope: Scope, send: Send) -> None:
    refused = OriginNotAllowed("The operator has to add this page's origin to CORS_ORIGINS first.")
    answer = Problem(refused, "websocket")
    start: Mapping[str, Any] = {"type": "websocket.http.response.start", "status": answer.status_code, "headers": answer.raw_headers}
    await send(dict(start))
    await send({"type": "websocket.http.response.body", "body": answer.body})


ABOUT_STATE = """\
Who is doing what, how the pool stands, how many visitors there are, and the last things that happened. Nothing in it is anybody's: no id,
no payment hash, no request. The same object is the first message of the WebSocket at `/api/ws`, which then tells what happens; its messages
are described in docs/reference/websocket.json."""


def socket_route(house: WebHouse, world: WorldDesk) -> WebSocketRoute:
    return WebSocketRoute("/api/ws", WorldSocket(house, world), name="world")


def operations(house: WebHouse, world: WorldDesk) -> tuple[Operation, ...]:
    routes = WorldRoutes(house, world)
    return (
        Operation(
            method="GET",
            path="/api/world/state",
            name="worldState",
            summary="The world as it is now",
            about=ABOUT_STATE,
            endpoint=routes.state,
            sends=(Sends(200, "All of it.", "WorldState", example=STATE),),
            tag="world",
        ),
    )
