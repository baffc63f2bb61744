"""Balances on the plain page: opened, spent from, added to and closed, with the key kept out of addresses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.contract.http_desk import World
from tests.contract.plain_reader import Browser, Reader, harmless

from timmy.money import Msats, Sats
from timmy.sessions.refusals import RequestInProgress


async def opened(world: World) -> tuple[Browser, Reader]:
    browser = Browser(world.client())
    page = await browser.send((await browser.open("/api/ui")).form("/api/ui/sessions"), amountSats="1,000")
    assert (page.heading, page.refreshes) == ("Pay your deposit", True)
    return browser, await browser.send(page.form("/paid"))


async def test_a_balance_is_opened_spent_from_and_shown() -> None:
    world = World.build()
    browser, page = await opened(world)
    assert "1,000 sats" in page.text
    assert "This key is your money" in page.text
    page = await browser.send(page.form("/request"), request="Why?")
    assert page.heading == "The answer"
    assert "You paid 10.64 sats" in page.text
    assert "989.36 sats" in page.text
    harmless(browser, page)
    page = await browser.send(page.form("/request"), request="please reject this")
    assert page.heading == "Timmy will not do this"


async def test_a_key_is_never_in_an_address_and_no_cookie_is_set() -> None:
    world = World.build()
    browser, page = await opened(world)
    key = page.form("/request").fields["macaroon"]
    page = await browser.send(page.form("/request"), request="Why?")
    assert key not in browser.path
    assert all(key not in link for link in page.links())
    assert not browser.http.cookies


async def test_what_spends_brings_the_key_along() -> None:
    world = World.build()
    browser, page = await opened(world)
    for end, typed in (("/request", {"request": "Why?"}), ("/close", {"to": "a@wallet.example"})):
        form = page.form(end)
        form.fields.pop("macaroon")
        shown = await browser.send(form, **typed)
        assert browser.status == 401
        assert "Give the key" in shown.alert
        page = await browser.open(browser.path.removesuffix(end))
        other, _ = await opened(world)
        foreign = (await other.again()).form(end).fields["macaroon"]
        await browser.send(page.form(end), **{**typed, "macaroon": foreign})
        assert browser.status == 403
        page = await browser.open(browser.path.removesuffix(end))
    assert "1,000 sats" in page.text


async def test_an_empty_balance_says_so_and_keeps_the_question() -> None:
    world = World.build()
    browser, page = await opened(world)
    (session,) = world.desk.till.sessions.values()
    world.desk.till.sessions[session.id] = replace(session, balance=Msats(25_000))
    page = await browser.send(page.form("/request"), request="Why is the sea salt?")
    assert browser.status == 402
    assert "Top it up." in page.alert
    assert page.form("/request").fields["request"] == "Why is the sea salt?"
    page = await browser.send(page.form("/topup"), amountSats="200")
    assert "Add to your balance" in page.text
    page = await browser.send(page.form("/paid"))
    assert "225 sats" in page.text


async def test_a_question_that_takes_long_is_shown_while_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World.build()
    browser, page = await opened(world)
    form = page.form("/request")
    await browser.send(form, request="Why?")
    answered = browser.path

    async def still_running(*_args: object, **_named: object) -> None:
        raise RequestInProgress("It is being worked on.", runningRequestId=answered.rpartition("/")[2])

    monkeypatch.setattr(world.desk.till, "request", still_running)
    await browser.send(form, request="Why?")
    assert browser.path == answered


async def test_a_button_that_is_pressed_twice_leads_to_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World.build()
    browser, page = await opened(world)
    form = page.form("/request")
    await browser.send(form, request="Why?")
    answered = browser.path
    ask, asked = world.desk.till.request, list[object]()

    async def begun_together(*given: Any, **named: Any) -> Any:
        asked.append(named["key"])
        if len(asked) == 1:
            raise RequestInProgress("The request with this Idempotency-Key has begun.")  # nobody knows its id yet
        return await ask(*given, **named)

    monkeypatch.setattr(world.desk.till, "request", begun_together)
    await browser.send(form, request="Why?")
    assert (browser.path, asked[0] == asked[1]) == (answered, True)


@pytest.mark.parametrize("amount", ["", "abc", "-5", "1.5", "99", "100001", "9" * 30, "５００"])
async def test_an_amount_that_is_none_is_refused_in_words(amount: str) -> None:
    browser = Browser(World.build().client())
    page = await browser.send((await browser.open("/api/ui")).form("/api/ui/sessions"), amountSats=amount)
    assert browser.status == 422
    assert "amountSats" not in page.alert
    assert page.form("/api/ui/sessions").fields["amountSats"] == (amount or "500")


async def test_closing_pays_back_and_is_done_once() -> None:
    world = World.build()
    browser, page = await opened(world)
    form = page.form("/close")
    page = await browser.send(form, to="lnbc1nonsense")
    assert browser.status >= 400
    assert page.form("/close").fields["to"] == "lnbc1nonsense"
    invoice = await world.desk.customer_invoice(Sats(1_000))
    page = await browser.send(page.form("/close"), to=f"LIGHTNING:{invoice}")
    assert "1,000 sats were sent back to you" in page.text
