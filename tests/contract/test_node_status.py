"""The node's page and its JSON: closed without the token, quiet about secrets, cheap for the wallet, and never a 500."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.contract.operator_house import BEARER, TOKEN, bought, desk, signed_in
from tests.contract.plain_reader import Browser, Reader, harmless
from tests.contract.real_house import PATIENCE_SECONDS, SITE, House, open_house

from timmy.app import node_status, node_store
from timmy.app.node_status import NodeWatch, wants_of, without_secrets
from timmy.db import Database, Tx
from timmy.ledger import Code, Move, chart, commit
from timmy.lightning.wallets.builtin import BuiltinWallet
from timmy.lightning.wallets.facts import Channels, NodeFacts
from timmy.lightning.wallets.protocol import WalletDown
from timmy.money import Msats, Sats
from timmy.web import create_app

JSON_PATH = "/api/admin/node-status"
PAGE_PATH = f"{JSON_PATH}/html"
PREIMAGE = "c0ffee" * 10 + "beef"
INVOICE = "lnbcrt210n1p4szazypp5qte8errzqgtdpchtps3rsmfcp2yrfy8qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"


class Strange(BuiltinWallet):
    """A wallet that answers whatever a test wants it to."""

    asked = 0
    trouble: Exception | None = None
    hangs = False
    facts = NodeFacts(software="Electrum", version="4.8.4", channels=Channels(1, 0, 0))
    facts_trouble: Exception | None = None
    lacks = Msats(0)

    async def balance(self) -> Msats:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.trouble is not None:
            raise self.trouble
        return Msats((await super().balance()).value - self.lacks.value)

    async def diagnose(self) -> NodeFacts:
        if self.facts_trouble is not None:
            raise self.facts_trouble
        return self.facts


@asynccontextmanager
async def strange(folder: Path) -> AsyncIterator[tuple[House, Strange, httpx.AsyncClient]]:
    """A house whose node is looked at through a wallet in a test's hands."""
    async with open_house(folder, ADMIN_TOKEN=TOKEN, PROVIDER="openai", OPENAI_API_KEY="sk-the-very-key-of-a-provider") as house:
        app = house.app
        wallet = Strange(app.db, app.clock, lambda count: bytes(count))
        watch = NodeWatch(app.db, app.clock, wallet, wants_of(app.settings), hide=without_secrets(app.settings))
        web = create_app(replace(app.house, node_status=watch.look))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url=SITE, headers=BEARER, timeout=PATIENCE_SECONDS) as http:
            yield house, wallet, http


async def checks(http: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    answer = await http.get(JSON_PATH)
    assert answer.status_code == 200, answer.text
    return {check["name"]: check for check in answer.json()["checks"]}


async def test_the_last_payment_is_found_among_later_transfers_of_other_kinds(db: Database) -> None:
    def move(tx: Tx, id: str, debit: str, credit: str, code: Code, at_ms: int) -> None:
        commit(tx, at_ms, Move(id, debit, credit, Msats(1_000), code))

    assert await db.read(node_store.last_credited) is None
    for n in (1, 2):
        await db.write(move, f"invoice/{n}/received", chart.LIGHTNING, chart.job("job_1"), Code.PAYMENT_RECEIVED, n)
    await db.write(move, "job_1/fee", chart.job("job_1"), chart.REVENUE, Code.EVAL_FEE, 3)
    assert await db.read(node_store.last_credited) == 2


# Who may look ----------------------------------------------------------------------------------------------


@pytest.mark.fault("G08", "H11")
async def test_without_a_token_there_is_no_page_and_with_one_it_is_asked_for(tmp_path: Path) -> None:
    async with open_house(tmp_path / "closed") as house:
        for headers in ({}, BEARER):
            for path in (JSON_PATH, PAGE_PATH):
                assert (await house.http.get(path, headers=headers)).status_code == 404
    async with desk(tmp_path / "open") as (house, browser):
        page = await browser.open(PAGE_PATH)
        assert (browser.status, page.form("/sign-in").method) == (401, "post")
        assert "liquidity" not in browser.html
        for path in (JSON_PATH, PAGE_PATH):
            assert (await house.http.get(path, headers={"Authorization": "Bearer wrong"})).status_code == 401
        assert (await house.http.get(f"{JSON_PATH}?token=x", headers=BEARER)).status_code == 422
        desk_page = await signed_in(browser)
        assert PAGE_PATH in desk_page.links()


async def test_the_page_says_what_the_json_says_without_a_script(tmp_path: Path) -> None:
    async with desk(tmp_path) as (house, browser):
        await bought(house)
        await signed_in(browser)
        page = await browser.open(PAGE_PATH)
        harmless(browser, page)
        assert (browser.status, page.refreshes) == (200, True)
        assert any(given.get("content") == "15" for tag, given in page.elements if tag == "meta")
        told = await house.get(JSON_PATH)  # with the cookie
        for check in told["checks"]:
            assert check["name"].replace("_", " ") in page.by_tag["th"]
            assert check["value"] in page.by_tag["td"]
        assert told["books"]["holdsMsat"] == told["books"]["revenueMsat"] + told["books"]["owedMsat"] + told["books"]["jobsMsat"] + (
            told["books"]["poolMsat"] - 10_000_000  # which the operator has promised from what is theirs
        )
        assert not (await browser.open(f"{PAGE_PATH}?still=1")).refreshes


# What a wallet may do to it --------------------------------------------------------------------------------


@pytest.mark.fault("H11")
async def test_a_wallet_that_hangs_or_breaks_makes_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_status, "ANSWER_WITHIN_SECONDS", 1.0)
    async with strange(tmp_path) as (house, wallet, http):
        assert (await checks(http))["wallet"]["status"] == "ok"
        good = (await checks(http))["wallet"]["lastGood"]
        for trouble, words in (
            (WalletDown("It is not answering."), "It is not answering."),
            (RuntimeError("a private sentence"), "broke the look (RuntimeError)"),
            (KeyError("another"), "broke the look (KeyError)"),
        ):
            house.clock.advance(seconds=60)
            wallet.trouble = wallet.facts_trouble = trouble
            found = await checks(http)
            assert (found["wallet"]["status"], words in found["wallet"]["value"]) == ("fail", True)
            assert (found["node"]["status"], words in found["node"]["value"]) == ("warn", True)
            assert found["wallet"]["lastGood"] == good
            assert found["balance"]["status"] == "unknown"
            page = (await http.get(PAGE_PATH)).text
            assert "private sentence" not in str(found) + page
            assert "Traceback" not in page
        wallet.hangs = True
        house.clock.advance(seconds=60)
        assert "did not answer within" in (await checks(http))["wallet"]["value"]


