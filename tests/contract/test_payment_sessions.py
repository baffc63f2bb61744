"""The `Payment` scheme's sessions: opened with a deposit, used with its preimage, topped up, closed, and the rest paid back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.contract.payment_client import Client, Opened, changed, decoded, encoded, hash_of, shown
from tests.contract.test_completions import TALK
from tests.contract.test_openai_sdk import Shop, customer_of, shop
from tests.contract.test_payment_charge import closes

from timmy.completions.store import forget_outputs
from timmy.db import Tx
from timmy.lightning import bolt11
from timmy.lightning.wallets.protocol import Settled
from timmy.money import Sats
from timmy.sessions import prepaid

__all__ = ["shop"]

DEPOSIT_MSAT = 100_000


@pytest.fixture
async def client(shop: Shop) -> AsyncIterator[Client]:
    yield Client(shop)
    await closes(shop)


async def came_back(client: Client, opened: Opened) -> int:
    """What the return invoice was paid, in sats."""
    found = await customer_of(client.shop).lookup_invoice(bolt11.decode(opened.return_invoice).payment_hash)
    return int(found.received.floor_sats().value) if isinstance(found, Settled) else 0


# opened and used -------------------------------------------------------------------------------------


async def test_a_session_challenge_says_what_will_be_asked_for(client: Client) -> None:
    asked = decoded((await client.ask()).challenge("session")["request"])
    invoice = bolt11.decode(asked["depositInvoice"])
    assert invoice.amount == Sats(int(asked["depositAmount"])).msats == Sats(100).msats
    assert (asked["paymentHash"], asked["currency"]) == (invoice.payment_hash, "sat")
    assert int(asked["amount"]) > 0
    assert int(asked["idleTimeout"]) == 30 * 86_400


async def test_opening_a_session_serves_the_call_and_the_preimage_the_next_ones(client: Client) -> None:
    opened = await client.opened()
    assert opened.answer.status == 200, opened.answer.text
    assert opened.answer.body["choices"][0]["message"]["content"] == "".join(TALK)
    assert opened.answer.receipt["reference"] == opened.id == hash_of(opened.preimage)
    next_one = await client.ask(await opened.bearer())
    assert next_one.status == 200
    assert next_one.receipt["reference"] == opened.id
    spent = int(opened.answer.headers["X-Cost-Msat"]) + int(next_one.headers["X-Cost-Msat"])
    assert await client.balance_msat(await opened.bearer()) == DEPOSIT_MSAT - spent


async def test_a_stream_tells_what_it_has_spent_before_its_end(client: Client) -> None:
    opened = await client.opened(stream=True)
    lines = opened.answer.text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    event, data = lines[-3].split("\n")
    assert event == "event: payment-receipt"
    told = json.loads(data.removeprefix("data: "))
    assert (told["method"], told["status"], told["reference"]) == ("lightning", "success", opened.id)
    left = await client.balance_msat(await opened.bearer())
    assert told["spentMsat"] == DEPOSIT_MSAT - left > 0
    assert told["spent"] == told["units"] == -(-told["spentMsat"] // 1_000)


async def test_a_credential_that_is_sent_again_is_answered_again_and_not_paid_again(client: Client) -> None:
    opened = await client.opened()
    again = await client.ask(opened.credential)
    assert (again.status, again.body) == (200, opened.answer.body)
    bearer = await opened.bearer()
    first, second = await client.ask(bearer), await client.ask(bearer)
    assert (second.status, second.body) == (200, first.body)
    other = await client.ask(bearer, messages=[{"role": "user", "content": "Something else."}])
    assert other.body["id"] != first.body["id"], "another body is another call"
    assert client.shop.agent.calls["chat"] == 3


async def test_who_has_only_the_preimage_cannot_spend_what_nobody_has_opened(client: Client) -> None:
    """The nodes on the way of a payment learn its preimage. Whoever pays for a macaroon must not lose the balance to them."""
    asked = await client.ask()
    preimage = await client.pay(asked.challenge("charge"))
    theirs = (await client.ask()).challenge("session")
    for action in ("bearer", "close"):
        thief = {"challenge": theirs, "payload": {"action": action, "sessionId": hash_of(preimage), "preimage": preimage}}
        refused = await client.ask(thief)
        assert (refused.status, refused.problem) == (402, "lightning/session-not-found")
    taken = {"action": "open", "preimage": preimage, "returnInvoice": await client.return_invoice()}
    assert (await client.ask({"challenge": theirs, "payload": taken})).problem == "lightning/invalid-preimage"


async def test_who_has_only_the_preimage_is_not_shown_the_way_to_the_balance(client: Client) -> None:
    """They can buy calls, as the draft has it. With the session's id they would get its macaroon, and the sats themselves with that."""
    opened = await client.opened()
    theirs = await client.ask(await opened.bearer(), path="/v1/key", method="GET")
    assert (theirs.status, theirs.body["topup_url"]) == (200, None)
    payers = await client.ask(opened.credential, path="/v1/key", method="GET")
    assert payers.body["topup_url"].startswith("/api/sessions/"), "with the challenge that only its payer was sent"


