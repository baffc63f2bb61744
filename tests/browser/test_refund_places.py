"""Where a refund can be sent to, as people paste it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest
from bech32 import bech32_encode, convertbits
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.house import House
from tests.browser.test_balance import with_balance

MSAT_PER_SAT = 1_000


@contextmanager
def payee(house: House) -> Iterator[str]:
    """Somebody's LNURL-pay service (LUD-06), with invoices of the built-in customer; its URL."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            here = f"http://127.0.0.1:{server.server_port}"
            if asked.path == "/pay":
                limits = {"minSendable": MSAT_PER_SAT, "maxSendable": 1_000_000 * MSAT_PER_SAT}
                told: dict[str, object] = {
                    "tag": "payRequest",
                    "callback": f"{here}/invoice",
                    "metadata": '[["text/plain", "me"]]',
                    **limits,
                }
            else:
                told = {"pr": house.customer_invoice(int(parse_qs(asked.query)["amount"][0]) // MSAT_PER_SAT), "routes": []}
            body = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/pay"
    server.shutdown()
    server.server_close()


def coded(url: str) -> str:
    words = convertbits(url.encode(), 8, 5)
    assert words is not None
    return str(bech32_encode("lnurl", words))


@pytest.mark.parametrize("dressed", ["{}", "lightning:{}", "  LIGHTNING:{}  "])
def test_an_lnurl_takes_the_sats(visit: Visit, house: House, dressed: str) -> None:
    with payee(house) as url:
        visitor = visit()
        visitor.buys()
        code = coded(url)
        visitor.page.fill("#payout-to", dressed.format(code.upper() if "LIGHTNING" in dressed else code))
        visitor.page.locator(".payout button[type=submit]").click()
        visitor.sees("went back to you")


def test_what_is_no_place_for_sats_is_told_with_what_would_be(visit: Visit) -> None:
    visitor = visit()
    visitor.buys()
    for nonsense in ("", "alice", "lnbc", "https://example.org"):
        visitor.page.fill("#payout-to", nonsense)
        visitor.page.locator(".payout button[type=submit]").click()
        expect(visitor.locator("#payout-trouble")).to_contain_text("Write a Lightning address, LNURL, or an invoice for exactly")
    visitor.page.fill("#payout-to", "lnurl1nonsense")
    visitor.page.locator(".payout button[type=submit]").click()
    expect(visitor.locator("#payout-trouble")).to_contain_text("Copy it again from your wallet")
    visitor.is_accessible("a place that is none")
    visitor.forgive("400", "422")


def test_a_balance_says_that_it_goes_to_no_lnurl(visit: Visit) -> None:
    visitor = with_balance(visit)
    visitor.button("Close and take the rest").click()
    visitor.page.fill("#payout-to", coded("https://example.org/pay"))
    visitor.page.locator(".payout button[type=submit]").click()
    expect(visitor.locator("#payout-trouble")).to_have_text("Write a Lightning address, or an invoice for exactly 500 sats.")
