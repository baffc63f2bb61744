"""L402 where a request is done in one call: at a session's own address, and as a job that is paid ahead."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.contract import payment_client
from tests.contract.payment_client import Client, decoded, encoded
from tests.contract.real_house import Person, document
from tests.contract.test_openai_sdk import Shop, customer_of, shop
from tests.contract.test_payment_charge import closes

from timmy.identity.macaroons import decode
from timmy.lightning import bolt11

__all__ = ["shop"]

REQUEST = {"request": "What is 6 * 7?"}
AHEAD = "/api/jobs?pay=l402"
LONG = {"request": "Write an essay of 9,000 words about rain."}


@pytest.fixture(autouse=True)
async def books(shop: Shop) -> AsyncIterator[None]:
    yield
    await closes(shop)


class Answer:
    def __init__(self, status: int, headers: Any, body: Any) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def schemes(self) -> list[str]:
        return [line.split()[0] for line in self.headers.getall("WWW-Authenticate", [])]

    @property
    def challenge(self) -> tuple[str, str]:
        """Macaroon and invoice, from the line that every client reads."""
        assert self.status == 402, self.body
        macaroon, invoice = self.headers.getall("WWW-Authenticate")[0].split('"')[1::2]
        return macaroon, invoice


async def post(shop: Shop, path: str, body: Any = None, authorization: str = "", **headers: str) -> Answer:
    given = {name.replace("_", "-"): value for name, value in headers.items()} | ({"Authorization": authorization} if authorization else {})
    async with shop.site.http.post(shop.site.url + path, json=body or REQUEST, headers=given) as answer:
        return Answer(answer.status, answer.headers, await answer.json(content_type=None))


async def paid(shop: Shop, offer: Answer) -> str:
    """The credential that the offer's payment makes. Nobody tells the shop."""
    macaroon, invoice = offer.challenge
    return f"L402 {macaroon}:{await customer_of(shop).pay(invoice)}"


async def balance(shop: Shop, session_id: str) -> int:
    session = await shop.site.get(f"/api/sessions/{session_id}")
    assert session["heldMsat"] == 0
    msat: int = session["balanceMsat"]
    return msat


async def key_of(shop: Shop, credential: str) -> Any:
    async with shop.site.http.get(f"{shop.site.url}/v1/key", headers={"Authorization": credential}) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def test_a_server_that_is_tried_out_shows_what_proves_the_payment(shop: Shop) -> None:
    """As docs/how-to/jobs-paid-ahead.md has it, with curl and nothing else."""
    macaroon, invoice = (await post(shop, AHEAD)).challenge
    shown = await shop.site.post(f"/api/dev/stub/pay/{bolt11.decode(invoice).payment_hash}", {}, status=200)
    done = await post(shop, AHEAD, authorization=f"L402 {macaroon}:{shown['preimage']}")
    assert (done.status, done.body["state"]) == (200, "complete")


# a session's own address --------------------------------------------------------------------------------


async def test_a_session_that_waits_for_its_deposit_asks_for_that(shop: Shop) -> None:
    opened = await shop.site.post("/api/sessions", {"amountSats": 500}, status=201)
    path = f"/api/sessions/{opened['sessionId']}/request"
    offer = await post(shop, path)
    assert (offer.body["code"], offer.headers["Content-Type"]) == ("payment_required", "application/problem+json")
    assert offer.schemes == ["LSAT", "L402", "Payment"]
    assert offer.challenge[1] == opened["invoice"]["paymentRequest"] == offer.body["offer"]["invoice"]
    answer = await post(shop, path, authorization=await paid(shop, offer))
    assert (answer.status, answer.body["state"]) == (200, "complete")
    assert await balance(shop, opened["sessionId"]) == 500_000 - answer.body["debitedMsat"]


async def test_a_paid_session_asks_for_a_topup_of_itself(shop: Shop) -> None:
    path = f"/api/sessions/{shop.session_id}/request"
    offer = await post(shop, path)
    assert offer.schemes == ["LSAT", "L402"]
    assert (await shop.session())["pendingTopup"] is None, "its owner may still ask for a top-up of their own"
    credential = await paid(shop, offer)
    answer = await post(shop, path, authorization=credential)
    assert (answer.status, answer.body["state"]) == (200, "complete")
    arrived = offer.body["offer"]["amountSats"] * 1_000
    assert await balance(shop, shop.session_id) == 1_000_000 + arrived - answer.body["debitedMsat"]
    again = await post(shop, path, authorization=credential)
    assert (again.status, again.body["balanceRemainingMsat"]) == (200, await balance(shop, shop.session_id))
    assert (await key_of(shop, credential))["balance_msat"] == await balance(shop, shop.session_id), "it is a key of the session everywhere"


