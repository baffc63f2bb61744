"""Payments that are late, and calls that are taken up late: a buyer's notebook lets go of nothing that may still become sats."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.e2e.counting_purse import CountingPurse, counted
from tests.e2e.serving import Site
from timmy.app import old_store
from timmy.client import Answer, AsyncTimmy, Notebook, prefunding
from timmy.client.answers import SessionStatus
from timmy.client.errors import InvoiceLapsed, OtherWallet, Unfinished
from timmy.client.purses import BY_HAND
from timmy.db import Tx
from timmy.lightning import store as lightning_store
from timmy.lightning.wallets.builtin import BuiltinWallet
from timmy.lightning.wallets.builtin_faults import Says
from timmy.lightning.wallets.protocol import Failed, InFlight, NeverSent, Succeeded, Unknown
from timmy.money import Msats, Sats

QUESTION = "What is a satoshi?"
LATE = Succeeded("ab" * 32, Msats(0))


def stuck(site: Site) -> CountingPurse:
    """Its payments are on their way for as long as it says so."""
    purse = CountingPurse(site.url)
    purse.says, purse.sees = Unknown("the line broke"), InFlight()
    return purse


async def lapse(site: Site, payment_hash: str) -> None:
    """The server gives up waiting for it, as when its time is over."""

    def close(tx: Tx) -> None:
        row = lightning_store.invoice_of_hash(tx, payment_hash)
        assert row is not None
        site.app.receiving._lapse(tx, row, site.app.clock.now_ms())

    await site.app.db.write(close)


async def asked(purse: CountingPurse) -> str:
    async with asyncio.timeout(60):
        while not purse.asked:
            await asyncio.sleep(0.02)
    return purse.asked[-1]


async def arrives(site: Site, purse: CountingPurse, payment_hash: str) -> None:
    await site.pay({"paymentHash": payment_hash})
    purse.says, purse.sees = None, LATE


async def test_a_session_is_not_given_up_while_its_deposit_may_arrive(site: Site, notebook: Notebook) -> None:
    purse = stuck(site)
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        opening = asyncio.create_task(timmy.open_session(Sats(100)))
        deposit = await asked(purse)
        await lapse(site, deposit)
        with pytest.raises(Unfinished, match="resume"):
            await opening
        with pytest.raises(Unfinished):
            await timmy.resume()
        await arrives(site, purse, deposit)
        [status] = await timmy.resume()
        assert isinstance(status, SessionStatus)
        assert status.balance == Sats(100).msats
        assert (await timmy.session()).id == status.id
    assert len(purse.asked) == 1
    assert await counted(notebook) == 100_000


async def test_a_session_whose_deposit_was_surely_never_sent_is_given_up(site: Site, notebook: Notebook) -> None:
    purse = stuck(site)
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        opening = asyncio.create_task(timmy.open_session(Sats(100)))
        purse_hash = await asked(purse)
        purse.sees = NeverSent()
        await lapse(site, purse_hash)
        with pytest.raises(InvoiceLapsed):
            await opening
        assert await timmy.resume() == []
    assert await counted(notebook) == 0


async def test_a_job_is_not_given_up_while_its_payment_may_arrive_and_what_is_late_is_taken_back(site: Site, notebook: Notebook) -> None:
    purse = stuck(site)
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        buying = asyncio.create_task(timmy.ask(QUESTION))
        judging = await asked(purse)
        await lapse(site, judging)
        with pytest.raises(Unfinished, match="owed back"):
            await buying
        await arrives(site, purse, judging)
        [answer] = await timmy.resume()
        assert isinstance(answer, Answer)
        assert (answer.state, answer.job.refund.state) == ("expired", "paid")
        assert answer.cost == Msats(0)
        assert await timmy.resume() == []


async def test_what_was_begun_by_hand_is_gone_on_with_by_hand_and_ends_when_its_invoice_has_lapsed(site: Site, notebook: Notebook) -> None:
    hand = CountingPurse(site.url, BY_HAND)
    hand.says, hand.sees = InFlight(), NeverSent()
    async with AsyncTimmy(site.url, purse=hand, notebook=notebook) as timmy:
        buying = asyncio.create_task(timmy.ask(QUESTION))
        judging = await asked(hand)
        buying.cancel()
        await asyncio.wait([buying])
    async with AsyncTimmy(site.url, purse="dev", notebook=notebook) as timmy:
        with pytest.raises(OtherWallet, match="timmy ask --resume --wallet ''"):
            await timmy.resume()
        await lapse(site, judging)
        [answer] = await timmy.resume()
        assert isinstance(answer, Answer)
        assert answer.state == "expired"
        assert await timmy.resume() == []
    assert await counted(notebook) == 0


async def test_a_topup_is_not_given_up_while_its_payment_may_arrive(
    site: Site, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncTimmy(site.url, purse="dev", notebook=notebook) as timmy:
        await timmy.open_session(Sats(100))
    purse = stuck(site)
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        filling = asyncio.create_task((await timmy.session()).top_up(Sats(100)))
        topup = await asked(purse)
        later_ms = notebook.now_ms() + 8 * 24 * 3_600_000
        monkeypatch.setattr(notebook, "now_ms", lambda: later_ms)
        await lapse(site, topup)
        with pytest.raises(Unfinished):
            await filling
        await arrives(site, purse, topup)
        [status] = await timmy.resume()
    assert isinstance(status, SessionStatus)
    assert status.balance == Sats(200).msats


class Stopped(BaseException):
    """As a kill."""


async def test_a_topup_that_is_taken_up_after_the_server_forgot_its_key_is_paid_once(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        session = await timmy.open_session(Sats(100))

        async def stop() -> None:
            raise Stopped

        purse.after = stop
        with pytest.raises(Stopped):
            await session.top_up(Sats(100))
        purse.after = None
        await site.app.db.write(old_store.forget_keys, site.app.clock.now_ms() + 1, 100)
        [status] = await timmy.resume()
    assert isinstance(status, SessionStatus)
    assert status.balance == Sats(200).msats
    assert len(purse.paid) == 2
    assert await counted(notebook) == 200_000


async def test_a_session_whose_rest_did_not_arrive_is_the_one_that_is_closed_again(
    site: Site, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefunding, "REFUND_PATIENCE_SECONDS", 60.0)
    wallet: Any = site.app.wallet
    assert isinstance(wallet, BuiltinWallet)
    async with AsyncTimmy(site.url, purse="dev", notebook=notebook) as timmy:
        other = await timmy.open_session(Sats(200))
        session = await timmy.open_session(Sats(100))
        wallet._faults.always("pay_invoice", Says(Failed("No route.")))
        closed = await session.close()
        assert closed.refund.trouble is not None
        wallet._faults.heal()
        async with asyncio.timeout(60):
            while (await session.status()).refund.destination is not None:
                await asyncio.sleep(0.05)
        again = await timmy.session()
        assert again.id == session.id
        assert (await again.close()).refund.paid == Sats(100)
        assert (await timmy.session()).id == other.id
