"""The `Payment` scheme's charge: a call for a payment, once, and what was not used of it stays its payer's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.contract.payment_client import Client, changed, decoded, encoded, hash_of, shown
from tests.contract.test_completions import TALK
from tests.contract.test_openai_sdk import Shop, shop

from timmy.clock import iso
from timmy.completions import audit as chat_audit
from timmy.ledger import audit as ledger_audit
from timmy.lightning import bolt11
from timmy.sessions import audit as session_audit

__all__ = ["shop"]

PAID_MSAT = 100_000


@pytest.fixture
async def client(shop: Shop) -> AsyncIterator[Client]:
    yield Client(shop)
    await closes(shop)


async def closes(shop: Shop) -> None:
    """Whatever was tried: every promise about money holds, and nothing is held by anybody."""
    db = shop.site.app.db
    checks = [check for audit in (ledger_audit, session_audit, chat_audit) for check in await db.read(audit)]
    assert [check for check in checks if not check.holds] == []
    reserved = await db.read(lambda tx: tx.all("SELECT id FROM accounts WHERE reserved_msat <> 0"))
    assert reserved == []


# the challenge ---------------------------------------------------------------------------------------


async def test_the_challenges_stand_behind_those_of_l402_and_ask_for_the_same_invoice(client: Client) -> None:
    asked = await client.ask()
    lines = asked.headers.getall("WWW-Authenticate")
    assert (asked.status, [line.split()[0] for line in lines]) == (402, ["LSAT", "L402", "Payment", "Payment"])
    charge, session = asked.challenge("charge"), asked.challenge("session")
    assert charge["intent"] in lines[2], "the first is the one that every client knows"
    invoice = decoded(charge["request"])["methodDetails"]["invoice"]
    assert lines[0].split('"')[3] == invoice == decoded(session["request"])["depositInvoice"]
    assert all("," not in value for params in (charge, session) for value in params.values())


async def test_a_challenge_says_what_its_invoice_says(client: Client) -> None:
    charge = (await client.ask()).challenge("charge")
    asked = decoded(charge["request"])
    invoice = bolt11.decode(asked["methodDetails"]["invoice"])
    assert invoice.amount is not None
    assert asked["methodDetails"] | {"invoice": ""} == {"invoice": "", "paymentHash": invoice.payment_hash, "network": "regtest"}
    assert (asked["currency"], asked["amount"]) == ("sat", str(invoice.amount.floor_sats().value))
    assert encoded(asked) == charge["request"], "it is canonical"
    assert charge["expires"] == iso(invoice.expires_at_ms)
    assert charge["realm"] in client.shop.site.app.settings.public_url


@pytest.mark.parametrize(
    ("wish", "intents"),
    [
        ("lightning/charge", ["charge"]),
        ("lightning/charge;q=0.3, lightning/session", ["session", "charge"]),
        ("tempo/charge, lightning/*;q=0.5", ["charge", "session"]),
        ("lightning/charge;q=0, lightning/session", ["session"]),
        ("tempo/charge", None),
        ("nonsense", None),
        ("lightning/charge;q=7", None),
    ],
)
async def test_who_says_what_they_can_pay_is_asked_for_that_alone(client: Client, wish: str, intents: list[str] | None) -> None:
    asked = await client.ask(headers={"Accept-Payment": wish})
    lines = asked.headers.getall("WWW-Authenticate")
    schemes = [line.split()[0] for line in lines]
    if intents is None:
        assert schemes == ["LSAT", "L402", "Payment", "Payment"]
    else:
        assert schemes == ["Payment"] * len(intents)
        assert [f'intent="{intent}"' in line for intent, line in zip(intents, lines, strict=True)] == [True] * len(intents)


async def test_it_asks_for_enough_for_the_call_that_was_asked_for(client: Client) -> None:
    asked = await client.ask(messages=[{"role": "user", "content": "rain " * 9_000}])
    charge = asked.challenge("charge")
    assert int(decoded(charge["request"])["amount"]) > 100, "a long prompt costs more than the least deposit"
    credential = {"challenge": charge, "payload": {"preimage": await client.pay(charge)}}
    assert (await client.ask(credential, messages=[{"role": "user", "content": "rain " * 9_000}])).status == 200


# bought ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_a_charge_buys_one_call_and_has_its_receipt(client: Client, stream: bool) -> None:
    credential, answer = await client.charged(stream=stream)
    assert answer.status == 200, answer.text
    if stream:
        assert "event:" not in answer.text, "clients of OpenAI's API read the data of every event as a chunk"
        assert answer.text.endswith("data: [DONE]\n\n")
    else:
        assert answer.body["choices"][0]["message"]["content"] == "".join(TALK)
    receipt = answer.receipt
    assert receipt | {"timestamp": ""} == {
        "method": "lightning",
        "status": "success",
        "timestamp": "",
        "challengeId": credential["challenge"]["id"],
        "reference": hash_of(credential["payload"]["preimage"]),
    }
    assert credential["payload"]["preimage"] not in answer.headers["Payment-Receipt"]


async def test_what_a_charge_did_not_use_is_its_payers(client: Client) -> None:
    asked = await client.ask()
    charge, l402 = asked.challenge("charge"), asked.headers.getall("WWW-Authenticate")[1].split('"')[1]
    preimage = await client.pay(charge)
    answer = await client.ask({"challenge": charge, "payload": {"preimage": preimage}})
    cost = int(answer.headers["X-Cost-Msat"])
    assert int(answer.headers["X-Balance-Msat"]) == PAID_MSAT - cost > 0
    assert await client.balance_msat({"challenge": charge, "payload": {"preimage": preimage}}) == PAID_MSAT - cost, "a look is no call"
    by_macaroon = await client.ask(headers={"Authorization": f"L402 {l402}:{preimage}"})
    assert by_macaroon.status == 200
    session = asked.challenge("session")
    opened = {"action": "open", "preimage": preimage, "returnInvoice": await client.return_invoice()}
    assert (await client.ask({"challenge": session, "payload": opened})).status == 200


# refused ---------------------------------------------------------------------------------------------


async def test_a_charge_buys_nothing_a_second_time(client: Client) -> None:
    credential, answer = await client.charged()
    assert answer.status == 200
    for more in ({}, {"messages": [{"role": "user", "content": "Another thing."}]}, {"stream": True}):
        again = await client.ask(credential, **more)
        assert (again.status, again.problem) == (402, "lightning/unknown-challenge")
    assert client.shop.agent.calls["chat"] == 1


@pytest.mark.fault("D25")
async def test_a_repetition_that_says_so_is_told_again_and_not_paid_again(client: Client) -> None:
    credential, answer = await client.charged()
    left = await client.balance_msat(credential)
    again = await client.ask(credential, headers={"x-stainless-retry-count": "1"})
    assert (again.status, again.body) == (200, answer.body)
    other = await client.ask(credential, headers={"x-stainless-retry-count": "1"}, messages=[{"role": "user", "content": "Else."}])
    assert (other.status, other.problem) == (402, "lightning/unknown-challenge")
    assert (await client.balance_msat(credential), client.shop.agent.calls["chat"]) == (left, 1)


async def test_of_many_who_bring_one_charge_at_once_one_is_served(client: Client) -> None:
    challenge = (await client.ask()).challenge("charge")
    credential = {"challenge": challenge, "payload": {"preimage": await client.pay(challenge)}}
    answers = await asyncio.gather(*(client.ask(credential, messages=[{"role": "user", "content": f"{n}"}]) for n in range(8)))
    assert sorted(answer.status for answer in answers) == [200, *[402] * 7]
    assert client.shop.agent.calls["chat"] == 1


@pytest.mark.fault("D17")
async def test_a_charge_whose_call_fails_can_be_used_again(client: Client) -> None:
    challenge = (await client.ask()).challenge("charge")
    credential = {"challenge": challenge, "payload": {"preimage": await client.pay(challenge)}}
    client.shop.agent.breaks_at, client.shop.agent.then = 0, "down"
    down = await client.ask(credential)
    assert (down.status, "Payment-Receipt" in down.headers) == (503, False)
    client.shop.agent.then = "refuses"
    refused = await client.ask(credential)
    assert (refused.status, "Payment-Receipt" in refused.headers) == (400, False)
    bad = await client.ask(credential, temperature="hot")
    assert bad.status == 400
    assert await client.balance_msat(credential) == PAID_MSAT
    client.shop.agent.breaks_at = None
    served = await client.ask(credential, messages=[{"role": "user", "content": "Now?"}])
    assert served.status == 200
    assert (await client.ask(credential)).problem == "lightning/unknown-challenge"


async def test_too_small_a_payment_buys_nothing_and_is_its_payers(client: Client) -> None:
    challenge = (await client.ask()).challenge("charge")
    credential = {"challenge": challenge, "payload": {"preimage": await client.pay(challenge)}}
    long = [{"role": "user", "content": "rain " * 9_000}]
    short = await client.ask(credential, messages=long)
    assert (short.status, short.problem) == (402, "lightning/insufficient-balance")
    assert short.body["error"]["code"] == "insufficient_balance"
    assert int(decoded(short.challenge("charge")["request"])["amount"]) > 100
    assert await client.balance_msat(credential) == PAID_MSAT
    assert (await client.ask(credential)).status == 200, "it is good for a call that it can pay for"


async def test_an_unpaid_challenge_buys_nothing(client: Client) -> None:
    credential, _ = await client.charged()
    fresh = (await client.ask()).challenge("charge")
    stolen = await client.ask({"challenge": fresh, "payload": credential["payload"]})
    assert (stolen.status, stolen.problem) == (402, "lightning/invalid-preimage")
    assert client.shop.agent.calls["chat"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"id": "A" * 43},
        {"realm": "elsewhere.example"},
        {"expires": "2099-01-01T00:00:00.000Z"},
        {"digest": "sha-256=:AAAA:"},
        {"opaque": "e30"},
        {"intent": "session"},
        {"request": encoded({"amount": "1", "currency": "sat", "methodDetails": {"paymentHash": "ab" * 32}})},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_challenge_that_was_changed_is_unknown(client: Client, change: dict[str, str]) -> None:
    challenge = (await client.ask()).challenge("charge")
    paid: dict[str, Any] = {"challenge": challenge, "payload": {"preimage": await client.pay(challenge)}}
    wrong = shown(changed(paid, **change), action="bearer", sessionId="00" * 32)
    refused = await client.ask(wrong)
    assert (refused.status, refused.problem) == (402, "lightning/unknown-challenge")
    assert client.shop.agent.calls["chat"] == 0
    assert await client.balance_msat(paid) == PAID_MSAT


async def test_what_cannot_be_read_is_malformed(client: Client) -> None:
    challenge = (await client.ask()).challenge("charge")
    whole: dict[str, Any] = {"challenge": challenge, "payload": {"preimage": "00" * 32}}
    broken: list[Any] = [
        {},
        {"challenge": challenge},
        {"challenge": [], "payload": {}},
        {"challenge": {"id": "x"}, "payload": {}},
        {"challenge": challenge, "payload": {}},
        shown(whole, preimage=7),
        shown(whole, preimage="zz" * 32),
        shown(whole, preimage="00"),
        changed(whole, request="*"),
    ]
    for credential in broken:
        refused = await client.ask(credential)
        assert (refused.status, refused.problem) == (402, "lightning/malformed-credential"), credential
    for text in ("", "*", "e30", "bnVsbA", "W10", "ImEi", "A" * 20_000, "eyJhIjoiXHVkODAwIn0", "[" * 3_000):
        refused = await client.ask(headers={"Authorization": f"Payment {text}"})
        assert (refused.status, refused.problem) == (402, "lightning/malformed-credential"), text
    other = await client.ask(changed(whole, method="tempo"))
    assert (other.status, other.problem) == (400, "method-unsupported")


async def test_an_expired_charge_buys_nothing_and_its_payment_is_kept(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = await client.ask()
    challenge, session = asked.challenge("charge"), asked.challenge("session")
    preimage = await client.pay(challenge)
    credential = {"challenge": challenge, "payload": {"preimage": preimage}}
    clock, ttl_ms = client.shop.site.app.clock, client.shop.site.app.settings.invoice_ttl_seconds * 1_000
    late_ms = clock.now_ms() + ttl_ms
    monkeypatch.setattr(type(clock), "now_ms", lambda _: late_ms)
    refused = await client.ask(credential)
    assert (refused.status, refused.problem) == (402, "lightning/expired-invoice")
    opened = {"action": "open", "preimage": preimage, "returnInvoice": await client.return_invoice()}
    assert (await client.ask({"challenge": session, "payload": opened})).status == 200, "late, and not lost"
