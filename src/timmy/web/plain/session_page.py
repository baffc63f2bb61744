"""A session, as a page of words: its balance, its key, and the forms that spend from it."""

from __future__ import annotations

from starlette.responses import Response

from timmy.money import Msats
from timmy.sessions.protocol import RefundState, RequestState, RequestView, SessionState, SessionView
from timmy.web.house import WebSettings
from timmy.web.markup import NOTHING, Markup, el, together
from timmy.web.plain import forms
from timmy.web.plain.answers import answer
from timmy.web.plain.home import SMALL_DEPOSIT_SATS, Typed
from timmy.web.plain.job_page import REFRESH_SECONDS, rows, to_form
from timmy.web.plain.paying import pay_card, when
from timmy.web.plain.sheet import sheet


def address(session_id: str) -> str:
    return f"/api/ui/sessions/{session_id}"


def session_page(
    view: SessionView,
    settings: WebSettings,
    typed: Typed,
    *,
    pretend: bool,
    trouble: Markup = NOTHING,
    to: str = "",
    status: int = 200,
    still: bool = False,
) -> Response:
    """`to` is what stood in the field that says where the rest should go."""
    waits = view.state is SessionState.AWAITING_PAYMENT or view.pending_topup or (view.refund.owed.value and view.refund.destination)
    title = "Pay your deposit" if view.state is SessionState.AWAITING_PAYMENT else "Your balance"
    return sheet(
        f"{title} · Timmy",
        el("h1", title),
        trouble,
        *_shown(view, settings, typed, pretend, to),
        el("p", el("a", "Look again", href=address(view.id)), " · ", el("a", "To the front page", href="/api/ui")),
        status=status,
        # Whoever types is not interrupted: with a form on the page that spends, it looks again only while a payment is awaited.
        refresh_seconds=REFRESH_SECONDS if waits and not trouble.text else None,
        still=still,
    )


def _shown(view: SessionView, settings: WebSettings, typed: Typed, pretend: bool, to: str) -> tuple[Markup, ...]:
    pretend_at = f"{address(view.id)}/paid" if pretend else None
    if view.state is SessionState.AWAITING_PAYMENT:
        return (pay_card("Payment", "When it has arrived, your balance is open.", view.deposit, pretend_at=pretend_at), _deposit_late(view))
    if view.state is SessionState.EXPIRED:
        return (_balance(view), _rest(view, to, pretend), _key(view))
    waiting = view.pending_topup
    if waiting is not None:
        return (
            _balance(view),
            pay_card("Add to your balance", "It is added when it has arrived.", waiting, pretend_at=pretend_at),
            _key(view),
        )
    return (_balance(view), ask_form(view, typed, settings), _topup(view, settings, typed), _key(view), _close(view, to, pretend))


def _deposit_late(view: SessionView) -> Markup:
    return el("p", "If the time is over and you already paid, wait: we still check for a late payment. Do not pay twice.", class_="hint")


def _balance(view: SessionView) -> Markup:
    told = {
        SessionState.ACTIVE: f"Open. It ends on {when(view.expires_at_ms)} unless it is used.",
        SessionState.PAUSED: f"Paused: below {view.minimum_balance.value:,} sats. Add some to go on.",
        SessionState.EXPIRED: "Ended. What is left is yours." if view.deposit.settled else "It was never paid, and has ended.",
    }[view.state]
    held = el("p", f"{exact(view.held)} sats are held by a question that is being answered.", class_="hint") if view.held else None
    return el("section", el("h2", "Balance"), el("p", f"{exact(view.balance)} sats", class_="amount"), el("p", told), held, class_="card")


def exact(amount: Msats) -> str:
    """Sats, with as many of the three places behind the point as there are: `1,240.5`."""
    whole, rest = divmod(amount.value, 1_000)
    return f"{whole:,}" + (f".{rest:03d}".rstrip("0") if rest else "")


def ask_form(view: SessionView, typed: Typed, settings: WebSettings) -> Markup:
    most = settings.max_request_chars
    asking = forms.form(
        f"{address(view.id)}/request",
        forms.once(),
        forms.hidden("macaroon", view.macaroon or ""),
        forms.text(
            "request",
            "What should Timmy do?",
            value=typed.request,
            chars_max=most,
            hint=f"Up to {most:,} characters. It may take a minute.",
        ),
        el("button", "Ask", type="submit", class_="first"),
    )
    return el("section", el("h2", "Ask"), asking, class_="card")


def _topup(view: SessionView, settings: WebSettings, typed: Typed) -> Markup:
    least, most = settings.session_min.value, settings.session_max.value
    amount = typed.amount or str(min(max(SMALL_DEPOSIT_SATS, least), most))
    adding = forms.form(
        f"{address(view.id)}/topup",
        forms.once(),
        forms.sats("amountSats", "How many sats more?", value=amount, least=least, most=most),
        el("button", "Add to my balance", type="submit"),
    )
    return el("section", el("h2", "Add"), adding, class_="card")


