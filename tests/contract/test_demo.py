"""Free answers over HTTP, in a whole house: counted by address, given back where there was none, and nobody's sats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.contract.real_house import House, open_house

from timmy.models import work_prompt
from timmy.models.builtin import BuiltinAgent

TEXT = {"request": "What is 20 + 22?"}
LIMIT, LEFT, RESET = "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"
MONEY = ("accounts", "transfers", "budgets", "grants", "invoices", "jobs", "payouts", "sessions", "events")


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, background=False) as found:
        yield found


async def ask(house: House, **headers: str) -> httpx.Response:
    return await house.http.get("/api/demo", params=TEXT, headers={name.replace("_", "-"): value for name, value in headers.items()})


async def test_five_answers_an_hour_and_then_a_wait(house: House) -> None:
    for left in (4, 3, 2, 1, 0):
        answer = await ask(house)
        assert answer.status_code == 200, answer.text
        shown = answer.json()
        assert "42" in shown["result"]
        assert (shown["state"], shown["reason"], shown["truncated"], shown["left"]) == ("complete", None, False, left)
        assert (answer.headers[LIMIT], answer.headers[LEFT]) == ("5", str(left))
        assert int(answer.headers[RESET]) == house.clock.now_ms() // 1_000 + 3_600
    house.clock.advance(seconds=600)
    over = await ask(house)
    assert (over.status_code, over.json()["code"], over.headers[LEFT]) == (429, "demo_used_up", "0")
    assert over.headers["Retry-After"] == "3000"
    assert over.json()["retryAfterSeconds"] == 3_000
    house.clock.advance(seconds=3_000)
    assert (await ask(house)).headers[LEFT] == "4"


async def test_a_body_is_as_good_as_a_query(house: House) -> None:
    shown = await house.post("/api/demo", TEXT)
    assert (shown["result"], shown["left"]) == ((await ask(house)).json()["result"], 4)


async def test_it_costs_nobody_a_sat_and_leaves_the_books_as_they_were(house: House) -> None:
    before = await house.tables()
    await ask(house)
    await house.post("/api/demo", {"request": "please reject this"})
    after = await house.tables()
    assert {name: after[name] for name in MONEY} == {name: before[name] for name in MONEY}


async def test_what_should_not_be_done_is_declined_with_a_reason(house: House) -> None:
    shown = await house.post("/api/demo", {"request": "please reject this"})
    assert (shown["state"], shown["result"], shown["left"]) == ("rejected", None, 4)
    assert shown["reason"]


@pytest.mark.parametrize(("request_text", "status"), [("please fail", 502), ("please be down", 503)])
async def test_a_failure_does_not_use_up_the_right(house: House, request_text: str, status: int) -> None:
    for _ in range(7):
        assert (await house.http.post("/api/demo", json={"request": request_text})).status_code == status
    assert (await ask(house)).headers[LEFT] == "4"


async def test_what_the_model_was_paid_for_counts_usable_or_not(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    unclear = await house.http.post("/api/demo", json={"request": "please be unclear"})
    assert (unclear.status_code, unclear.json()["code"]) == (503, "judgement_unclear")
    complete = BuiltinAgent.complete

    async def wordless(self: BuiltinAgent, prompt: Any, **how: Any) -> Any:
        found = await complete(self, prompt, **how)
        return found if prompt.system != work_prompt("").system else replace(found, text=" ")

    with monkeypatch.context() as patched:
        patched.setattr(BuiltinAgent, "complete", wordless)
        empty = await ask(house)
        assert (empty.status_code, empty.json()["code"]) == (503, "model_down")
    assert (await ask(house)).headers[LEFT] == "2"


async def test_who_leaves_before_the_answer_has_not_had_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    began = asyncio.Event()

    async def hang(*_: Any, **__: Any) -> Any:
        began.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(BuiltinAgent, "complete", hang)
        asking = asyncio.create_task(ask(house))
        await began.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert (await ask(house)).headers[LEFT] == "4"


async def test_many_at_once_get_five(house: House) -> None:
    answers = await asyncio.gather(*(ask(house) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 7


@pytest.mark.fault("E14")
async def test_an_address_that_a_client_claims_is_not_believed(house: House, tmp_path: Path) -> None:
    for n in range(5):
        await ask(house, x_forwarded_for=f"203.0.113.{n}")
    assert (await ask(house, x_forwarded_for="203.0.113.99")).status_code == 429
    async with open_house(tmp_path / "behind", background=False, TRUSTED_PROXIES="127.0.0.1") as behind:
        for n in range(6):
            assert (await ask(behind, x_forwarded_for=f"203.0.113.{n}")).headers[LEFT] == "4"
        for n in range(5):
            answer = await ask(behind, x_forwarded_for=f"2001:db8:0:1::{n + 1}")
        assert answer.headers[LEFT] == "0", "a whole /64 is one customer of a network"


async def test_all_together_have_a_day(tmp_path: Path) -> None:
    async with open_house(tmp_path, background=False, TRUSTED_PROXIES="127.0.0.1", DEMO_PER_DAY="3") as house:
        for n in range(3):
            assert (await ask(house, x_forwarded_for=f"203.0.113.{n}")).status_code == 200
        over = await ask(house, x_forwarded_for="203.0.113.99")
        assert (over.status_code, over.headers[LEFT], over.headers["Retry-After"]) == (429, "5", "86400")
        house.clock.advance(seconds=86_400)
        assert (await ask(house, x_forwarded_for="203.0.113.99")).status_code == 200


async def test_a_house_that_gives_nothing_says_so(tmp_path: Path) -> None:
    async with open_house(tmp_path, background=False, DEMO_PER_HOUR="0") as house:
        closed = await ask(house)
        assert (closed.status_code, closed.json()["code"]) == (403, "demo_closed")


async def test_two_processes_count_together(tmp_path: Path, postgres_url: str) -> None:
    async with open_house(tmp_path / "a", background=False, DATABASE_URL=postgres_url) as one:
        async with open_house(tmp_path / "b", background=False, DATABASE_URL=postgres_url) as other:
            lefts = [(await ask(each)).headers[LEFT] for each in (one, other, one, other, one)]
            assert lefts == ["4", "3", "2", "1", "0"]
            assert (await ask(other)).status_code == 429


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "request_missing"),
        ("?request=", "request_empty"),
        ("?request=%20", "request_empty"),
        ("?request=" + "x" * 501, "request_too_long"),
        ("?request=x&request=y", "field_repeated"),
        ("?request=x&model=y", "field_unknown"),
        ("?request=a%00b", "text_invalid"),
    ],
)
async def test_each_way_to_ask_wrongly_has_a_code_and_uses_nothing_up(house: House, query: str, code: str) -> None:
    assert (await house.get(f"/api/demo{query}", status=422))["code"] == code
    assert (await ask(house)).headers[LEFT] == "4"
