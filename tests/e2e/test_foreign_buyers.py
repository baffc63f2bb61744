"""Other people's clients, as they come from PyPI and npm, buy here with no code for Timmy: of L402, and of the `Payment` scheme."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import mpp
import mpp.methods
import mpp.runtime
import pydantic
import pytest
from aiohttp import web
from l402_requests import AsyncL402Client, BudgetController
from mpp.client.transport import PaymentTransport

from tests.contract.test_completions import TALK
from tests.contract.test_openai_sdk import MODEL, Shop, customer_of, shop
from tests.contract.test_payment_charge import closes
from tests.e2e import npm

__all__ = ["shop"]

SAID = "".join(TALK)
DEPOSIT_MSAT = 100_000


def body(text: str) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}]}


class Purse:
    """Their wallet, as l402_requests wants one: it pays, and shows the preimage."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.payments = 0

    async def pay_invoice(self, bolt11: str) -> str:
        self.payments += 1
        preimage: str = await customer_of(self.shop).pay(bolt11)
        return preimage


@asynccontextmanager
async def wallet(purse: Purse) -> AsyncIterator[str]:
    """The same for programs of another language: its URL pays the invoice that is posted to it."""

    async def pay(request: web.Request) -> web.Response:
        return web.Response(text=await purse.pay_invoice(await request.text()))

    app = web.Application()
    app.router.add_post("/", pay)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def test_l402_requests_pays_once_and_spends_what_it_paid(shop: Shop) -> None:
    purse = Purse(shop)
    async with AsyncL402Client(wallet=purse, budget=BudgetController(max_sats_per_request=200)) as client:
        answers = [await client.post(f"{shop.site.url}/v1/chat/completions", json=body(text)) for text in ("first", "second")]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.json()["choices"][0]["message"]["content"] for answer in answers] == [SAID, SAID]
    costs = [int(answer.headers["X-Cost-Msat"]) for answer in answers]
    assert int(answers[1].headers["X-Balance-Msat"]) == DEPOSIT_MSAT - sum(costs)
    assert (purse.payments, shop.agent.calls["chat"]) == (1, 2)
    await closes(shop)


async def test_l402_requests_buys_jobs_and_keeps_what_they_did_not_cost(shop: Shop) -> None:
    purse = Purse(shop)
    async with AsyncL402Client(wallet=purse, budget=BudgetController(max_sats_per_request=200)) as client:
        answers = [await client.post(f"{shop.site.url}/api/jobs?pay=l402", json={"request": text}) for text in ("first", "second")]
    jobs = [answer.json() for answer in answers]
    assert [(answer.status_code, job["state"], job["result"]) for answer, job in zip(answers, jobs, strict=True)] == [
        (200, "complete", "forty-two")
    ] * 2
    assert jobs[1]["balanceRemainingMsat"] == DEPOSIT_MSAT - sum(job["debitedMsat"] for job in jobs)
    assert (purse.payments, shop.agent.calls["work"]) == (1, 2)
    await closes(shop)


async def test_l402_requests_pays_for_a_session_by_asking_it(shop: Shop) -> None:
    opened = await shop.site.post("/api/sessions", {"amountSats": 100}, status=201)
    purse, path = Purse(shop), f"/api/sessions/{opened['sessionId']}"
    async with AsyncL402Client(wallet=purse, budget=BudgetController(max_sats_per_request=200)) as client:
        answers = [await client.post(f"{shop.site.url}{path}/request", json={"request": text}) for text in ("first", "second")]
    assert [answer.status_code for answer in answers] == [200, 200]
    spent = sum(answer.json()["debitedMsat"] for answer in answers)
    assert (await shop.site.get(path))["balanceMsat"] == DEPOSIT_MSAT - spent
    assert (purse.payments, shop.agent.calls["work"]) == (1, 2)
    await closes(shop)


async def test_pympp_pays_a_charge_for_each_call(shop: Shop) -> None:
    purse = Purse(shop)

    class Asked(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")
        amount: str

    class Shown(pydantic.BaseModel):
        preimage: str

    async def credential(params: mpp.runtime.CredentialParams) -> str:
        invoice = params.challenge.request["methodDetails"]["invoice"]
        shown = {"preimage": await purse.pay_invoice(invoice)}
        return mpp.Credential(challenge=params.challenge.to_echo(), payload=shown).to_authorization()

    method = mpp.methods.Method(name="lightning", intent="charge", request_model=Asked, payload_model=Shown)
    transport = PaymentTransport(methods=[mpp.runtime.ClientMethod(method=method, create_credential=credential)])
    async with httpx.AsyncClient(transport=transport, timeout=60) as client:
        answers = [await client.post(f"{shop.site.url}/v1/chat/completions", json=body(text)) for text in ("first", "second")]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"] == SAID
        receipt = mpp.Receipt.from_payment_receipt(answer.headers["Payment-Receipt"])
        assert (receipt.status, receipt.method) == ("success", "lightning")
    assert (purse.payments, shop.agent.calls["chat"]) == (2, 2)
    await closes(shop)


@pytest.mark.parametrize("buyer", ["alby-l402", "l402"])
async def test_clients_from_npm_buy_jobs(shop: Shop, tmp_path: Path, buyer: str) -> None:
    purse = Purse(shop)
    await asyncio.to_thread(npm.installed)
    async with wallet(purse) as url:
        environ = {"URL": f"{shop.site.url}/api/jobs?pay=l402", "WALLET": url}
        told = await npm.node("buyers.mjs", buyer, environ=environ, home=tmp_path)
    assert told["seen"] == [{"status": 200, "text": "forty-two"}] * 2, told
    assert (purse.payments, shop.agent.calls["work"]) == (1, 2)
    await closes(shop)


@pytest.mark.parametrize(
    ("buyer", "payments", "again"),
    [
        ("alby-l402", 1, 200),
        ("alby-402", 1, 200),
        ("l402", 1, 200),
        ("alby-mpp", 1, 402),  # it shows its charge a second time; a charge buys one call
    ],
)
async def test_clients_from_npm_buy(shop: Shop, tmp_path: Path, buyer: str, payments: int, again: int) -> None:
    purse = Purse(shop)
    await asyncio.to_thread(npm.installed)
    async with wallet(purse) as url:
        environ = {"BASE_URL": f"{shop.site.url}/v1", "MODEL": MODEL, "WALLET": url}
        told = await npm.node("buyers.mjs", buyer, environ=environ, home=tmp_path)
    first, second = told["seen"]
    assert (first["status"], first["text"]) == (200, SAID), told
    assert second["status"] == again, told
    assert (purse.payments, shop.agent.calls["chat"]) == (payments, 1 if again == 402 else 2)
    await closes(shop)
