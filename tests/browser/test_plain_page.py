"""The plain page in a real browser: scripts off, the code scanned from the screen, the page looking again by itself."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.visitor import Visitor

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 720}


def headed(visitor: Visitor, title: str) -> None:
    expect(visitor.locator("h1")).to_have_text(title)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_job_is_bought_with_scripts_off(visit: Visit, viewport: dict[str, int]) -> None:
    visitor = visit("/api/ui", java_script_enabled=False, viewport=viewport)
    visitor.page.fill("#request", "What is 6 * 7?")
    visitor.fits(viewport["width"])
    visitor.button("Hire Timmy").click()
    headed(visitor, "Pay the check fee")
    visitor.fits(viewport["width"])
    visitor.pays()
    headed(visitor, "The price of the work")
    visitor.pays()
    headed(visitor, "Done")
    visitor.sees("42", within=".answer")
    visitor.fits(viewport["width"])
    visitor.button("Send them to the pretend customer").click()
    visitor.sees("sats were sent back to you", within="main")


@pytest.mark.parametrize("width", [320, 360])
def test_the_menu_takes_one_line_on_a_small_phone(visit: Visit, width: int) -> None:
    visitor = visit("/api/ui", java_script_enabled=False, viewport={"width": width, "height": 640})
    places = [link.bounding_box() for link in visitor.locator("nav a").all()]
    assert len({place["y"] for place in places if place}) == 1
    assert len(places) == 4


def test_a_balance_is_opened_and_asked_from_by_keyboard_alone(visit: Visit) -> None:
    visitor = visit("/api/ui#balance", java_script_enabled=False)
    visitor.locator("#amountSats").focus()
    visitor.page.keyboard.press("Enter")
    headed(visitor, "Pay your deposit")
    visitor.pays()
    headed(visitor, "Your balance")
    visitor.locator("#request").focus()
    visitor.page.keyboard.type("What is 6 * 7?")
    visitor.page.keyboard.press("Tab")
    visitor.page.keyboard.press("Enter")
    headed(visitor, "The answer")
    visitor.sees("42", within=".answer")


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_each_page_is_accessible(visit: Visit, viewport: dict[str, Any]) -> None:
    """A page that looks again by itself is no such page; so it is looked at where it stays as it is."""
    visitor = visit("/api/ui", viewport=viewport)
    visitor.is_accessible("front")
    visitor.page.fill("#request", "What is 6 * 7?")
    visitor.button("What would it cost?").click()
    visitor.sees("It would cost about", within="main")
    visitor.is_accessible("estimate")
    visitor.button("Hire Timmy").click()
    headed(visitor, "Pay the check fee")
    path = visitor.page.url
    visitor.page.goto(f"{path}?still=1")
    visitor.is_accessible("check fee")
    visitor.pays()
    visitor.page.goto(path)
    headed(visitor, "The price of the work")
    visitor.page.goto(f"{path}?still=1")
    visitor.is_accessible("price")
    visitor.pays()
    visitor.page.goto(path)
    headed(visitor, "Done")
    visitor.is_accessible("done")
