"""Plain pages: one style, no script, nothing from anywhere else."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from starlette.responses import Response

STYLE = """
:root { color-scheme: light dark; --ink: #1c1917; --paper: #fdfbf7; --line: #d6d0c4; --amber: #9a5b00; --box: #f3efe6; }
@media (prefers-color-scheme: dark) { :root { --ink: #ece7dd; --paper: #16130f; --line: #463f34; --amber: #f5b041; --box: #221d17; } }
body { margin: 0 auto; padding: 2rem 1rem 5rem; max-width: 54rem; font: 1rem/1.6 system-ui, sans-serif; }
body { color: var(--ink); background: var(--paper); }
h1, h2, h3 { line-height: 1.25; } h2 { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem; }
a { color: var(--amber); } a:focus-visible, summary:focus-visible { outline: 3px solid var(--amber); outline-offset: 2px; }
code, pre { font: .9rem/1.5 ui-monospace, monospace; } code { background: var(--box); padding: .1em .3em; border-radius: .2em; }
pre { background: var(--box); padding: .8rem 1rem; overflow-x: auto; border-radius: .4rem; } pre code { padding: 0; }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); }
.method { color: var(--amber); font-weight: 700; } summary { cursor: pointer; } details { margin: .6rem 0; }
"""

_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CSP = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def page(title: str, body: str, *, indexed: bool = False) -> Response:
    """`body` is HTML: whoever makes it escapes what they put in."""
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>"
    )
    headers = {"Content-Security-Policy": CSP, "Cache-Control": "public, max-age=300"}
    if not indexed:
        headers["X-Robots-Tag"] = "noindex"
    return Response(html, media_type="text/html", headers=headers)
