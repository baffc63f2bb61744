"""A balance: filled once, spent question by question, and emptied again."""

from __future__ import annotations

import re

from playwright.sync_api import Route, expect

from tests.browser.conftest import Visit
from tests.browser.visitor import Visitor


def with_balance(visit: Visit, amount: str = "500") -> Visitor:
    visitor = visit()
    visitor.page.click("#purse")
    visitor.button(f"Put in {amount}").click()
    visitor.sees("To fill your balance")
    visitor.pays()
    expect(visitor.locator("#purse")).to_have_text(f"{amount} sats")
    return visitor


def test_a_balance_is_filled_spent_topped_up_and_taken_back(visit: Visit) -> None:
    visitor = with_balance(visit)
    visitor.hears("Your balance is ready")
    visitor.is_accessible("a balance")

    visitor.page.fill("#message", "Write a haiku about rain.")
    visitor.sees("from your balance of 500 sats", "#price")
    visitor.page.click("#hire-button")
    visitor.sees_title("Done")
    visitor.sees("Stand-in demo agent", ".answer")
    assert visitor.locator("#message").input_value() == ""
    visitor.is_accessible("an answer from a balance")
    taken = float(re.findall(r"From your balance\s+([\d.]+) sats", visitor.locator(".costs").inner_text())[0])
    assert 0 < taken < 60
    left = int(500 - taken)
    expect(visitor.locator("#purse")).to_have_text(f"{left} sats")

    visitor.button("Balance").click()
    visitor.sees(f"The last request took {taken:g} sats.")
    visitor.button("Add 500").click()
    visitor.sees("To add to your balance")
    visitor.pays()
    expect(visitor.locator("#purse")).to_have_text(re.compile(rf"{left + 500:,} sats|1,\d\d\d sats"))
    visitor.page.wait_for_selector(".key")

    visitor.button("Close and take the rest").click()
    rest = visitor.locator("#panel .amount").inner_text()
    visitor.locator("#test-refund").click()
    visitor.sees(f"{rest} went back to you")
    visitor.is_accessible("a closed balance")


def test_the_key_is_copied_whole_and_shown_in_part(visit: Visit) -> None:
    visitor = with_balance(visit)
    visitor.button("Copy key").click()
    expect(visitor.button("Copied")).to_be_visible()
    key = visitor.page.evaluate("() => navigator.clipboard.readText()")
    session = visitor.page.evaluate("() => localStorage.getItem('timmy.session')")
    assert key == visitor.house.get(f"/api/sessions/{session}")["macaroon"]
    assert key not in visitor.page.content()


def test_a_balance_is_there_again_after_a_reload(visit: Visit) -> None:
    visitor = with_balance(visit)
    visitor.page.reload()
    expect(visitor.locator("#purse")).to_have_text("500 sats")


def test_a_deposit_that_is_paid_after_all_is_not_lost(visit: Visit) -> None:
    visitor = visit()
    visitor.page.click("#purse")
    visitor.button("Put in 500").click()
    visitor.sees("To fill your balance")
    invoice = visitor.locator("code.invoice").inner_text()
    visitor.button("Not now").click()
    visitor.house.pay_as_a_wallet(invoice)
    visitor.page.reload()
    expect(visitor.locator("#purse")).to_have_text("500 sats")


def test_a_button_that_is_pressed_twice_asks_and_pays_once(visit: Visit) -> None:
    asked: list[str] = []
    visitor = with_balance(visit)
    visitor.page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/request") else None)
    visitor.page.fill("#message", "Write a haiku about rain.")
    visitor.page.dblclick("#hire-button")
    visitor.sees_title("Done")
    assert len(asked) == 1


def test_an_answer_that_was_paid_for_and_got_lost_is_shown_after_a_reload_and_paid_once(visit: Visit) -> None:
    visitor = with_balance(visit)

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    visitor.page.route("**/api/sessions/*/request", lose)
    visitor.hire("Write a haiku about rain.")
    visitor.sees_title("That did not go through")
    visitor.forgive("ERR_FAILED")
    session = visitor.page.evaluate("() => localStorage.getItem('timmy.session')")
    left = visitor.house.get(f"/api/sessions/{session}")["balanceMsat"]
    assert left < 500_000
    visitor.page.unroute("**/api/sessions/*/request")
    visitor.page.reload()
    visitor.sees_title("Done")
    visitor.sees("Stand-in demo agent", ".answer")
    assert visitor.house.get(f"/api/sessions/{session}")["balanceMsat"] == left
    visitor.page.reload()
    expect(visitor.locator("#purse")).to_contain_text("sats")
    expect(visitor.locator("#panel")).to_be_hidden()


def test_a_question_that_costs_too_much_keeps_its_words_and_offers_to_add(visit: Visit) -> None:
    visitor = with_balance(visit)
    refused = {"code": "insufficient_balance", "error": "This balance is too small for the request. Top it up."}
    visitor.page.route("**/api/sessions/*/request", lambda route: route.fulfill(status=402, json=refused))
    visitor.hire("Write a long novel.")
    visitor.sees("This balance is too small")
    assert visitor.locator("#message").input_value() == "Write a long novel."
    visitor.button("Add sats").click()
    visitor.sees_title("Balance")
    visitor.forgive("402")


def test_an_amount_out_of_bounds_is_told_by_the_page_or_the_server(visit: Visit) -> None:
    visitor = visit()
    visitor.page.click("#purse")
    visitor.sees_title("Balance")
    visitor.is_accessible("no balance yet")
    visitor.page.fill("#other-amount", "5")
    visitor.button("Put in").click()
    assert visitor.locator("#other-amount").evaluate("input => input.validity.rangeUnderflow")
    visitor.locator("#other-amount").evaluate("input => input.removeAttribute('min')")
    visitor.button("Put in").click()
    visitor.sees("100")
    expect(visitor.locator(".amounts .err")).not_to_be_empty()
    visitor.forgive("400", "422")
