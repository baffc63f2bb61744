"""A job, from the order to the refund, as people do it: with a camera, a wallet in the browser, or nothing but keys."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Visit
from tests.browser.house import House, at_home
from tests.browser.visitor import READY, TITLE, Visitor

TTL_SECONDS = 600


def test_what_the_camera_reads_is_paid_through_to_the_refund(visit: Visit) -> None:
    visitor = visit()
    visitor.hire("Write a spell for rain.")
    visitor.sees_title("Pay the check fee")
    assert visitor.locator(".amount").inner_text() == "10 sats"
    shown = visitor.locator("code.invoice").inner_text()
    assert visitor.scan() == f"LIGHTNING:{shown.upper()}"
    assert visitor.locator("a[href^='lightning:']").get_attribute("href") == f"lightning:{shown}"
    visitor.button("Copy invoice").click()
    expect(visitor.locator(".pay .waiting")).to_contain_text("Copied")
    assert visitor.page.evaluate("() => navigator.clipboard.readText()") == shown
    expect(visitor.locator(".pay .num")).to_be_hidden()
    visitor.is_accessible("the check fee")

    visitor.pays()
    visitor.sees_title("Timmy's price")
    assert visitor.focused() == "panel-title"
    visitor.hears("Payment received")
    expect(visitor.locator(".steps [aria-current]")).to_have_text("Price")
    visitor.page.get_by_text("How this price came about").click()
    visitor.sees("40 %")
    visitor.is_accessible("the price")

    visitor.pays()
    visitor.sees_title("Done")
    visitor.sees("Stand-in demo agent", ".answer")
    owed = int(re.findall(r"Back to you\s+([\d,]+) sats", visitor.locator(".costs").inner_text())[0].replace(",", ""))
    visitor.is_accessible("the answer")
    visitor.page.fill("#payout-to", visitor.house.customer_invoice(owed))
    visitor.button(f"Send me the {owed} sats").click()
    visitor.sees(f"{owed} sats went back to you")
    visitor.is_accessible("the refund")


def test_the_whole_of_it_goes_by_keyboard_alone(visit: Visit) -> None:
    visitor = visit()
    keys = visitor.page.keyboard
    keys.press("Tab")
    assert visitor.focused() == "Skip to the message box"
    keys.press("Enter")
    keys.type("Make me a riddle.")
    for expected in ("say-button", "hire-button"):
        keys.press("Tab")
        assert visitor.focused() == expected
    keys.press("Enter")
    visitor.sees_title("Pay the check fee")
    for title in ("Timmy's price", "Done"):
        tab_to(visitor, "test-pay")
        keys.press("Enter")
        visitor.sees_title(title)
        expect(visitor.locator(TITLE)).to_be_focused()
    tab_to(visitor, "test-refund")
    keys.press("Enter")
    visitor.sees("went back to you")
    keys.press("Escape")
    expect(visitor.locator("#panel")).to_be_hidden()
    assert visitor.focused() == "message"


def tab_to(visitor: Visitor, wanted: str, tabs_max: int = 25) -> None:
    expect(visitor.locator(f"#{wanted}")).to_be_visible()
    for _ in range(tabs_max):
        visitor.page.keyboard.press("Tab")
        if visitor.focused() == wanted:
            return
    pytest.fail(f"{wanted} cannot be reached with the Tab key")


WALLET = """() => { window.webln = {
  enable: async () => { window.enabled = true },
  sendPayment: async invoice => {
    if (!window.enabled) throw new Error('not enabled');
    %s
    await window.payIt(invoice);
    return {preimage: '00'};
  },
  makeInvoice: async ({amount}) => ({paymentRequest: await window.makeIt(amount)}),
} }"""


def with_wallet(house: House, refuses: str = "") -> Any:
    def before(page: Page) -> None:
        page.expose_function("payIt", house.pay_as_a_wallet)
        page.expose_function("makeIt", house.customer_invoice)
        page.add_init_script(f"({WALLET % refuses})()")

    return before


def test_a_wallet_in_the_browser_pays_and_takes_the_refund(visit: Visit, house: House) -> None:
    visitor = visit(before=with_wallet(house))
    visitor.hire()
    for title in ("Timmy's price", "Done"):
        visitor.button("Pay with browser wallet").click()
        visitor.sees_title(title)
    visitor.button("Take it with browser wallet").click()
    visitor.sees("went back to you")


def test_a_wallet_that_says_no_can_be_asked_again(visit: Visit, house: House) -> None:
    visitor = visit(before=with_wallet(house, "throw new Error('User rejected');"))
    visitor.hire()
    visitor.button("Pay with browser wallet").click()
    visitor.sees("Your wallet did not pay: User rejected")
    expect(visitor.button("Pay with browser wallet")).to_be_enabled()


@pytest.mark.fault("H01")
def test_an_answer_can_do_no_harm(visit: Visit) -> None:
    visitor = visit()
    visitor.buys("<img src=x onerror=alert(1)> <script>alert(2)</script> [a](javascript:alert(3)) [b](https://example.org) ![c](//x/y.png)")
    answer = visitor.locator(".answer")
    expect(answer).to_contain_text("Stand-in demo agent")
    assert answer.locator("img, script, iframe, style, form, input").count() == 0
    links = answer.locator("a").evaluate_all("all => all.map(one => [one.getAttribute('href'), one.rel, one.target])")
    assert all(href is None or href.startswith("https://") for href, _, _ in links)
    assert all("noopener" in rel and target == "_blank" for _, rel, target in links)


@pytest.mark.fault("H01", "H03")
def test_markdown_from_a_model_is_rendered_and_harmless(visit: Visit) -> None:
    told = "\n\n".join(
        (
            "# Title",
            "**bold** `code`",
            "| a | b |\n|---|---|\n| 1 | 2 |",
            "<img src=x onerror='window.harmed=1'><style>*{display:none}</style>",
            "[x](javascript:window.harmed=2) [y](data:text/html,z) [z](https://example.org)",
            "![p](https://example.org/p.png)",
        )
    )
    visitor = visit(None)

    def answered(route: Route) -> None:
        job = route.fetch().json()
        if job.get("result"):
            job["result"] = told
        route.fulfill(json=job)

    visitor.page.route(re.compile(r"/api/jobs/[^/]+/events"), lambda route: route.fulfill(status=204))
    visitor.page.route(re.compile(r"/api/jobs/[^/]+$"), answered)
    visitor.page.goto("/tower?no3d")
    visitor.page.wait_for_selector(READY)
    visitor.buys()
    answer = visitor.locator(".answer")
    assert answer.locator("strong, code, td, h3").count() >= 4
    assert answer.locator("img, style, script").count() == 0
    hrefs = answer.locator("a").evaluate_all("all => all.map(one => one.getAttribute('href')).filter(Boolean)")
    assert hrefs == ["https://example.org"]
    assert visitor.page.evaluate("() => window.harmed") is None
    visitor.is_accessible("rendered Markdown")


@pytest.fixture
def later(tmp_path: Path) -> Iterator[House]:
    """A house of its own: its clock will be put forward, and others' signatures would be too old for it."""
    with at_home(tmp_path) as later:
        yield later


