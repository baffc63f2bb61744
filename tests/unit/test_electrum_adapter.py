"""What the Electrum wallet makes of answers that a daemon, or whatever listens in its place, may give."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from tests.unit.backends import Handler, as_json, as_text, hang_up, invoice, listening, never_answer

from timmy.clock import ManualClock, SystemClock
from timmy.lightning.wallets import electrum
from timmy.lightning.wallets.electrum import ElectrumWallet
from timmy.lightning.wallets.protocol import (
    Failed,
    InFlight,
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
from timmy.money import Msats, Sats

AMOUNT = Sats(210).msats
FEE_LIMIT = Sats(5).msats
PASSWORD = "5ecretPassword"
INVOICE = invoice(AMOUNT)
UNPAID, EXPIRED, PAID, IN_FLIGHT, FAILED = 0, 1, 3, 4, 5
CHANNEL = {"channel_id": "c1", "channel_point": "aa:0", "local_ctn": 1, "remote_ctn": 1, "local_balance": 5, "local_unsettled_sent": 0}


class Refusal(Exception):
    """An answer with `error`, as Electrum gives for what it calls user-facing."""


class Crash(Exception):
    """An answer with an internal error and a traceback."""


@dataclass
class FakeElectrum:
    """Answers by method; an exception is an RPC error, a handler or a response takes the place of JSON-RPC."""

    answers: dict[str, object] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    authorizations: set[str] = field(default_factory=set)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        call = json.loads(await request.text())
        self.asked.append((call["method"], call["params"]))
        self.authorizations.add(request.headers.get("Authorization", ""))
        answer = self.answers.get(call["method"], Crash("AttributeError('no such method')"))
        if isinstance(answer, web.Response):
            return web.Response(body=answer.body, status=answer.status, headers=answer.headers)
        if callable(answer) and not isinstance(answer, type):
            response = await answer(request)
            assert isinstance(response, web.StreamResponse)
            return response
        if isinstance(answer, Refusal):
            return as_json({"id": 1, "jsonrpc": "2.0", "error": {"code": 1, "message": str(answer)}})
        if isinstance(answer, Crash):
            data = {"exception": str(answer), "traceback": f"a secret: {PASSWORD}"}
            return as_json({"id": 1, "jsonrpc": "2.0", "error": {"code": 2, "message": "internal error while executing RPC", "data": data}})
        return as_json({"id": 1, "jsonrpc": "2.0", "result": answer})


@asynccontextmanager
async def wallet_at(fake: Handler) -> AsyncIterator[ElectrumWallet]:
    async with listening(fake) as url:
        secret_url = url.replace("http://", f"http://user:{PASSWORD}@")
        wallet = ElectrumWallet(secret_url, SystemClock(), network=Network.REGTEST, timeout_seconds=0.3, pay_timeout_seconds=0.3)
        yield wallet
        await wallet.aclose()


def request(**changes: object) -> dict[str, object]:
    return {
        "rhash": INVOICE.payment_hash,
        "status": PAID,
        "amount_msat": AMOUNT.value,
        "lightning_invoice": INVOICE.payment_request,
    } | changes


def history(amount_msat: object, fee_msat: object = None) -> list[dict[str, object]]:
    other = {"type": "payment", "payment_hash": "00" * 32, "amount_msat": 1, "fee_msat": 1}
    return [other, {"type": "payment", "payment_hash": INVOICE.payment_hash, "amount_msat": amount_msat, "fee_msat": fee_msat}]


def htlcs(**states: int) -> dict[str, object]:
    """So many HTLCs of our payment in each state, among others."""
    ours = {"payment_hash": INVOICE.payment_hash, "direction": "OUT"}
    others = [{"payment_hash": INVOICE.payment_hash, "direction": "IN"}, {"payment_hash": "00" * 32, "direction": "OUT"}]
    return {state: [*others, *[ours] * states.get(state, 0)] for state in ("settled", "inflight", "failed")}


def paying(**answers: object) -> FakeElectrum:
    """A daemon that knows the payment: one quiet channel, no HTLC, no preimage, unless told otherwise."""
    known: dict[str, object] = {
        "get_invoice": {"status": UNPAID},
        "list_channels": [CHANNEL],
        "list_channel_htlcs": htlcs(),
        "export_lightning_preimage": None,
        "lightning_history": [],
    }
    return FakeElectrum(known | answers)


NONSENSE: dict[str, object] = {
    "broken JSON": as_text('{"result": '),
    "a page": as_text("<html>Bad gateway</html>", 502),
    "nothing": as_text(""),
    "a list": as_json([1, 2]),
    "no result": as_json({"id": 1}),
    "text for a result": "what?",
    "a redirect": web.Response(status=307, headers={"Location": "/elsewhere"}),
    "password missing": as_text("Unauthorized", 401),
    "password wrong": as_text("Forbidden", 403),
    "no wallet open": Refusal("wallet not loaded"),
    "wallet locked": Refusal("Password required. Unlock the wallet, or add a --password option to your command"),
    "a crash over there": Crash("RuntimeError('boom')"),
    "hung up": hang_up,
    "no answer": never_answer,
}


@pytest.mark.fault("D01", "D02")
@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE.keys())
async def test_an_answer_that_makes_no_sense_is_a_wallet_that_is_down(answer: object) -> None:
    fake = FakeElectrum(dict.fromkeys(("add_request", "get_request", "get_invoice", "getbalance"), answer))
    async with wallet_at(fake) as wallet:
        for ask in (
            lambda: wallet.create_invoice(AMOUNT, memo="m", expiry_seconds=600, label="inv_1"),
            lambda: wallet.lookup_invoice(INVOICE.payment_hash),
            lambda: wallet.lookup_payment(INVOICE.payment_hash),
            wallet.balance,
        ):
            with pytest.raises(WalletDown) as down:
                await ask()
            assert PASSWORD not in f"{down.value.message} {down.value!r} {wallet!r}"


async def test_a_wallet_that_is_not_open_is_named_as_such() -> None:
    async with wallet_at(FakeElectrum({"getbalance": Refusal("wallet not loaded")})) as wallet:
        with pytest.raises(WalletDown, match="load_wallet"):
            await wallet.balance()


@pytest.mark.parametrize("url", ["http://127.0.0.1:7777", "http://user@127.0.0.1:7777", "user:word@host", "ftp://u:p@host"])
def test_a_url_without_a_password_or_a_host_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="http://user:password@"):
        ElectrumWallet(url, ManualClock(), network=Network.REGTEST)


async def test_user_and_password_are_sent_as_such_even_with_odd_letters() -> None:
    fake = FakeElectrum({"getbalance": {"lightning": "0.05000001"}})
    async with listening(fake) as url:
        odd_url = url.replace("http://", "http://us%2Fer:p%40ss@")
        wallet = ElectrumWallet(odd_url, SystemClock(), network=Network.REGTEST)
        assert await wallet.balance() == Sats(5_000_001).msats
        await wallet.aclose()
    assert fake.authorizations == {"Basic " + base64.b64encode(b"us/er:p@ss").decode()}


async def test_the_network_is_the_daemons() -> None:
    for said, meant in (("mainnet", Network.MAINNET), ("signet", Network.SIGNET), ("regtest", Network.REGTEST)):
        async with listening(FakeElectrum({"getinfo": {"network": said}, "getbalance": {}})) as url:
            wallet = await ElectrumWallet.connect(url.replace("http://", "http://u:p@"), SystemClock())
            assert wallet.network is meant
            await wallet.aclose()
    async with listening(FakeElectrum({"getinfo": {"network": "dogecoin"}})) as url:
        with pytest.raises(WalletDown, match="network"):
            await ElectrumWallet.connect(url.replace("http://", "http://u:p@"), SystemClock())


# Selling -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sats", "bitcoin"), [(1, "0.00000001"), (210, "0.00000210"), (123_456_789, "1.23456789"), (10**8, "1.00000000")])
async def test_an_amount_reaches_electrum_as_exact_decimal_text(sats: int, bitcoin: str) -> None:
    made = invoice(Sats(sats).msats)
    fake = FakeElectrum({"add_request": request(lightning_invoice=made.payment_request)})
    async with wallet_at(fake) as wallet:
        new = await wallet.create_invoice(Sats(sats).msats, memo="two words", expiry_seconds=600, label="inv_1")
    assert new.payment_hash == made.payment_hash
    assert fake.asked == [("add_request", {"amount": bitcoin, "memo": "two words", "expiry": 600, "lightning": True})]


@pytest.mark.fault("A03")
async def test_an_amount_that_is_no_whole_sat_is_refused_before_electrum_rounds_it() -> None:
    fake = FakeElectrum()
    async with wallet_at(fake) as wallet:
        for amount in (AMOUNT + Msats(1), Msats(999), Msats(0)):
            with pytest.raises(ValueError, match="whole sats"):
                await wallet.create_invoice(amount, memo="m", expiry_seconds=600, label="inv_1")
    assert fake.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        request(lightning_invoice=invoice(AMOUNT + Msats(1_000)).payment_request),
        request(lightning_invoice=invoice(AMOUNT, Network.MAINNET).payment_request),
        request(lightning_invoice="lnbcrt1"),
        {"address": "bcrt1q"},
    ],
    ids=["another amount", "another network", "unreadable", "no Lightning"],
)
async def test_an_invoice_that_was_not_asked_for_is_not_handed_out(answer: object) -> None:
    async with wallet_at(FakeElectrum({"add_request": answer})) as wallet:
        with pytest.raises(WalletDown):
            await wallet.create_invoice(AMOUNT, memo="m", expiry_seconds=600, label="inv_1")


@pytest.mark.fault("A04", "A05")
@pytest.mark.parametrize(
    ("found", "past", "became"),
    [
        (request(), history(AMOUNT.value), Settled(AMOUNT)),
        (request(), history(AMOUNT.value + 5), Settled(AMOUNT + Msats(5))),
        (request(), history(AMOUNT.value - 1), Unpaid()),  # a part of it is still on its way
        (request(), [], Settled(AMOUNT)),
        (request(status=UNPAID), history(AMOUNT.value), Unpaid()),
        (request(status=EXPIRED), [], Unpaid()),
        (Refusal("Request not found"), [], NoSuchInvoice()),
    ],
)
async def test_an_invoice_is_settled_with_what_the_history_says_arrived(found: object, past: object, became: object) -> None:
    async with wallet_at(FakeElectrum({"get_request": found, "lightning_history": past})) as wallet:
        assert await wallet.lookup_invoice(INVOICE.payment_hash) == became


@pytest.mark.parametrize("amount_msat", ["210000", 1.5, None, True, 10**30], ids=str)
async def test_an_amount_that_makes_no_sense_is_never_credited(amount_msat: object) -> None:
    async with wallet_at(FakeElectrum({"get_request": request(), "lightning_history": history(amount_msat)})) as wallet:
        with pytest.raises(WalletDown, match="makes no sense"):
            await wallet.lookup_invoice(INVOICE.payment_hash)


@pytest.mark.parametrize("balance", [{"lightning": "NaN"}, {"lightning": "Infinity"}, {"lightning": "-1"}, {"lightning": "x"}, [], None])
async def test_a_balance_that_makes_no_sense_is_a_wallet_that_is_down(balance: object) -> None:
    async with wallet_at(FakeElectrum({"getbalance": balance})) as wallet:
        with pytest.raises(WalletDown):
            await wallet.balance()


# What became of a payment -------------------------------------------------------------------------------

UNSETTLED = [CHANNEL | {"local_unsettled_sent": 210}]
LOOKUPS: dict[str, tuple[FakeElectrum, PaymentOutcome]] = {
    "never tried": (paying(get_invoice=Refusal("Request not found")), NeverSent()),
    "on its way": (paying(get_invoice={"status": IN_FLIGHT}), InFlight()),
    "no attempt arrived": (paying(get_invoice={"status": FAILED}), Failed("No attempt reached the recipient.")),
    "paid": (
        paying(get_invoice={"status": PAID}, export_lightning_preimage=INVOICE.preimage, lightning_history=history(-210_900, 900)),
        Succeeded(INVOICE.preimage, Msats(900)),
    ),
    "paid, parts still counted": (
        paying(get_invoice={"status": PAID}, export_lightning_preimage=INVOICE.preimage, list_channel_htlcs=htlcs(settled=1, inflight=1)),
        Succeeded(INVOICE.preimage, None),
    ),
    "paid, its channel deleted": (paying(get_invoice={"status": PAID}), Succeeded(None, None)),
    "restarted, nothing had left": (paying(), NeverSent()),
    "restarted and expired, nothing had left": (paying(get_invoice={"status": EXPIRED}), NeverSent()),
    "restarted, still out there": (paying(list_channel_htlcs=htlcs(inflight=1, failed=2)), InFlight()),
    "restarted and expired, still out there": (paying(get_invoice={"status": EXPIRED}, list_channel_htlcs=htlcs(inflight=1)), InFlight()),
    "restarted, taken meanwhile": (
        paying(list_channel_htlcs=htlcs(settled=1), export_lightning_preimage=INVOICE.preimage, lightning_history=history(-210_000, 0)),
        Succeeded(INVOICE.preimage, Msats(0)),
    ),
    "restarted, came back": (paying(list_channel_htlcs=htlcs(failed=1)), Failed("No attempt reached the recipient.")),
    "restarted, coming back": (paying(list_channel_htlcs=htlcs(failed=1), list_channels=UNSETTLED), InFlight()),
    "restarted, came back with the preimage known": (
        paying(list_channel_htlcs=htlcs(failed=1), export_lightning_preimage=INVOICE.preimage),
        InFlight(),
    ),
}


@pytest.mark.fault("D04", "D06", "D08")
@pytest.mark.parametrize(("fake", "became"), LOOKUPS.values(), ids=LOOKUPS.keys())
async def test_a_payment_is_what_the_channels_say(fake: FakeElectrum, became: PaymentOutcome) -> None:
    async with wallet_at(fake) as wallet:
        assert await wallet.lookup_payment(INVOICE.payment_hash) == became


async def test_a_payment_with_a_status_that_nobody_knows_is_unknown() -> None:
    for status in (2, 8, None, "PAID"):
        async with wallet_at(paying(get_invoice={"status": status})) as wallet:
            assert isinstance(await wallet.lookup_payment(INVOICE.payment_hash), Unknown)


@pytest.mark.parametrize("folders", [{}, {"settled": []}, [], {"settled": 1, "inflight": [], "failed": []}])
async def test_channels_that_cannot_be_read_are_no_proof_of_anything(folders: object) -> None:
    async with wallet_at(paying(list_channel_htlcs=folders)) as wallet:
        with pytest.raises(WalletDown):
            await wallet.lookup_payment(INVOICE.payment_hash)


SUCCESS = {"payment_hash": INVOICE.payment_hash, "success": True, "preimage": INVOICE.preimage, "log": []}
NO_WAY = {"payment_hash": INVOICE.payment_hash, "success": False, "preimage": None, "log": []}
EXPIRED_REFUSAL = Crash("InvoiceError('This invoice has expired')")
NOT_SAVED = Refusal("Request not found")
PAYINGS: dict[str, tuple[FakeElectrum, type[PaymentOutcome]]] = {
    "paid": (paying(lnpay=SUCCESS, get_invoice={"status": PAID}), Succeeded),
    "no way": (paying(lnpay=NO_WAY, get_invoice={"status": FAILED}), Failed),
    "refused before it was tried": (paying(lnpay=EXPIRED_REFUSAL, get_invoice=NOT_SAVED), Failed),
    "refused because it is on its way": (paying(lnpay=Crash("PaymentFailure('already')"), get_invoice={"status": IN_FLIGHT}), InFlight),
    "refused because it was paid": (paying(lnpay=Crash("PaymentFailure('paid')"), get_invoice={"status": PAID}), Succeeded),
    "refused, an older try not cleared": (paying(lnpay=Crash("PaymentFailure()"), list_channel_htlcs=htlcs(inflight=1)), InFlight),
    "called a success, but not written down": (paying(lnpay=SUCCESS, get_invoice={"status": IN_FLIGHT}), InFlight),
    "no answer": (paying(lnpay=never_answer), Unknown),
    "hung up": (paying(lnpay=hang_up), Unknown),
    "broken JSON": (paying(lnpay=as_text("{")), Unknown),
    "502 from a proxy": (paying(lnpay=as_text("Bad gateway", 502)), Unknown),
    "an answer, and then nothing works": (paying(lnpay=SUCCESS, get_invoice=as_text("", 500)), Unknown),
}


@pytest.mark.fault("D04", "D06")
@pytest.mark.parametrize(("fake", "became"), PAYINGS.values(), ids=PAYINGS.keys())
async def test_a_payment_ends_as_what_is_known_of_it(fake: FakeElectrum, became: type[PaymentOutcome]) -> None:
    async with wallet_at(fake) as wallet:
        outcome = await wallet.pay_invoice(INVOICE.payment_request, amount=AMOUNT, fee_limit=FEE_LIMIT)
    assert isinstance(outcome, became), outcome
    assert PASSWORD not in repr(outcome)


@pytest.mark.parametrize("answer", [as_text("Forbidden", 403), Refusal("wallet not loaded")])
async def test_a_payment_that_electrum_did_not_even_look_at_is_a_wallet_that_is_down(answer: object) -> None:
    async with wallet_at(paying(lnpay=answer)) as wallet:
        with pytest.raises(WalletDown):
            await wallet.pay_invoice(INVOICE.payment_request, amount=AMOUNT, fee_limit=FEE_LIMIT)


@pytest.mark.fault("A10")
async def test_an_invoice_for_another_amount_never_leaves_this_machine() -> None:
    fake = FakeElectrum()
    async with wallet_at(fake) as wallet:
        assert isinstance(await wallet.pay_invoice(INVOICE.payment_request, amount=AMOUNT - Msats(1), fee_limit=FEE_LIMIT), Failed)
        assert isinstance(await wallet.pay_invoice("lnbcrt1nonsense", amount=AMOUNT, fee_limit=FEE_LIMIT), Failed)
    assert fake.asked == []


@pytest.mark.fault("A14")
@pytest.mark.parametrize(
    ("fee_limit", "told_msat"),
    [(Msats(0), 0), (FEE_LIMIT, 5_000), (Sats(1_000).msats, 999_999)],
    ids=["nothing", "a few sats", "above what lnpay takes"],
)
async def test_the_fee_limit_is_told_to_electrum_and_never_raised(fee_limit: Msats, told_msat: int) -> None:
    fake = paying(lnpay=SUCCESS, get_invoice={"status": PAID})
    async with wallet_at(fake) as wallet:
        await wallet.pay_invoice(INVOICE.payment_request, amount=AMOUNT, fee_limit=fee_limit)
    assert fake.asked[0] == ("lnpay", {"invoice": INVOICE.payment_request, "max_fee_msat": told_msat})


# Hints -------------------------------------------------------------------------------------------------


async def test_a_hint_follows_a_movement_in_a_channel_and_outlives_a_daemon_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(electrum, "HINT_SECONDS", 0)
    polls = 0
    fake = FakeElectrum({"add_request": request(), "get_request": request(status=UNPAID), "lightning_history": history(AMOUNT.value)})

    async def channels(_: web.Request) -> web.StreamResponse:
        nonlocal polls
        polls += 1
        if polls == 3:
            return as_text("", 500)
        if polls == 5:
            fake.answers["get_request"] = request()
        return as_json({"result": [CHANNEL | {"local_ctn": 1 if polls < 5 else 2}]})

    fake.answers["list_channels"] = channels
    async with wallet_at(fake) as wallet:
        new = await wallet.create_invoice(AMOUNT, memo="m", expiry_seconds=600, label="inv_1")
        async for payment_hash in wallet.settlements():
            assert payment_hash == new.payment_hash
            break
    looked = [method for method, _ in fake.asked].count("get_request")
    assert polls >= 5
    assert looked < polls, "a channel that stands still costs no look-ups"
