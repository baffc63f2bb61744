"""Forms: read within the limits of a JSON body, and only where a page of ours has sent them."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from timmy.idempotency import Key
from timmy.ids import new_id
from timmy.web.bodies import check_texts, read_raw, sha256_of
from timmy.web.markup import Markup, el, together
from timmy.web.refusals import FieldRepeated, FormMalformed, OriginNotAllowed, UnsupportedMediaType

FORM_TYPE = "application/x-www-form-urlencoded"
FIELDS_MAX = 20
KEY_CHARS_MAX = 64
KEY = "key"


async def read_form(request: Request, *, bytes_max: int, public_url: str) -> dict[str, str]:
    """The form's fields. Refusals: of another site's page 403, the body's 400, 408, 413, 415, 422."""
    check_origin(request, public_url)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        raise UnsupportedMediaType("This address takes what a form on this site sends. Programs find theirs at /api/docs.")
    raw = await read_raw(request, bytes_max=bytes_max)
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, strict_parsing=bool(raw), errors="strict", max_num_fields=FIELDS_MAX)
    except ValueError:  # UnicodeDecodeError is one
        raise FormMalformed("The form did not arrive as it was sent. Go back and send it again.") from None
    # A browser ends lines as in a letter by telegraph; a text that was typed with one line end counts as one character.
    found = {name: value.replace("\r\n", "\n") for name, value in pairs}
    if len(found) < len(pairs):
        raise FieldRepeated("A field is given twice in the form; it is not clear which of the two is meant.")
    check_texts(dict(found))
    return found


def check_origin(request: Request, public_url: str) -> None:
    """A page of another site may not send our forms in its visitors' name (H08). What says nothing of where it is from, is no browser
    that could be misled."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        ours = site in ("same-origin", "none")
    else:
        ours = origin is None or urlsplit(origin).netloc in (request.headers.get("host", ""), urlsplit(public_url).netloc)
    if not ours:
        raise OriginNotAllowed("This form was sent by a page of another site. Open this site yourself, and send it from there.")


def once() -> Markup:
    """A field that makes sending the form twice the same as sending it once."""
    return hidden(KEY, new_id("form"))


def hidden(name: str, value: str) -> Markup:
    return el("input", type="hidden", name=name, value=value)


def key_of(form: Mapping[str, str], document: dict[str, object], principal: str = "anonymous") -> Key | None:
    """What `once` put there. Whoever leaves it out may send it twice."""
    given = form.get(KEY, "")
    return (
        Key(given, sha256_of(document), principal)
        if given and given.isascii() and given.isprintable() and len(given) <= KEY_CHARS_MAX
        else None
    )


def form(action: str, *inside: Markup) -> Markup:
    return el("form", *inside, method="post", action=action)


def field(name: str, label: str, control: Markup, hint: str = "") -> Markup:
    told = el("span", hint, class_="hint", id=f"{name}-hint") if hint else None
    return el("div", el("label", label, for_=name), control, told, class_="field")


def line(name: str, label: str, *, value: str = "", hint: str = "", chars_max: int, kind: str = "text", required: bool = True) -> Markup:
    control = el(
        "input", id=name, name=name, type=kind, value=value, maxlength=chars_max, required=required, autocomplete="off", spellcheck="false",
        aria_describedby=f"{name}-hint" if hint else None,
    )  # fmt: skip
    return field(name, label, control, hint)


def sats(name: str, label: str, *, value: str, least: int, most: int) -> Markup:
    control = el(
        "input", id=name, name=name, inputmode="numeric", pattern="[0-9]*", maxlength=12, required=True, value=value, autocomplete="off",
        aria_describedby=f"{name}-hint",
    )  # fmt: skip
    return field(name, label, control, f"From {least:,} to {most:,} sats.")


def text(name: str, label: str, *, value: str = "", chars_max: int, rows: int = 4, hint: str = "") -> Markup:
    # A browser drops a line feed that a text area begins with; of two it drops one.
    control = el(
        "textarea", "\n" + value, id=name, name=name, rows=rows, maxlength=chars_max, required=True,
        aria_describedby=f"{name}-hint" if hint else None,
    )  # fmt: skip
    return field(name, label, control, hint)


def to_copy(name: str, label: str, value: str, rows: int = 4) -> Markup:
    return together(el("label", label, for_=name), el("textarea", "\n" + value, id=name, rows=rows, readonly=True, class_="copy"))
