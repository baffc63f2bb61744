"""A wallet over Nostr on either side of the counter, through a real relay: sats arrive, limits hold, and what was in doubt is paid once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.nwc_service import WalletService, open_relay
from tests.e2e.counting_purse import counted
from tests.e2e.serving import Site, serving
from timmy.client import AsyncTimmy, Limits, Notebook, receipts
from timmy.client.errors import LimitReached, NoWallet
from timmy.client.purses import open_purse
from timmy.clock import SystemClock
from timmy.db import Database
from timmy.ids import system_random
from timmy.ledger import audit
from timmy.lightning.wallets.builtin import BuiltinCustomer, BuiltinWallet
from timmy.money import Msats, Sats

QUESTION = "What is a satoshi?"
FLOAT = Sats(50_000).msats


@pytest.fixture
async def relay() -> AsyncIterator[str]:
    running = await open_relay()
    yield str(await running.url())
    running.shutdown()


@pytest.fixture
async def buyer(site: Site, relay: str) -> AsyncIterator[WalletService]:
    """A buyer's own node on the server's pretend network, reached over Nostr only."""
    node = BuiltinWallet(site.app.db, SystemClock(), system_random, starting_balance=FLOAT, poll_seconds=0.05)
    node._node.name = "a buyer over Nostr"
    service = WalletService(relay, node)
    await service.start()
    yield service
    await service.aclose()
    await node.aclose()


async def test_an_answer_is_bought_over_nostr_and_the_rest_comes_back(site: Site, notebook: Notebook, buyer: WalletService) -> None:
    async with AsyncTimmy(site.url, purse=buyer.uri, notebook=notebook) as timmy:
        answer = await timmy.ask(QUESTION)
    assert answer.state == "complete"
    assert answer.job.refund.state == "paid"
    assert await counted(notebook) == answer.paid.value
    assert await buyer.node.balance() == FLOAT - answer.paid + answer.job.refund.paid.msats
    receipt = await receipts.file_of(notebook, answer.job.id)
    assert len(receipt["preimages"]) == 2  # the wallet told both


@pytest.mark.fault("D13")
async def test_a_purchase_whose_answers_were_lost_is_gone_on_with_and_paid_once(
    site: Site, notebook: Notebook, buyer: WalletService
) -> None:
    buyer.mute.add("pay_invoice")
    async with AsyncTimmy(site.url, purse=buyer.uri, notebook=notebook) as timmy:
        timmy._spending.purse._wallet._pay_timeout_seconds = 0.5  # type: ignore[union-attr]
        answer = await timmy.ask(QUESTION)
    assert answer.state == "complete"
    assert buyer.handled.count("pay_invoice") == 2  # the judging and the work, each once
    assert await buyer.node.balance() == FLOAT - answer.paid + answer.job.refund.paid.msats


async def test_the_limits_hold_and_nothing_is_sent(site: Site, notebook: Notebook, buyer: WalletService) -> None:
    async with AsyncTimmy(site.url, purse=buyer.uri, notebook=notebook, limits=Limits(per_call=Sats(5))) as timmy:
        with pytest.raises(LimitReached):
            await timmy.ask(QUESTION)
    assert "pay_invoice" not in buyer.handled


async def test_an_address_that_is_none_is_refused_without_being_quoted(buyer: WalletService) -> None:
    secret = buyer.client.secret_key().to_hex()
    for address in (buyer.uri.replace("relay=", "rely="), buyer.uri + "&secret=11", buyer.uri.replace("nostr+", "")):
        with pytest.raises(NoWallet) as refused:
            await open_purse(address, "http://127.0.0.1:1")
        assert secret not in refused.value.message


async def test_a_server_sells_with_a_wallet_over_nostr(tmp_path: Path, relay: str, sqlite_db: Database) -> None:
    node = BuiltinWallet(sqlite_db, SystemClock(), system_random, starting_balance=FLOAT, fee=Msats(1_000), poll_seconds=0.05)
    service = WalletService(relay, node)
    await service.start()
    customer = BuiltinCustomer(sqlite_db, SystemClock(), system_random)
    async with serving({"DATA_DIR": str(tmp_path / "server"), "WALLET": "nwc", "NWC_URI": service.uri}) as site:
        job = await site.post("/api/jobs", {"request": QUESTION}, status=201)
        await customer.pay(job["evalInvoice"]["paymentRequest"])
        job = await site.until(job["jobId"], "awaiting_work_payment")
        await customer.pay(job["workInvoice"]["paymentRequest"])
        job = await site.until(job["jobId"], "complete")
        before = await customer.balance()
        invoice = await customer.create_invoice(Sats(job["refund"]["owedSats"]).msats)
        await site.post(f"/api/jobs/{job['jobId']}/refund", {"invoice": invoice}, status=200)
        async with asyncio.timeout(30):
            while (told := await site.get(f"/api/jobs/{job['jobId']}"))["refund"]["state"] != "paid":
                await asyncio.sleep(0.05)
        assert await customer.balance() == before + Sats(told["refund"]["paidSats"]).msats
        assert [check for check in await site.app.db.read(audit) if not check.holds] == []
    await service.aclose()
    await node.aclose()
