"""A request's headers, read where they stand: in the scope, with names in lower case (ASGI, "HTTP Connection Scope").

The framework's own look-up goes through a mapping that is made anew for each request, and a paid call looks for several of them.
"""

from __future__ import annotations

from starlette.requests import Request


def sent(request: Request, name: bytes) -> list[str]:
    """All that came by this name, in their order. `name` is in lower case."""
    return [value.decode("latin-1") for known, value in request.scope["headers"] if known == name]


def first(request: Request, name: bytes, default: str) -> str:
    """The first that came by this name."""
    for known, value in request.scope["headers"]:
        if known == name:
            found: str = value.decode("latin-1")
            return found
    return default
