"""The operator's desk in a real browser, with scripts off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.house import House, at_home

TOKEN = "a-token-of-the-operator-that-nobody-guesses"
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def operated(tmp_path: Path) -> Iterator[House]:
    with at_home(tmp_path, ADMIN_TOKEN=TOKEN) as house:
        yield house


def test_an_operator_signs_in_and_stops_payouts_with_scripts_off(visit: Visit, operated: House) -> None:
    visitor = visit("/admin", java_script_enabled=False, base_url=operated.url)
    visitor.page.fill("#token", TOKEN)
    visitor.button("Sign in").click()
    visitor.sees("Nothing wants you", within="main")
    visitor.button("Stop all payouts").click()
    visitor.sees("Payouts stopped: by the operator, at the desk", within="main")
    visitor.button("Let payouts go on").click()
    expect(visitor.locator("h1")).to_have_text("Are you sure?")
    visitor.button("Let payouts go on").click()
    visitor.sees("It goes on.", within="main")
    visitor.button("Sign out").click()
    expect(visitor.locator("#token")).to_be_visible()


def test_the_desk_is_accessible_and_fits_a_phone(visit: Visit, operated: House) -> None:
    visitor = visit("/admin", base_url=operated.url, viewport=PHONE)
    visitor.is_accessible("sign in")
    visitor.page.fill("#token", TOKEN)
    visitor.button("Sign in").click()
    visitor.sees("Nothing wants you", within="main")
    visitor.is_accessible("desk")
    visitor.fits(PHONE["width"])
