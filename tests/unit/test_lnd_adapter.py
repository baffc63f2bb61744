"""What the LND wallet makes of answers about invoices and the node that LND, or whatever stands before it, may give."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from tests.unit.backends import as_json, as_text, invoice, listening, never_answer
from tests.unit.fake_lnd import (
    AMOUNT,
    INVOICE,
    MACAROON,
    OTHER,
    FakeLnd,
    b64,
    no,
    stream,
    wallet_at,
)

from timmy.clock import SystemClock
from timmy.lightning import bolt11
from timmy.lightning.wallets import lnd
from timmy.lightning.wallets.lnd import LndWallet
from timmy.lightning.wallets.protocol import (
    InvoiceLookup,
    Network,
    NoSuchInvoice,
    Settled,
    Unpaid,
    WalletDown,
)
from timmy.money import MSATS_MAX, Msats, Sats

# Money in ----------------------------------------------------------------------------------------------


def shown(state: str, **changes: object) -> web.Response:
    told = {"r_hash": b64(INVOICE.payment_hash), "r_preimage": b64(INVOICE.preimage), "state": state, "amt_paid_msat": "210000"}
    return as_json({**told, "settled": state == "SETTLED", "value_msat": str(AMOUNT.value), **changes})


async def find(answer: web.Response) -> InvoiceLookup:
    async with wallet_at(FakeLnd(other=answer)) as wallet:
        return await wallet.lookup_invoice(INVOICE.payment_hash)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (shown("SETTLED"), Settled(AMOUNT)),
        (shown("SETTLED", amt_paid_msat="420000"), Settled(AMOUNT + AMOUNT)),
        (shown("OPEN", amt_paid_msat="0"), Unpaid()),
        (shown("CANCELED", amt_paid_msat="0"), Unpaid()),
        (shown("ACCEPTED"), Unpaid()),  # held, and may yet go back
        (no(5, "unable to locate invoice", 404), NoSuchInvoice()),
        (no(5, "there are no existing invoices", 404), NoSuchInvoice()),
        (no(2, "unable to locate invoice"), NoSuchInvoice()),
    ],
)
async def test_each_state_of_an_invoice(answer: web.Response, found: InvoiceLookup) -> None:
    assert await find(answer) == found


async def test_a_preimage_is_told_only_where_it_fits() -> None:
    right, wrong = await find(shown("SETTLED")), await find(shown("SETTLED", r_preimage=b64("00" * 32)))
    assert isinstance(right, Settled)
    assert isinstance(wrong, Settled)
    assert (right.preimage, wrong.preimage) == (INVOICE.preimage, None)


@pytest.mark.parametrize(
    "answer",
    [
        shown("SETTLED", r_hash=b64(OTHER.payment_hash)),
        shown("SETTLED", r_hash="!"),
        shown("SETTLED", amt_paid_msat="-5"),
        shown("SETTLED", amt_paid_msat=None),
        shown("SETTLED", amt_paid_msat=str(MSATS_MAX + 1)),
        shown("PAID"),
        no(5, "Not Found", 404),
        no(2, "permission denied"),
        as_text("unable to locate invoice", 404),
        as_text("<html>"),
        as_json([1]),
    ],
)
async def test_nonsense_about_an_invoice_is_no_answer(answer: web.Response) -> None:
    with pytest.raises(WalletDown):
        await find(answer)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (as_json({"payment_request": OTHER.payment_request[:-1]}), "cannot be read"),
        (as_json({}), "cannot be read"),
        (as_json({"payment_request": invoice(AMOUNT + AMOUNT).payment_request}), "another invoice"),
        (as_json({"payment_request": invoice(AMOUNT, Network.MAINNET).payment_request}), "another invoice"),
        (no(2, "memo too large: 2000 bytes (maxsize=1024)"), "memo too large"),
    ],
)
async def test_an_invoice_that_was_not_asked_for_is_not_handed_out(answer: web.Response, words: str) -> None:
    async with wallet_at(FakeLnd(other=answer)) as wallet:
        with pytest.raises(WalletDown, match=words):
            await wallet.create_invoice(AMOUNT, memo="two words", expiry_seconds=600, label="inv_1")


async def test_an_invoice_is_asked_for_in_millisats_and_with_hints_for_private_channels() -> None:
    fake = FakeLnd(other=as_json({"payment_request": INVOICE.payment_request}))
    async with wallet_at(fake) as wallet:
        new = await wallet.create_invoice(AMOUNT, memo="two words", expiry_seconds=600, label="inv_1")
        with pytest.raises(ValueError, match="without an amount"):
            await wallet.create_invoice(Msats(0), memo="two words", expiry_seconds=600, label="inv_1")
    assert new.payment_hash == bolt11.decode(INVOICE.payment_request).payment_hash
    asked = {"value_msat": "210000", "memo": "two words", "expiry": "600", "private": True}
    assert fake.asked == [("POST", "/v1/invoices", asked)]


async def test_the_subscription_tells_of_settled_invoices_only_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lnd, "RECONNECT_SECONDS_MIN", 0.01)
    queries: list[str] = []
    settled = {"state": "SETTLED", "r_hash": b64(INVOICE.payment_hash), "settle_index": "41"}
    turns = [
        no(2, "wallet locked, unlock it to enable full RPC access"),
        as_text("<html>", 502),
        stream({"result": {"state": "OPEN", "r_hash": b64(OTHER.payment_hash)}}, {"result": settled}),
        stream({"result": {"state": "SETTLED", "r_hash": "nonsense"}}, {"error": {"code": 14, "message": "bye"}}),
        stream({"result": {**settled, "r_hash": b64(OTHER.payment_hash), "settle_index": "42"}}),
    ]

    async def turn(request: web.Request) -> web.StreamResponse:
        queries.append(request.query_string)
        return turns.pop(0)

    async with wallet_at(FakeLnd(other=turn)) as wallet:
        heard = []
        async for payment_hash in wallet.settlements():
            heard.append(payment_hash)
            if len(heard) == 2:
                break
    assert heard == [INVOICE.payment_hash, OTHER.payment_hash]
    assert queries == ["", "", "", "settle_index=41", "settle_index=41"]


@pytest.mark.parametrize("headers_first", [False, True])
async def test_a_subscription_that_says_nothing_for_long_is_made_anew(monkeypatch: pytest.MonkeyPatch, headers_first: bool) -> None:
    monkeypatch.setattr(lnd, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(lnd, "RECONNECT_SECONDS_MIN", 0.01)
    asked = 0

    async def dead_at_first(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        if asked > 1:
            return stream({"result": {"state": "SETTLED", "r_hash": b64(INVOICE.payment_hash), "settle_index": "1"}})
        if headers_first:
            await web.StreamResponse().prepare(request)
        return await never_answer(request)

    async with wallet_at(FakeLnd(other=dead_at_first)) as wallet:
        async for payment_hash in wallet.settlements():
            assert payment_hash == INVOICE.payment_hash
            break
    assert asked == 2


async def test_the_subscription_ends_when_the_wallet_is_closed() -> None:
    async with wallet_at(FakeLnd(other=never_answer)) as wallet:
        listened = asyncio.create_task(_all(wallet))
        await asyncio.sleep(0)
        await wallet.aclose()
        assert await listened == []


async def _all(wallet: LndWallet) -> list[str]:
    return [payment_hash async for payment_hash in wallet.settlements()]


# The whole -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "holds"),
    [
        ({"local_balance": {"sat": "5", "msat": "5999"}}, Msats(5_999)),
        ({"local_balance": {"sat": "0", "msat": "0"}}, Msats(0)),
        ({"local_balance": {"msat": "5999"}, "unsettled_remote_balance": {"sat": "1", "msat": "1001"}}, Msats(7_000)),  # may come back
        ({"local_balance": {"msat": "5999"}, "unsettled_local_balance": {"sat": "1", "msat": "1001"}}, Msats(5_999)),  # not ours yet
        ({"local_balance": {"msat": "5999"}, "unsettled_remote_balance": {"msat": "x"}}, None),
        ({"local_balance": {"sat": "5"}}, None),
        ({"local_balance": {"msat": 1.5}}, None),
        ({"local_balance": "5"}, None),
        ({"balance": "5"}, None),
    ],
)
async def test_the_balance_is_what_is_ours_in_the_channels(told: object, holds: Msats | None) -> None:
    async with wallet_at(FakeLnd(other=as_json(told))) as wallet:
        if holds is not None:
            assert await wallet.balance() == holds
        else:
            with pytest.raises(WalletDown, match="makes no sense"):
                await wallet.balance()


def opened(**changes: object) -> dict[str, object]:
    """A channel of ours as `/v1/channels` lists it: of 100,000 sats LND keeps 1,234 for its closing."""
    told = {"capacity": "100000", "local_balance": "50000", "remote_balance": "40000", "unsettled_balance": "8766"}
    return {**told, "initiator": True, "commit_fee": "904", **changes}


@pytest.mark.parametrize(
    ("channels", "aside"),
    [
        ([], Msats(0)),
        ([opened()], Sats(1_234).msats),
        ([opened(), opened(remote_balance="41234")], Sats(1_234).msats),
        ([opened(initiator=False), opened(initiator=None)], Msats(0)),  # theirs to pay
        ([opened(local_balance="51235")], Msats(0)),
        ([opened(capacity="x")], None),
        ([opened(unsettled_balance=None)], None),
        ([opened(capacity="2100000000000001")], None),
        (["channel"], None),
    ],
)
async def test_what_is_set_aside_to_close_a_channel_of_ours_is_ours(channels: object, aside: Msats | None) -> None:
    answers = {"/v1/balance/channels": {"local_balance": {"sat": "5", "msat": "5999"}}, "/v1/channels": {"channels": channels}}

    async def answer(request: web.Request) -> web.StreamResponse:
        return as_json(answers[request.path])

    async with wallet_at(FakeLnd(other=answer)) as wallet:
        if aside is not None:
            assert await wallet.balance() == Msats(5_999) + aside
        else:
            with pytest.raises(WalletDown, match="makes no sense"):
                await wallet.balance()


@pytest.mark.parametrize(
    ("chains", "network"),
    [
        ([{"chain": "bitcoin", "network": "mainnet"}], Network.MAINNET),
        ([{"network": "testnet4"}], Network.TESTNET),
        ([{"network": "signet"}], Network.SIGNET),
        ([{"network": "simnet"}], None),
        ([{"network": []}], None),
        ([], None),
        ("bitcoin", None),
    ],
)
async def test_the_network_is_the_chains(chains: object, network: Network | None) -> None:
    async with listening(FakeLnd(other=as_json({"chains": chains}))) as url:
        if network is None:
            with pytest.raises(WalletDown, match="which network"):
                await LndWallet.connect(url, MACAROON, SystemClock())
        else:
            wallet = await LndWallet.connect(url, MACAROON, SystemClock())
            assert wallet.network is network
            await wallet.aclose()


async def test_what_makes_no_sense_of_the_node_is_named_and_left_out() -> None:
    told = {"version": 7, "alias": "a\x1b[2Jb", "num_active_channels": "1", "num_pending_channels": 0, "synced_to_chain": "yes"}
    channels = {"channels": [{"active": True, "local_balance": "x", "remote_balance": "7000", "remote_chan_reserve_sat": "1000"}]}
    answers = {"/v1/getinfo": told, "/v1/channels": channels}

    async def answer(request: web.Request) -> web.StreamResponse:
        return as_json(answers[request.path])

    async with wallet_at(FakeLnd(other=answer)) as wallet:
        found = await wallet.diagnose()
    assert (found.version, found.alias, found.channels, found.synced, found.spendable) == (None, "a [2Jb", None, None, None)
    assert found.receivable == Sats(6_000).msats  # an older LND names the reserve beside the balance
    assert set(found.nonsense) == {"version", "channels", "synced"}
    assert (found.certificate, found.in_the_clear) == (None, False)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "grpc://127.0.0.1:10009", "https://me@127.0.0.1:8080", "https://127.0.0.1?x=1"])
def test_an_url_that_is_none_is_said(url: str) -> None:
    with pytest.raises(ValueError, match="looks like"):
        LndWallet(url, MACAROON, SystemClock(), network=Network.REGTEST)
