"""A job, as a page of words: one page for each state."""

from __future__ import annotations

from typing import assert_never

from starlette.responses import Response

from timmy.jobs.model import CostLedger, InvoiceView, JobView, RefundState, State
from timmy.pricing import Quote
from timmy.web import fields, views
from timmy.web.markup import NOTHING, Markup, el, together
from timmy.web.plain import forms
from timmy.web.plain.answers import answer
from timmy.web.plain.paying import pay_card, when
from timmy.web.plain.sheet import sheet

REFRESH_SECONDS = 4
STEPS = ("Check fee", "Reading", "Price", "Work", "Done")
AT_STEP = {
    State.AWAITING_EVAL_PAYMENT: 0,
    State.EVALUATING: 1,
    State.REJECTED: 1,
    State.AWAITING_WORK_PAYMENT: 2,
    State.EXECUTING: 3,
    State.FAILED: 3,
    State.COMPLETE: 4,
}
TITLES = {
    State.AWAITING_EVAL_PAYMENT: "Pay the check fee",
    State.EVALUATING: "Timmy is reading",
    State.REJECTED: "Timmy will not do this",
    State.AWAITING_WORK_PAYMENT: "The price of the work",
    State.EXECUTING: "Timmy is working",
    State.COMPLETE: "Done",
    State.FAILED: "It did not work out",
    State.EXPIRED: "The time to pay is over",
}


def address(job_id: str) -> str:
    return f"/api/ui/jobs/{job_id}"


def job_page(
    view: JobView,
    *,
    so_far: str,
    pretend: bool,
    receipts: bool,
    trouble: Markup = NOTHING,
    typed: str = "",
    status: int = 200,
    still: bool = False,
) -> Response:
    """`trouble` is what went wrong with what was just sent, and `typed` what stood in the refund's field. Then the page does not look again
    by itself: it would take away what is being read."""
    waits = view.state in AWAITED or (view.refund.state is RefundState.PENDING and bool(view.refund.destination))
    return sheet(
        f"{TITLES[view.state]} · Timmy",
        _steps(view.state),
        el("h1", TITLES[view.state]),
        trouble,
        _state(view, so_far, pretend),
        _refund(view, typed, pretend),
        _asked(view, receipts),
        status=status,
        refresh_seconds=REFRESH_SECONDS if waits and not trouble.text else None,
        still=still,
    )


AWAITED = (State.AWAITING_EVAL_PAYMENT, State.EVALUATING, State.AWAITING_WORK_PAYMENT, State.EXECUTING)


def _steps(state: State) -> Markup:
    if state not in AT_STEP:
        return NOTHING
    at = AT_STEP[state]
    shown = (el("li", step, aria_current="step" if place == at else None) for place, step in enumerate(STEPS))
    return el("ol", *shown, class_="steps", aria_label="Steps of a job")


def _state(view: JobView, so_far: str, pretend: bool) -> Markup:
    match view.state:
        case State.AWAITING_EVAL_PAYMENT:
            return _pay(view, view.eval_invoice, "So Timmy can read your request, and tell what the work would cost.", pretend)
        case State.EVALUATING:
            return el(
                "section", el("p", "◌ The check fee is paid. Timmy reads your request.", class_="state warn"), _waiting(view), class_="card"
            )
        case State.REJECTED:
            return _rejected(view)
        case State.AWAITING_WORK_PAYMENT:
            return _priced(view, pretend)
        case State.EXECUTING:
            return _working(view, so_far)
        case State.COMPLETE:
            return _done(view)
        case State.FAILED:
            return _failed(view)
        case State.EXPIRED:
            return _expired(view)
        case _:
            assert_never(view.state)


def _pay(view: JobView, invoice: InvoiceView, why: str, pretend: bool) -> Markup:
    return pay_card("Payment", why, invoice, pretend_at=f"{address(view.id)}/paid" if pretend else None)


