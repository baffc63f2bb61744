"""Routes whose path is written out are found by one look into a table, and not by one pattern after the other.

The table stands before Starlette's router, which sees whatever is not in it: paths with parameters, other methods, what there is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from inspect import iscoroutinefunction

from starlette.requests import Request
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send


class NamedRoute(Route):
    """A route that says which it was: the metrics count by it."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        return match, {**child_scope, "route": self}


class WrittenOut:
    """What these routes answer to paths that they write out. An exception goes up, to where the router's would."""

    def __init__(self, router: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._router = router
        self._routes = dict(_written_out(routes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = None if scope["type"] != "http" or scope.get("root_path") else self._routes.get((scope["method"], scope["path"]))
        if route is None:
            await self._router(scope, receive, send)
            return
        scope["route"], scope["endpoint"], scope["path_params"] = route, route.endpoint, {}
        answer = await route.endpoint(Request(scope, receive, send))
        await answer(scope, receive, send)


def _written_out(routes: Sequence[BaseRoute]) -> Iterable[tuple[tuple[str, str], NamedRoute]]:
    for named in routes:
        if not isinstance(named, NamedRoute) or named.param_convertors or not iscoroutinefunction(named.endpoint):
            continue
        for method in named.methods or ():
            # The first that matches is the one, as for the router: an earlier one with a parameter may match the same path.
            asked: Scope = {"type": "http", "method": method, "path": named.path}
            first = next(route for route in routes if route.matches(asked)[0] is Match.FULL)
            if first is named:
                yield (method, named.path), named