@pytest.mark.fault("A08")
def test_an_order_that_was_not_paid_in_time_is_paid_late_and_taken_back(visit: Visit, later: House) -> None:
    visitor = visit(at=later)
    visitor.hire()
    visitor.sees_title("Pay the check fee")
    old = visitor.locator("code.invoice").inner_text()
    later.clock.advance(seconds=TTL_SECONDS + 60)
    visitor.sees_title("The time to pay is over")
    visitor.sees("If you did pay, wait here")
    visitor.is_accessible("an invoice that has expired")
    later.pay_as_a_wallet(old)
    visitor.sees("10 sats are yours to take back")
    visitor.locator("#test-refund").click()
    visitor.sees("10 sats went back to you")
    visitor.button("New invoice").click()
    visitor.sees_title("Pay the check fee")
    assert visitor.locator("code.invoice").inner_text() != old


def test_after_a_reload_the_same_job_is_there(visit: Visit) -> None:
    visitor = visit()
    visitor.hire()
    visitor.sees_title("Pay the check fee")
    shown = visitor.locator("code.invoice").inner_text()
    visitor.page.reload()
    visitor.sees_title("Pay the check fee")
    assert visitor.locator("code.invoice").inner_text() == shown
    visitor.pays()
    visitor.sees_title("Timmy's price")


