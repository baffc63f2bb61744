"""Whoever looks away from what they have ordered finds the way back to it, by a button that says where it stands."""

from __future__ import annotations

from playwright.sync_api import Route, expect

from tests.browser.conftest import Visit
from tests.browser.test_balance import with_balance
from tests.browser.test_paying import tab_to
from tests.browser.visitor import READY, TITLE, Visitor

OWN = "#own"


def says(visitor: Visitor, text: str) -> None:
    expect(visitor.locator(OWN)).to_have_text(text)


def closes(visitor: Visitor) -> None:
    visitor.page.keyboard.press("Escape")
    expect(visitor.locator("#panel")).to_be_hidden()


def test_a_closed_job_is_reached_again_by_keyboard_and_goes_on(visit: Visit) -> None:
    visitor = visit()
    expect(visitor.locator(OWN)).to_be_hidden()
    visitor.hire()
    visitor.sees_title("Pay the check fee")
    shown = visitor.locator("code.invoice").inner_text()
    closes(visitor)
    says(visitor, "Your job: pay the check fee")
    visitor.is_accessible("a job that was put aside")
    tab_to(visitor, "own")
    visitor.page.keyboard.press("Enter")
    visitor.sees_title("Pay the check fee")
    expect(visitor.locator(TITLE)).to_be_focused()
    assert visitor.locator("code.invoice").inner_text() == shown
    visitor.page.keyboard.press("Escape")
    expect(visitor.locator(OWN)).to_be_focused()


def test_what_happens_while_nobody_looks_is_said_and_kept_until_it_was_seen(visit: Visit) -> None:
    visitor = visit()
    visitor.hire("please reject this")
    visitor.sees_title("Pay the check fee")
    invoice = visitor.locator("code.invoice").inner_text()
    closes(visitor)
    visitor.house.pay_as_a_wallet(invoice)
    says(visitor, "Your job: turned down")
    visitor.hears("Your job: turned down")
    visitor.page.click(OWN)
    visitor.sees_title("Timmy said no")
    expect(visitor.locator(OWN)).to_be_hidden()


def test_sats_that_were_not_taken_keep_the_way_open(visit: Visit) -> None:
    visitor = visit()
    visitor.buys()
    closes(visitor)
    expect(visitor.locator(OWN)).to_contain_text("sats to take back")
    visitor.page.click(OWN)
    visitor.locator("#test-refund").click()
    visitor.sees("went back to you")
    expect(visitor.locator(OWN)).to_be_hidden()


def test_several_jobs_are_listed_and_each_is_there_after_a_reload(visit: Visit) -> None:
    visitor = visit()
    for request in ("A spell for rain.", "A spell for snow."):
        visitor.hire(request)
        visitor.sees_title("Pay the check fee")
        closes(visitor)
    says(visitor, "Your jobs: 2")
    visitor.page.click(OWN)
    visitor.sees_title("Your jobs")
    visitor.is_accessible("several jobs")
    visitor.page.get_by_role("button", name="A spell for rain.").click()
    visitor.sees_title("Pay the check fee")
    visitor.page.reload()
    visitor.page.wait_for_selector(READY)
    visitor.sees_title("Pay the check fee")
    says(visitor, "Your jobs: 2")
    visitor.page.click(OWN)
    expect(visitor.locator(".own button")).to_have_count(2)
    visitor.sees("A spell for snow.", ".own")


def test_another_tab_of_the_same_browser_knows_the_way_too(visit: Visit) -> None:
    visitor = visit()
    visitor.hire()
    visitor.sees_title("Pay the check fee")
    other = visitor.page.context.new_page()
    other.goto("/tower?no3d")
    expect(other.locator(OWN)).to_have_text("Your job: pay the check fee")
    expect(other.locator("#panel")).to_be_hidden()


def test_an_answer_that_a_balance_pays_for_waits_until_it_was_seen(visit: Visit) -> None:
    visitor = with_balance(visit)
    held: list[Route] = []
    visitor.page.route("**/api/sessions/*/request", lambda route: held.append(route))
    visitor.hire("Write a haiku about rain.")
    visitor.sees_title("Timmy is working")
    closes(visitor)
    says(visitor, "Your job: at work")
    held[0].continue_()
    says(visitor, "Your job: done")
    expect(visitor.locator("#panel")).to_be_hidden()
    visitor.page.click(OWN)
    visitor.sees_title("Done")
    visitor.sees("Stand-in demo agent", ".answer")
    expect(visitor.locator(OWN)).to_be_hidden()


def test_on_a_phone_the_way_back_fits(visit: Visit) -> None:
    visitor = visit(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True, device_scale_factor=2)
    visitor.hire()
    visitor.sees_title("Pay the check fee")
    visitor.page.get_by_role("button", name="Close").click()
    expect(visitor.locator(OWN)).to_be_visible()
    visitor.fits(360)
    visitor.is_accessible("a job that was put aside, on a phone")
    visitor.page.tap(OWN)
    visitor.sees_title("Pay the check fee")
