"""The sheet that every plain page is written on: one stylesheet, no script, nothing from anywhere else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from timmy.web.markup import NOTHING, Markup, el, together
from timmy.web.render import PRIVATE

STYLE = files("timmy.web.plain").joinpath("style.css").read_text("utf-8")
STYLE_PATH = f"/api/ui/style-{hashlib.sha256(STYLE.encode()).hexdigest()[:16]}.css"
FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}

# `data:` is for the QR codes: Tor Browser shows no SVG at its safest, and a picture at an address of its own would put an invoice into it.
CSP = (
    "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS: Mapping[str, str] = {
    **PRIVATE,
    "Content-Security-Policy": CSP,
    # With `no-referrer` a browser sends `Origin: null` along with a form of our own, and it could not be told from a stranger's.
    "Referrer-Policy": "same-origin",
}

CUSTOMER_LINKS = (("/api/ui", "Ask"), ("/api/ui#balance", "Balance"), ("/tower", "Workshop"), ("/api/docs", "API"))


def sheet(
    title: str,
    *body: Markup,
    status: int = 200,
    refresh_seconds: int | None = None,
    still: bool = False,
    links: tuple[tuple[str, str], ...] = CUSTOMER_LINKS,
    wide: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A page. `refresh_seconds`: it looks again by itself, for as long as something is awaited; not where it was asked to be `still`, for
    those who read slowly or by ear (WCAG 2.2, 2.2.2)."""
    looks_again = refresh_seconds is not None and not still
    offer = "Do not look again by itself" if looks_again else "Look again by itself"
    offered = el("p", el("a", offer, href="?still=1" if looks_again else "?")) if refresh_seconds is not None else NOTHING
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", http_equiv="refresh", content=refresh_seconds) if looks_again else NOTHING,
        el("meta", name="robots", content="noindex, nofollow"),
        el("title", title),
        el("link", rel="stylesheet", href=STYLE_PATH),
    )
    top = el(
        "header",
        el("a", "TIMMY", href="/", class_="name"),
        el("nav", *(together(el("a", text, href=to), " ") for to, text in links), aria_label="Pages", class_="links"),
    )
    foot = el("footer", el("p", "Prices are in sats, times in UTC. This page runs no script and loads nothing from elsewhere."))
    skip = el("a", "To the content", href="#content", class_="skip")
    page = el(
        "html", head, el("body", skip, top, el("main", *body, offered, id="content"), foot, class_="wide" if wide else None), lang="en"
    )
    return Response(f"<!doctype html>{page}", status, media_type="text/html", headers={**HEADERS, **(headers or {})})


async def style(_request: Request) -> Response:
    """Under a name made of its content, so it may be kept for ever."""
    return Response(STYLE, media_type="text/css", headers=FOR_EVER)
