"""Plain pages that follow the reader's light or dark: one style, no script, nothing from anywhere else."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from starlette.responses import Response

STYLE = """
:root { color-scheme: light dark; --ink: #1c1917; --paper: #fdfbf7; --line: #d6d0c4; --amber: #9a5b00; --box: #f3efe6; }
@media (prefers-color-scheme: dark) { :root { --ink: #ece7dd; --paper: #16130f; --line: #463f34; --amber: #f5b041; --box: #221d17; } }
body { margin: 0 auto; padding: 2rem 1rem 5rem; max-width: 54rem; font: 1rem/1.6 system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; align-items: center; gap: 0 1.2rem; margin-bottom: 1.5rem; border-bottom: 1px solid var(--line); }
header a { display: inline-flex; align-items: center; min-height: 44px; } nav { display: flex; flex-wrap: wrap; gap: 0 1.2rem; }
header .name { font: 700 1.25rem/1 ui-monospace, monospace; letter-spacing: .18em; text-decoration: none; }
body { color: var(--ink); background: var(--paper); }
main { overflow-wrap: anywhere; } table { overflow-wrap: normal; }
h1, h2, h3 { line-height: 1.25; } h2 { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem; }
a { color: var(--amber); }
:focus-visible { outline: 3px solid var(--amber); outline-offset: 2px; }
code, pre { font: .9rem/1.5 ui-monospace, monospace; } code { background: var(--box); padding: .1em .3em; border-radius: .2em; }
pre { background: var(--box); padding: .8rem 1rem; overflow-x: auto; border-radius: .4rem; } pre code { padding: 0; }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); }
.method { color: var(--amber); font-weight: 700; } summary { cursor: pointer; } details { margin: .6rem 0; }
"""

_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CSP = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
LINKS = (("api/ui", "Ask"), ("tower", "Workshop"), ("api/docs", "API"))


def page(title: str, body: str, *, indexed: bool = False, root: str | None = None, status: int = 200) -> Response:
    """`body` is HTML: whoever makes it escapes what they put in. `root`: how the front page is reached from this one, as `../`; given, the
    page begins with ways back, which are right under any prefix."""
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{_ways_back(root)}<main>{body}</main></body></html>"
    )
    headers = {"Content-Security-Policy": CSP, "Cache-Control": "public, max-age=300"}
    if not indexed:
        headers["X-Robots-Tag"] = "noindex"
    return Response(html, status, media_type="text/html", headers=headers)


def _ways_back(root: str | None) -> str:
    if root is None:
        return ""
    links = "".join(f'<a href="{escape(root + to)}">{escape(name)}</a>' for to, name in LINKS)
    return f'<header><a class=name href="{escape(root)}">TIMMY</a><nav aria-label="Pages">{links}</nav></header>'