def _waiting(view: JobView) -> Markup:
    return el("p", f"It takes longer than usual: {view.waiting}", class_="warn") if view.waiting else NOTHING


def _rejected(view: JobView) -> Markup:
    fee = view.eval_invoice.amount.value
    return el(
        "section",
        el("p", "✗ Refused. Timmy was asked whether to do this, and said no:", class_="state err"),
        el("p", view.reason or "No reason was given.", class_="said"),
        el("p", f"The check fee of {fee:,} sats paid for reading your request. Nothing more is asked for."),
        again(view.request, "Ask for something else", first=False),
        class_="card",
    )


def _priced(view: JobView, pretend: bool) -> Markup:
    assert view.work_invoice is not None
    gift = None
    if view.absorbed:
        gift = el("p", f"Of the price, the pool pays {view.absorbed.floor_sats().value:,} sats for you.", class_="ok")
    why = "Timmy will do it. This is the whole price; what the work does not use, you get back."
    return together(gift, _pay(view, view.work_invoice, why, pretend), _breakdown(view.quote) if view.quote else None)


def _breakdown(quote: Quote) -> Markup:
    return el(
        "section",
        el("h2", "How the price is made"),
        rows(
            ("Model", quote.model),
            ("Tokens to read, estimated", f"{quote.estimated_input_tokens:,}"),
            ("Tokens to write, estimated", f"{quote.estimated_output_tokens:,}"),
            ("Cost, estimated", f"${views.dollars(quote.estimated_cost)}"),
            ("of that, the machine", f"${views.dollars(quote.infra)}"),
            ("Margin", f"{views.hundredths(quote.margin_bp)} %"),
            ("Bitcoin", f"${views.hundredths(quote.btc.cents_per_btc):,} ({quote.btc.source})"),
            ("Price", f"{quote.price.value:,} sats"),
        ),
        class_="card",
    )


def _working(view: JobView, so_far: str) -> Markup:
    paid = "The pool pays for this one." if view.free else "The work is paid."
    written = together(el("h2", "Written so far"), el("p", so_far, class_="said")) if so_far else None
    return el("section", el("p", f"◌ {paid} Timmy is at it.", class_="state warn"), _waiting(view), written, class_="card")


def _done(view: JobView) -> Markup:
    cut = el("p", "The answer ends here because the price was used up.", class_="warn") if view.truncated else None
    return together(
        el("section", el("h2", "The answer"), answer(view.result or ""), cut, class_="card"),
        _ledger(view, view.cost) if view.cost else None,
    )


def _ledger(view: JobView, cost: CostLedger) -> Markup:
    back = (view.refund.owed + view.refund.paid).value
    given = view.absorbed.floor_sats().value
    lines = [
        ("Check fee", f"{view.eval_invoice.amount.value:,} sats"),
        ("Work, paid", f"{cost.paid.ceil_sats().value:,} sats"),
        ("Work, real price", f"{cost.charged.ceil_sats().value:,} sats"),
        *([("Paid by the pool", f"{given:,} sats")] if given else []),
        ("Back to you", f"{back:,} sats"),
        ("Tokens read and written", f"{cost.usage.input:,} and {cost.usage.output:,}{' (counted by us)' if cost.usage.estimated else ''}"),
        ("Real cost before the margin", f"${views.dollars(cost.actual_cost)}"),
    ]
    if view.refund.credit:
        lines.append(("Less than a sat, still yours", f"{view.refund.credit.value} msat"))
    return el("section", el("h2", "What it cost"), rows(*lines), class_="card")


def _failed(view: JobView) -> Markup:
    return el(
        "section",
        el("p", "✗ Failed. What you paid for the work is owed back to you, all of it.", class_="state err"),
        el("p", view.reason or "", class_="said"),
        again(view.request, "Try again", first=True),
        class_="card",
    )


