"""Words with Timmy, and the line they go over: heard by everybody, lost and found again, at any address."""

from __future__ import annotations

import re

from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.conftest import Visit
from tests.browser.visitor import READY


def test_what_is_said_is_answered_in_a_bubble_in_the_journal_and_aloud(visit: Visit) -> None:
    visitor, other = visit(), visit()
    visitor.page.fill("#message", "Hello wizard!")
    visitor.page.keyboard.press("Enter")
    expect(visitor.locator("#bubble")).to_be_visible()
    expect(visitor.locator("#bubble-who")).to_have_text("Timmy")
    visitor.hears("Timmy says: ")
    assert visitor.locator("#message").input_value() == ""
    expect(visitor.locator("#log .mine")).to_contain_text("Hello wizard!")
    other.sees("Hello wizard!", "#log")
    expect(visitor.locator("#log")).to_have_attribute("aria-live", "off")
    visitor.is_accessible("a conversation")


def test_words_are_shown_and_never_run(visit: Visit) -> None:
    visitor = visit()
    visitor.page.fill("#message", "<img src=x onerror=alert(1)><b>bold</b>")
    visitor.page.keyboard.press("Enter")
    visitor.sees("<img src=x onerror=alert(1)>", "#log")
    assert visitor.locator("#log img").count() == 0


def test_words_that_are_too_long_stay_in_the_box(visit: Visit) -> None:
    visitor = visit()
    visitor.page.fill("#message", "x" * 300)
    visitor.page.keyboard.press("Enter")
    visitor.sees("Talk takes at most 250 characters; this has 300", "#price")
    assert len(visitor.locator("#message").input_value()) == 300


def test_a_line_that_breaks_is_said_once_and_taken_up_again(visit: Visit) -> None:
    lines: list[WebSocketRoute] = []

    def hold(line: WebSocketRoute) -> None:
        line.connect_to_server()
        lines.append(line)

    visitor = visit(before=lambda page: page.route_web_socket(re.compile(r"/api/ws$"), hold))
    lines[0].close(code=1001)
    visitor.sees("The connection is lost", "#log")
    visitor.page.wait_for_selector(READY)
    assert len(lines) == 2
    visitor.hears("Connected again")
    visitor.page.fill("#message", "Are you still there?")
    visitor.page.keyboard.press("Enter")
    visitor.sees("Are you still there?", "#log")


def test_words_that_cannot_be_sent_stay_in_the_box(visit: Visit) -> None:
    visitor = visit(None)
    visitor.page.route_web_socket(re.compile(r"/api/ws$"), lambda line: line.close())
    visitor.page.goto("/tower?no3d")
    visitor.page.wait_for_selector("html[data-line=lost][data-ready]")
    visitor.page.fill("#message", "Hello?")
    visitor.page.keyboard.press("Enter")
    visitor.sees("Not connected. Your words are still in the box.", "#price")
    assert visitor.locator("#message").input_value() == "Hello?"


def test_the_line_goes_to_where_the_page_came_from(visit: Visit) -> None:
    """Over TLS, at another name, under a prefix."""
    seen: list[str] = []
    visitor = visit(None)
    house = visitor.house.url

    def forward(page: Page) -> None:
        page.route_web_socket(re.compile(r"/api/ws$"), lambda line: seen.append(line.url))
        page.route(
            "https://timmy.example/deep/**",
            lambda route: route.fulfill(response=page.request.get(route.request.url.replace("https://timmy.example/deep", house))),
        )

    forward(visitor.page)
    visitor.page.goto("https://timmy.example/deep/tower?no3d")
    visitor.page.wait_for_selector("html[data-ready]")
    assert seen == ["wss://timmy.example/deep/api/ws"]
    expect(visitor.locator("#pool")).to_be_visible()
