"""The client buys from a real server, over a real socket, with the pretend customer's sats: and with limits, interruptions and races."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.e2e.serving import Site, serving
from timmy.client import Afresh, Answer, AsyncTimmy, Limits, Moved, Notebook, Piece, Timmy
from timmy.client.answers import Offer, SessionStatus
from timmy.client.errors import (
    InvoiceNotAsOffered,
    LimitReached,
    NoWallet,
    OtherWallet,
    PaymentFailed,
    ServerDown,
    ServerRefused,
)
from timmy.client.notebook import NO_LIMITS
from timmy.client.purses import DevelopmentPurse
from timmy.client.spending import Fate
from timmy.identity import macaroons
from timmy.lightning import bolt11
from timmy.lightning.wallets.protocol import Failed, InFlight, Network, NeverSent, PaymentOutcome, Succeeded, Unknown, WalletDown
from timmy.money import Msats, Sats

QUESTION = "What is a satoshi?"
NO_FEE = Msats(0)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with serving({"DATA_DIR": str(tmp_path / "server")}) as running:
        yield running


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path / "buyer" / "notebook.sqlite")


class CountingPurse:
    """Pays with the pretend customer, remembers what it paid as a wallet does, and breaks where it is told to."""

    network: Network | None = Network.REGTEST
    adds_fees = True

    def __init__(self, url: str, name: str = "a wallet that counts", fee: Msats = NO_FEE) -> None:
        self.name = name
        self.fee = fee
        self.paid: list[str] = []
        self.asked: list[str] = []
        self.before: Callable[[], Awaitable[None]] | None = None
        self.after: Callable[[], Awaitable[None]] | None = None
        self.says: PaymentOutcome | None = None  # instead of paying
        self.sees: PaymentOutcome | None = None  # instead of looking
        self._till = DevelopmentPurse(url)

    async def pay(self, payment_request: str, *, amount: Msats, fee_limit: Msats) -> PaymentOutcome:
        payment_hash = bolt11.decode(payment_request).payment_hash
        self.asked.append(payment_hash)
        if self.before is not None:
            await self.before()
        if self.says is not None:
            return self.says
        assert payment_hash not in self.paid, "an invoice is paid once"
        self.paid.append(payment_hash)
        await self._till.pay(payment_request, amount=amount, fee_limit=fee_limit)
        if self.after is not None:
            await self.after()
        return Succeeded("ab" * 32, self.fee)

    async def lookup(self, payment_hash: str) -> PaymentOutcome:
        if self.sees is not None:
            return self.sees
        return Succeeded("ab" * 32, self.fee) if payment_hash in self.paid else NeverSent()

    async def invoice(self, amount: Sats, memo: str) -> str | None:
        return await self._till.invoice(amount, memo)

    async def aclose(self) -> None:
        await self._till.aclose()


async def counted(notebook: Notebook) -> int:
    return (await notebook.spent_today()).value


# Buying ------------------------------------------------------------------------------------------------


async def test_an_answer_is_bought_and_the_rest_comes_back(site: Site, notebook: Notebook) -> None:
    async with AsyncTimmy(site.url, purse="dev", notebook=notebook) as timmy:
        estimate = await timmy.estimate(QUESTION)
        answer = await timmy.ask(QUESTION)
    assert answer.state == "complete"
    assert "satoshi" in (answer.text or "")
    assert answer.job.work_invoice is not None
    assert answer.paid == (answer.job.eval_invoice.amount + answer.job.work_invoice.amount).msats
    assert answer.job.work_invoice.amount == estimate.work
    assert answer.job.refund.state == "paid"
    assert answer.cost == answer.paid - answer.job.refund.paid.msats
    assert await counted(notebook) == answer.paid.value


async def test_the_pieces_are_the_answer(site: Site, notebook: Notebook) -> None:
    pieces, states, answer = "", list[str](), None
    async with AsyncTimmy(site.url, purse="dev", notebook=notebook) as timmy:
        async for event in timmy.stream(QUESTION):
            match event:
                case Piece(text=text):
                    pieces += text
                case Afresh():
                    pieces = ""
                case Moved(job=job):
                    states.append(job.state)
                case Answer():
                    answer = event
    assert answer is not None
    assert pieces == answer.text
    assert states[0] == "awaiting_eval_payment"
    assert states[-1] == "complete"


async def test_the_blocking_client_does_the_same(site: Site, notebook: Notebook) -> None:
    def buy() -> tuple[Answer, str, Sats]:
        with Timmy(site.url, purse="dev", notebook=notebook) as timmy:
            answer = timmy.ask(QUESTION)
            streamed = "".join(event.text for event in timmy.stream(QUESTION) if isinstance(event, Piece))
            session = timmy.open_session(Sats(500))
            reply = session.request(QUESTION)
            assert reply.state == "complete"
            session.top_up(Sats(100))
            closed = session.close()
            assert closed.refund.state == "paid"
            return answer, streamed, closed.refund.paid

    answer, streamed, back = await asyncio.to_thread(buy)
    assert answer.state == "complete"
    assert "satoshi" in streamed
    assert Sats(0) < back < Sats(600)


async def test_without_a_wallet_nothing_is_ordered_twice_and_the_error_says_what_a_wallet_is(site: Site, notebook: Notebook) -> None:
    async with AsyncTimmy(site.url, notebook=notebook) as timmy:
        with pytest.raises(NoWallet, match="lnbits"):
            await timmy.ask(QUESTION)
    async with AsyncTimmy(site.url, purse="dev", notebook=notebook) as timmy:
        [answer] = await timmy.resume()
        assert isinstance(answer, Answer)
        assert answer.state == "complete"
        assert await timmy.resume() == []


async def test_the_servers_own_words_are_kept(site: Site, notebook: Notebook) -> None:
    async with AsyncTimmy(site.url, purse="dev", notebook=notebook) as timmy:
        with pytest.raises(ServerRefused, match="request") as refused:
            await timmy.ask("")
    assert (refused.value.answer_status, refused.value.answer_code) == (422, "request_empty")


async def test_a_server_that_is_not_there_is_said_to_be_down(notebook: Notebook, unused_port: int) -> None:
    async with AsyncTimmy(f"http://127.0.0.1:{unused_port}", purse="dev", notebook=notebook) as timmy:
        with pytest.raises(ServerDown, match="Is the address right"):
            await timmy.estimate(QUESTION)


# Limits ------------------------------------------------------------------------------------------------


async def test_a_call_that_costs_more_than_it_may_is_refused_before_anything_is_paid(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        whole = (await timmy.estimate(QUESTION)).total
        with pytest.raises(LimitReached, match="Nothing was paid") as refused:
            await timmy.ask(QUESTION, most=whole)  # the routing fees do not fit
    assert refused.value.extra["limit"] == "per_call"
    assert purse.asked == []
    assert await counted(notebook) == 0


async def test_a_price_that_rises_after_the_estimate_is_held_by_the_reservation(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        id = await timmy._buying.order(QUESTION, most=Sats(16))  # the judging fits, the work does not; no estimate was asked
        with pytest.raises(LimitReached):
            async for _ in timmy.follow(id):
                pass
    assert len(purse.paid) == 1
    assert await counted(notebook) <= 16_000


async def test_two_callers_at_once_cannot_spend_more_than_the_day_allows(site: Site, notebook: Notebook) -> None:
    """Eight programs, each with a connection to the notebook of its own, and room for three deposits."""
    limits = Limits(per_call=None, per_day=Sats(345))  # three times 100, with 5 for routing, and not four
    purses = [CountingPurse(site.url) for _ in range(8)]
    start = asyncio.Event()

    async def spend(purse: CountingPurse) -> object:
        async with AsyncTimmy(site.url, purse=purse, notebook=Notebook(notebook.path), limits=limits) as timmy:
            await start.wait()
            return (await timmy.open_session(Sats(100))).id

    everybody = [asyncio.create_task(spend(purse)) for purse in purses]
    start.set()
    ended = await asyncio.gather(*everybody, return_exceptions=True)
    assert sum(isinstance(each, str) for each in ended) == 3
    assert sum(isinstance(each, LimitReached) for each in ended) == 5
    assert sum(len(purse.paid) for purse in purses) == 3
    assert await counted(notebook) == 300_000


async def test_the_notebooks_limits_hold_for_a_program_that_names_wider_ones(site: Site, notebook: Notebook) -> None:
    await notebook.set_limits(Limits(per_call=Sats(50), per_day=None))
    async with AsyncTimmy(site.url, purse="dev", notebook=notebook, limits=NO_LIMITS) as timmy:
        with pytest.raises(LimitReached):
            await timmy.open_session(Sats(100))


async def test_routing_fees_count(site: Site, notebook: Notebook) -> None:
    async with AsyncTimmy(site.url, purse=CountingPurse(site.url, fee=Msats(1_234)), notebook=notebook) as timmy:
        await timmy.open_session(Sats(100))
    assert await counted(notebook) == 101_234


async def test_a_payment_that_surely_failed_is_not_counted(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    purse.says = Failed("No route.")
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        with pytest.raises(PaymentFailed, match="No route"):
            await timmy.open_session(Sats(100))
        assert await counted(notebook) == 0
        purse.says = None
        [status] = await timmy.resume()  # the same invoice, once a route is there
    assert isinstance(status, SessionStatus)
    assert status.balance == Sats(100).msats
    assert len(purse.paid) == 1


async def test_a_payment_of_unknown_fate_stays_counted_and_is_not_sent_again(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    purse.says = Unknown("the line broke")

    purse.sees = InFlight()
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        purchase, purpose, offer = await offered(timmy, site)
        assert await timmy._spending.pay(purchase, purpose, offer) is Fate.OPEN
        assert await timmy._spending.pay(purchase, purpose, offer) is Fate.OPEN
        await timmy._spending.seen_lapsed(offer)  # the server has given up waiting; whether it arrives, only the wallet can tell
    assert len(purse.asked) == 1
    assert await counted(notebook) == 105_000


# Interrupted -------------------------------------------------------------------------------------------


class Stopped(BaseException):
    """As Ctrl-C, or a kill: not an error that anybody handles."""


async def stop() -> None:
    raise Stopped


async def test_a_purchase_interrupted_after_paying_is_not_paid_again(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    purse.after = stop
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        with pytest.raises(Stopped):
            await timmy.ask(QUESTION)
    assert len(purse.paid) == 1
    purse.after = None
    async with AsyncTimmy(site.url, purse=purse, notebook=Notebook(notebook.path)) as timmy:
        [answer] = await timmy.resume()
    assert isinstance(answer, Answer)
    assert answer.state == "complete"
    assert len(purse.paid) == 2  # to be judged, and for the work: each once
    assert {preimage for _, _, preimage in answer.payments} == {"ab" * 32}
    assert await counted(notebook) == answer.paid.value


async def test_a_purchase_interrupted_before_paying_is_paid_once(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    purse.before = stop
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        with pytest.raises(Stopped):
            await timmy.ask(QUESTION)
        assert await counted(notebook) > 0  # nobody can tell whether it left: it counts
        purse.before = None
        [answer] = await timmy.resume()
    assert isinstance(answer, Answer)
    assert answer.state == "complete"
    assert len(purse.paid) == 2


async def test_two_who_resume_at_once_pay_once(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    purse.before = stop
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        with pytest.raises(Stopped):
            await timmy.open_session(Sats(100))
        purse.before = None

        async def resume() -> object:
            async with AsyncTimmy(site.url, purse=purse, notebook=Notebook(notebook.path)) as again:
                return await again.resume()

        await asyncio.gather(resume(), resume(), resume())  # CountingPurse does not let an invoice be paid twice
    assert len(purse.paid) == 1
    assert await counted(notebook) == 100_000


async def test_what_one_wallet_began_another_does_not_pay(site: Site, notebook: Notebook) -> None:
    first, other = CountingPurse(site.url), CountingPurse(site.url, "another wallet")
    first.after = stop
    async with AsyncTimmy(site.url, purse=first, notebook=notebook) as timmy:
        with pytest.raises(Stopped):
            await timmy._spending.pay(*await offered(timmy, site))
    async with AsyncTimmy(site.url, purse=other, notebook=notebook) as timmy:
        with pytest.raises(OtherWallet, match="a wallet that counts"):
            await timmy._spending.pay(*await offered(timmy, site, first.paid[0]))
    assert other.asked == []


async def test_a_wallet_that_cannot_be_asked_costs_nothing(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)

    async def down() -> None:
        raise WalletDown("It is switched off.")

    purse.before = down
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        with pytest.raises(WalletDown):
            await timmy.open_session(Sats(100))
    assert await counted(notebook) == 0


offers: dict[str, Offer] = {}


async def offered(timmy: AsyncTimmy, site: Site, payment_hash: str | None = None) -> tuple[str, str, Offer]:
    """A purchase, and an invoice for it: a new one, or the one with this hash."""
    if payment_hash is None:
        session = await site.post("/api/sessions", {"amountSats": 100}, status=201)
        invoice = session["invoice"]
        offer = Offer(invoice["paymentRequest"], invoice["paymentHash"], Sats(invoice["amountSats"]), 0)
        offers[offer.payment_hash] = offer
    else:
        offer = offers[payment_hash]
    return await timmy._buying.order(QUESTION), "deposit", offer


async def test_an_invoice_for_more_than_was_said_is_not_paid(site: Site, notebook: Notebook) -> None:
    purse = CountingPurse(site.url)
    async with AsyncTimmy(site.url, purse=purse, notebook=notebook) as timmy:
        purchase, purpose, offer = await offered(timmy, site)
        lie = Offer(offer.payment_request, offer.payment_hash, Sats(99), offer.expires_at_ms)
        with pytest.raises(InvoiceNotAsOffered):
            await timmy._spending.pay(purchase, purpose, lie)
    assert (purse.asked, await counted(notebook)) == ([], 0)


# Sessions and the notebook -----------------------------------------------------------------------------


async def test_a_session_is_kept_and_spent_from_by_another_program(site: Site, notebook: Notebook) -> None:
    async with AsyncTimmy(site.url, purse="dev", notebook=notebook) as timmy:
        opened = await timmy.open_session(Sats(500))
    async with AsyncTimmy(site.url, purse="dev", notebook=Notebook(notebook.path)) as timmy:
        session = await timmy.session()
        assert session.id == opened.id
        first = await session.request(QUESTION, key="one")
        again = await session.request(QUESTION, key="one")
        assert first.document == again.document
        status = await session.status()
        assert status.balance == Sats(500).msats - first.debited
        closed = await session.close()
        assert closed.refund.paid == status.balance.floor_sats()


async def test_a_smaller_key_has_every_limit_that_was_named(site: Site, notebook: Notebook) -> None:
    async with AsyncTimmy(site.url, purse="dev", notebook=notebook) as timmy:
        session = await timmy.open_session(Sats(100))
        smaller = session.attenuate(most=Sats(20), most_per_request=Sats(5), valid_until_ms=1_900_000_000_000, capabilities=("chat",))
        with pytest.raises(ValueError):
            session.attenuate()
    assert [caveat.decode() for caveat in macaroons.decode(smaller).caveats][-4:] == [
        "timmy_max_msat=20000",
        "timmy_max_msat_per_request=5000",
        "timmy_valid_until=1900000000",
        "timmy_capabilities=chat",
    ]


def test_the_notebook_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "notebook.sqlite"
    Notebook(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    Notebook(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_notebook_holds_no_wallets_key(tmp_path: Path) -> None:
    purse = DevelopmentPurse("http://127.0.0.1:1")
    assert purse.name == "the pretend customer of http://127.0.0.1:1"