# topped up -------------------------------------------------------------------------------------------


async def test_a_topup_adds_to_the_balance_once(client: Client) -> None:
    opened = await client.opened()
    before = await client.balance_msat(await opened.bearer())
    credential = await opened.topup()
    calls = client.shop.agent.calls["chat"]
    answers = await asyncio.gather(*(client.ask(credential) for _ in range(6)))
    assert [(answer.status, answer.body) for answer in answers] == [(200, {"status": "ok"})] * 6
    assert {answer.receipt["reference"] for answer in answers} == {opened.id}
    assert await client.balance_msat(await opened.bearer()) == before + DEPOSIT_MSAT
    assert client.shop.agent.calls["chat"] == calls, "a top-up starts no call"


async def test_a_topup_is_good_for_one_session_and_for_nothing_else(client: Client) -> None:
    one, other = await client.opened(), await client.opened()
    credential = await one.topup()
    assert (await client.ask(credential)).status == 200
    assert (await client.ask(shown(credential, sessionId=other.id))).problem == "lightning/unknown-challenge"
    preimage = credential["payload"]["topUpPreimage"]
    opening = {"action": "open", "preimage": preimage, "returnInvoice": await client.return_invoice()}
    assert (await client.ask(shown(credential, **opening))).problem == "lightning/session-closed"
    assert (await client.ask(shown(one.credential, action="topUp", sessionId=one.id, topUpPreimage=one.preimage))).status == 402


async def test_a_topup_of_a_session_that_is_closed_is_kept_for_its_payer(client: Client) -> None:
    opened = await client.opened()
    credential = await opened.topup()
    assert (await client.ask(await opened.close())).status == 200
    refused = await client.ask(credential)
    assert (refused.status, refused.problem) == (402, "lightning/session-closed")
    preimage = credential["payload"]["topUpPreimage"]
    own = {"action": "open", "preimage": preimage, "returnInvoice": await client.return_invoice()}
    assert (await client.ask({"challenge": credential["challenge"], "payload": own})).status == 200


async def test_a_topup_that_was_not_paid_adds_nothing(client: Client) -> None:
    opened = await client.opened()
    challenge = (await client.ask()).challenge("session")
    payload = {"action": "topUp", "sessionId": opened.id, "topUpPreimage": opened.preimage}
    assert (await client.ask({"challenge": challenge, "payload": payload})).problem == "lightning/invalid-preimage"
    unknown = {"action": "topUp", "sessionId": "00" * 32, "topUpPreimage": await client.pay(challenge)}
    assert (await client.ask({"challenge": challenge, "payload": unknown})).problem == "lightning/session-not-found"


# closed ----------------------------------------------------------------------------------------------


async def test_closing_pays_the_rest_to_the_return_invoice(client: Client) -> None:
    opened = await client.opened()
    left = (await client.balance_msat(await opened.bearer())) // 1_000
    closing = await opened.close()
    closed = await client.ask(closing)
    assert (closed.status, closed.body) == (200, {"status": "closed", "refundSats": left, "refundStatus": "succeeded"})
    assert (closed.receipt["reference"], closed.receipt["refundSats"], closed.receipt["refundStatus"]) == (opened.id, left, "succeeded")
    assert await came_back(client, opened) == left > 0
    again = await client.ask(closing)
    assert (again.status, again.body) == (200, closed.body), "the same challenge has the same answer"
    for credential in (await opened.bearer(), await opened.close(), opened.credential):
        assert (await client.ask(credential)).problem == "lightning/session-closed"
    assert await came_back(client, opened) == left


async def test_a_close_by_get_closes_as_the_draft_has_it_and_once(client: Client) -> None:
    """draft-lightning-session-00, figure of the use case: "GET /generate, action=close"."""
    opened = await client.opened()
    left = (await client.balance_msat(await opened.bearer())) // 1_000
    closing = await opened.close()
    closed = await client.ask(closing, path="/v1/key", method="GET")
    assert (closed.status, closed.body) == (200, {"status": "closed", "refundSats": left, "refundStatus": "succeeded"})
    assert "no-store" in closed.headers["Cache-Control"]
    assert (await client.ask(closing, path="/v1/key", method="GET")).body == closed.body
    assert await came_back(client, opened) == left


