"""What can be read here: the interface's document and its page, the test kit, and a front door."""

from __future__ import annotations

from html import escape

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from timmy.errors import TimmyError
from timmy.web import reference, site, testkit
from timmy.web.house import WebHouse
from timmy.web.operations import App, Endpoint, Operation, Sends
from timmy.web.page import page
from timmy.web.problems import all_errors
from timmy.web.render import to_json

CACHED = {"Cache-Control": "public, max-age=300"}


class PageRoutes:
    def __init__(self, house: WebHouse, app: App) -> None:
        self.house = house
        self.app = app
        self._reference: Response | None = None

    async def openapi(self, _request: Request) -> Response:
        return Response(to_json(await self.app.describe()), media_type="application/json", headers=CACHED)

    async def docs(self, _request: Request) -> Response:
        if self._reference is None:  # made once, when all rooms have been imported and their errors are known
            errors: tuple[type[TimmyError], ...] = (TimmyError, *all_errors())
            described = reference.body(await self.app.describe(), errors)
            self._reference = page("Timmy: HTTP interface", described, indexed=True, root="../")
        return self._reference

    async def home(self, request: Request) -> Response:
        return page("Timmy", front_door(testkit.base_url(request, self.house.settings.public_url), self.house.version), indexed=True)

    async def api(self, _request: Request) -> Response:
        return RedirectResponse("/api/ui", status_code=302)

    async def testkit(self, request: Request) -> Response:
        script = testkit.script(testkit.base_url(request, self.house.settings.public_url))
        return Response(script, media_type="text/x-shellscript")


def front_door(base_url: str, version: str) -> str:
    base = escape(base_url)
    ask = (
        f"curl -s {base}/api/jobs \\\n  -H 'Content-Type: application/json' \\\n"
        """  -d '{"request": "Explain the Lightning network to a sailor."}'"""
    )
    return (
        "<h1>Timmy</h1>"
        "<p>An AI agent that works for bitcoin. You pay a Lightning invoice, it answers; what you paid too much, you get back. "
        "No account, no card.</p>"
        f"<p>What runs here, version {escape(version)}, is the HTTP interface:</p><pre><code>{escape(ask)}</code></pre>"
        "<p>The answer holds an invoice. Pay it, then look at <code>/api/jobs/{jobId}</code>.</p>"
        '<ul><li><a href="/api/ui">Ask here, by forms</a></li>'
        '<li><a href="/api/docs">The interface, described</a></li>'
        '<li><a href="/api/healthz">How this server is</a></li>'
        f"<li>Test it from outside: <code>curl -s {base}/api/testkit | bash</code></li></ul>"
    )


def operations(house: WebHouse, app: App) -> tuple[Operation, ...]:
    routes = PageRoutes(house, app)

    def readable(path: str, name: str, summary: str, about: str, endpoint: Endpoint, sends: Sends) -> Operation:
        return Operation("GET", path, name, summary, about, endpoint, (sends,))

    html = Sends(200, "The page.", media_type="text/html")
    return (
        readable(
            "/api/openapi.json",
            "openapi",
            "This document",
            "OpenAPI 3.1.",
            routes.openapi,
            Sends(200, "The document.", schema={"type": "object"}),
        ),
        readable("/api/docs", "docs", "This document, as a page", "Without scripts.", routes.docs, html),
        readable(
            "/api/testkit",
            "testkit",
            "A test of this interface, from outside",
            "`curl -s …/api/testkit | bash`: needs bash 3.2 and curl. `BASE` names another server. Ends with `PASS=n FAIL=n SKIP=n`.",
            routes.testkit,
            Sends(200, "A bash script.", media_type="text/x-shellscript"),
        ),
        readable("/api", "api", "The way in", "Leads to the plain page, where people can buy.", routes.api, Sends(302, "To /api/ui.")),
        *site.operations(house, routes.home),
    )
