"""Write docs/reference/openapi.json and http.md: the HTTP interface, with every route that any configuration opens.

The document is what `GET /api/openapi.json` answers, from the table that routes the requests. With --check nothing is written, and a
file that is not what it would be is an error.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

from timmy import __version__
from timmy.clock import SystemClock
from timmy.settings import Secret, Settings
from timmy.web import Health, WebHouse, create_app

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "reference" / "openapi.json"
PAGE = ROOT / "docs" / "reference" / "http.md"

HEAD = """# The HTTP interface

As a document for programs: [openapi.json](openapi.json), or `GET /api/openapi.json` of any server. With all shapes and examples as a page:
`GET /api/docs`. What each error means: [errors](errors.md).

This page is made by `scripts/openapi.py` from the table that routes the requests; edit that.
"""


async def _never() -> Health:
    raise AssertionError("a description is made without anybody being asked")


def describe() -> dict[str, Any]:
    """The document of a house with everything open, in which nobody is at home."""
    nobody = cast(Any, None)
    house = WebHouse(
        settings=Settings(host="127.0.0.1", port=8402, public_url="http://127.0.0.1:8402", admin_token=Secret("for a description")),
        jobs=nobody,
        sessions=nobody,
        identity=nobody,
        profile=nobody,
        giving=nobody,
        pool_frozen=nobody,
        clock=SystemClock(),
        metrics=nobody,
        health=_never,
        ready=_never,
        version=__version__,
        receipt_key=cast(Any, object()),
        hook_secret="any",
        completions=cast(Any, object()),
        operator=cast(Any, object()),
        node_status=cast(Any, object()),
        world=cast(Any, object()),
        demo=cast(Any, object()),
        bootstrap=cast(Any, object()),
        dev=cast(Any, object()),
    )
    return create_app(house).document


def render_document() -> str:
    return json.dumps(describe(), indent=2, ensure_ascii=False) + "\n"


def render() -> str:
    document = describe()
    lines = [HEAD]
    for tag in document["tags"]:
        lines += [f"## {tag['name'].capitalize()}\n", f"{tag['description']}\n"]
        for path, methods in document["paths"].items():
            for method, one in methods.items():
                if tag["name"] in one["tags"]:
                    lines += _operation(method.upper(), path, one)
    return "\n".join(lines)


def _operation(method: str, path: str, one: dict[str, Any]) -> list[str]:
    lines = [f"### {method} {path}\n", f"{one['summary']}. {' '.join(one['description'].split())}\n"]
    for content in one.get("requestBody", {}).get("content", {}).values():
        for example in content["examples"].values():
            lines += ["```json", json.dumps(example["value"], ensure_ascii=False), "```\n"]
    lines += ["| answer | |", "|---|---|"]
    lines += [f"| {status} | {answer['description']} |" for status, answer in one["responses"].items() if status != "default"]
    return [*lines, ""]


def main() -> None:
    for path, text in ((DOCUMENT, render_document()), (PAGE, render())):
        if "--check" not in sys.argv[1:]:
            path.write_text(text, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != text:
            raise SystemExit(f"{path.relative_to(ROOT)} is not up to date: ./run docs writes it")


if __name__ == "__main__":
    main()