async def test_of_many_who_close_at_once_one_does(client: Client) -> None:
    opened = await client.opened()
    left = (await client.balance_msat(await opened.bearer())) // 1_000
    closings = [await opened.close() for _ in range(5)]
    answers = await asyncio.gather(*(client.ask(credential) for credential in closings))
    assert sorted(answer.status for answer in answers) == [200, 402, 402, 402, 402]
    assert await came_back(client, opened) == left


async def test_what_cannot_be_paid_back_is_owed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = await client.opened()
    left = (await client.balance_msat(await opened.bearer())) // 1_000
    paid = await client.shop.site.app.sessions.prepaid.find(opened.id)
    assert paid is not None
    clock = client.shop.site.app.clock
    much_later_ms = clock.now_ms() + 29 * 86_400_000 + 86_400_000  # the return invoice has expired
    closing = await opened.close()
    monkeypatch.setattr(type(clock), "now_ms", lambda _: much_later_ms)
    closed = await client.ask(closing)
    assert (closed.status, closed.body) == (200, {"status": "closed", "refundSats": left, "refundStatus": "failed"})
    seen = await client.ask(opened.credential, path="/v1/key", method="GET")
    assert seen.body["topup_url"] == f"/api/sessions/{paid.session_id}/topup", "which is how its payer finds the session"
    thief = await client.ask(await opened.bearer(), path="/v1/key", method="GET")
    assert (thief.status, thief.problem) == (402, "lightning/session-closed")
    invoice = await customer_of(client.shop).create_invoice(Sats(left).msats)
    bearer = {"Authorization": f"Bearer {paid.macaroon}"}
    await client.shop.site.post(f"/api/sessions/{paid.session_id}/close", {"invoice": invoice}, status=200, **bearer)
    async with asyncio.timeout(20):
        while (await client.shop.site.get(f"/api/sessions/{paid.session_id}"))["refund"]["state"] != "paid":
            await asyncio.sleep(0.05)
    assert (await client.ask(closing)).body["refundStatus"] == "succeeded", "it is told as it stands now"


async def test_a_payment_back_that_hangs_is_told_as_pending(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepaid, "REFUND_PATIENCE_SECONDS", 0.0)
    opened = await client.opened()
    closed = await client.ask(await opened.close())
    assert closed.body["refundStatus"] in ("pending", "succeeded")
    async with asyncio.timeout(20):
        while not await came_back(client, opened):
            await asyncio.sleep(0.05)


async def test_a_session_is_not_closed_while_it_is_used(client: Client) -> None:
    opened = await client.opened()
    gates = client.shop.agent.gates = asyncio.Semaphore(0)
    bearer, closing = await opened.bearer(), await opened.close()
    running = asyncio.create_task(client.ask(bearer))
    async with asyncio.timeout(20):
        while client.shop.agent.calls["chat"] < 2:
            await asyncio.sleep(0.01)
    refused = await client.ask(closing)
    assert (refused.status, refused.body["error"]["code"]) == (409, "requests_running")
    for _ in range(10):
        gates.release()
    assert (await running).status == 200
    assert (await client.ask(closing)).status == 200


# refused ---------------------------------------------------------------------------------------------


async def test_a_return_invoice_must_leave_the_amount_open(client: Client) -> None:
    challenge = (await client.ask()).challenge("session")
    preimage = await client.pay(challenge)
    exact: str = await customer_of(client.shop).create_invoice(Sats(5).msats)
    for invoice in (exact, "lnbcrt1nonsense", "", "x" * 5_000):
        opening = {"action": "open", "preimage": preimage, "returnInvoice": invoice}
        refused = await client.ask({"challenge": challenge, "payload": opening})
        assert (refused.status, refused.problem) == (402, "lightning/invalid-return-invoice")
    right = {"action": "open", "preimage": preimage, "returnInvoice": await client.return_invoice()}
    assert (await client.ask({"challenge": challenge, "payload": right})).status == 200
    other = {**right, "returnInvoice": await client.return_invoice()}
    assert (await client.ask({"challenge": challenge, "payload": other})).problem == "lightning/unknown-challenge"


async def test_what_is_no_action_is_malformed(client: Client) -> None:
    opened = await client.opened()
    wrong: list[dict[str, Any]] = [
        shown(opened.credential, action="fly"),
        shown(opened.credential, action=None),
        shown(opened.credential, returnInvoice=7),
        shown(opened.credential, action="bearer"),
        shown(opened.credential, action="bearer", sessionId=[]),
        shown(opened.credential, action="topUp", sessionId=opened.id),
    ]
    for credential in wrong:
        refused = await client.ask(credential)
        assert (refused.status, refused.problem) == (402, "lightning/malformed-credential"), credential
    assert (await client.ask(changed(opened.credential, expires="soon"))).problem == "lightning/unknown-challenge"


