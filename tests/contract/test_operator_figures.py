"""What the operator's desk shows: no secret, no customer's text, and figures that are found without reading everything."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.contract.operator_house import BEARER, JSON_PATHS, TOKEN, bought, desk, signed_in
from tests.contract.plain_reader import Browser
from tests.contract.real_house import open_house

from timmy.app import operator_store
from timmy.db import Tx
from timmy.web.operator.views import as_csv

# What is shown -----------------------------------------------------------------------------------------------


@pytest.mark.fault("G01", "H02", "H11")
async def test_the_desk_knows_neither_secrets_nor_what_customers_wrote(tmp_path: Path) -> None:
    async with desk(tmp_path) as (house, browser):
        job = await bought(house, "canary-of-a-customer <script>alert(1)</script>")
        owed = job["refund"]["owedSats"]
        invoice = (await house.post("/api/dev/stub/invoice", {"amountSats": owed}, status=201))["paymentRequest"]
        await house.post(f"/api/jobs/{job['jobId']}/refund", {"invoice": invoice})
        session = await house.post("/api/sessions", {"amountSats": 500}, status=201)
        await house.pay(session["invoice"])
        key = (await house.until(f"/api/sessions/{session['sessionId']}", "state", "active"))["macaroon"]
        told = [(await house.http.get(path, headers=BEARER)).text for path in JSON_PATHS]
        page = await signed_in(browser)
        told += [browser.html, (await browser.open(f"/admin/jobs/{job['jobId']}")).text]
        preimages = await house.app.db.read(secrets_of)
        assert preimages
        for secret in (TOKEN, "canary-of-a-customer", job["result"], invoice, key, session["sessionId"], *preimages):
            assert all(secret not in text for text in told), secret
        assert page.tags() & {"script", "img"} == set()
        policy = browser.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert all(name not in {"style"} and not name.startswith("on") for _, given in page.elements for name in given)


def secrets_of(tx: Tx) -> list[str]:
    rows = [*tx.all("SELECT preimage FROM payouts WHERE preimage IS NOT NULL"), *tx.all("SELECT preimage FROM builtin_invoices")]
    return [row["preimage"] for row in rows]


async def test_each_job_leads_to_its_rows(tmp_path: Path) -> None:
    async with desk(tmp_path) as (house, browser):
        job = await bought(house)
        page = await signed_in(browser)
        path = f"/admin/jobs/{job['jobId']}"
        assert path in page.links()
        shown = await browser.open(path)
        assert all(words in shown.text for words in ("complete", "work_charge", "eval_fee", "owed_back"))
        await browser.open("/admin/jobs/none")
        assert browser.status == 404


async def test_the_bars_stand_beside_a_table_with_their_numbers(tmp_path: Path) -> None:
    async with desk(tmp_path) as (house, browser):
        await bought(house)
        page = await signed_in(browser)
        drawn = [given["class"] for tag, given in page.elements if tag == "rect" and "x" in given]
        assert drawn == ["paid"]
        day = (await house.get("/api/admin/days?days=1", Authorization=f"Bearer {TOKEN}"))["days"][0]
        whole, rest = divmod(day["paidMsat"], 1000)
        assert f"{day['day']} " in page.text
        assert f"{whole:,}.{rest:03d}".rstrip("0") in page.text
        assert "Money by UTC day" in page.text


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"])
def test_no_cell_is_a_formula(text: str) -> None:
    (_, (first, number)) = list(csv.reader(io.StringIO(as_csv(("a", "b"), [(text, -5)]), newline="")))
    assert first == f"'{text}"
    assert number == "-5"  # a number of ours is a number


async def test_the_days_for_a_spreadsheet_are_the_days(tmp_path: Path) -> None:
    async with desk(tmp_path) as (house, _):
        await bought(house)
        answer = await house.http.get("/api/admin/days.csv?days=7", headers=BEARER)
        assert "attachment" in answer.headers["content-disposition"]
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        days = (await house.get("/api/admin/days?days=7", Authorization=f"Bearer {TOKEN}"))["days"]
        assert len(rows) == 7
        for row, day in zip(rows, days, strict=True):
            assert row["day"] == day["day"]
            assert all(int(row[name]) == day[name] for name in row if name.endswith("Msat"))
            assert float(row["costUsd"]) == day["costUsd"]


async def test_yesterday_stays_as_it_was_and_today_begins_anew(tmp_path: Path) -> None:
    async with desk(tmp_path) as (house, _):
        await bought(house)

        async def days() -> list[Mapping[str, Any]]:
            found: list[Mapping[str, Any]] = (await house.get("/api/admin/days?days=2", Authorization=f"Bearer {TOKEN}"))["days"]
            return found

        first = (await days())[-1]
        assert first["paidMsat"] > 0
        house.clock.advance(seconds=86_400)
        for _ in range(2):
            yesterday, today = await days()
            assert yesterday == first
            assert (today["paidMsat"], today["costUsd"]) == (0, 0)
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", today["day"])


async def test_work_that_came_to_more_than_its_price_is_told(tmp_path: Path) -> None:
    async with desk(tmp_path) as (house, browser):
        job = await bought(house)
        assert "came to more" not in (await signed_in(browser)).text
        usage = '{"input": 100000, "output": 100000, "cached": 0, "estimated": false}'
        await house.app.db.write(used_more, job["jobId"], usage)
        page = await browser.open("/admin")
        assert "Work came to more than was charged on 1 of the last 1 jobs: absorbed" in page.text


def used_more(tx: Tx, job_id: str, usage: str) -> None:
    tx.run("UPDATE jobs SET usage = :usage WHERE id = :id", usage=usage, id=job_id)


# How it is read ----------------------------------------------------------------------------------------------


async def test_the_desk_reads_either_engine(tmp_path: Path, database_url: str) -> None:
    async with open_house(tmp_path, ADMIN_TOKEN=TOKEN, DATABASE_URL=database_url) as house:
        job = await bought(house)
        session = await house.post("/api/sessions", {"amountSats": 500}, status=201)
        await house.pay(session["invoice"])
        for path in JSON_PATHS:
            assert (await house.http.get(path, headers=BEARER)).status_code == 200
        shown = (await house.get("/api/admin/summary", Authorization=f"Bearer {TOKEN}"))["standing"]
        assert (shown["sessionsMsat"], shown["sessionsOpen"]) == (500_000, 1)
        browser = Browser(house.http)
        assert job["jobId"] in (await signed_in(browser)).text
        assert "work_charge" in (await browser.open(f"/admin/jobs/{job['jobId']}")).text


async def test_the_sats_of_a_node_that_is_being_made_stand_on_the_desk(tmp_path: Path) -> None:
    async with open_house(tmp_path, background=False, ADMIN_TOKEN=TOKEN) as house:
        node = await house.post("/api/bootstrap", {}, status=201)
        await house.pay(node["invoice"])
        shown = (await house.get("/api/admin/summary", Authorization=f"Bearer {TOKEN}"))["standing"]
        assert shown["bootstrapMsat"] == node["invoice"]["amountSats"] * 1_000


class Explained:
    """A `Tx` that says how SQLite would find the rows, instead of finding them."""

    def __init__(self, tx: Tx) -> None:
        self.tx = tx
        self.plans: list[str] = []

    def all(self, sql: str, **params: object) -> list[Any]:
        self.plans += [str(row["detail"]) for row in self.tx.all(f"EXPLAIN QUERY PLAN {sql}", **params)]
        return []

    def one(self, sql: str, **params: object) -> dict[str, int]:
        self.all(sql, **params)
        return {"nano": 0, "n": 0}


def plans_of(tx: Tx) -> list[str]:
    explained: Any = Explained(tx)
    operator_store.moved(explained, 0, 1)
    operator_store.cost(explained, 0, 1)
    operator_store.newest_jobs(explained, 50)
    operator_store.last_done(explained, 100)
    operator_store.job(explained, "x")
    operator_store.transfers_of(explained, "job/x/", "job/x0", 10)
    operator_store.sessions_open(explained)
    plans: list[str] = explained.plans
    return plans


async def test_no_look_at_the_desk_reads_a_whole_table(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        plans = await house.app.db.read(plans_of)
    whole = [plan for plan in plans if plan.startswith("SCAN") and "INDEX" not in plan and "(subquery" not in plan and plan != "SCAN c"]
    assert whole == []
    assert any("transfers_told" in plan for plan in plans)
    assert any("jobs_created_at" in plan for plan in plans)
    assert {"jobs_cost", "session_requests_cost", "completions_cost"} <= set(re.findall(r"\b\w+_cost\b", " ".join(plans)))
