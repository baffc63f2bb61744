"""The operator's desk: closed unless a token is set, careful with who acts, silent about customers, and right about money."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import jsonschema_rs
import pytest
from scripts import openapi
from tests.contract.http_desk import World
from tests.contract.operator_house import ACTS, BEARER, JSON_PATHS, TOKEN, bought, desk, signed_in
from tests.contract.plain_reader import Browser
from tests.contract.real_house import PATIENCE_SECONDS, SITE, open_house

from timmy import tasks
from timmy.db import Tx
from timmy.lightning import store as lightning_store
from timmy.settings import Secret, Settings
from timmy.tasks import NewTask, book
from timmy.web import create_app
from timmy.web.operator.keys import SIGNED_IN_SECONDS, WRONG_PER_MINUTE, WRONG_PER_MINUTE_IN_ALL

# Who may look ----------------------------------------------------------------------------------------------


@pytest.mark.fault("G08", "H11")
async def test_without_a_token_there_is_no_desk(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        for path in ("/admin", "/admin/jobs/x", *JSON_PATHS):
            for headers in ({}, BEARER, {"Authorization": "Bearer "}, {"Cookie": "timmy_operator=1.2.3"}):
                assert (await house.http.get(path, headers=headers)).status_code == 404
        for act in ("sign-in", *ACTS):
            assert (await house.http.post(f"/admin/{act}", data={"token": ""})).status_code == 404


async def test_programs_show_the_token_with_every_look(tmp_path: Path) -> None:
    document = openapi.describe()
    async with desk(tmp_path) as (house, _):
        await bought(house)
        for path in JSON_PATHS:
            assert (await house.http.get(path)).status_code == 401
            answer = await house.http.get(path, headers=BEARER)
            assert answer.status_code == 200
            assert answer.headers["cache-control"] == "no-store"
            described = document["paths"][path]["get"]["responses"]["200"]["content"]
            if path.endswith(".csv"):
                assert "text/csv" in described
                continue
            shape = described["application/json"]["schema"]["$ref"].rpartition("/")[2]
            jsonschema_rs.validate({"$ref": f"#/components/schemas/{shape}", "components": document["components"]}, answer.json())


@pytest.mark.parametrize(
    ("query", "status"), [("days=0", 422), ("days=367", 422), ("days=x", 422), ("dayz=1", 422), ("days=1&days=2", 422), ("days=٣", 422)]
)
async def test_a_number_that_is_none_is_refused(tmp_path: Path, query: str, status: int) -> None:
    async with desk(tmp_path) as (house, _):
        assert (await house.http.get(f"/api/admin/days?{query}", headers=BEARER)).status_code == status


@pytest.mark.fault("E13")
async def test_wrong_tokens_are_counted_by_address_and_the_right_one_waits_with_them(tmp_path: Path) -> None:
    async with desk(tmp_path) as (house, browser):
        form = (await browser.open("/admin")).form("/sign-in")
        for _ in range(WRONG_PER_MINUTE):
            page = await browser.send(form, token="wrong")
            assert (browser.status, "not the ADMIN_TOKEN" in page.alert) == (401, True)
        page = await browser.send(form, token=TOKEN)
        assert browser.status == 429
        assert (await house.http.get("/api/admin/summary", headers=BEARER)).status_code == 429
        assert (await house.http.get("/metrics", headers=BEARER)).status_code == 429
        house.clock.advance(seconds=60)
        assert (await browser.send(form, token=TOKEN)).heading == "Operator's desk"


@pytest.mark.fault("E13")
async def test_guessing_from_many_addresses_does_not_lock_the_operator_out(tmp_path: Path) -> None:
    async with desk(tmp_path, "127.0.0.1") as (house, _):

        async def look(address: str, token: str) -> int:
            headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address}
            return (await house.http.get("/api/admin/tasks", headers=headers)).status_code

        assert await look("192.0.2.1", TOKEN) == 200
        for n in range(WRONG_PER_MINUTE_IN_ALL):
            assert await look(f"198.51.{n // 200}.{n % 200}", "wrong") == 401
        assert await look("203.0.113.9", TOKEN) == 429
        assert await look("192.0.2.1", TOKEN) == 200


async def test_right_tokens_are_never_too_many(tmp_path: Path) -> None:
    async with desk(tmp_path) as (house, _):
        for _ in range(4 * WRONG_PER_MINUTE):
            assert (await house.http.get("/api/admin/tasks", headers=BEARER)).status_code == 200


@pytest.mark.fault("G01", "H11")
async def test_the_cookie_is_not_the_token_and_ends(tmp_path: Path) -> None:
    async with desk(tmp_path) as (house, browser):
        form = (await browser.open("/admin")).form("/sign-in")
        answer = await house.http.post(form.action, data={"token": TOKEN})
        cookie = answer.headers["set-cookie"]
        assert TOKEN not in cookie
        assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", f"Max-Age={SIGNED_IN_SECONDS}"))
        assert "Paid by customers" in (await browser.open("/admin")).text
        assert TOKEN not in browser.html
        house.clock.advance(seconds=SIGNED_IN_SECONDS)
        assert (await browser.open("/admin")).form("/sign-in")


async def test_over_tls_the_cookie_stays_on_tls() -> None:
    world = World.build(Settings(admin_token=Secret(TOKEN), public_url="https://timmy.example"))
    world.house.operator = Nobody()  # type: ignore[assignment]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(world.house)), base_url=SITE) as http:
        assert "Secure" in (await http.post("/admin/sign-in", data={"token": TOKEN})).headers["set-cookie"]


class Nobody:
    """A desk that is not asked."""


@pytest.mark.parametrize("change", ["1{}", "{}0", "9" * 15 + ".{}", "..", "", "x.y.z", "{0}.{0}"])
async def test_a_cookie_that_was_changed_opens_nothing(tmp_path: Path, change: str) -> None:
    async with desk(tmp_path) as (house, browser):
        await signed_in(browser)
        value = house.http.cookies["timmy_operator"]
        house.http.cookies.clear()
        answer = await house.http.get("/admin", headers={"Cookie": f"timmy_operator={change.format(value)}"})
        assert 'action="/admin/sign-in"' in answer.text
        assert (await house.http.get("/api/admin/summary", headers={"Cookie": f"timmy_operator={change.format(value)}"})).status_code == 401


@pytest.mark.fault("H08")
async def test_nobody_acts_by_a_cookie_alone(tmp_path: Path) -> None:
    async with desk(tmp_path) as (house, browser):
        page = await signed_in(browser)
        word = page.form("/stop").fields["word"]
        for act in ACTS:
            for headers, given, status in (
                ({"Sec-Fetch-Site": "cross-site"}, word, 403),
                ({"Origin": "https://evil.example"}, word, 403),
                ({"Sec-Fetch-Site": "same-origin"}, "", 403),
                ({"Sec-Fetch-Site": "same-origin"}, "0" * 64, 403),
            ):
                answer = await house.http.post(f"/admin/{act}", data={"word": given, "name": "payouts", "sure": "yes"}, headers=headers)
                assert answer.status_code == status, (act, headers)
        house.http.cookies.clear()
        for act in ACTS:
            for headers in ({}, BEARER):
                answer = await house.http.post(f"/admin/{act}", data={"word": word, "name": "payouts"}, headers=headers)
                assert answer.status_code == 401, act
        assert await house.app.db.read(lightning_store.breaker, "payouts") is None


async def test_signing_out_ends_it_in_this_browser(tmp_path: Path) -> None:
    async with desk(tmp_path) as (_, browser):
        page = await signed_in(browser)
        assert (await browser.send(page.form("/sign-out"))).form("/sign-in")


# What can be done ------------------------------------------------------------------------------------------


async def test_payouts_are_stopped_at_once_and_go_on_after_a_question_with_the_amount(tmp_path: Path) -> None:
    async with desk(tmp_path) as (house, browser):
        owed = (await bought(house))["refund"]["owedSats"]
        page = await signed_in(browser)
        stop = next(form for form in page.forms if form.fields.get("name") == "payouts")
        page = await browser.send(stop)
        assert "Payouts stopped: by the operator, at the desk" in page.text
        go_on = page.form("/go-on")
        page = await browser.send(go_on)
        assert page.heading == "Are you sure?"
        assert f"up to {owed} sats may move again" in page.text
        assert await house.app.db.read(lightning_store.breaker, "payouts") is not None
        page = await browser.send(page.form("/go-on"))
        assert "It goes on." in page.text
        assert await house.app.db.read(lightning_store.breaker, "payouts") is None
        assert "It was not stopped" in (await browser.send(go_on)).text


async def test_a_breaker_that_is_none_is_neither_tripped_nor_reset(tmp_path: Path) -> None:
    async with desk(tmp_path) as (house, browser):
        page = await signed_in(browser)
        await browser.send(page.form("/stop"), name="anything")
        assert await house.app.db.read(lightning_store.breaker, "anything") is None
        await house.app.db.write(lightning_store.trip, "strange", "by a test", 1)
        page = await browser.open("/admin")
        assert "Strange stopped: by a test" in page.text
        await browser.send(page.form("/stop"), name="strange", sure="yes")
        assert await house.app.db.read(lightning_store.breaker, "strange") is not None


async def test_a_task_that_was_laid_aside_is_tried_again(tmp_path: Path) -> None:
    async with open_house(tmp_path, background=False, ADMIN_TOKEN=TOKEN) as house:
        browser = Browser(house.http)
        for kind in ("pay", "execute", "bootstrap_refund_to"):
            await house.app.db.write(parked, kind, "<b>why</b>")
        page = await signed_in(browser)
        assert "3 tasks failed too often" in page.text
        assert "<b>why</b>" in page.text
        retry = next(form for form in page.forms if form.fields.get("id") == "execute/x")
        page = await browser.send(retry)
        assert "The task will be tried again" in page.text
        page = await browser.send(retry)
        assert "No parked task is called that any more" in page.text
        summary = await house.get("/api/admin/tasks", Authorization=f"Bearer {TOKEN}")
        assert [task["id"] for task in summary["parked"]] == ["bootstrap_refund_to/x", "pay/x"]
        assert await house.app.house.operator.retry_refunds() == 2  # type: ignore[union-attr]
        assert (await house.get("/api/admin/tasks", Authorization=f"Bearer {TOKEN}"))["parked"] == []


def parked(tx: Tx, kind: str, trouble: str) -> None:
    tasks.add(tx, [NewTask(kind, "x", 1)])
    (row,) = tx.all("SELECT id, kind, subject, attempts, fence, failures FROM tasks WHERE kind = :kind", kind=kind)
    assert book.park(tx, tasks.Task(**row), trouble)


async def test_the_books_are_read_through_when_asked_and_what_is_found_is_told(tmp_path: Path) -> None:
    async with desk(tmp_path) as (house, browser):
        await bought(house)
        page = await signed_in(browser)
        await browser.send(page.form("/audit"))
        async with asyncio.timeout(PATIENCE_SECONDS):
            # The house reads them through by itself, too: pressed while that still runs, the button would begin nothing anew.
            while "all transfers" not in (page := await browser.open("/admin")).text or "being read through" in page.text:
                await asyncio.sleep(0.02)
        assert "They close:" in page.text
        await house.app.db.write(lose_a_sat)
        await browser.send(page.form("/audit"))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while "They do not close" not in (page := await browser.open("/admin")).text:
                await asyncio.sleep(0.02)
        assert "all accounts sum to zero" in page.text
        assert "Payouts stopped" in page.text


def lose_a_sat(tx: Tx) -> None:
    tx.run("UPDATE accounts SET balance_msat = balance_msat - 1000 WHERE id = 'pool'")