def _expired(view: JobView) -> Markup:
    invoice = view.work_invoice or view.eval_invoice
    return el(
        "section",
        el("p", f"The payment code was good until {when(invoice.expires_at_ms)}. Do not pay it any more.", class_="state warn"),
        el(
            "p",
            "If you already paid, wait: we still check for a late payment. What arrives late is yours; it is shown here, to be sent back.",
        ),
        again(view.request, "New payment code for the same request", first=True),
        el("p", el("a", "Look again", href=address(view.id))),
        class_="card",
    )


def again(request: str, label: str, *, first: bool) -> Markup:
    """A new job: at once, or on the front page with the text in its place."""
    button = el("button", label, type="submit", class_="first" if first else None)
    return (
        forms.form("/api/ui/jobs", forms.once(), forms.hidden("request", request), button)
        if first
        else el("p", el("a", label, href="/api/ui"))
    )


def _refund(view: JobView, typed: str, pretend: bool) -> Markup:
    refund = view.refund
    if refund.state is RefundState.NOT_APPLICABLE:
        return NOTHING
    told: list[Markup | None] = []
    if refund.paid.value:
        told.append(el("p", f"✓ {refund.paid.value:,} sats were sent back to you.", class_="state ok"))
    if refund.trouble:
        told.append(el("p", f"The last attempt did not arrive: {refund.trouble}", class_="warn"))
    if refund.owed.value and refund.destination:
        told.append(el("p", f"◌ {refund.owed.value:,} sats are on their way to you.", class_="state warn"))
    elif refund.owed.value:
        told.append(_refund_form(view, typed, pretend))
    return el("section", el("h2", "Back to you"), *told, class_="card")


def _refund_form(view: JobView, typed: str, pretend: bool) -> Markup:
    owed = view.refund.owed.value
    if view.refund_to and not view.refund.trouble:
        return el("p", f"◌ {owed:,} sats go back to {view.refund_to}.", class_="state warn")
    action = f"{address(view.id)}/refund"
    pretended = None
    if pretend:
        button = el("button", "Send them to the pretend customer", type="submit")
        pretended = forms.form(action, forms.once(), forms.hidden("pretend", "1"), el("p", "Test mode: ", button))
    return together(el("p", f"{owed:,} sats are yours again."), to_form(action, owed, typed, takes_lnurl=True), pretended)


def to_form(
    action: str,
    amount_sats: int,
    typed: str,
    *,
    inside: Markup = NOTHING,
    label: str = "",
    grave: bool = False,
    takes_lnurl: bool = False,
) -> Markup:
    """Where sats are sent: an address or an invoice, in one field; a job's may go to an LNURL too."""
    places = "Lightning address, LNURL or invoice" if takes_lnurl else "Lightning address or invoice"
    hint = f"Like name@example.com; or a Lightning invoice of exactly {amount_sats:,} sats, made in your wallet."
    where = forms.line("to", places, value=typed, hint=hint, chars_max=fields.INVOICE_CHARS_MAX)
    button = el("button", label or f"Send me the {amount_sats:,} sats", type="submit", class_="grave" if grave else "first")
    return forms.form(action, forms.once(), inside, where, button)


def _asked(view: JobView, receipts: bool) -> Markup:
    receipt = el("a", "Receipt", href=f"/api/jobs/{view.id}/receipt") if receipts and view.state.is_final else None
    links = together(
        el("a", "Look again", href=address(view.id)),
        " · " if receipt else None,
        receipt,
        " · ",
        el("a", "Ask something else", href="/api/ui"),
    )
    return el(
        "section",
        el("h2", "You asked"),
        el("p", view.request, class_="asked"),
        el("p", f"Job {view.id}. Keep this page's address: whoever has it can see the job and take what is owed to it.", class_="hint"),
        el("p", links),
    )


def rows(*lines: tuple[str, str]) -> Markup:
    body = (el("tr", el("th", name, scope="row"), el("td", value, class_="n")) for name, value in lines)
    return el("div", el("table", el("tbody", *body)), class_="scroll", tabindex=0, role="group", aria_label="Table")
