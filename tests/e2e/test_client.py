"""The client buys from a real server, over a real socket, with the pretend customer's sats: and with limits, interruptions and races."""

from __future__ import annotations

import asyncio
import socket
import stat
from pathlib import Path

import pytest

from tests.e2e.counting_purse import counted
from tests.e2e.serving import Site
from timmy.client import Afresh, Answer, AsyncTimmy, Moved, Notebook, Piece, Timmy
from timmy.client.errors import (
    NoWallet,
    ServerDown,
    ServerRefused,
)
from timmy.client.purses import DevelopmentPurse, open_purse
from timmy.identity import macaroons
from timmy.money import Msats, Sats

QUESTION = "What is a satoshi?"
NO_FEE = Msats(0)


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


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


async def test_what_the_server_will_never_do_is_not_tried_again(site: Site, notebook: Notebook) -> None:
    async with AsyncTimmy(site.url, purse="dev", notebook=notebook) as timmy:
        nothing = await timmy._buying.order("")
        with pytest.raises(ServerRefused):
            await anext(timmy.follow(nothing))
        with pytest.raises(ServerRefused):
            await timmy.open_session(Sats(1))
        session = await timmy.open_session(Sats(100))
        with pytest.raises(ServerRefused):
            await session.top_up(Sats(1))
        assert await timmy.resume() == []


async def test_a_server_that_is_not_there_is_said_to_be_down(notebook: Notebook, unused_port: int) -> None:
    async with AsyncTimmy(f"http://127.0.0.1:{unused_port}", purse="dev", notebook=notebook) as timmy:
        with pytest.raises(ServerDown, match="Is the address right"):
            await timmy.estimate(QUESTION)


@pytest.mark.parametrize("url", ["timmy.example.com", "http://me:secret@127.0.0.1:1", "http://127.0.0.1:1/?a=b", "http://127.0.0.1:1#x"])
async def test_an_address_that_could_not_work_is_refused_and_no_password_is_repeated(url: str, notebook: Notebook) -> None:
    with pytest.raises(ValueError, match="The address of a Timmy") as refused:
        AsyncTimmy(url, notebook=notebook)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("wallet", "says"),
    [("electrum+", "where the wallet is"), ("lnd+", "where the wallet is"), ("lnd+https://127.0.0.1:1", "macaroon=FILE")],
)
async def test_half_a_wallets_address_is_answered_with_what_is_missing(wallet: str, says: str) -> None:
    with pytest.raises(NoWallet, match=says):
        await open_purse(wallet, "http://127.0.0.1:1")


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
