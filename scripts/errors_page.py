"""Write docs/reference/errors.md: every error that Timmy can answer with, from the classes that raise them.

With --check nothing is written, and a page that is not what it would be is an error.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

import timmy
from timmy.errors import Breach, Outage, Refusal, TimmyError
from timmy.web.problems import all_errors

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "errors.md"

HEAD = """# Errors

Every error is answered as `application/problem+json` (RFC 9457): `code` is for programs and stays as it is; `error` is a sentence for a
person, says what to do next, and may be reworded. `requestId` finds the request in the operator's log. Some errors have further
members, such as the amount that would have been right.

An address or a method that does not exist, a body that is no JSON, and a bug of ours are answered in the same shape.

This page is made by `scripts/errors_page.py` from the error classes; edit those.
"""

FAMILIES: tuple[tuple[type[TimmyError], str, str], ...] = (
    (Refusal, "Refusals", "The caller can do something about it; the same request again is refused again."),
    (
        Outage,
        "Outages",
        "Someone that Timmy depends on did not answer. `Retry-After` says when to ask again; with the same `Idempotency-Key` it is safe.",
    ),
    (
        Breach,
        "Breaches",
        "The books disagree. Nothing goes on past it, and the operator is alarmed. Outside no more is told than that it is not your fault.",
    ),
)


def classes() -> list[type[TimmyError]]:
    """All of the house's own, whether the web knows them or not."""
    for module in pkgutil.walk_packages(timmy.__path__, "timmy."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    known: tuple[type[TimmyError], ...] = (TimmyError, *all_errors())
    # The client's are what a buyer's program is told on its own machine: no server answers with them.
    return [kind for kind in dict.fromkeys(known) if kind.__module__.startswith("timmy.") and room(kind) != "client"]


def room(kind: type[TimmyError]) -> str:
    parts = kind.__module__.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def about(kind: type[TimmyError]) -> str:
    """The class's own docstring as one line; a class without one says all in its title."""
    own = kind.__dict__.get("__doc__")
    return " ".join(inspect.cleandoc(own).split()).replace("|", "\\|") if own else ""


def render() -> str:
    known = classes()
    lines = [HEAD]
    for family, title, meaning in FAMILIES:
        rows = sorted((kind for kind in known if issubclass(kind, family)), key=lambda kind: (kind.status, kind.code, kind.__module__))
        lines += [f"## {title}\n", f"{meaning}\n", "| code | status | meaning | room | more |", "|---|---|---|---|---|"]
        lines += [f"| `{kind.code}` | {kind.status} | {kind.title} | {room(kind)} | {about(kind)} |" for kind in rows]
        lines.append("")
    lines += [
        "## Neither\n",
        f"`{TimmyError.code}` ({TimmyError.status}): {TimmyError.title.lower()}. A bug: please report it with the `requestId`.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    page = render()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page, "utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != page:
        raise SystemExit(f"{PAGE.relative_to(ROOT)} is not up to date: ./run docs writes it")


if __name__ == "__main__":
    main()
