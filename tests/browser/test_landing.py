"""The landing page: one way in, at once, for everybody."""

from __future__ import annotations

import numpy as np
from playwright.sync_api import Playwright, expect

from tests.browser.conftest import Visit

LIT = 60  # of 255: a digit, and not the dark behind it
OPEN = ".status[data-open=yes]"


SMALL = {"width": 640, "height": 480}
COUNT_FRAMES = """(() => {
  window.frames_drawn = 0;
  const real = requestAnimationFrame.bind(window);
  window.requestAnimationFrame = draw => real(now => { window.frames_drawn++; draw(now); });
})()"""


def test_digits_fall_and_the_first_key_leads_inside(visit: Visit) -> None:
    visitor = visit("/", before=lambda page: page.add_init_script(COUNT_FRAMES), viewport=SMALL)
    expect(visitor.locator(OPEN)).to_contain_text("The tower is open")
    before = visitor.picture("#rain")
    assert (before.max(axis=2) > LIT).sum() > 500
    visitor.page.wait_for_function("() => window.frames_drawn > 20")
    assert (before != visitor.picture("#rain")).any()
    visitor.page.keyboard.press("Tab")
    assert visitor.focused() == "Enter the workshop"
    visitor.is_accessible("landing")
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_url("**/tower")


def test_whoever_wants_less_motion_sees_the_digits_stand_still(visit: Visit) -> None:
    visitor = visit("/", before=lambda page: page.add_init_script(COUNT_FRAMES), reduced_motion="reduce", viewport=SMALL)
    expect(visitor.locator(OPEN)).to_be_visible()
    before = visitor.picture("#rain")
    assert (before.max(axis=2) > LIT).sum() > 500
    assert visitor.page.evaluate("() => window.frames_drawn") == 0
    assert np.array_equal(before, visitor.picture("#rain"))


def test_one_question_is_answered_free(visit: Visit) -> None:
    visitor = visit("/")
    visitor.page.fill("#question", "What can you do?")
    visitor.page.get_by_role("button", name="Ask").click()
    expect(visitor.locator("#free .said")).to_contain_text("Stand-in demo agent")
    visitor.sees("free this hour", "#free")
    visitor.is_accessible("landing with an answer")


def test_a_question_may_be_as_long_as_the_server_takes_it(visit: Visit) -> None:
    visitor = visit("/")
    expect(visitor.locator("#question")).to_have_attribute("maxlength", "700")
    assert visitor.house.get("/api/site")["requestCharsMax"] == 700
    visitor.page.fill("#question", "why? " * 139)
    visitor.page.get_by_role("button", name="Ask").click()
    expect(visitor.locator("#free .said")).to_contain_text("Stand-in demo agent")


def test_it_says_what_things_cost_before_anything_is_bought(visit: Visit) -> None:
    visitor = visit("/")
    visitor.page.get_by_text("What does it cost?").click()
    expect(visitor.locator("#cost-example")).to_contain_text("10 sats to read")
    visitor.is_accessible("landing with the costs")


def test_a_server_that_is_away_is_said_and_the_door_stays(visit: Visit) -> None:
    visitor = visit(None)
    visitor.page.route("**/api/**", lambda route: route.abort())
    visitor.page.goto("/")
    visitor.sees("Nobody answers just now", "#status")
    expect(visitor.page.get_by_role("link", name="Enter the workshop")).to_be_visible()
    visitor.forgive("ERR_FAILED")


def test_it_fits_a_phone(visit: Visit, playwright: Playwright) -> None:
    device = {**playwright.devices["Pixel 5"]}
    device.pop("default_browser_type")
    visitor = visit("/", **device)
    expect(visitor.locator(OPEN)).to_be_visible()
    visitor.fits(device["viewport"]["width"])
    visitor.is_accessible("landing on a phone")
