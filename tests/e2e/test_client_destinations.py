"""Where sats come back to: a Lightning address, an LNURL or an invoice, each refused before anything is paid where it is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from bech32 import bech32_encode, convertbits

from tests.e2e.counting_purse import CountingPurse, counted
from tests.e2e.serving import Site, serving
from timmy.client import Answer, AsyncTimmy, Notebook, store
from timmy.client.errors import DestinationWrong
from timmy.client.purses import DevelopmentPurse
from timmy.lightning.lnurl import LnurlClient
from timmy.money import Msats, Sats

QUESTION = "What is a satoshi?"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with serving({"DATA_DIR": str(tmp_path / "server"), "LNURL_ALLOW_LOOPBACK": "1"}) as running:
        yield running


class Alice:
    """Receives at an LNURL, into the wallet of the pretend customer. `amounts` are the millisats that she was asked for."""

    def __init__(self, site: Site) -> None:
        self.amounts: list[int] = []
        self._wallet = DevelopmentPurse(site.url)
        app = web.Application()
        app.router.add_get("/.well-known/lnurlp/alice", self._offer)
        app.router.add_get("/callback", self._answer)
        self.server = TestServer(app, host="127.0.0.1")

    @property
    def address(self) -> str:
        return f"alice@127.0.0.1:{self.server.port}"

    @property
    def lnurl(self) -> str:
        words = convertbits(str(self.server.make_url("/.well-known/lnurlp/alice")).encode(), 8, 5)
        assert words is not None
        return str(bech32_encode("lnurl", words))

    async def _offer(self, request: web.Request) -> web.StreamResponse:
        callback = str(self.server.make_url("/callback"))
        return web.json_response(
            {"tag": "payRequest", "callback": callback, "minSendable": 1_000, "maxSendable": 10**9, "metadata": "[]"},
        )

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        amount = Msats(int(request.query["amount"]))
        self.amounts.append(amount.value)
        return web.json_response({"pr": await self._wallet.invoice(amount.floor_sats(), "for alice"), "routes": []})

    async def aclose(self) -> None:
        await self.server.close()
        await self._wallet.aclose()


@pytest.fixture
async def alice(site: Site) -> AsyncIterator[Alice]:
    alice = Alice(site)
    await alice.server.start_server()
    yield alice
    await alice.aclose()


class PaysOnly(CountingPurse):
    """A wallet that makes no invoices: nothing comes back by itself."""

    async def invoice(self, amount: Sats, memo: str) -> str | None:
        return None


@pytest.mark.parametrize("written", ["lnurl", "address"])
async def test_what_was_not_used_comes_back_to_the_place_that_was_named(site: Site, notebook: Notebook, alice: Alice, written: str) -> None:
    place = f"  {alice.lnurl.upper()}\n" if written == "lnurl" else alice.address
    async with AsyncTimmy(site.url, purse=PaysOnly(site.url), notebook=notebook) as timmy:
        answer = await timmy.ask(QUESTION, refund_to=place)
        ended = await site.until(answer.job.id, "complete")
        while ended["refund"]["state"] == "pending":  # to an address the server pays by itself, when it gets to it
            ended = await site.get(f"/api/jobs/{answer.job.id}")
    assert ended["refund"]["state"] == "paid"
    assert alice.amounts == [ended["refund"]["paidSats"] * 1_000]


async def test_a_purchase_that_is_taken_up_again_still_knows_where_the_rest_goes(site: Site, notebook: Notebook, alice: Alice) -> None:
    purse = PaysOnly(site.url)
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        async with aclosing(timmy.stream(QUESTION, refund_to=alice.lnurl)) as events:
            await anext(events)
    async with AsyncTimmy(site.url, purse=purse, notebook=Notebook(notebook.path)) as timmy:
        [answer] = await timmy.resume()
    assert isinstance(answer, Answer)
    assert alice.amounts == [answer.job.refund.paid.msats.value]


async def test_what_is_owed_can_be_claimed_to_an_lnurl(site: Site, notebook: Notebook, alice: Alice) -> None:
    async with AsyncTimmy(site.url, purse=PaysOnly(site.url), notebook=notebook) as timmy:
        answer = await timmy.ask(QUESTION)
        owed = answer.job.refund.owed
        assert owed
        await timmy.refund(answer.job.id, lnurl=alice.lnurl)
        with pytest.raises(ValueError, match="one place"):
            await timmy.refund(answer.job.id)
        with pytest.raises(ValueError, match="one place"):
            await timmy.refund(answer.job.id, lnurl=alice.lnurl, lightning_address=alice.address)
    assert alice.amounts == [owed.msats.value]


@pytest.mark.parametrize("form", ["lnurl", "invoice", "lightning_address"])
async def test_the_rest_of_a_session_goes_to_every_form_of_place(
    site: Site, notebook: Notebook, alice: Alice, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timmy.client.destinations.lnurl.LnurlClient", partial(LnurlClient, allow_loopback_http=True))
    purse = PaysOnly(site.url)
    own = await CountingPurse(site.url).invoice(Sats(100), "the rest")
    place = {"lnurl": alice.lnurl, "invoice": own, "lightning_address": alice.address}[form]
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        session = await timmy.open_session(Sats(100))
        with pytest.raises(ValueError, match="one place"):
            await session.close(invoice="lnbc1", lnurl=alice.lnurl)
        closed = await session.close(**{form: place})
    assert (closed.refund.state, closed.refund.paid) == ("paid", Sats(100))
    assert alice.amounts == ([] if form == "invoice" else [100_000])


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("nowhere", "none of these"),
        ("alice@", "none of these"),
        ("lnurl1dp68gurn8ghj7", "incomplete"),
        ("lnbc1garbage", "checksum"),
        ("an invoice", "not known yet"),
    ],
)
async def test_a_place_that_nothing_can_be_paid_to_is_refused_before_anything_is_paid(
    site: Site, notebook: Notebook, place: str, says: str
) -> None:
    async with AsyncTimmy(site.url, purse="dev", notebook=notebook) as timmy:
        if place == "an invoice":
            place = await CountingPurse(site.url).invoice(Sats(5), "5 sats, perhaps") or ""
        with pytest.raises(DestinationWrong, match=says):
            await timmy.ask(QUESTION, refund_to=place)
        assert await notebook.do(store.open_purchases, site.url) == []
    assert await counted(notebook) == 0