async def test_a_session_that_is_used_up_asks_for_more_and_a_topup_wakes_it(client: Client) -> None:
    opened = await client.opened()
    long = [{"role": "user", "content": "rain " * 9_000}]
    short = await client.ask(await opened.bearer(), messages=long)
    assert (short.status, short.problem) == (402, "lightning/insufficient-balance")
    challenge = short.challenge("session")
    payload = {"action": "topUp", "sessionId": opened.id, "topUpPreimage": await client.pay(challenge)}
    assert (await client.ask({"challenge": challenge, "payload": payload})).body == {"status": "ok"}
    assert (await client.ask(await opened.bearer(), messages=long)).status == 200


async def test_a_request_that_failed_can_be_asked_for_again_with_the_same_credential(client: Client) -> None:
    """It cost nothing; told again for a week, the same words could not be bought with this challenge at all."""
    opened = await client.opened()
    found = await client.shop.site.app.sessions.prepaid.find(opened.id)
    assert found is not None
    path, bearer = f"/api/sessions/{found.session_id}/request", await opened.bearer()

    async def ask(**more: str) -> Any:
        headers = {"Authorization": f"Payment {encoded(bearer)}", **more}
        body = {"request": "What is 6 * 7?"}
        async with client.shop.site.http.post(client.shop.site.url + path, json=body, headers=headers) as answer:
            return await answer.json()

    agent = client.shop.agent
    agent.work = "down"
    assert [(await ask())["state"] for _ in range(2)] == ["failed"] * 2
    named = await ask(**{"Idempotency-Key": "mine"})
    agent.work = "done"
    done = await ask()
    assert done["state"] == "complete"
    assert await ask() == done
    assert await ask(**{"Idempotency-Key": "mine"}) == named, "a key of the caller's own says what is repeated"


async def test_the_same_call_is_made_anew_when_its_answer_has_been_forgotten(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daily call with a fixed prompt, from one session."""
    opened = await client.opened()
    bearer = await opened.bearer()
    app = client.shop.site.app
    first = await client.ask(bearer)
    ids = [first.body["id"]]
    for _ in range(3):
        await app.db.write(_forget)
        again = await client.ask(bearer)
        assert again.status == 200, again.text
        assert (await client.ask(bearer)).body == again.body
        ids.append(again.body["id"])
    assert len(set(ids)) == 4
    streamed = await client.ask(bearer, stream=True)
    await app.db.write(_forget)
    assert (await client.ask(bearer, stream=True)).status == streamed.status == 200
    await app.db.write(_forget)
    retried = await client.ask(bearer, headers={"Idempotency-Key": "mine"})
    await app.db.write(_forget)
    assert retried.status == 200
    assert (await client.ask(bearer, headers={"Idempotency-Key": "mine"})).status == 410


def _forget(tx: Tx) -> None:
    """As if a day had passed since each answer."""
    forget_outputs(tx, 10**14)


async def test_a_sessions_requests_are_paid_for_the_same_way(client: Client) -> None:
    opened = await client.opened()
    found = await client.shop.site.app.sessions.prepaid.find(opened.id)
    assert found is not None
    path = f"/api/sessions/{found.session_id}/request"

    async def ask(credential: dict[str, Any], text: str = "What is 6 * 7?") -> Any:
        headers = {"Authorization": f"Payment {encoded(credential)}"}
        async with client.shop.site.http.post(client.shop.site.url + path, json={"request": text}, headers=headers) as answer:
            return answer.status, await answer.json(), answer.headers

    bearer = await opened.bearer()
    status, first, headers = await ask(bearer)
    assert (status, first["state"]) == (200, "complete")
    assert decoded(headers["Payment-Receipt"])["reference"] == opened.id
    assert (await ask(bearer))[1] == first, "sent again, it is answered again"
    charge, _ = await client.charged()
    status, refused, headers = await ask(charge)
    assert (status, refused["type"]) == (402, "https://paymentauth.org/problems/lightning/unknown-challenge")
    assert [line.split()[0] for line in headers.getall("WWW-Authenticate")] == ["LSAT", "L402", "Payment"], "a charge is not offered here"
    assert (await ask(await opened.topup()))[1] == {"status": "ok"}
    assert (await ask(await (await client.opened()).bearer()))[0] == 403, "another session's"
