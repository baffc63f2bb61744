"""What went wrong, in words, on the page where it can be mended; and the redirection after what went well."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from timmy.errors import Outage, Refusal, TimmyError
from timmy.web.markup import Markup, el
from timmy.web.plain.sheet import sheet
from timmy.web.problems import Problem, document, request_id_of

WORDS = {"amountSats": "The number of sats", "refundTo": "The Lightning address", "lightningAddress": "The Lightning address"}


def trouble_card(error: TimmyError, request: Request) -> Markup:
    told = in_words(error, request)
    ours = el("p", f"Request {request_id_of(request)}", class_="hint") if not isinstance(error, Refusal) else None
    return el("section", el("h2", error.title), el("p", told), ours, class_="card trouble", role="alert")


def in_words(error: TimmyError, request: Request) -> str:
    """What is told to programs, with the words of the form in the place of the fields' names."""
    told = str(document(error, request_id_of(request))["error"])
    for name, words in WORDS.items():
        told = told.replace(name, words)
    return told


def told_when(answer: Response, error: TimmyError, request: Request) -> Response:
    """The same answer, which says when it is worth trying again."""
    after = Problem(error, request_id_of(request)).headers.get("retry-after") or error.extra.get("retryAfterSeconds")
    if after is not None:
        answer.headers["Retry-After"] = str(after)
    return answer


def trouble_page(error: TimmyError, request: Request) -> Response:
    if not isinstance(error, Refusal | Outage):
        raise error  # it goes to the log as any other, and is answered by the envelope
    back = el("p", el("a", "To the front page", href="/api/ui"))
    title = error.title
    return told_when(sheet(f"{title} · Timmy", el("h1", title), _told(error, request), back, status=error.status), error, request)


def _told(error: TimmyError, request: Request) -> Markup:
    return el("p", in_words(error, request), class_="card trouble", role="alert")


def see(path: str) -> Response:
    """RFC 9110 section 15.4.4: go there, and get it."""
    return RedirectResponse(path, status_code=303, headers={"Cache-Control": "no-store"})
