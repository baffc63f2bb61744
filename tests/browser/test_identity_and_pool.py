"""A Nostr key signs in, if somebody has one; and everybody sees what the pool is about."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from timmy.identity import nostr

LATE_MS = 600
EXTENSION = (
    "setTimeout(() => { window.nostr = { getPublicKey: () => window.nostrKey(), signEvent: event => window.nostrSign(event) } }, %d)"
)


def extension(late_ms: int = LATE_MS) -> Callable[[Page], None]:
    """As a browser extension does, which puts itself into the page when it gets round to it."""
    secret = secrets.token_bytes(32)

    def sign(event: Mapping[str, Any]) -> dict[str, object]:
        return nostr.document(
            nostr.sign(
                secret, created_at=event["created_at"], kind=event["kind"], tags=event["tags"], content=event["content"], aux=bytes(32)
            )
        )

    def before(page: Page) -> None:
        page.expose_function("nostrSign", sign)
        page.expose_function("nostrKey", lambda: "")
        page.add_init_script(EXTENSION % late_ms)

    return before


def test_an_extension_that_comes_late_signs_in_and_out(visit: Visit) -> None:
    visitor = visit(before=extension())
    visitor.page.click("#who")
    visitor.sees_title("You")
    visitor.sees("Your tier: new (score 0)")
    visitor.sees("Nothing yet. Tiers above “new” get a part")
    visitor.hears("Signed in. Your tier is new.")
    expect(visitor.locator("#who")).to_contain_text("npub1")
    visitor.is_accessible("signed in")
    visitor.page.keyboard.press("Escape")
    visitor.page.reload()
    expect(visitor.locator("#who")).to_contain_text("new")
    visitor.page.click("#who")
    visitor.button("Sign out").click()
    expect(visitor.locator("#who")).to_have_text("Sign in with Nostr")
    assert visitor.page.evaluate("() => sessionStorage.getItem('timmy.nostr')") is None


def test_what_was_opened_meanwhile_stays_open(visit: Visit) -> None:
    visitor = visit()
    visitor.page.click("#who")  # an extension is waited for, and none comes
    visitor.page.click("#purse")
    visitor.hears("No Nostr extension was found")
    expect(visitor.locator("#who")).to_be_enabled()
    visitor.sees_title("Balance")


def test_what_is_ordered_belongs_to_the_key_that_is_signed_in(visit: Visit) -> None:
    visitor = visit(before=extension(0))
    visitor.page.click("#who")
    visitor.sees_title("You")
    visitor.buys()
    visitor.page.click("#who")
    visitor.sees_title("You")
    visitor.sees("more points to established")
    job = visitor.page.evaluate(
        "() => fetch('api/identity/me', {headers: {'X-Nostr-Token': sessionStorage.getItem('timmy.nostr')}}).then(a => a.json())"
    )
    assert job["successes"] == 1


def test_without_an_extension_it_is_said_and_nothing_is_lost(visit: Visit) -> None:
    visitor = visit()
    visitor.page.click("#who")
    visitor.sees("No Nostr extension was found in this browser. You can use Timmy without one")
    expect(visitor.locator("#who")).to_be_enabled()
    visitor.is_accessible("no extension")


def test_an_extension_that_refuses_can_be_asked_again(visit: Visit) -> None:
    script = "window.nostr = { signEvent: async () => { throw new Error('User rejected') } }"
    visitor = visit(before=lambda page: page.add_init_script(script))
    visitor.page.click("#who")
    visitor.sees("User rejected")
    expect(visitor.locator("#who")).to_be_enabled()


@pytest.mark.parametrize("token", ["tmy1.nonsense"])
def test_a_sign_in_that_has_run_out_is_dropped_and_said(visit: Visit, token: str) -> None:
    visitor = visit(before=lambda page: page.add_init_script(f"sessionStorage.setItem('timmy.nostr', '{token}')"))
    visitor.sees("Your sign-in has run out", "#log")
    expect(visitor.locator("#who")).to_have_text("Sign in with Nostr")
    visitor.forgive("401")


def test_the_pool_says_what_it_holds_and_for_whom(visit: Visit) -> None:
    visitor = visit()
    expect(visitor.locator("#pool-sats")).to_contain_text("sats")
    visitor.page.click("#pool")
    visitor.sees_title("The pool")
    visitor.sees("Timmy can pay for about")
    visitor.sees("Why somebody pays the full price")
    visitor.is_accessible("the pool")
    visitor.page.keyboard.press("Escape")
    assert visitor.focused() == "pool" or visitor.page.evaluate("() => document.activeElement.id") == "pool"
