"""Keys over HTTP, in a whole house: logging in, being known one way or another, and never being taken for anybody else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.contract.real_house import House, Person, open_house

from timmy.clock import iso
from timmy.identity.nostr import npub

DAY_SECONDS = 86_400
TEXT = {"request": "Why is the sky blue?"}


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, background=False) as found:
        yield found


async def test_a_key_logs_in_with_one_signature(house: House) -> None:
    alice = Person()
    challenge = await house.post("/api/identity/challenge")
    assert challenge["expiresAt"] == iso(house.clock.now_ms() + 300_000)
    login = await house.post("/api/identity/verify", {"event": alice.answer(challenge["nonce"], house.clock.now_ms())})
    assert (login["pubkey"], login["npub"], login["trust_tier"]) == (alice.pubkey, npub(alice.pubkey), "new")
    me = await house.get("/api/identity/me", x_nostr_token=login["nostr_token"])
    assert (me["pubkey"], me["score"], me["trust_tier"], me["why"], me["firstSeenAt"]) == (alice.pubkey, 0, "new", [], None)
    assert me["nextTier"] == {"tier": "established", "score": 10, "missing": 10}
    assert me["today"] == {"day": "2023-11-14", "budgetSats": 0, "leftSats": 0}


@pytest.mark.fault("E10", "E11")
async def test_a_login_is_worth_what_was_signed_and_nothing_else(house: House) -> None:
    alice, mallory = Person(), Person()

    async def refused(event: Any, pubkey: str | None = None) -> str:
        body = {"event": event} if pubkey is None else {"event": event, "pubkey": pubkey}
        answer = await house.http.post("/api/identity/verify", json=body)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Nostr")
        code: str = answer.json()["code"]
        return code

    async def nonce() -> str:
        return str((await house.post("/api/identity/challenge"))["nonce"])

    now_ms = house.clock.now_ms()
    good = alice.answer(await nonce(), now_ms)
    assert await refused({**good, "content": "x"}) == "nostr_event_invalid"
    assert await refused({**good, "pubkey": mallory.pubkey}) == "nostr_event_invalid"
    assert await refused(good, mallory.pubkey) == "nostr_event_not_for_this"
    assert await refused(good, "npub1nonsense") == "nostr_event_not_for_this"
    assert await refused(alice.answer(await nonce(), now_ms, kind=1)) == "nostr_event_not_for_this"
    assert await refused(alice.answer("made-up", now_ms)) == "challenge_unknown"
    assert await refused(alice.answer(await nonce(), now_ms - 601_000)) == "nostr_event_stale"
    assert await refused(alice.answer(await nonce(), now_ms + 601_000)) == "nostr_event_stale"
    await house.post("/api/identity/verify", {"event": good, "pubkey": npub(alice.pubkey)})
    assert await refused(good) == "challenge_unknown"
    late = await nonce()
    house.clock.advance(seconds=300)
    assert await refused(alice.answer(late, house.clock.now_ms())) == "challenge_expired"


@pytest.mark.fault("E10")
async def test_a_signed_request_is_known_without_a_login_and_counts_once(house: House) -> None:
    alice = Person()
    now_ms = house.clock.now_ms()
    header = alice.signed("GET", "/api/identity/me", now_ms)
    assert (await house.get("/api/identity/me", authorization=header))["pubkey"] == alice.pubkey
    assert (await house.get("/api/identity/me", status=401, authorization=header))["code"] == "nostr_event_replayed"
    for wrong in (
        alice.signed("POST", "/api/identity/me", now_ms),
        alice.signed("GET", "/api/identity/me?x=1", now_ms),
        alice.signed("GET", "/api/pool", now_ms),
    ):
        assert (await house.get("/api/identity/me", status=401, authorization=wrong))["code"] == "nostr_event_not_for_this"
    stale = alice.signed("GET", "/api/identity/me", now_ms - 61_000)
    assert (await house.get("/api/identity/me", status=401, authorization=stale))["code"] == "nostr_event_stale"


async def test_a_signature_is_of_the_query_and_the_body_as_they_were_sent(house: House) -> None:
    alice = Person()
    target = "/api/estimate?request=what%20is%20it+worth%3F"
    shown = await house.get(target, authorization=alice.signed("GET", target, house.clock.now_ms()))
    assert shown["identity"]["trust_tier"] == "new"
    body = b'{ "request":"Why?" }'
    for signed, status in ((body, 201), (b'{"request":"Why?"}', 401)):
        headers = {"Authorization": alice.signed("POST", "/api/jobs", house.clock.now_ms(), signed), "Content-Type": "application/json"}
        answer = await house.http.post("/api/jobs", content=body, headers=headers)
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize("path", ["/api/jobs", "/api/estimate", "/api/sessions"])
async def test_what_is_shown_and_no_good_is_never_nobody(house: House, path: str) -> None:
    alice, bob = Person(), Person()
    alices, bobs = await alice.log_in(house), await bob.log_in(house)
    body: dict[str, Any] = {"amountSats": 500} if path == "/api/sessions" else TEXT
    before = await house.rows()
    for extra, headers, code in (
        ({"nostr_token": ""}, {}, "token_invalid"),
        ({"nostr_token": alices[:-1]}, {}, "token_invalid"),
        ({}, {"x_nostr_token": alices.replace(alice.pubkey, bob.pubkey)}, "token_invalid"),
        ({}, {"authorization": "Nostr "}, "nostr_event_invalid"),
        ({}, {"authorization": "nostr e30="}, "nostr_event_invalid"),
        ({"nostr_token": alices}, {"x_nostr_token": "nonsense"}, "token_invalid"),
        ({"nostr_token": alices}, {"x_nostr_token": bobs}, "identities_disagree"),
    ):
        shown = await house.post(path, {**body, **extra}, status=401, **headers)
        assert shown["code"] == code
        assert alices not in json.dumps(shown)
    house.clock.advance(seconds=7 * DAY_SECONDS)
    assert (await house.post(path, {**body, "nostr_token": alices}, status=401))["code"] == "token_expired"
    assert await house.rows() == before


async def test_two_keys_that_are_shown_at_once_must_be_one(house: House) -> None:
    alice, bob = Person(), Person()
    token = await alice.log_in(house)
    for someone, status in ((alice, 200), (bob, 401)):
        raw = json.dumps({**TEXT, "nostr_token": token}).encode()
        headers = {"Authorization": someone.signed("POST", "/api/estimate", house.clock.now_ms(), raw), "Content-Type": "application/json"}
        answer = await house.http.post("/api/estimate", content=raw, headers=headers)
        assert answer.status_code == status
    twice = [("X-Nostr-Token", token), ("X-Nostr-Token", await bob.log_in(house))]
    assert (await house.http.get("/api/identity/me", headers=twice)).json()["code"] == "identities_disagree"


@pytest.mark.fault("E12")
async def test_a_job_and_a_session_belong_to_the_key_that_asked(house: House) -> None:
    alice = Person()
    token = await alice.log_in(house)
    await house.has_earned(alice, 10)
    for path, body in (("/api/jobs", TEXT), ("/api/sessions", {"amountSats": 500})):
        assert (await house.post(path, {**body, "nostr_token": token}, status=201))["trust_tier"] == "established"
        assert (await house.post(path, body, status=201, x_nostr_token=token))["trust_tier"] == "established"
        assert (await house.post(path, {**body, "nostr_token": None}, status=201))["trust_tier"] == "anonymous"
    assert (await house.get("/api/identity/me", status=401))["code"] == "identity_wanted"


async def test_an_idempotency_key_of_one_person_is_not_anothers(house: House) -> None:
    token = await Person().log_in(house)
    mine = await house.post("/api/jobs", TEXT, status=201, x_nostr_token=token, idempotency_key="k")
    again = await house.post("/api/jobs", TEXT, status=201, x_nostr_token=token, idempotency_key="k")
    nobodys = await house.post("/api/jobs", TEXT, status=201, idempotency_key="k")
    assert mine["jobId"] == again["jobId"] != nobodys["jobId"]


async def test_a_score_is_explained(house: House) -> None:
    alice = Person()
    await house.has_earned(alice, 14)

    async def me() -> Any:
        return await house.get("/api/identity/me", x_nostr_token=await alice.log_in(house))

    shown = await me()
    assert (shown["score"], shown["trust_tier"], shown["successes"], shown["setbacks"], shown["paidSats"]) == (14, "established", 7, 0, 140)
    assert {(each["why"], each["change"]) for each in shown["why"]} == {("work_paid", 2)}
    assert shown["nextTier"] == {"tier": "trusted", "score": 50, "missing": 36}
    assert (shown["today"]["budgetSats"], shown["today"]["leftSats"]) == (50, 50)
    assert shown["decay"]["lost"] == 0
    house.clock.advance(seconds=33 * DAY_SECONDS)
    shown = await me()
    assert (shown["score"], shown["decay"]["lost"]) == (11, 3)
    assert "14" in shown["decay"]["explained"]
    house.clock.advance(seconds=365 * DAY_SECONDS)
    assert (await me())["trust_tier"] == "new"


async def test_at_the_top_there_is_no_next_tier(house: House) -> None:
    alice = Person()
    await house.has_earned(alice, 200)
    assert (await house.get("/api/identity/me", x_nostr_token=await alice.log_in(house)))["nextTier"] is None
