"""One house and one browser for all tests of a process; a page of its own for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from tests.browser import chromium
from tests.browser.house import House, at_home
from tests.browser.visitor import READY, Visitor

VIEWPORT = {"width": 1280, "height": 720}

Visit = Callable[..., Visitor]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder: Path = tmp_path_factory.mktemp("house")
    generous = {"CHAT_PER_MINUTE": "1000", "DEMO_PER_HOUR": "1000", "FREE_BUDGET_NEW": "0"}
    with at_home(folder, **generous, MAX_REQUEST_CHARS="700", LNURL_ALLOW_LOOPBACK="1") as house:
        yield house


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Ended with each file: as long as it runs, this thread has a running event loop, and no asynchronous test of another file can have
    its own in the same process."""
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def arguments() -> tuple[str, ...]:
    """How the browser is started; a file that looks at the workshop in three dimensions has its own."""
    return chromium.FLAT


@pytest.fixture(scope="module")
def browser(playwright: Playwright, arguments: tuple[str, ...]) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=chromium.executable(), args=list(arguments))
    yield browser
    browser.close()


@pytest.fixture
def visit(browser: Browser, house: House) -> Iterator[Visit]:
    """`visit("/tower?no3d", viewport=…)`: opens a page. Whatever the console or the page complained of fails the test in the end."""
    contexts: list[BrowserContext] = []
    visitors: list[Visitor] = []

    def visit(
        path: str | None = "/tower?no3d", *, before: Callable[[Page], None] | None = None, at: House = house, **wishes: Any
    ) -> Visitor:
        permissions = ["clipboard-read", "clipboard-write"]
        context = browser.new_context(**{"viewport": VIEWPORT, "permissions": permissions, "base_url": at.url, **wishes})
        contexts.append(context)
        visitor = Visitor(context.new_page(), at)
        visitors.append(visitor)
        if before:
            before(visitor.page)
        if path is not None:
            visitor.page.goto(path)
            if path.startswith("/tower"):
                visitor.page.wait_for_selector(READY)
        return visitor

    yield visit
    complaints = [complaint for visitor in visitors for complaint in visitor.complaints]
    for context in contexts:
        for page in context.pages:
            page.unroute_all(
                behavior="ignoreErrors"
            )  # a page that polls asks to the end: its route must not outlive it, into the next test
        context.close()
    assert complaints == []
