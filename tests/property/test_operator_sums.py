"""The desk's sums are the ledger's: after a random day of jobs, sessions, calls of /v1, refunds and gifts of the pool."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.real_house import House, Person, open_house

from timmy.app.books import all_checks
from timmy.clock import SECOND_MS
from timmy.db import Tx
from timmy.generosity import pool
from timmy.money import Sats

DAY_SECONDS = 86_400
TOKEN = "a-token-of-the-operator-that-nobody-guesses"
EARNED = ("eval_fee", "work_charge", "session_charge")
Act = Callable[[House, str], Coroutine[Any, Any, None]]


async def job(house: House, token: str) -> None:
    await _job(house, "What is 6 * 7?", {})


async def job_of_a_friend(house: House, token: str) -> None:
    """Whose work the pool pays for, or a part of it."""
    await _job(house, "Write a haiku about rain", {"nostr_token": token})


async def job_that_is_refused(house: House, token: str) -> None:
    await _job(house, "please reject this", {})


async def _job(house: House, request: str, more: dict[str, str]) -> None:
    made = await house.post("/api/jobs", {"request": request, **more}, status=201)
    path = f"/api/jobs/{made['jobId']}"
    await house.pay(made["evalInvoice"])
    await house.app.run_due()
    shown = await house.get(path)
    if shown["state"] == "awaiting_work_payment":
        await house.pay(shown["workInvoice"])
        await house.app.run_due()
    shown = await house.get(path)
    if owed := shown["refund"]["owedSats"]:
        invoice = await house.post("/api/dev/stub/invoice", {"amountSats": owed}, status=201)
        await house.post(f"{path}/refund", {"invoice": invoice["paymentRequest"]})
        await house.app.run_due()


async def session(house: House, token: str) -> None:
    """Opened, spent from over both interfaces, and closed."""
    made = await house.post("/api/sessions", {"amountSats": 600, "nostr_token": token}, status=201)
    path = f"/api/sessions/{made['sessionId']}"
    await house.pay(made["invoice"])
    bearer = f"Bearer {(await house.get(path))['macaroon']}"
    await house.post(f"{path}/request", {"request": "What is 6 * 7?"}, Authorization=bearer)
    asked = {"model": "timmy-demo", "messages": [{"role": "user", "content": "What is 17 * 23?"}], "max_tokens": 60}
    await house.post("/v1/chat/completions", asked, Authorization=bearer)
    left = (await house.get(path))["balanceSats"]
    invoice = await house.post("/api/dev/stub/invoice", {"amountSats": left}, status=201)
    await house.post(f"{path}/close", {"invoice": invoice["paymentRequest"]}, Authorization=bearer)
    await house.app.run_due()


async def a_day_later(house: House, token: str) -> None:
    house.clock.advance(seconds=DAY_SECONDS)


ACTS: tuple[Act, ...] = (job, job_of_a_friend, job_that_is_refused, session, a_day_later)


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(ACTS), min_size=3, max_size=7))
def test_the_sums_on_the_desk_are_the_ledgers(acts: list[Act]) -> None:
    asyncio.run(_walk(acts))


def test_each_kind_of_money_is_seen_at_least_once() -> None:
    """Or the sums above would agree about nothing."""
    asyncio.run(_walk([job, session, job_of_a_friend, a_day_later, job], expect=("received", "paid", "free", "refunded")))


async def _walk(acts: list[Act], expect: tuple[str, ...] = ()) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with open_house(Path(folder), background=False, ADMIN_TOKEN=TOKEN) as house:
            await house.app.db.write(pool.seed, Sats(10_000).msats, house.clock.now_ms())
            friend = Person()
            await house.has_earned(friend, 200)
            token = await friend.log_in(house)
            days = 1
            for act in acts:
                days += act is a_day_later
                await act(house, token)
                if days > 1:  # what is remembered of days that are over must not be what was not over then
                    await _agree(house, days, expect=())
                token = await friend.log_in(house) if act is a_day_later else token
            await _agree(house, days, expect)


async def _agree(house: House, days: int, expect: tuple[str, ...]) -> None:
    shown = (await house.get(f"/api/admin/days?days={days}", Authorization=f"Bearer {TOKEN}"))["days"]
    summary = await house.get("/api/admin/summary", Authorization=f"Bearer {TOKEN}")
    moved = await house.app.db.read(all_transfers)
    in_all = dict.fromkeys(("received", "paid", "free", "absorbed", "refunded"), 0)
    for day in shown:
        rows = [row for row in moved if _day(row[2]) == day["day"]]
        ours = {
            "received": sum(msat for code, msat, _ in rows if code in ("payment_received", "stray_payment")),
            "paid": sum(msat for code, msat, _ in rows if code in EARNED),
            "free": sum(msat for code, msat, _ in rows if code == "gift"),
            "absorbed": sum(msat for code, msat, _ in rows if code == "routing_fee"),
            "refunded": sum(msat for code, msat, _ in rows if code == "payout_sent"),
        }
        assert {name: day[f"{name}Msat"] for name in ours} == ours
        in_all = {name: in_all[name] + ours[name] for name in in_all}
    balances = await house.app.db.read(balances_of)
    # All that was ever earned is on `revenue`, but for what went on to the pool.
    to_pool = sum(msat for code, msat, _ in moved if code == "pool_credit")
    assert in_all["paid"] + in_all["free"] - to_pool == balances.get("revenue", 0) == summary["standing"]["revenueMsat"]
    assert summary["standing"]["poolMsat"] == balances.get("pool", 0)
    for shown_as, kind in (("owedMsat", "owed/"), ("sessionsMsat", "session/"), ("jobsMsat", "job/"), ("inFlightMsat", "in_flight/")):
        assert summary["standing"][shown_as] == sum(msat for id, msat in balances.items() if id.startswith(kind))
    assert summary["today"] == {name: value for name, value in shown[-1].items() if name != "day"}
    assert [name for name in expect if not in_all[name]] == []
    assert [check for check in await house.app.db.read(all_checks) if not check.holds] == []


def _day(at_ms: int) -> str:

    return datetime.fromtimestamp(at_ms // SECOND_MS, UTC).strftime("%Y-%m-%d")


def all_transfers(tx: Tx) -> list[tuple[str, int, int]]:
    rows = tx.all("SELECT code, amount_msat, at_ms FROM transfers WHERE kind = 'move' OR kind = 'post'")
    return [(row["code"], row["amount_msat"], row["at_ms"]) for row in rows]


def balances_of(tx: Tx) -> dict[str, int]:
    return {row["id"]: row["balance_msat"] for row in tx.all("SELECT id, balance_msat FROM accounts")}
