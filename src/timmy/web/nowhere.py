"""An address where nothing is: a page for whoever opened it in a browser, and a problem document for every program."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from timmy.web.page import page
from timmy.web.problems import on_http_exception, on_timmy_error
from timmy.web.refusals import RouteNotFound

FOR_PROGRAMS = ("/api", "/v1")  # and all that is under them: whatever asks there can read JSON
HTML, ANYTHING = "text/html", frozenset({"*/*", "text/*"})

TOLD = (
    "<h1>There is nothing at this address</h1>"
    "<p>It may have been mistyped, or it is older than what is here now. Nothing was bought and nothing is lost: "
    "what you paid for is where it was.</p>"
    '<p>Go <a href="{root}">to the front page</a>, <a href="{root}api/ui">ask Timmy something</a>, '
    'or <a href="{root}tower">enter the workshop</a>.</p>'
)


def install(app: Starlette) -> None:
    app.add_exception_handler(404, on_not_found)
    app.add_exception_handler(RouteNotFound, on_not_found)


async def on_not_found(request: Request, error: Exception) -> Response:
    if not _is_for_people(request.scope["path"]):
        return await _as_a_problem(request, error)
    answer = _as_a_page(request) if asks_for_html(request.headers.get("accept", "")) else await _as_a_problem(request, error)
    answer.headers["Vary"] = "Accept"
    return answer


def _is_for_people(path: str) -> bool:
    return not any(path == place or path.startswith(f"{place}/") for place in FOR_PROGRAMS)


def asks_for_html(accepted: str) -> bool:
    """Whether HTML is named, and nothing is liked better (RFC 9110, 12.5.1). What takes anything is a program: browsers name it."""
    weights: dict[str, float] = {}
    for part in accepted.lower().split(","):
        kind, *parameters = (word.strip() for word in part.split(";"))
        weights[kind] = max(weights.get(kind, 0.0), _weight(parameters))
    wanted = weights.get(HTML, 0.0)
    return wanted > 0 and wanted >= max(weight for kind, weight in weights.items() if kind not in ANYTHING)


def _weight(parameters: list[str]) -> float:
    given = next((word[2:] for word in parameters if word.startswith("q=")), "1")
    try:
        return float(given)
    except ValueError:
        return 0.0


async def _as_a_problem(request: Request, error: Exception) -> Response:
    return await (on_http_exception if isinstance(error, HTTPException) else on_timmy_error)(request, error)


def _as_a_page(request: Request) -> Response:
    # As the browser sees it: `%2F` is no slash to it, and whatever prefix a proxy took away stays in front.
    root = "../" * (request.scope["raw_path"].count(b"/") - 1) or "./"
    answer = page("There is nothing here · Timmy", TOLD.format(root=root), root=root, status=404)
    answer.headers["Cache-Control"] = "no-store"
    return answer