async def test_a_topups_key_is_nobodys_before_it_is_paid(shop: Shop) -> None:
    path = f"/api/sessions/{shop.session_id}/request"
    macaroon, _ = (await post(shop, path)).challenge
    for credential, status, code in (
        (f"Bearer {macaroon}", 409, "session_not_open"),
        (f"L402 {macaroon}:{'0' * 64}", 401, "preimage_wrong"),
        (f"Bearer {decode(macaroon).with_caveat('only=/v1').encode()}", 409, "session_not_open"),
    ):
        refused = await post(shop, path, authorization=credential)
        assert (refused.status, refused.body["code"]) == (status, code)
    assert await balance(shop, shop.session_id) == 1_000_000


async def test_who_has_spent_the_balance_is_offered_what_makes_this_request_possible(shop: Shop) -> None:
    opened = await shop.site.post("/api/sessions", {"amountSats": 100}, status=201)
    path = f"/api/sessions/{opened['sessionId']}/request"
    credential = await paid(shop, await post(shop, path, LONG))
    short = await post(shop, path, LONG, credential)
    assert short.body["code"] == "insufficient_balance"
    needed = short.body["neededMsat"] - short.body["balanceMsat"]
    assert short.body["offer"]["amountSats"] == max(100, -(-needed // 1_000))
    answer = await post(shop, path, LONG, await paid(shop, short))
    assert (answer.status, answer.body["state"]) == (200, "complete")
    assert (await post(shop, path, LONG, credential)).status in (200, 402), "the first key spends the same balance"


async def test_a_narrowed_key_is_not_offered_the_whole_one(shop: Shop) -> None:
    path = f"/api/sessions/{shop.session_id}/request"
    own = decode(shop.key)
    refused = await post(shop, path, authorization=f"Bearer {own.with_caveat('max_sats=1').encode()}")
    assert refused.body["code"] == "key_limit_reached"
    done = (await post(shop, AHEAD, authorization=await paid(shop, refused))).body
    paid_msat = refused.body["offer"]["amountSats"] * 1_000
    assert done["balanceRemainingMsat"] + done["debitedMsat"] == paid_msat, "another session, with what was paid in it"
    assert await balance(shop, shop.session_id) == 1_000_000


async def test_a_session_that_is_over_or_never_was_offers_nothing(shop: Shop) -> None:
    unknown = await post(shop, "/api/sessions/ses_none/request")
    assert (unknown.status, unknown.body["code"]) == (404, "session_not_found")
    sats = (await shop.session())["balanceSats"]
    invoice = (await shop.site.post("/api/dev/stub/invoice", {"amountSats": sats}, status=201))["paymentRequest"]
    offer = await post(shop, f"/api/sessions/{shop.session_id}/request")
    await post(shop, f"/api/sessions/{shop.session_id}/close", {"invoice": invoice}, f"Bearer {shop.key}")
    ended = await post(shop, f"/api/sessions/{shop.session_id}/request")
    assert (ended.status, ended.body["code"]) == (409, "session_ended")
    late = await post(shop, f"/api/sessions/{shop.session_id}/request", authorization=await paid(shop, offer))
    assert (late.status, late.body["code"]) == (409, "session_ended")
    async with asyncio.timeout(20):
        while (refund := (await shop.session())["refund"])["owedSats"] + refund["paidSats"] == sats:
            await asyncio.sleep(0.02)
    arrived = offer.body["offer"]["amountSats"]
    assert refund["owedSats"] + refund["paidSats"] == sats + arrived, "paid too late, it is owed back"


# jobs -----------------------------------------------------------------------------------------------------


async def test_without_a_word_of_l402_a_job_is_what_it_was(shop: Shop) -> None:
    for headers in ({}, {"authorization": f"Bearer {shop.key}"}, {"accept_authenticate": "Basic"}, {"accept_payment": "lightning/charge"}):
        created = await post(shop, "/api/jobs", **headers)
        assert (created.status, created.body["state"]) == (201, "awaiting_eval_payment")
        assert "evalInvoice" in created.body


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (AHEAD, {}),
        ("/api/jobs?pay=L402", {}),
        ("/api/jobs", {"accept_authenticate": "L402"}),
        ("/api/jobs", {"accept_authenticate": "Basic, lsat;q=0.5"}),
    ],
)
async def test_who_says_that_they_pay_ahead_is_asked_to(shop: Shop, path: str, headers: dict[str, str]) -> None:
    offer = await post(shop, path, **headers)
    assert (offer.status, offer.body["code"]) == (402, "payment_required")
    assert offer.schemes == ["LSAT", "L402", "Payment"]
    assert offer.body["offer"]["amountSats"] * 1_000 >= offer.body["neededMsat"] > 0
    answer = await post(shop, "/api/jobs", authorization=await paid(shop, offer))
    assert (answer.status, answer.body["state"], answer.body["result"]) == (200, "complete", "forty-two")


