"""Sessions over HTTP, in a whole house: pay ahead, spend per request, top up, take the rest back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import pytest_asyncio
from scripts import openapi
from tests.contract.real_house import House, Person, open_house
from tests.contract.test_http_testkit import counts, run_kit
from tests.e2e.serving import serving

from timmy.identity.macaroons import decode

DEPOSIT = 1_000


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as found:
        yield found


async def opened(house: House, **headers: str) -> Any:
    """A session that was paid for."""
    session = await house.post("/api/sessions", {"amountSats": DEPOSIT}, status=201, **headers)
    await house.pay(session["invoice"])
    return await house.until(f"/api/sessions/{session['sessionId']}", "state", "active")


async def ask(house: House, session: Any, text: str = "Why is the sky blue?", *, status: int = 200, key: str = "", **headers: str) -> Any:
    path = f"/api/sessions/{session['sessionId']}/request"
    return await house.post(path, {"request": text}, status=status, authorization=f"Bearer {key or session['macaroon']}", **headers)


def check(shape: str, shown: Any) -> None:
    document = openapi.describe()
    jsonschema_rs.validate({"$ref": f"#/components/schemas/{shape}", "components": document["components"]}, shown)
    assert set(shown) == set(document["components"]["schemas"][shape]["properties"])


async def test_a_session_from_its_deposit_to_its_rest(house: House) -> None:
    created = await house.post("/api/sessions", {"amountSats": DEPOSIT}, status=201)
    check("SessionOpened", created)
    path = f"/api/sessions/{created['sessionId']}"
    waiting = await house.get(path)
    check("Session", waiting)
    assert (waiting["state"], waiting["balanceSats"], waiting["macaroon"]) == ("awaiting_payment", 0, None)
    await house.pay(created["invoice"])
    session = await house.until(path, "state", "active")
    check("Session", session)
    assert (session["balanceSats"], session["minimumBalanceSats"], session["pendingTopup"]) == (DEPOSIT, 20, None)
    done = await ask(house, session)
    check("SessionRequest", done)
    assert (done["state"], done["free_tier"], done["absorbed_sats"]) == ("complete", False, 0)
    assert done["result"]
    assert done["balanceRemainingMsat"] + done["debitedMsat"] == DEPOSIT * 1_000
    assert 0 < done["debitedMsat"] == done["cost"]["chargedMsat"] <= done["cost"]["reservedMsat"]
    bearer = f"Bearer {session['macaroon']}"
    assert await house.get(f"{path}/requests/{done['requestId']}", authorization=bearer) == done
    left = (await house.get(path))["balanceSats"]
    invoice = (await house.post("/api/dev/stub/invoice", {"amountSats": left}, status=201))["paymentRequest"]
    closed = await house.post(f"{path}/close", {"invoice": invoice}, authorization=bearer)
    assert (closed["state"], closed["balanceSats"]) == ("expired", 0)
    check("Session", closed)
    assert await house.post(f"{path}/close", {"invoice": invoice}, authorization=bearer)
    while (await house.get(path))["refund"]["state"] != "paid":
        await house.app.receiving.hint(created["invoice"]["paymentHash"])
    assert (await house.get(path))["refund"]["paidSats"] == left
    assert (await ask(house, session, status=409))["code"] == "session_ended"
    told = (await house.http.get(f"{path}/events")).text
    assert [line for line in told.splitlines() if line == "event: end"] == ["event: end"]
    assert session["macaroon"] not in told
    moved = [
        json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: ") and '"reason"' in line and '"balanceMsat"' in line
    ]
    assert [each["reason"] for each in moved if "refund" not in each] == ["deposit", "request", "closed"]


@pytest.mark.parametrize("amount", [0, 99, 100_001, -500, 500.0, 500.5, True, False, "500", None, [500], 10**30])
async def test_a_deposit_is_a_whole_number_of_sats_within_the_bounds(house: House, amount: object) -> None:
    for path in ("/api/sessions", "/api/sessions/ses_any/topup"):
        shown = await house.post(path, {"amountSats": amount}, status=422)
        assert shown["code"] in ("field_wrong_type", "amount_out_of_bounds")
        assert (shown["minSats"], shown["maxSats"]) == (100, 100_000)
        assert "from 100 to 100000" in shown["error"]


async def test_both_bounds_themselves_are_fine(house: House) -> None:
    for amount in (100, 100_000):
        assert (await house.post("/api/sessions", {"amountSats": amount}, status=201))["invoice"]["amountSats"] == amount


async def test_an_opening_is_done_once_for_its_key(house: House) -> None:
    first = await house.post("/api/sessions", {"amountSats": DEPOSIT}, status=201, idempotency_key="k")
    await house.pay(first["invoice"])
    assert await house.post("/api/sessions", {"amountSats": DEPOSIT}, status=201, idempotency_key="k") == first
    assert (await house.post("/api/sessions", {"amountSats": 500}, status=422, idempotency_key="k"))["code"] == "idempotency_key_reused"


@pytest.mark.fault("E07", "E08", "E09")
async def test_only_a_macaroon_that_allows_it_spends(house: House) -> None:
    session, other = await opened(house), await opened(house)
    own = decode(session["macaroon"])
    path = f"/api/sessions/{session['sessionId']}/request"
    for key, status, code in (
        ("nonsense", 401, "macaroon_malformed"),
        (session["macaroon"][:-8], 401, "macaroon_malformed"),
        (other["macaroon"], 403, "macaroon_not_for_this"),
        (own.with_caveat("colour=blue").encode(), 401, "caveat_unknown"),
        (own.with_caveat("expires_before=1").encode(), 401, "macaroon_expired"),
        (own.with_caveat("only=/v1/chat/completions").encode(), 403, "macaroon_not_for_this"),
        (own.with_caveat("max_sats=1").encode(), 402, "key_limit_reached"),
    ):
        assert (await ask(house, session, status=status, key=key))["code"] == code
    for headers in ({}, {"authorization": "Basic eDp5"}, {"authorization": f"Nostr {session['macaroon']}"}):
        assert (await house.post(path, {"request": "Why?"}, status=402, **headers))["code"] == "payment_required"
    request = await house.http.get(f"{path}s/req_any")
    assert (request.status_code, request.json()["code"]) == (401, "macaroon_wanted"), "who would only look is sold nothing"
    narrowed = own.with_caveat("only=/api/sessions").with_caveat("max_sats=900").encode()
    assert (await ask(house, session, key=narrowed))["state"] == "complete"
    invoice = (await house.post("/api/dev/stub/invoice", {"amountSats": 10}, status=201))["paymentRequest"]
    close = f"/api/sessions/{session['sessionId']}/close"
    assert (await house.post(close, {"invoice": invoice}, status=403, authorization=f"Bearer {narrowed}"))[
        "code"
    ] == "macaroon_not_for_this"


async def test_too_little_balance_says_what_is_needed_what_is_there_and_what_to_do(house: House) -> None:
    created = await house.post("/api/sessions", {"amountSats": 100}, status=201)
    await house.pay(created["invoice"])
    session = await house.until(f"/api/sessions/{created['sessionId']}", "state", "active")
    long = "Write an essay of 9,000 words about rain."
    shown = await ask(house, session, long, status=402)
    assert shown["code"] == "insufficient_balance"
    assert shown["neededMsat"] > shown["balanceMsat"] == 100_000
    path = f"/api/sessions/{session['sessionId']}"
    assert shown["topupSats"] * 1_000 + shown["balanceMsat"] >= shown["neededMsat"]
    await house.pay(await house.post(f"{path}/topup", {"amountSats": max(100, shown["topupSats"])}, status=201))
    assert (await ask(house, session, long))["state"] == "complete"


async def test_a_second_topup_carries_the_one_that_waits(house: House) -> None:
    session = await opened(house)
    path = f"/api/sessions/{session['sessionId']}"
    first = await house.post(f"{path}/topup", {"amountSats": 500}, status=201)
    assert (await house.get(path))["pendingTopup"] == first
    refused = await house.post(f"{path}/topup", {"amountSats": 700}, status=409)
    assert (refused["code"], refused["invoice"]["paymentHash"]) == ("topup_pending", first["paymentHash"])
    await house.pay(first)
    assert (await house.get(path))["balanceSats"] == DEPOSIT + 500
    await house.post(f"{path}/topup", {"amountSats": 700}, status=201)


async def test_a_rejected_request_costs_its_judging_and_a_failed_one_nothing(house: House) -> None:
    session = await opened(house)
    rejected = await ask(house, session, "please reject this")
    assert (rejected["state"], rejected["result"]) == ("rejected", None)
    assert rejected["reason"]
    failed = await ask(house, session, "please fail")
    assert (failed["state"], failed["debitedMsat"], failed["cost"]) == ("failed", 0, None)
    assert failed["balanceRemainingMsat"] == rejected["balanceRemainingMsat"]


async def test_the_pool_pays_for_who_has_earned_it(house: House) -> None:
    alice = Person()
    await house.has_earned(alice, 200)
    session = await opened(house, x_nostr_token=await alice.log_in(house))
    assert session["trust_tier"] == "elite"
    done = await ask(house, session)
    assert (done["free_tier"], done["debitedSats"], done["balanceRemaining"]) == (True, 0, DEPOSIT)
    assert done["absorbedMsat"] == done["cost"]["chargedMsat"] > 0
    pool = await house.get("/api/pool")
    assert pool["byTier"]["elite"]["times"] == 1
    me = await house.get("/api/identity/me", x_nostr_token=await alice.log_in(house))
    assert me["today"]["leftSats"] == 1_000 - done["absorbed_sats"]


async def test_an_unknown_session_is_404_whatever_its_id_looks_like(house: House) -> None:
    for id in ("ses_" + "a" * 26, "1", "%00", "'%20OR%201=1", "%c3%a9"):
        assert (await house.get(f"/api/sessions/{id}", status=404))["code"] in ("session_not_found", "route_not_found")
        await house.get(f"/api/sessions/{id}/events", status=404)
        await house.post(f"/api/sessions/{id}/topup", {"amountSats": 500}, status=404)


async def test_a_job_of_the_free_tier_says_so(house: House) -> None:
    alice = Person()
    await house.has_earned(alice, 200)
    created = await house.post("/api/jobs", {"request": "Why is the sky blue?"}, status=201, x_nostr_token=await alice.log_in(house))
    await house.pay(created["evalInvoice"])
    job = await house.until(f"/api/jobs/{created['jobId']}", "state", "complete", "failed", "rejected")
    check("Job", job)
    assert (job["state"], job["free_tier"], job["workInvoice"], job["trust_tier"]) == ("complete", True, None, "elite")
    assert 0 < job["absorbed_sats"] <= job["pricingBreakdown"]["amountSats"]


async def test_a_whole_house_passes_the_test_kit(tmp_path: Path) -> None:
    async with serving({"DATA_DIR": str(tmp_path)}) as site:
        code, said = await run_kit(site.url)
    assert (code, counts(said)[1]) == (0, 0), said
