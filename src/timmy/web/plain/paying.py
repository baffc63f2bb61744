"""An invoice as a page shows it: what it is for, how much, as a picture, as a link, and as a text to be copied."""

from __future__ import annotations

import functools
from typing import Protocol

import segno

from timmy.clock import SECOND_MS, iso
from timmy.money import Sats
from timmy.web.markup import Markup, el
from timmy.web.plain import forms

QR_PIXELS = 4  # to a module
QR_QUIET_MODULES = 4  # the standard's quiet zone
QR_KEPT = 256


class Invoice(Protocol):
    @property
    def payment_request(self) -> str: ...
    @property
    def amount(self) -> Sats: ...
    @property
    def expires_at_ms(self) -> int: ...


def pay_card(title: str, why: str, invoice: Invoice, *, pretend_at: str | None) -> Markup:
    """`pretend_at`: in development, where the form goes that marks it as paid."""
    amount, text = invoice.amount.value, invoice.payment_request
    pretend = None
    if pretend_at is not None:
        button = el("button", "Mark as paid", type="submit")
        pretend = forms.form(pretend_at, el("p", "Test mode: this server can pay its own invoice. ", button))
    return el(
        "section",
        el("h2", title),
        el("p", why),
        el("p", f"{amount:,} sats", class_="amount"),
        el("p", el("span", "◌", aria_hidden="true"), "Waiting for payment. This page looks again by itself.", class_="state warn"),
        _qr(text, f"QR code of a Lightning invoice for {amount} sats"),
        el("p", el("a", "Open in wallet", href=f"lightning:{text}", class_="button first"), class_="buttons"),
        forms.to_copy("invoice", "Or copy this into your wallet", text),
        el("p", f"Good until {when(invoice.expires_at_ms)}. Scan it or copy it, and pay it once.", class_="hint"),
        pretend,
        class_="card",
    )


def when(at_ms: int) -> str:
    """To the second: `2026-01-31 18:40:00 UTC`."""
    return iso(at_ms - at_ms % SECOND_MS)[:19].replace("T", " ") + " UTC"


def _qr(payment_request: str, told: str) -> Markup:
    source, pixels = qr_picture(payment_request)
    return el("img", src=source, alt=told, width=pixels, height=pixels, class_="qr")


@functools.lru_cache(maxsize=QR_KEPT)
def qr_picture(payment_request: str) -> tuple[str, int]:
    """As a `data:` address, with its width. Upper case, of which a QR code needs fewer modules. Kept, because it takes 30 ms to draw and
    the page is asked for every few seconds."""
    code = segno.make_qr(f"LIGHTNING:{payment_request.upper()}", error="l", boost_error=False)
    return code.png_data_uri(scale=QR_PIXELS, border=QR_QUIET_MODULES), int(code.symbol_size(scale=QR_PIXELS, border=QR_QUIET_MODULES)[0])
