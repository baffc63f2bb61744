"""Whole purchases through the forms alone, in a real house: no script, no cookie, and books that close."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contract.plain_reader import Browser, Reader
from tests.contract.real_house import PATIENCE_SECONDS, House, open_house

from timmy.app.books import all_checks
from timmy.identity.macaroons import decode


async def until(browser: Browser, words: str) -> Reader:
    """Look again, as the page says of itself that it does."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while words not in (page := await browser.again()).text:
            await asyncio.sleep(0.02)
    return page


async def books_close(house: House) -> None:
    broken = [check for check in await house.app.db.read(all_checks) if not check.holds]
    assert broken == []


async def test_a_job_is_bought_and_its_rest_taken_back(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        browser = Browser(house.http)
        page = await browser.send((await browser.open("/api")).form("/api/ui/jobs"), request="What is 6 * 7?")
        await browser.send(page.form("/paid"))
        page = await until(browser, "The price of the work")
        await browser.send(page.form("/paid"))
        page = await until(browser, "What it cost")
        assert "42" in page.by_tag["section"][0]
        job = await house.get(browser.path.replace("/api/ui/", "/api/"))
        owed = job["refund"]["owedSats"]
        assert f"{owed} sats are yours again" in page.text
        wrong = await browser.send(page.form("/refund"), to="me@")
        assert browser.status == 422
        assert wrong.form("/refund").fields["to"] == "me@"
        await browser.open(browser.path.removesuffix("/refund"))
        invoice = (await house.post("/api/dev/stub/invoice", {"amountSats": owed}, status=201))["paymentRequest"]
        form = page.form("/refund")
        for _ in range(2):  # a double click
            await browser.send(form, to=f"lightning:{invoice}")
            assert browser.status == 200
        page = await until(browser, f"✓ {owed} sats were sent back to you")
        assert page.refreshes is False
        assert not browser.http.cookies
        await books_close(house)


async def test_a_balance_is_opened_spent_from_added_to_and_closed(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        browser = Browser(house.http)
        page = await browser.send((await browser.open("/api/ui")).form("/api/ui/sessions"), amountSats="500")
        home = browser.path
        page = await browser.send(page.form("/paid"))
        key = page.form("/request").fields["macaroon"]
        page = await browser.send(page.form("/request"), request="What is 6 * 7?")
        page = await until(browser, "You paid")
        assert "42" in page.text
        page = await browser.send((await browser.open(home)).form("/topup"), amountSats="200")
        page = await browser.send(page.form("/paid"))
        session = await house.get(home.replace("/api/ui/", "/api/"))
        assert session["balanceMsat"] > 600_000
        page = await browser.send((await browser.open("/api/ui")).form("/sessions/key"), macaroon=f"Bearer {key}")
        assert browser.path == home
        narrowed = decode(key).with_caveat("max_sats=5").encode()
        page = await browser.send((await browser.open("/api/ui")).form("/sessions/key"), macaroon=narrowed)
        assert browser.status == 403
        assert key not in browser.html
        page = await browser.send((await browser.open(home)).form("/close"), pretend="1")
        page = await until(browser, "were sent back to you")
        assert "Ended." in page.text
        await books_close(house)


@pytest.mark.fault("G01")
async def test_no_page_puts_a_key_into_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with open_house(tmp_path) as house:
        browser = Browser(house.http)
        page = await browser.send((await browser.open("/api/ui")).form("/api/ui/sessions"), amountSats="500")
        page = await browser.send(page.form("/paid"))
        key = page.form("/request").fields["macaroon"]
        await browser.send(page.form("/request"), request="canary-in-a-request")
        printed = "".join(capsys.readouterr())
        assert "http" in printed
        assert key not in printed
        assert "canary-in-a-request" not in printed


async def test_a_free_answer_is_given_and_counted(tmp_path: Path) -> None:
    async with open_house(tmp_path, DEMO_PER_HOUR="1") as house:
        browser = Browser(house.http)
        form = replace((await browser.open("/api/ui")).form("/api/ui/jobs"), action="/api/ui/demo")
        page = await browser.send(form, request="What is 6 * 7?")
        assert "42" in page.text
        assert "It was free. Nothing more is free for you in this hour." in page.text
        assert page.form("/api/ui/jobs").fields["request"] == "What is 6 * 7?"
        page = await browser.send(form, request="What is 6 * 8?")
        assert browser.status == 429
        assert int(browser.headers["retry-after"]) > 0
        assert page.form("/api/ui/jobs").fields["request"] == "What is 6 * 8?"
        await books_close(house)


async def test_where_nothing_is_free_nothing_free_is_offered(tmp_path: Path) -> None:
    async with open_house(tmp_path, DEMO_PER_HOUR="0") as house:
        assert "One free, short answer" not in (await Browser(house.http).open("/api/ui")).text