async def test_what_a_job_did_not_cost_stays_for_the_next_and_is_paid_out(shop: Shop) -> None:
    offer = await post(shop, AHEAD)
    credential = await paid(shop, offer)
    paid_msat = offer.body["offer"]["amountSats"] * 1_000
    costs = [(await post(shop, AHEAD, authorization=credential)).body["debitedMsat"] for _ in range(3)]
    shop.agent.judge = "no"
    rejected = (await post(shop, AHEAD, authorization=credential)).body
    assert (rejected["state"], rejected["result"]) == ("rejected", None)
    shop.agent.judge, shop.agent.work = "yes", "down"
    failed = (await post(shop, AHEAD, authorization=credential)).body
    assert (failed["state"], failed["debitedMsat"]) == ("failed", 0)
    left = paid_msat - sum(costs) - rejected["debitedMsat"]
    key = await key_of(shop, credential)
    assert key["balance_msat"] == left > 0
    path = key["topup_url"].removesuffix("/topup").removeprefix(shop.site.app.settings.public_url)
    invoice = (await shop.site.post("/api/dev/stub/invoice", {"amountSats": left // 1_000}, status=201))["paymentRequest"]
    closed = await post(shop, f"{path}/close", {"invoice": invoice}, credential)
    assert (closed.status, closed.body["balanceSats"]) == (200, 0)
    ended = await post(shop, AHEAD, authorization=credential)
    assert (ended.status, ended.schemes) == (402, ["LSAT", "L402", "Payment"]), "whoever keeps the key of an ended balance is asked again"


async def test_a_job_too_dear_for_the_balance_is_offered_one_that_is_enough(shop: Shop) -> None:
    credential = await paid(shop, await post(shop, AHEAD, {"request": "Hi."}))
    offer = await post(shop, AHEAD, LONG, credential)
    assert (offer.status, offer.body["code"]) == (402, "insufficient_balance")
    assert (await post(shop, AHEAD, LONG, await paid(shop, offer))).body["state"] == "complete"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "request_missing"),
        ({"request": " "}, "request_empty"),
        ({"request": "x" * 501}, "request_too_long"),
        ({"request": "x", "refundTo": "me@wallet.example"}, "field_unknown"),
        ({"request": "x", "colour": "blue"}, "field_unknown"),
    ],
)
async def test_what_cannot_be_done_is_said_before_it_is_paid_for(shop: Shop, body: dict[str, str], code: str) -> None:
    async with shop.site.http.post(shop.site.url + AHEAD, json=body) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (422, code)
        assert "WWW-Authenticate" not in answer.headers


async def test_a_credential_that_is_no_good_is_401_and_one_that_may_not_is_403(shop: Shop) -> None:
    own = decode(shop.key)
    for credential, status, code in (
        ("L402 nonsense", 401, "credential_malformed"),
        (f"L402 {shop.key}:{'0' * 64}", 401, "preimage_wrong"),
        (f"Bearer {own.with_caveat('colour=blue').encode()}", 401, "caveat_unknown"),
        (f"Bearer {own.with_caveat('only=/v1').encode()}", 403, "macaroon_not_for_this"),
        (f"Bearer {own.with_caveat('timmy_capabilities=chat').encode()}", 403, "macaroon_not_for_this"),
    ):
        refused = await post(shop, AHEAD, authorization=credential)
        assert (refused.status, refused.body["code"]) == (status, code)
    assert await balance(shop, shop.session_id) == 1_000_000
    narrowed = own.with_caveat("only=/api/jobs").with_caveat("max_sats=900").encode()
    assert (await post(shop, AHEAD, authorization=f"Bearer {narrowed}")).status == 200