@pytest.mark.fault("G01", "H11")
async def test_no_secret_comes_through_whatever_the_wallet_says(tmp_path: Path) -> None:
    async with strange(tmp_path) as (_, wallet, http):
        secrets = (TOKEN, "sk-the-very-key-of-a-provider", PREIMAGE, INVOICE, "hunter2hunter2")
        wallet.trouble = WalletDown(f"{TOKEN} sk-the-very-key-of-a-provider {PREIMAGE} {INVOICE} http://me:hunter2hunter2@host \x1b[2J")
        wallet.facts = NodeFacts(software=PREIMAGE, alias=TOKEN, version=INVOICE)
        for path in (JSON_PATH, PAGE_PATH):
            said = (await http.get(path)).text
            assert [secret for secret in secrets if secret in said] == []
            assert "\x1b" not in said
            assert "•••" in said


@pytest.mark.fault("H02")
async def test_a_nodes_name_is_a_text_and_no_markup(tmp_path: Path) -> None:
    async with strange(tmp_path) as (_, wallet, http):
        wallet.facts = NodeFacts(software="Electrum", alias="<script>alert(1)</script>", version='"><img src=x onerror=alert(1)>')
        browser = Browser(http)
        page: Reader = await browser.open(PAGE_PATH)
        harmless(browser, page)
        assert "Electrum, called <script>alert(1)</script>" in page.by_tag["td"]


async def test_many_who_look_at_once_cost_the_wallet_one_look(tmp_path: Path) -> None:
    async with strange(tmp_path) as (house, wallet, http):
        answers = await asyncio.gather(*(http.get(path) for path in (JSON_PATH, PAGE_PATH) for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
        assert wallet.asked == 1
        house.clock.advance(seconds=9)
        await checks(http)
        assert wallet.asked == 1
        house.clock.advance(seconds=1)
        await checks(http)
        assert wallet.asked == 2


@pytest.mark.fault("H11")
async def test_a_look_changes_nothing(tmp_path: Path) -> None:
    async with open_house(tmp_path, background=False, ADMIN_TOKEN=TOKEN) as house:
        await house.app.wallet.balance()  # makes the built-in wallet's own node
        before = await house.rows()
        for path in (JSON_PATH, PAGE_PATH):
            house.clock.advance(seconds=60)
            assert (await house.http.get(path, headers=BEARER)).status_code == 200
        assert await house.rows() == before


async def test_a_wallet_that_holds_less_than_the_books_say_is_found_and_the_way_is_named(tmp_path: Path) -> None:
    async with strange(tmp_path) as (house, wallet, http):
        for _ in range(2):
            order = await house.post("/api/jobs", {"request": "What is 6 * 7?"}, status=201)
            await house.pay(order["evalInvoice"])
        wallet.lacks = Sats(13).msats
        house.clock.advance(seconds=60)
        answer = (await http.get(JSON_PATH)).json()
        balance = next(check for check in answer["checks"] if check["name"] == "balance")
        assert answer["status"] == "fail"
        assert "3 sats are missing" in balance["value"]
        assert "timmy reconcile" in balance["hint"]
