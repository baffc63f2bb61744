"""What the LND wallet makes of answers that LND, or whatever stands before it, may give."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from tests.contract.lnd_keys import EXACT, Bakery
from tests.unit.backends import Handler, as_json, as_text, hang_up, invoice, listening, never_answer

from timmy.clock import SystemClock
from timmy.lightning import bolt11
from timmy.lightning.wallets import lnd, lnd_line
from timmy.lightning.wallets.lnd import LndWallet
from timmy.lightning.wallets.protocol import (
    Failed,
    InFlight,
    InvoiceLookup,
    Network,
    NeverSent,
    NoSuchInvoice,
    PaymentOutcome,
    Settled,
    Succeeded,
    Unknown,
    Unpaid,
    WalletDown,
)
from timmy.money import MSATS_MAX, Msats, Sats

AMOUNT, FEE_LIMIT = Sats(210).msats, Sats(5).msats
INVOICE = invoice(AMOUNT)
OTHER = invoice(AMOUNT)
SHORT = 0.3  # of patience, where no answer is what the test is about
MACAROON = Bakery().bake(*EXACT)


def b64(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text)).decode()


def no(code: int, message: str, status: int = 500) -> web.Response:
    return as_json({"code": code, "message": message, "details": []}, status)


def wrapped(code: int, message: str, status: int = 500) -> web.Response:
    return as_json({"error": {"code": code, "message": message, "details": []}}, status)


def ancient(code: int, message: str, status: int = 500) -> web.Response:
    """As the first grpc-gateway said it."""
    return as_json({"error": {"grpc_code": code, "http_code": status, "message": message, "http_status": "x"}}, status)


def stream(*said: object) -> web.Response:
    return as_text("".join(json.dumps(one) + "\n" for one in said))


def frames(*payments: dict[str, Any]) -> web.Response:
    return stream(*({"result": one} for one in payments))


def payment(status: str, **changes: object) -> dict[str, Any]:
    proof = INVOICE.preimage if status == "SUCCEEDED" else "00" * 32
    named = {"payment_hash": INVOICE.payment_hash, "status": status, "payment_preimage": proof, "fee_msat": "1500"}
    return {**named, "failure_reason": "FAILURE_REASON_NONE", "value_msat": str(AMOUNT.value), **changes}


NOT_STARTED = no(5, "payment isn't initiated", 404)
SENT = frames(payment("SUCCEEDED"))
ON_ITS_WAY = frames(payment("IN_FLIGHT"))
SUCCESS = Succeeded(INVOICE.preimage, Msats(1_500))


@dataclass
class FakeLnd:
    send: Handler | web.Response = field(default_factory=lambda: no(2, "not asked for"))
    track: Handler | web.Response = NOT_STARTED
    other: Handler | web.Response = field(default_factory=lambda: no(2, "not asked for"))
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        assert request.headers["Grpc-Metadata-macaroon"] == MACAROON
        self.asked.append((request.method, request.path, json.loads(text) if text else None))
        what = {"/v2/router/send": self.send}.get(request.path, self.track if request.path.startswith("/v2/router/track/") else self.other)
        if isinstance(what, web.Response):  # a response object may be sent once only
            return web.Response(body=what.body, status=what.status, headers=what.headers)
        return await what(request)


@asynccontextmanager
async def wallet_at(fake: Handler, seconds: float = 20.0) -> AsyncIterator[LndWallet]:
    async with listening(fake) as url:
        wallet = LndWallet(url, MACAROON, SystemClock(), network=Network.REGTEST, timeout_seconds=seconds, pay_timeout_seconds=seconds)
        yield wallet
        await wallet.aclose()


async def pay(fake: FakeLnd, seconds: float = 20.0) -> PaymentOutcome:
    async with wallet_at(fake, seconds) as wallet:
        return await wallet.pay_invoice(INVOICE.payment_request, amount=AMOUNT, fee_limit=FEE_LIMIT)


async def look(answer: Handler | web.Response, seconds: float = 20.0) -> PaymentOutcome:
    async with wallet_at(FakeLnd(track=answer), seconds) as wallet:
        return await wallet.lookup_payment(INVOICE.payment_hash)


async def cut_off(request: web.Request) -> web.StreamResponse:
    """Half a word, and the line is gone."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"result":{"status":"SUCC')
    assert request.transport is not None
    request.transport.close()
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(2 + lnd_line.FRAME_BYTES_MAX // 2**20):
        await response.write(b"9" * 2**20)
    return response


async def first_word_only(request: web.Request) -> web.StreamResponse:
    """A payment on its way: the stream stays open."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(json.dumps({"result": payment("IN_FLIGHT")}).encode() + b"\n")
    await asyncio.Event().wait()
    return response


# Money out ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (payment("SUCCEEDED"), SUCCESS),
        (payment("SUCCEEDED", fee_msat="0"), Succeeded(INVOICE.preimage, Msats(0))),
        (payment("SUCCEEDED", fee_msat=7), Succeeded(INVOICE.preimage, Msats(7))),
        (payment("SUCCEEDED", fee_msat="-1", payment_preimage="not hex"), Succeeded(None, None)),
        (payment("SUCCEEDED", fee_msat=str(MSATS_MAX + 1), payment_preimage=None), Succeeded(None, None)),
        (payment("IN_FLIGHT"), InFlight()),
        (payment("INITIATED"), InFlight()),
        (payment("FAILED", failure_reason="FAILURE_REASON_NO_ROUTE"), Failed("there is no route within the fee limit")),
        (payment("FAILED", failure_reason="FAILURE_REASON_TIMEOUT"), Failed("no route was found in time")),
        (payment("FAILED", failure_reason="FAILURE_REASON_OF_TOMORROW"), Failed("LND calls it failed")),
        (payment("FAILED", failure_reason=[]), Failed("LND calls it failed")),
    ],
)
async def test_each_state_of_a_payment_is_told_alike_by_both_streams(said: dict[str, Any], outcome: PaymentOutcome) -> None:
    assert await look(frames(said)) == outcome
    paid = await pay(FakeLnd(send=frames(said), track=frames(said)))
    assert paid == outcome or (isinstance(outcome, InFlight) and isinstance(paid, Unknown))


@pytest.mark.parametrize("said", [payment("UNKNOWN"), payment("SETTLED"), payment("FAILED", payment_hash=OTHER.payment_hash), {}])
async def test_what_makes_no_sense_is_never_an_ending(said: dict[str, Any]) -> None:
    assert isinstance(await look(frames(said)), Unknown)
    assert isinstance(await pay(FakeLnd(send=frames(said))), Unknown)


async def test_the_send_names_its_limits_and_survives_its_connection() -> None:
    fake = FakeLnd(send=SENT)
    assert await pay(fake) == SUCCESS
    ((method, path, body),) = fake.asked
    assert (method, path) == ("POST", "/v2/router/send")
    assert (body["payment_request"], body["fee_limit_msat"], body["cancelable"]) == (INVOICE.payment_request, "5000", False)
    assert not {"amt", "amt_msat"} & set(body)


async def test_the_last_word_of_a_stream_counts() -> None:
    answer = frames(payment("INITIATED"), payment("IN_FLIGHT"), payment("SUCCEEDED"))
    assert await pay(FakeLnd(send=answer)) == SUCCESS


async def test_a_look_up_reads_the_first_word_and_does_not_wait_for_the_end() -> None:
    assert await look(first_word_only) == InFlight()


@pytest.mark.parametrize("answer", [hang_up, never_answer, cut_off, first_word_only, endless, as_text("<html>"), as_text(""), stream([1])])
async def test_a_send_without_a_whole_answer_is_unknown(answer: Handler | web.Response) -> None:
    assert isinstance(await pay(FakeLnd(send=answer), SHORT), Unknown)


@pytest.mark.parametrize("answer", [hang_up, never_answer, cut_off, endless, as_text("<html>"), as_text(""), stream([1])])
async def test_a_look_up_without_a_whole_answer_is_no_answer(answer: Handler | web.Response) -> None:
    with pytest.raises(WalletDown, match=r"not answering|said nothing"):
        await look(answer, SHORT)


@pytest.mark.parametrize("form", [no, wrapped, ancient])
async def test_a_payment_that_was_never_sent_is_known_by_its_words_in_each_form(form: Any) -> None:
    assert await look(form(5, "payment isn't initiated", 404)) == NeverSent()


@pytest.mark.parametrize(
    "answer",
    [
        no(5, "Not Found", 404),  # the gateway: no such path
        no(5, "another thing is not found", 404),
        no(2, "payment isn't initiated"),
        as_text("payment isn't initiated", 404),
        as_json({"error": "payment isn't initiated"}, 404),
        as_json({"code": "5", "message": "payment isn't initiated"}, 404),
        no(14, "transport is closing", 503),
        as_text("", 502),
    ],
)
async def test_nothing_else_is_taken_for_a_payment_that_was_never_sent(answer: web.Response) -> None:
    with pytest.raises(WalletDown):
        await look(answer)


@pytest.mark.parametrize("form", [no, wrapped, ancient])
@pytest.mark.parametrize("words", ["payment already exists", "payment is in transition", "invoice is already paid"])
@pytest.mark.parametrize(("track", "outcome"), [(SENT, Succeeded), (ON_ITS_WAY, InFlight), (NOT_STARTED, Unknown), (hang_up, Unknown)])
async def test_a_second_try_is_answered_with_what_became_of_the_first(
    form: Any, words: str, track: Handler | web.Response, outcome: type[PaymentOutcome]
) -> None:
    assert isinstance(await pay(FakeLnd(send=form(6, words, 409), track=track)), outcome)


async def test_a_no_to_something_that_was_never_sent_is_a_failure_in_lnds_words() -> None:
    assert await pay(FakeLnd(send=no(2, "invoice expired. Valid until 2026-01-01"))) == Failed("invoice expired. Valid until 2026-01-01")
    assert await pay(FakeLnd(send=no(3, "proto: unknown field", 400))) == Failed("proto: unknown field")


@pytest.mark.parametrize(
    "answer",
    [
        no(14, "transport is closing", 503),
        no(1, "context canceled", 499),
        no(4, "context deadline exceeded", 504),
        no(13, "stream terminated by RST_STREAM"),
        as_text("<html>Bad Gateway", 502),
        as_text("", 504),
        as_json({"error": "timed out"}, 504),
        stream({"result": payment("IN_FLIGHT")}, {"error": {"code": 2, "message": "routerrpc server shutting down"}}),
        stream({"result": payment("IN_FLIGHT")}, {"error": {"code": 2, "message": "permission denied"}}),
    ],
)
@pytest.mark.parametrize("track", [NOT_STARTED, frames(payment("FAILED")), hang_up])
async def test_a_send_that_broke_off_is_never_called_failed(answer: web.Response, track: Handler | web.Response) -> None:
    assert isinstance(await pay(FakeLnd(send=answer, track=track)), Unknown)
    assert isinstance(await pay(FakeLnd(send=answer, track=SENT)), Succeeded)


@pytest.mark.parametrize("form", [no, wrapped, ancient])
@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        (2, "wallet locked, unlock it to enable full RPC access", "lncli unlock"),
        (2, "wallet not created, create one to enable full RPC access", "lncli create"),
        (2, "waiting to start, RPC services not available", "still starting"),
        (12, "unknown service lnrpc.Lightning", "still starting"),  # before LND 0.13
        (2, "permission denied", "lncli bakemacaroon"),
        (2, "expected 1 macaroon, got 0", "lncli bakemacaroon"),
        (2, "cannot get macaroon: root key with id 0 doesn't exist", "lncli bakemacaroon"),
        (2, "verification failed: signature mismatch after caveat verification", "lncli bakemacaroon"),
        (5, "Not Found", "LND_URL"),
        (12, "Method Not Allowed", "LND_URL"),
    ],
)
async def test_who_is_turned_away_at_the_door_has_sent_nothing_and_knows_what_to_do(form: Any, code: int, message: str, words: str) -> None:
    fake = FakeLnd(send=form(code, message, 500))
    with pytest.raises(WalletDown, match=words):
        await pay(fake)
    assert len(fake.asked) == 1
    with pytest.raises(WalletDown, match=words):
        await look(form(code, message, 500))


async def test_what_is_not_what_was_agreed_on_is_not_sent() -> None:
    fake = FakeLnd(send=SENT)
    async with wallet_at(fake) as wallet:
        other = await wallet.pay_invoice(INVOICE.payment_request, amount=AMOUNT + AMOUNT, fee_limit=FEE_LIMIT)
        broken = await wallet.pay_invoice("lnbc1", amount=AMOUNT, fee_limit=FEE_LIMIT)
        assert await wallet.lookup_payment("../getinfo") == NeverSent()
        assert await wallet.lookup_invoice("../invoices") == NoSuchInvoice()
    assert isinstance(other, Failed)
    assert isinstance(broken, Failed)
    assert fake.asked == []


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