async def test_the_same_key_is_the_same_job_however_often_and_at_once(shop: Shop) -> None:
    credential = await paid(shop, await post(shop, AHEAD))
    first = await post(shop, AHEAD, authorization=credential, idempotency_key="k")
    shop.agent.gate = asyncio.Event()
    racing = [asyncio.create_task(post(shop, AHEAD, authorization=credential, idempotency_key="race")) for _ in range(8)]
    async with asyncio.timeout(30):
        while sum(task.done() for task in racing) < 7 or shop.agent.calls["work"] < 2:
            await asyncio.sleep(0.02)
    shop.agent.gate.set()
    outcomes = Counter(answer.body.get("code") or answer.body["state"] for answer in await asyncio.gather(*racing))
    assert outcomes == {"request_in_progress": 7, "complete": 1}
    assert (await post(shop, AHEAD, authorization=credential, idempotency_key="k")).body == first.body
    other = await post(shop, AHEAD, {"request": "Another."}, credential, idempotency_key="k")
    assert (other.status, other.body["code"]) == (422, "idempotency_key_reused")
    assert shop.agent.calls["work"] == 2


async def test_many_at_once_spend_no_more_than_was_paid(shop: Shop) -> None:
    offer = await post(shop, AHEAD)
    credential = await paid(shop, offer)
    shop.agent.work = "cut"  # each takes all that it may
    outcomes = await asyncio.gather(*(post(shop, AHEAD, authorization=credential) for _ in range(20)))
    done = [answer.body for answer in outcomes if answer.status == 200]
    assert done
    assert {answer.status for answer in outcomes} == {200, 402}
    paid_msat = offer.body["offer"]["amountSats"] * 1_000
    assert (await key_of(shop, credential))["balance_msat"] == paid_msat - sum(each["debitedMsat"] for each in done) >= 0


async def test_a_job_that_is_paid_ahead_is_its_identitys(shop: Shop) -> None:
    alice = Person()
    nonce = await shop.site.post("/api/identity/challenge", {})
    tags = (("relay", shop.site.app.settings.public_url), ("challenge", nonce["nonce"]))
    event = document(alice.event(shop.site.app.house.clock.now_ms() // 1_000, 22_242, tags))
    token = (await shop.site.post("/api/identity/verify", {"event": event}, status=200))["nostr_token"]
    offer = await post(shop, AHEAD, x_nostr_token=token)
    credential = await paid(shop, offer)
    assert (await post(shop, AHEAD, authorization=credential)).body["state"] == "complete"
    session_id = (await key_of(shop, credential))["topup_url"].split("/")[-2]
    assert (await shop.site.get(f"/api/sessions/{session_id}"))["trust_tier"] == "new"
    refused = await post(shop, AHEAD, x_nostr_token="nonsense")
    assert (refused.status, refused.body["code"]) == (401, "token_invalid")


async def test_a_session_of_the_payment_scheme_does_jobs_and_a_charge_does_not(shop: Shop) -> None:
    client = Client(shop)
    asked = await post(shop, "/api/jobs", accept_payment="lightning/session")
    assert (asked.status, asked.schemes) == (402, ["Payment"])
    challenge = payment_client.Answer(402, asked.headers, "").challenge("session")
    assert int(decoded(challenge["request"])["depositAmount"]) * 1_000 >= asked.body["neededMsat"]
    preimage, back = await client.pay(challenge), await client.return_invoice()
    opening = "Payment " + encoded({"challenge": challenge, "payload": {"action": "open", "preimage": preimage, "returnInvoice": back}})
    answer = await post(shop, "/api/jobs", authorization=opening)
    assert (answer.status, answer.body["state"]) == (200, "complete")
    assert decoded(answer.headers["Payment-Receipt"])["status"] == "success"
    repeated = await post(shop, "/api/jobs", authorization=opening)
    assert repeated.body == answer.body, "a credential that is sent again is answered again"
    charge = (await client.ask()).challenge("charge")
    credential = {"challenge": charge, "payload": {"preimage": await client.pay(charge)}}
    refused = await post(shop, "/api/jobs", authorization="Payment " + encoded(credential))
    assert (refused.status, refused.body["code"]) == (402, "payment_challenge_unknown")
