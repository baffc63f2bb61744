"""The plain page's front: ask, see what it would cost, open a balance."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.responses import Response

from timmy.generosity.status import PoolStatus
from timmy.jobs.estimate import Estimate
from timmy.web import people_views, views
from timmy.web.fields import ADDRESS_CHARS_MAX
from timmy.web.house import WebSettings
from timmy.web.markup import NOTHING, Markup, el, together
from timmy.web.plain import forms
from timmy.web.plain.answers import answer
from timmy.web.plain.job_page import rows
from timmy.web.plain.sheet import sheet
from timmy.world.demo import Answer

MACAROON_CHARS_MAX = 4_096
SMALL_DEPOSIT_SATS = 500
# What a stand-in is to a customer, by the part that it stands in for. What would be the real thing is said to the operator: at the desk
# and in the terminal.
TEST_MODE = {
    "wallet": "Test mode: nothing real is paid here. The invoices are for trying it out, and a real wallet refuses them.",
    "provider": "Test mode: the answers come from a stand-in, and not from a language model.",
}


@dataclass(frozen=True, slots=True)
class Typed:
    """What stands in the fields: what somebody has typed is not taken from them because something was wrong with it."""

    request: str = ""
    refund_to: str = ""
    amount: str = ""
    macaroon: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Front:
    pool: PoolStatus
    frozen: bool
    pretended: tuple[str, ...]  # parts of the house that are not the real thing
    free_answers: int = 0  # in an hour, to one address


def home_page(
    front: Front,
    settings: WebSettings,
    typed: Typed,
    *,
    estimate: Estimate | None = None,
    free: Answer | None = None,
    trouble: Markup = NOTHING,
    status: int = 200,
) -> Response:
    return sheet(
        "Ask Timmy",
        el("h1", "Ask Timmy"),
        el(
            "p",
            "An AI agent that works for bitcoin, by Lightning. No account, no card. You see each price before you pay it, and get back "
            "what was not used.",
        ),
        *(el("p", words, class_="warn") for part, words in TEST_MODE.items() if part in front.pretended),
        trouble,
        _given(free) if free else NOTHING,
        _ask(front, settings, typed, estimate),
        _pool(front),
        _balance(settings, typed),
        status=status,
    )


def _given(free: Answer) -> Markup:
    """What was answered for nothing."""
    cut = el("p", "A free answer is short: it ends here.", class_="warn") if free.truncated else None
    said = answer(free.result) if free.result is not None else el("p", f"✗ Refused: {free.reason}", class_="err said")
    left = el("p", f"It was free. {_more(free.use.left)} free for you in this hour.", class_="hint")
    return el("section", el("h2", "The answer"), said, cut, left, class_="card", id="answer", role="status")


def _more(left: int) -> str:
    return "Nothing more is" if left == 0 else "One more is" if left == 1 else f"{left} more are"


def _ask(front: Front, settings: WebSettings, typed: Typed, estimate: Estimate | None) -> Markup:
    most = settings.max_request_chars
    ask = forms.form(
        "/api/ui/jobs",
        forms.once(),
        forms.text("request", "What should Timmy do?", value=typed.request, chars_max=most, rows=5, hint=f"Up to {most:,} characters."),
        forms.line(
            "refundTo", "Lightning address for what you get back (not needed)", value=typed.refund_to, chars_max=ADDRESS_CHARS_MAX,
            required=False,
            hint="Like name@example.com. Without it, you name a place at the end.",
        ),
        el(
            "div",
            el("button", "Hire Timmy", type="submit", class_="first"),
            el("button", "What would it cost?", type="submit", formaction="/api/ui/estimate"),
            el("button", "One free, short answer", type="submit", formaction="/api/ui/demo") if front.free_answers else None,
            class_="buttons",
        ),
    )  # fmt: skip
    return el("section", el("h2", "One job"), ask, _estimated(estimate) if estimate else None, class_="card", id="ask")


def _estimated(estimate: Estimate) -> Markup:
    quote = estimate.quote
    given = people_views.served(estimate.decision, quote.price)
    free = given["absorbSats"]
    return together(
        el("h3", "It would cost about"),
        rows(
            ("Check fee, paid first", f"{estimate.eval_fee.value:,} sats"),
            ("Work, about", f"{quote.price.value:,} sats"),
            *([("of that, the pool would pay", f"{free:,} sats")] if free else []),
            ("Work in dollars, before the margin", f"${views.dollars(quote.estimated_cost)}"),
        ),
        el("p", "Nothing has been ordered. The price that counts is shown before you pay it.", class_="hint"),
    )


def _pool(front: Front) -> Markup:
    pool = front.pool
    free, whole = pool.available.floor_sats().value, (pool.available + pool.reserved).floor_sats().value
    if front.frozen:
        told = "The pool is closed at the moment. Jobs cost the usual price."
    elif not free:
        told = "The pool is empty. Jobs cost the usual price."
    else:
        told = (
            f"{free:,} of {whole:,} sats are free to give. A part of each payment goes in; people whom Timmy knows by a Nostr key get "
            "work from it."
        )
    gauge = el("meter", told, min=0, max=max(whole, 1), value=free, aria_label="Free to give, of what the pool holds")
    return el("section", el("h2", "Generosity pool"), gauge, el("p", told), class_="card")


def _balance(settings: WebSettings, typed: Typed) -> Markup:
    least, most = settings.session_min.value, settings.session_max.value
    opened = forms.form(
        "/api/ui/sessions",
        forms.once(),
        forms.sats(
            "amountSats", "How many sats?", value=typed.amount or str(min(max(SMALL_DEPOSIT_SATS, least), most)), least=least, most=most
        ),
        el("button", "Open a balance", type="submit", class_="first"),
    )
    found = forms.form(
        "/api/ui/sessions/key",
        forms.line(
            "macaroon", "Your key", value=typed.macaroon, chars_max=MACAROON_CHARS_MAX, hint="It was shown when your balance was opened."
        ),
        el("button", "Go to my balance", type="submit"),
    )
    return el(
        "section",
        el("h2", "A balance, for many questions"),
        el(
            "p", "One payment, then a question at a time. Each costs what it really cost, and you can take the rest back whenever you like."
        ),
        opened,
        el("details", el("summary", "I have a balance already"), found, open=bool(typed.macaroon)),
        class_="card",
        id="balance",
    )
