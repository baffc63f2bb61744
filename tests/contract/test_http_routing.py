"""Paths that are written out are found in a table, and nothing about them is different for it."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match
from starlette.types import Message, Scope
from tests.contract.http_desk import World

from timmy.errors import Breach
from timmy.models import ProviderDown
from timmy.web import create_app
from timmy.web.routing import NamedRoute, WrittenOut


async def test_another_method_is_told_which_one_is_taken() -> None:
    world = World.build(talks=True)
    async with world.client() as client:
        refused = await client.get("/v1/chat/completions")
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
        assert (await client.head("/api/healthz")).status_code == 200
        assert (await client.head("/v1/chat/completions")).status_code == 405
        assert (await client.post("/v1/chat/completions/", json={})).status_code in (404, 405)
        assert (await client.get("/api/healthz/")).status_code == 404
    assert [route for _, route, _ in world.metrics.requests][:3] == ["/v1/chat/completions", "/api/healthz", "/v1/chat/completions"]


@pytest.mark.parametrize(("trouble", "status"), [(ProviderDown("Away."), 503), (Breach("The books."), 500), (KeyError("k"), 500)])
async def test_trouble_in_a_route_is_answered_as_everywhere(trouble: Exception, status: int) -> None:
    world = World.build()

    async def broken(*_args: object, **_named: object) -> None:
        raise trouble

    world.desk.submit = broken  # type: ignore[assignment]
    async with world.client() as client:
        answer = await client.post("/api/jobs", json={"request": "Why?"}, headers={"X-Request-Id": "mine"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["requestId"] == "mine"
    assert world.metrics.requests == [("POST", "/api/jobs", status)]


def test_the_table_says_what_the_router_would() -> None:
    app = create_app(World.build(talks=True, hook_secret="s").house)
    table = WrittenOut(app.router, app.routes)._routes
    assert ("POST", "/v1/chat/completions") in table
    for (method, path), route in table.items():
        asked: Scope = {"type": "http", "method": method, "path": path}
        assert next(one for one in app.routes if one.matches(asked)[0] is Match.FULL) is route


async def test_an_earlier_route_with_a_parameter_keeps_what_it_matches() -> None:
    async def first(_request: Request) -> Response:
        return PlainTextResponse("first")

    async def second(_request: Request) -> Response:
        return PlainTextResponse("second")

    routes = [NamedRoute("/{any}", first), NamedRoute("/exact", second), NamedRoute("/deep/exact", second)]
    reached = []

    async def router(scope: Scope, _receive: object, _send: object) -> None:
        reached.append(scope["path"])

    async def send(message: Message) -> None:
        reached.append(message["type"])

    async def receive() -> Message:
        raise AssertionError("nobody asks for a body")

    table = WrittenOut(router, routes)
    for path, root in (("/exact", ""), ("/deep/exact", "/deep"), ("/deep/exact", "")):
        await table({"type": "http", "method": "GET", "path": path, "root_path": root, "headers": []}, receive, send)
    assert reached == ["/exact", "/deep/exact", "http.response.start", "http.response.body"]
