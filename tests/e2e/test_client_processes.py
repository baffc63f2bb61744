"""Buyers that are processes of their own, at once and killed; and the wallets that they pay with."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from aiohttp import web

from tests.e2e.counting_purse import counted
from tests.e2e.serving import Site
from tests.e2e.spender import LIMITS, REFUSED, FilePurse
from tests.unit.backends import as_json, invoice, listening
from timmy.client import Answer, AsyncTimmy, Notebook, store
from timmy.client.purses import open_purse
from timmy.lightning import bolt11
from timmy.lightning.wallets.protocol import Network
from timmy.money import Msats, Sats

ROOT = Path(__file__).resolve().parents[2]
END_WITHIN_SECONDS = 90
QUESTION = "What is a satoshi?"
KEY = "5ecretAdminKey"


async def spender(site: Site, folder: Path, what: str, wallet: str = "wallet") -> int | None:
    """Its exit code; a signal is a negative one."""
    words = (sys.executable, "-m", "tests.e2e.spender", site.url, str(folder / "notebook.sqlite"), str(folder / wallet), what)
    process = await asyncio.create_subprocess_exec(*words, cwd=ROOT, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}/src:{ROOT}"})
    return await asyncio.wait_for(process.wait(), END_WITHIN_SECONDS)


async def test_processes_that_spend_at_once_cannot_pass_the_days_limit(site: Site, tmp_path: Path) -> None:
    ended = await asyncio.gather(*(spender(site, tmp_path, "deposit", f"wallet-{n}") for n in range(5)))
    assert sorted(ended, key=str) == [0, 0, 0, REFUSED, REFUSED]
    assert await counted(Notebook(tmp_path / "notebook.sqlite")) == 300_000


async def test_processes_that_ask_at_once_pay_for_no_judging_whose_work_they_cannot_pay(site: Site, tmp_path: Path) -> None:
    ended = await asyncio.gather(*(spender(site, tmp_path, "ask", f"wallet-{n}") for n in range(5)))
    assert sorted(ended, key=str) == [0, 0, REFUSED, REFUSED, REFUSED]
    paid = [len((tmp_path / f"wallet-{n}").read_text().split()) for n in range(5) if (tmp_path / f"wallet-{n}").exists()]
    assert paid == [2, 2]
    notebook = Notebook(tmp_path / "notebook.sqlite")
    assert await notebook.do(store.open_purchases, site.url) == []


async def test_a_buyer_that_is_killed_when_it_has_paid_is_gone_on_with_and_does_not_pay_again(site: Site, tmp_path: Path) -> None:
    assert await spender(site, tmp_path, "die") == -signal.SIGKILL
    notebook = Notebook(tmp_path / "notebook.sqlite")
    assert await counted(notebook) > 10_000  # with its routing fee: nobody has told yet that there was none
    purse = FilePurse(site.url, tmp_path / "wallet")
    assert len(purse.paid) == 1
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook, limits=LIMITS) as timmy:
        [answer] = await timmy.resume()
    assert isinstance(answer, Answer)
    assert answer.state == "complete"
    assert len(purse.paid) == 2
    assert answer.job.work_invoice is not None
    assert answer.paid == (answer.job.eval_invoice.amount + answer.job.work_invoice.amount).msats


async def test_an_lnbits_wallet_buys_and_is_paid_the_refund(site: Site, tmp_path: Path) -> None:
    """As LNbits answers; what it pays is really paid to the server, by its pretend customer."""
    paid: dict[str, int] = {}

    async def lnbits(request: web.Request) -> web.StreamResponse:
        assert request.headers["X-Api-Key"] == KEY
        if request.path.endswith("/wallet"):
            return as_json({"name": "w", "balance": 1_000_000})
        if request.method == "GET":
            payment_hash = request.path.rpartition("/")[2]
            if payment_hash not in paid:
                return as_json({"detail": "Payment does not exist."}, 404)
            return as_json(
                {"paid": True, "details": {"status": "success", "amount": -paid[payment_hash], "fee": -100, "preimage": "ab" * 32}}
            )
        asked = await request.json()
        if asked["out"]:
            bought = bolt11.decode(asked["bolt11"])
            assert bought.amount is not None
            paid[bought.payment_hash] = bought.amount.value
            await site.post(f"/api/dev/stub/pay/{bought.payment_hash}", {}, status=200)
            return as_json({"status": "success", "amount": -bought.amount.value, "fee": -100, "preimage": "ab" * 32}, 201)
        if asked["memo"].startswith("Refund"):
            theirs = await site.post("/api/dev/stub/invoice", {"amountSats": asked["amount"]}, status=201)
            return as_json({"bolt11": theirs["paymentRequest"]}, 201)
        return as_json({"bolt11": invoice(Sats(asked["amount"]).msats).payment_request}, 201)

    notebook = Notebook(tmp_path / "notebook.sqlite")
    async with listening(lnbits) as url:
        address = url.replace("http://", f"lnbits+http://:{KEY}@")
        purse = await open_purse(address, site.url)
        assert purse.network is Network.REGTEST
        assert KEY not in purse.name
        async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
            answer = await timmy.ask(QUESTION)
    assert answer.state == "complete"
    assert answer.job.refund.state == "paid"
    assert len(paid) == 2
    assert answer.paid == Msats(sum(paid.values()) + 200)  # with two routing fees
    assert KEY.encode() not in (tmp_path / "notebook.sqlite").read_bytes()