def test_what_is_owed_back_is_still_there_after_a_reload(visit: Visit) -> None:
    visitor = visit()
    visitor.buys()
    visitor.sees("are yours to take back")
    visitor.page.reload()
    visitor.sees_title("Done")
    visitor.sees("are yours to take back")
    visitor.locator("#test-refund").click()
    visitor.sees("went back to you")
    visitor.page.reload()
    visitor.page.wait_for_selector(READY)
    expect(visitor.locator("#panel")).to_be_hidden()


def test_an_invoice_for_another_amount_is_not_to_be_paid(visit: Visit) -> None:
    def dearer(route: Route) -> None:
        body = json.loads(re.sub(r"lnbcrt100n1", "lnbcrt10u1", route.fetch().text()))
        route.fulfill(json=body)

    def before(page: Page) -> None:
        page.route(re.compile(r"/api/jobs/[^/]+/events"), lambda route: route.fulfill(status=204))
        page.route(re.compile(r"/api/jobs/[^/]+$"), dearer)

    visitor = visit(before=before)
    visitor.hire()
    visitor.sees("Do not pay this: it asks for 1,000 sats, and not for 10 sats.")


def test_what_the_server_refuses_is_said_and_the_words_are_kept(visit: Visit) -> None:
    visitor = visit(
        before=lambda page: page.route(
            "**/api/jobs",
            lambda route: route.fulfill(status=503, json={"code": "wallet_down", "error": "The wallet is away. Try again in a minute."}),
        )
    )
    visitor.hire("A riddle, please.")
    visitor.sees("The wallet is away. Try again in a minute.")
    assert visitor.locator("#message").input_value() == "A riddle, please."
    visitor.is_accessible("an error")
    visitor.page.unroute("**/api/jobs")
    visitor.button("Try again").click()
    visitor.sees_title("Pay the check fee")
    visitor.forgive("503")


def test_a_request_that_is_turned_down_says_why(visit: Visit) -> None:
    visitor = visit()
    visitor.hire("please reject this")
    visitor.sees_title("Pay the check fee")
    visitor.pays()
    visitor.sees_title("Timmy said no")
    expect(visitor.locator(".reason")).not_to_be_empty()
    visitor.is_accessible("a refusal")


def test_work_that_fails_gives_all_of_its_price_back(visit: Visit) -> None:
    visitor = visit()
    visitor.hire("please fail")
    visitor.sees_title("Pay the check fee")
    visitor.pays()
    visitor.sees_title("Timmy's price")
    price = visitor.locator(".amount").inner_text().split(" sats")[0]
    visitor.pays()
    visitor.sees_title("It did not work")
    visitor.sees(f"{price} sats are yours to take back")


def test_the_price_is_there_before_anything_is_pressed(visit: Visit) -> None:
    asked: list[str] = []
    visitor = visit(
        before=lambda page: page.on("request", lambda request: asked.append(request.method) if "estimate" in request.url else None)
    )
    visitor.page.type("#message", "write a long poem about rain", delay=10)
    visitor.sees("Hiring: 10 sats to check, then about", "#price")
    assert 1 <= len(asked) <= 2
    assert set(asked) == {"POST"}, "what is typed does not stand in an access log"
