"""On a phone, without WebGL, with little motion, without a mouse: nobody is left out."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Playwright, expect

from tests.browser import chromium
from tests.browser.conftest import Visit
from tests.browser.house import House
from tests.browser.visitor import READY, Visitor

FINGER_PX = 44


@pytest.fixture
def phone(playwright: Playwright) -> dict[str, Any]:
    device = {**playwright.devices["Pixel 5"]}
    device.pop("default_browser_type")
    return device


def test_a_phone_shows_all_of_it_and_the_whole_code_at_once(visit: Visit, phone: dict[str, Any]) -> None:
    visitor = visit(**phone)
    wide, tall = phone["viewport"]["width"], phone["viewport"]["height"]
    visitor.fits(wide)
    visitor.is_accessible("the workshop on a phone")
    for pressed in ("#pool", "#purse", "#who", "#say-button", "#hire-button", "#message"):
        box = visitor.locator(pressed).bounding_box()
        assert box is not None
        assert box["height"] >= FINGER_PX, pressed
    visitor.hire()
    visitor.sees_title("Pay the check fee")
    code = visitor.locator(".qr").bounding_box()
    assert code is not None
    assert code["y"] >= 0
    assert code["y"] + code["height"] <= tall
    wallet = visitor.page.get_by_role("link", name="Open in wallet").bounding_box()
    assert wallet is not None
    assert wallet["y"] < code["y"], "on a phone the wallet is on this very device"
    visitor.fits(wide)
    visitor.is_accessible("paying on a phone")
    visitor.pays()
    visitor.sees_title("Timmy's price")
    visitor.pays()
    visitor.sees_title("Done")
    visitor.fits(wide)
    visitor.is_accessible("an answer on a phone")


@pytest.mark.parametrize("path", ["/", "/tower?no3d"])
def test_it_can_be_read_at_four_times_the_size(visit: Visit, path: str) -> None:
    """1280 pixels at 400 % are 320 (WCAG 1.4.10)."""
    visitor = visit(path, viewport={"width": 320, "height": 480})
    visitor.fits(320)


def test_a_browser_without_webgl_has_everything_but_the_picture(playwright: Playwright, house: House) -> None:
    plain = playwright.chromium.launch(executable_path=chromium.executable(), args=list(chromium.WITHOUT_WEBGL))
    page = plain.new_page(base_url=house.url)
    visitor = Visitor(page, house)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/tower")
    page.wait_for_selector(READY)
    assert page.locator("html").get_attribute("data-world") == "none"
    assert [url for url in asked if "three" in url or "scene" in url] == [], "what cannot be drawn is not loaded"
    visitor.sees("This browser shows no 3D. Everything else works.", "#log")
    visitor.buys()
    assert visitor.complaints == []
    plain.close()


def test_nothing_comes_from_anywhere_else(visit: Visit) -> None:
    asked: list[str] = []
    visitor = visit(before=lambda page: page.on("request", lambda request: asked.append(request.url)))
    visitor.buys()
    foreign = [url for url in asked if not url.startswith((visitor.house.url, "data:", "blob:"))]
    assert foreign == []


def test_escape_closes_the_panel_and_the_focus_goes_back_to_the_box(visit: Visit) -> None:
    visitor = visit()
    visitor.hire()
    visitor.sees_title("Pay the check fee")
    visitor.page.keyboard.press("Escape")
    expect(visitor.locator("#panel")).to_be_hidden()
    assert visitor.focused() == "message"


def test_the_workshop_stands_alone_without_a_violation(visit: Visit) -> None:
    visitor = visit()
    visitor.is_accessible("the workshop")
    landmarks = visitor.page.evaluate("() => ['header', 'main', 'h1'].map(tag => document.querySelectorAll(tag).length)")
    assert landmarks == [1, 1, 1]
    expect(visitor.locator("#agents li")).to_have_count(5)
    expect(visitor.locator("#agents li small").first).not_to_be_empty()


def test_the_page_says_the_same_to_whoever_forces_their_own_colours(visit: Visit) -> None:
    visitor = visit(forced_colors="active")
    visitor.hire()
    visitor.sees_title("Pay the check fee")
    assert visitor.scan().startswith("LIGHTNING:")


NOT_FOUND = "status of 404"  # the browser's own line about the page itself


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_a_wrong_address_is_a_page_that_leads_back(visit: Visit, scheme: str) -> None:
    visitor = visit("/nothing-here", color_scheme=scheme, viewport={"width": 320, "height": 640})
    expect(visitor.locator("h1")).to_have_text("There is nothing at this address")
    expect(visitor.locator("script")).to_have_count(0)
    visitor.fits(320)
    visitor.is_accessible(f"nowhere, {scheme}")
    assert bool(visitor.picture().mean() < 128) is (scheme == "dark")
    visitor.page.get_by_role("link", name="to the front page").click()
    expect(visitor.locator("h1")).to_have_text("TIMMY")
    visitor.forgive(NOT_FOUND)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_page_of_the_interface_follows_the_colours_and_leads_back(visit: Visit, scheme: str) -> None:
    visitor = visit("/api/docs", color_scheme=scheme, viewport={"width": 320, "height": 640})
    assert bool(visitor.picture().mean() < 128) is (scheme == "dark")
    assert visitor.page.evaluate("() => document.documentElement.scrollWidth") <= 320  # a table scrolls within itself
    visitor.is_accessible(f"the interface, {scheme}")
    visitor.page.get_by_role("link", name="Workshop").click()
    visitor.page.wait_for_selector(READY)
    visitor.page.goto("/api/docs")
    visitor.page.get_by_role("link", name="TIMMY").click()
    expect(visitor.locator("h1")).to_have_text("TIMMY")