def _key(view: SessionView) -> Markup:
    if view.macaroon is None:
        return NOTHING
    return el(
        "section",
        el("h2", "Your key"),
        el("p", "This key is your money. Keep it: whoever has it, or this page's address, can spend what is here."),
        forms.to_copy("your-key", "Key", view.macaroon, rows=5),
        el("p", "Programs use it as an API key, at /v1.", class_="hint"),
        class_="card",
    )


def _close(view: SessionView, to: str, pretend: bool) -> Markup:
    amount = view.balance.floor_sats().value
    if not amount:
        return NOTHING
    label = f"Close, and send me the {amount:,} sats"
    return el("section", el("h2", "Close"), *_close_forms(view, amount, to, pretend, label), class_="card")


def _close_forms(view: SessionView, amount: int, to: str, pretend: bool, label: str) -> tuple[Markup, ...]:
    action, key = f"{address(view.id)}/close", forms.hidden("macaroon", view.macaroon or "")
    shown = [to_form(action, amount, to, inside=key, label=label, grave=True)]
    if pretend:
        button = el("button", "Close, to the pretend customer", type="submit")
        shown.append(forms.form(action, forms.once(), key, forms.hidden("pretend", "1"), el("p", "Test mode: ", button)))
    return tuple(shown)


def _rest(view: SessionView, to: str, pretend: bool) -> Markup:
    refund = view.refund
    told: list[Markup] = []
    if refund.paid.value:
        told.append(el("p", f"✓ {refund.paid.value:,} sats were sent back to you.", class_="state ok"))
    if refund.trouble:
        told.append(el("p", f"The last attempt did not arrive: {refund.trouble}", class_="warn"))
    left = refund.owed.value or view.balance.floor_sats().value
    if refund.owed.value and refund.destination:
        told.append(el("p", f"◌ {refund.owed.value:,} sats are on their way to you.", class_="state warn"))
    elif left and view.macaroon is not None:
        told += _close_forms(view, left, to, pretend, f"Send me the {left:,} sats")
    elif refund.state is RefundState.NOT_APPLICABLE:
        told.append(el("p", "Nothing is left to be sent back."))
    return el("section", el("h2", "Back to you"), *told, class_="card")


def request_page(session: SessionView, view: RequestView, settings: WebSettings, *, still: bool = False) -> Response:
    running = view.state is RequestState.RUNNING
    titles = {
        RequestState.RUNNING: "Timmy is at it",
        RequestState.COMPLETE: "The answer",
        RequestState.REJECTED: "Timmy will not do this",
        RequestState.FAILED: "It did not work out",
    }
    return sheet(
        f"{titles[view.state]} · Timmy",
        el("h1", titles[view.state]),
        _outcome(view),
        NOTHING if running else _cost(view),
        el("section", el("h2", "You asked"), el("p", view.request, class_="asked")) if view.request else NOTHING,
        NOTHING if running else together(_balance(session), *([ask_form(session, Typed(), settings)] if _can_ask(session) else [])),
        el("p", el("a", "To my balance", href=address(session.id))),
        refresh_seconds=REFRESH_SECONDS if running else None,
        still=still,
    )


def _can_ask(session: SessionView) -> bool:
    return session.state is SessionState.ACTIVE and session.macaroon is not None


def _outcome(view: RequestView) -> Markup:
    match view.state:
        case RequestState.RUNNING:
            return el(
                "section",
                el("p", "◌ Your question is being answered. This page looks again by itself.", class_="state warn"),
                class_="card",
            )
        case RequestState.COMPLETE:
            cut = el("p", "The answer ends here because what was held for it was used up.", class_="warn") if view.truncated else None
            return el("section", answer(view.result or ""), cut, class_="card")
        case RequestState.REJECTED:
            said = "✗ Refused. Reading your question is charged, and nothing else:"
        case RequestState.FAILED:
            said = "✗ Failed. It cost you nothing:"
    return el("section", el("p", said, class_="state err"), el("p", view.reason or "", class_="said"), class_="card")


def _cost(view: RequestView) -> Markup:
    lines = [("You paid", f"{exact(view.debited)} sats")]
    if view.absorbed:
        lines.append(("The pool paid", f"{exact(view.absorbed)} sats"))
    if view.cost is not None:
        lines += [("Held for it", f"{exact(view.cost.reserved)} sats"), ("Cost before the margin", f"${view.cost.actual_cost}")]
    return el("section", el("h2", "What it cost"), rows(*lines, ("Left", f"{exact(view.balance_remaining)} sats")), class_="card")
