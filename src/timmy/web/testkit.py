"""The test kit: one bash script that tests any Timmy's public contract from outside. Its parts lie in kit/, in the order of their names."""

from __future__ import annotations

import re
from importlib.resources import files

from starlette.requests import Request

HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
PLACEHOLDER = "@BASE_URL@"


def script(base_url: str) -> str:
    parts = sorted((part for part in files("timmy.web").joinpath("kit").iterdir() if part.name.endswith(".sh")), key=lambda part: part.name)
    return "\n".join(part.read_text(encoding="utf-8") for part in parts).replace(PLACEHOLDER, base_url)


def base_url(request: Request, public_url: str) -> str:
    """Where the reader has reached us: the public URL when it is a real one, else the address they used.

    The Host header is the client's own words and goes into a script that somebody runs, so only what can be nothing but a host gets in.
    """
    host = request.headers.get("host", "")
    if public_url.startswith("https://") or HOST.fullmatch(host) is None:
        return public_url
    return f"http://{host}"
