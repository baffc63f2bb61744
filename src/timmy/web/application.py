"""`create_app`: the routes of a house, behind one envelope."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from timmy.web import (
    bootstrap,
    demo,
    development,
    discovery,
    hooks,
    jobs,
    nowhere,
    operations,
    pages,
    people,
    plain,
    problems,
    receipts,
    session_operations,
    status,
    v1_operations,
    world,
)
from timmy.web.envelope import Envelope, Origins
from timmy.web.house import WebHouse
from timmy.web.operations import App
from timmy.web.operator import api as operator_api
from timmy.web.operator import node as operator_node
from timmy.web.operator.routes import routes as operator_routes
from timmy.web.stream import OpenStreams


def create_app(house: WebHouse) -> App:
    """An ASGI app that serves `house`. Its lifespan starts the house and stops it."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await house.start()
        try:
            yield
        finally:
            house.closing.set()
            await house.stop()

    app = App(lifespan=lifespan)
    app.router.redirect_slashes = False  # a redirect to wherever the Host header says is an open redirect
    problems.install(app)
    nowhere.install(app)
    streams = OpenStreams()
    operations.install(
        app,
        (
            *jobs.operations(house, streams),
            *session_operations.operations(house, streams),
            *(v1_operations.operations(house, house.completions) if house.completions is not None else ()),
            *(discovery.operations(house, house.completions) if house.completions is not None else ()),
            *(receipts.operations(house, streams, house.receipt_key) if house.receipt_key is not None else ()),
            *(bootstrap.operations(house, house.bootstrap, streams) if house.bootstrap is not None else ()),
            *people.operations(house),
            *status.operations(house),
            *(demo.operations(house, house.demo) if house.demo is not None else ()),
            *(world.operations(house, house.world) if house.world is not None else ()),
            *pages.operations(house, app),
            *_operator(house),
            *(hooks.operations(house, house.hook_secret) if house.hook_secret is not None else ()),
            *(development.operations(house, house.dev) if house.dev is not None else ()),
        ),
        version=house.version,
        request_chars_max=house.settings.max_request_chars,
    )
    app.router.routes.extend(plain.routes(house))
    if house.operator is not None and house.operator_keys is not None:
        app.router.routes.extend(operator_routes(house, house.operator, house.operator_keys))
    if house.node_status is not None and house.operator_keys is not None:
        app.router.routes.extend(operator_node.routes(house.node_status, house.operator_keys))
    if house.world is not None:
        app.router.routes.append(world.socket_route(house, house.world))
    app.add_middleware(Origins, house=house)
    app.add_middleware(Envelope, house=house)  # added last: outermost
    return app


def _operator(house: WebHouse) -> tuple[operations.Operation, ...]:
    """Nothing of the desk exists where no token is set: never open by default."""
    if house.operator_keys is None:
        return ()
    return (
        *(operator_api.operations(house.operator, house.operator_keys) if house.operator is not None else ()),
        *(operator_node.operations(house.node_status, house.operator_keys) if house.node_status is not None else ()),
    )
