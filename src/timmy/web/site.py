"""The pages that were built from `web/`: the landing page, the workshop, and the files that they load.

They are read once, when the server starts, together with their compressed forms. Nothing here knows at which address or under which prefix
it is served: every link in the pages is relative.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from timmy.web.building import STAMP
from timmy.web.house import WebHouse
from timmy.web.operations import Endpoint, Operation, Sends, path_parameter
from timmy.web.refusals import RouteNotFound
from timmy.web.render import Json

log = structlog.get_logger("timmy.web")

CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types dompurify",
    )
)
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
}
PAGE_HEADERS = {"Content-Security-Policy": CSP, "Cache-Control": "no-cache"}  # asked for each time: it names the files of this version
ASSET_HEADERS = {"Cache-Control": "public, max-age=31536000, immutable"}  # its name changes when it does
CODINGS = (("br", ".br"), ("gzip", ".gz"))  # best first


@dataclass(frozen=True, slots=True)
class File:
    media_type: str
    etag: str
    bodies: dict[str, bytes]  # by content coding; "" is the file itself

    @classmethod
    def read(cls, path: Path) -> File:
        plain = path.read_bytes()
        packed = {coding: beside for coding, ending in CODINGS if (beside := path.with_name(path.name + ending)).is_file()}
        bodies = {"": plain, **{coding: beside.read_bytes() for coding, beside in packed.items()}}
        return cls(MEDIA_TYPES[path.suffix], hashlib.sha256(plain).hexdigest()[:20], bodies)

    def answer(self, request: Request, headers: dict[str, str]) -> Response:
        coding = best_coding(request.headers.get("accept-encoding", ""), self.bodies)
        etag = f'"{self.etag}{coding and "-" + coding}"'
        told = {**headers, "ETag": etag, "Vary": "Accept-Encoding", **({"Content-Encoding": coding} if coding else {})}
        if etag in {given.strip().removeprefix("W/") for given in request.headers.get("if-none-match", "").split(",")}:
            return Response(status_code=304, headers=told)
        return Response(self.bodies[coding], headers={**told, "Content-Type": self.media_type})


def best_coding(accepted: str, offered: dict[str, bytes]) -> str:
    """The smallest of what is offered that the client takes (RFC 9110, 12.5.3). A coding with q=0 is one that it does not take."""
    weights: dict[str, bool] = {}
    for part in accepted.lower().split(","):
        name, _, parameters = part.partition(";")
        weight = parameters.replace(" ", "").removeprefix("q=")
        weights[name.strip()] = weight.strip("0.") != "" or not parameters
    for coding, _ in CODINGS:
        if coding in offered and weights.get(coding, weights.get("*", False)):
            return coding
    return ""


def read(folder: Path) -> dict[str, File]:
    """By its name within the folder: `index.html`, `assets/….js`. Empty when nothing was built."""
    if not (folder / STAMP).is_file():
        return {}
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix in MEDIA_TYPES)
    return {path.relative_to(folder).as_posix(): File.read(path) for path in found}


class SiteRoutes:
    def __init__(self, house: WebHouse, plain: Endpoint) -> None:
        """`plain` answers where a page should be and was not built."""
        self.house = house
        self.plain = plain
        self.files = read(house.built_pages)
        if not self.files:
            log.error("the pages were not built: / and /tower are plain. In a checkout, `timmy web build` makes them; it needs Node.")

    async def home(self, request: Request) -> Response:
        return await self._page("index.html", request)

    async def tower(self, request: Request) -> Response:
        return await self._page("tower.html", request)

    async def tower_with_a_slash(self, _request: Request) -> Response:
        # The page's links are relative, and would be wrong from here. So is this one, and right under any prefix.
        return RedirectResponse("../tower", status_code=302)

    async def asset(self, request: Request) -> Response:
        found = self.files.get(f"assets/{request.path_params['name']}")
        if found is None:
            raise RouteNotFound("There is no such file in this version of the pages. Load the page again.")
        return found.answer(request, ASSET_HEADERS)

    async def site(self, _request: Request) -> Response:
        settings = self.house.settings
        return Json(
            {
                "version": self.house.version,
                "developmentRoutes": self.house.dev is not None,
                "requestCharsMax": settings.max_request_chars,
                "sessionMinSats": settings.session_min.value,
                "sessionMaxSats": settings.session_max.value,
            },
            headers={"Cache-Control": "no-cache"},
        )

    async def _page(self, name: str, request: Request) -> Response:
        found = self.files.get(name)
        if found is not None:
            return found.answer(request, PAGE_HEADERS)
        answer = await self.plain(request)
        assert isinstance(answer, Response)
        return answer


def operations(house: WebHouse, plain: Endpoint) -> tuple[Operation, ...]:
    routes = SiteRoutes(house, plain)

    def readable(path: str, name: str, summary: str, about: str, endpoint: Endpoint, *sends: Sends) -> Operation:
        return Operation("GET", path, name, summary, about, endpoint, sends)

    html = Sends(200, "The page.", media_type="text/html")
    return (
        readable("/", "home", "The landing page", "One way in, and what it costs. Plain where it was not built.", routes.home, html),
        readable("/tower", "tower", "The workshop", "Everything that this interface offers, for people.", routes.tower, html),
        readable("/tower/", "towerWithASlash", "To the workshop", "Leads to /tower.", routes.tower_with_a_slash, Sends(302, "To /tower.")),
        Operation(
            method="GET",
            path="/assets/{name}",
            name="asset",
            summary="A file that a page loads",
            about="Its name changes when it does, so it may be kept for ever.",
            endpoint=routes.asset,
            sends=(Sends(200, "The file.", media_type="text/javascript"),),
            refuses=(RouteNotFound,),
            parameters=(path_parameter("name", "As the page names it.", "tower-C0ffee00.js"),),
        ),
        readable(
            "/api/site",
            "site",
            "What a page needs to know of this server",
            "Limits, and whether development routes exist.",
            routes.site,
            Sends(200, "Limits and switches.", "SiteFacts", example=EXAMPLE),
        ),
    )


EXAMPLE = {"version": "0.1.0", "developmentRoutes": True, "requestCharsMax": 500, "sessionMinSats": 100, "sessionMaxSats": 100000}
