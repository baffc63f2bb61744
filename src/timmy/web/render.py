"""JSON as it leaves the house."""

from __future__ import annotations

import json
from collections.abc import Mapping

import orjson
from starlette.responses import Response


def to_json(document: object) -> bytes:
    """Compact UTF-8. A lone surrogate, should one ever get this far, becomes `?`: a strange character must not make a 500."""
    try:
        return orjson.dumps(document)
    except TypeError:  # half of a surrogate pair, or a whole number of more than 64 bits
        return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")


class Json(Response):
    media_type = "application/json"

    def __init__(self, document: object, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(to_json(document), status_code, headers)

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """As in the framework, but that nobody gives a length or a type of their own here, so nothing looks for them."""
        self.raw_headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]
        self.raw_headers += ((b"content-length", b"%d" % len(self.body)), (b"content-type", b"application/json"))


PRIVATE: Mapping[str, str] = {
    # An answer about a job is for whoever holds its id: no cache keeps it, and no search engine lists it.
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex, nofollow",
}


def private(document: object, status_code: int = 200, headers: Mapping[str, str] | None = None) -> Json:
    return Json(document, status_code, {**PRIVATE, **(headers or {})})
