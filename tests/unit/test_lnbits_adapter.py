"""What the LNbits wallet makes of answers that LNbits, or whatever stands before it, may give."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from tests.unit.backends import Handler, as_json, as_text, hang_up, invoice, listening, never_answer

from timmy.clock import SystemClock
from timmy.lightning.wallets import lnbits
from timmy.lightning.wallets.lnbits import LnbitsWallet
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
KEY = "5ecretAdminKey5ecretAdminKey5ecr"
INVOICE = invoice(AMOUNT)
NOT_FOUND = as_json({"detail": "Payment does not exist."}, 404)


@dataclass
class FakeLnbits:
    """Answers by (method, first two words of the path after api/v1)."""

    pay: Handler | web.Response = field(default_factory=lambda: as_json({}, 500))
    look: Handler | web.Response = field(default_factory=lambda: as_json({"detail": "Payment does not exist."}, 404))
    wallet: web.Response = field(default_factory=lambda: as_json({"name": "w", "balance": 1_000}))
    listed: object = field(default_factory=list)
    asked: list[tuple[str, str, object]] = field(default_factory=list)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.asked.append((request.method, request.path, json.loads(text) if text else None))
        if request.method == "POST":
            return await _respond(self.pay, request)
        if request.path.endswith("/wallet"):
            return _again(self.wallet)
        if request.path.endswith("/payments"):
            return as_json(self.listed)
        return await _respond(self.look, request)


async def _respond(what: Handler | web.Response, request: web.Request) -> web.StreamResponse:
    return _again(what) if isinstance(what, web.Response) else await what(request)


def _again(response: web.Response) -> web.Response:
    """A response object may be sent once only."""
    return web.Response(body=response.body, status=response.status, headers=response.headers)


@asynccontextmanager
async def wallet_at(fake: Handler) -> AsyncIterator[LnbitsWallet]:
    async with listening(fake) as url:
        wallet = LnbitsWallet(url, KEY, SystemClock(), network=Network.REGTEST, timeout_seconds=0.3, pay_timeout_seconds=0.3)
        yield wallet
        await wallet.aclose()


def row(**changes: object) -> dict[str, object]:
    """A payment as LNbits shows it: money in, paid."""
    return {"payment_hash": INVOICE.payment_hash, "amount": AMOUNT.value, "fee": 0, "status": "success", "preimage": None, **changes}


def shown(**changes: object) -> web.Response:
    return as_json({"paid": changes.get("status", "success") == "success", "details": row(**changes)})


def sent(**changes: object) -> dict[str, object]:
    return row(amount=-AMOUNT.value, preimage=INVOICE.preimage, **changes)


NONSENSE: dict[str, Handler | web.Response] = {
    "broken JSON": as_text('{"paid": tru'),
    "a page": as_text("<html>Bad gateway</html>", 502),
    "nothing": as_text(""),
    "a list": as_json([1, 2]),
    "500": as_json({"detail": "Unexpected error!"}, 500),
    "a redirect to the first install": web.Response(status=307, headers={"Location": "/first_install"}),
    "too often": as_json({"detail": "slow down"}, 429),
    "no such page": as_json({"detail": "Not Found"}, 404),
    "key refused": as_json({"detail": "Invalid key."}, 401),
    "hung up": hang_up,
    "no answer": never_answer,
}


@pytest.mark.fault("D01", "D02")
@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE.keys())
async def test_an_answer_that_makes_no_sense_is_a_wallet_that_is_down(answer: Handler | web.Response) -> None:
    fake = FakeLnbits(pay=answer, look=answer)
    fake.wallet = answer if isinstance(answer, web.Response) else as_json({}, 500)
    async with wallet_at(fake) as wallet:
        for ask in (
            lambda: wallet.create_invoice(AMOUNT, memo="m", expiry_seconds=600, label="inv_1"),
            lambda: wallet.lookup_invoice(INVOICE.payment_hash),
            lambda: wallet.lookup_payment(INVOICE.payment_hash),
            wallet.balance,
        ):
            with pytest.raises(WalletDown) as down:
                await ask()
            assert KEY not in f"{down.value.message} {down.value!r} {wallet!r}"


@pytest.mark.parametrize("amount", ["210000", 1.5, 0, None, True, 10**30], ids=str)
async def test_an_amount_that_makes_no_sense_is_never_credited(amount: object) -> None:
    async with wallet_at(FakeLnbits(look=shown(amount=amount))) as wallet:
        with pytest.raises(WalletDown, match="makes no sense"):
            await wallet.lookup_invoice(INVOICE.payment_hash)


@pytest.mark.parametrize(
    ("answer", "became"),
    [
        (shown(), Settled(AMOUNT)),
        (shown(amount=AMOUNT.value + 7), Settled(AMOUNT + Msats(7))),
        (shown(status="pending"), Unpaid()),
        (shown(status="failed"), Unpaid()),
        (shown(status="something new"), Unpaid()),
        (NOT_FOUND, NoSuchInvoice()),
    ],
)
async def test_an_invoice_is_settled_only_when_lnbits_says_success(answer: web.Response, became: object) -> None:
    async with wallet_at(FakeLnbits(look=answer)) as wallet:
        assert await wallet.lookup_invoice(INVOICE.payment_hash) == became


@pytest.mark.fault("D08")
@pytest.mark.parametrize(
    ("payment", "became"),
    [
        (sent(fee=-1_500), Succeeded(INVOICE.preimage, Msats(1_500))),
        (sent(fee=1_500), Succeeded(INVOICE.preimage, Msats(1_500))),
        (sent(fee="1500"), Succeeded(INVOICE.preimage, None)),
        (sent(fee=-(10**30)), Succeeded(INVOICE.preimage, None)),
        (sent() | {"preimage": None}, Succeeded(None, Msats(0))),
        (sent() | {"preimage": "not hex"}, Succeeded(None, Msats(0))),
        (sent(status="pending"), InFlight()),
        (sent(status="failed"), Failed("LNbits calls the payment failed.")),
    ],
)
async def test_a_payment_is_what_its_status_says(payment: dict[str, object], became: PaymentOutcome) -> None:
    async with wallet_at(FakeLnbits(look=as_json({"paid": False, "details": payment}))) as wallet:
        assert await wallet.lookup_payment(INVOICE.payment_hash) == became


async def test_a_payment_with_a_status_that_nobody_knows_is_unknown() -> None:
    for status in ("held", None, 3):
        async with wallet_at(FakeLnbits(look=as_json({"paid": False, "details": sent(status=status)}))) as wallet:
            assert isinstance(await wallet.lookup_payment(INVOICE.payment_hash), Unknown)


async def test_money_that_came_in_is_no_payment_of_ours_and_the_other_way_round() -> None:
    async with wallet_at(FakeLnbits(look=shown())) as wallet:
        assert await wallet.lookup_payment(INVOICE.payment_hash) == NeverSent()
    async with wallet_at(FakeLnbits(look=as_json({"paid": True, "details": sent()}))) as wallet:
        assert await wallet.lookup_invoice(INVOICE.payment_hash) == NoSuchInvoice()
    both = FakeLnbits(look=as_json({"paid": True, "details": sent()}), listed=[sent(), row()])
    async with wallet_at(both) as wallet:
        assert await wallet.lookup_invoice(INVOICE.payment_hash) == Settled(AMOUNT)


@pytest.mark.parametrize("look", [NOT_FOUND, as_json({"paid": True, "preimage": None})], ids=["unknown", "somebody's"])
async def test_a_look_up_with_a_key_that_is_nobodys_is_not_believed(look: web.Response) -> None:
    fake = FakeLnbits(look=look, wallet=as_json({"detail": "Wallet not found."}, 404))
    async with wallet_at(fake) as wallet:
        for ask in (wallet.lookup_payment, wallet.lookup_invoice):
            with pytest.raises(WalletDown, match="LNBITS_API_KEY"):
                await ask(INVOICE.payment_hash)


# Paying ------------------------------------------------------------------------------------------------

REFUSED = as_json({"detail": "Internal invoice already paid.", "status": "failed"}, 520)
PAID = as_json({"paid": True, "details": sent()})


@dataclass(frozen=True)
class Paying:
    promise: str
    pay: Handler | web.Response
    look: Handler | web.Response
    became: Callable[[PaymentOutcome], bool]


def is_a(kind: type[PaymentOutcome]) -> Callable[[PaymentOutcome], bool]:
    return lambda outcome: isinstance(outcome, kind)


PAYINGS = [
    Paying("paid", as_json(sent(fee=-1_000), 201), NOT_FOUND, lambda outcome: outcome == Succeeded(INVOICE.preimage, Msats(1_000))),
    Paying("on its way", as_json(sent(status="pending"), 201), NOT_FOUND, is_a(InFlight)),
    Paying("called failed", as_json(sent(status="failed"), 201), NOT_FOUND, is_a(Failed)),
    Paying("a status that nobody knows", as_json(sent(status="held"), 201), NOT_FOUND, is_a(Unknown)),
    Paying("paid, with a fee that makes no sense", as_json(sent(fee="x"), 201), NOT_FOUND, is_a(Succeeded)),
    Paying("broken JSON", as_text("{", 201), NOT_FOUND, is_a(Unknown)),
    Paying("500", as_json({"detail": "Unexpected error!"}, 500), NOT_FOUND, is_a(Unknown)),
    Paying("502 from a proxy", as_text("Bad gateway", 502), NOT_FOUND, is_a(Unknown)),
    Paying("520 from a proxy", as_text("<html>Unknown error</html>", 520), NOT_FOUND, is_a(Unknown)),
    Paying("hung up", hang_up, NOT_FOUND, is_a(Unknown)),
    Paying("no answer", never_answer, NOT_FOUND, is_a(Unknown)),
    Paying("refused and never sent", REFUSED, NOT_FOUND, lambda outcome: outcome == Failed("Internal invoice already paid.")),
    Paying("refused because we had paid it", REFUSED, PAID, is_a(Succeeded)),
    Paying("refused while ours is on its way", REFUSED, as_json({"details": sent(status="pending")}), is_a(InFlight)),
    Paying("refused, and then nothing works", REFUSED, as_json({}, 500), is_a(Unknown)),
    Paying("refused as pending, but nowhere", as_json({"detail": "?", "status": "pending"}, 520), NOT_FOUND, is_a(Unknown)),
    Paying("a value that LNbits refuses", as_json({"detail": "Daily limit reached."}, 400), NOT_FOUND, is_a(Failed)),
]


@pytest.mark.fault("D04", "D06")
@pytest.mark.parametrize("case", PAYINGS, ids=lambda case: str(case.promise))
async def test_a_payment_ends_as_what_is_known_of_it(case: Paying) -> None:
    async with wallet_at(FakeLnbits(pay=case.pay, look=case.look)) as wallet:
        outcome = await wallet.pay_invoice(INVOICE.payment_request, amount=AMOUNT, fee_limit=FEE_LIMIT)
        assert case.became(outcome), outcome
        assert KEY not in repr(outcome)


@pytest.mark.parametrize("status", [401, 403, 404, 429])
async def test_a_payment_that_lnbits_did_not_even_look_at_is_a_wallet_that_is_down(status: int) -> None:
    async with wallet_at(FakeLnbits(pay=as_json({"detail": "no"}, status))) as wallet:
        with pytest.raises(WalletDown):
            await wallet.pay_invoice(INVOICE.payment_request, amount=AMOUNT, fee_limit=FEE_LIMIT)


@pytest.mark.fault("A10")
async def test_an_invoice_for_another_amount_never_leaves_this_machine() -> None:
    fake = FakeLnbits()
    async with wallet_at(fake) as wallet:
        assert isinstance(await wallet.pay_invoice(INVOICE.payment_request, amount=AMOUNT + Msats(1), fee_limit=FEE_LIMIT), Failed)
        assert isinstance(await wallet.pay_invoice("lnbcrt1nonsense", amount=AMOUNT, fee_limit=FEE_LIMIT), Failed)
    assert fake.asked == []


# Selling -----------------------------------------------------------------------------------------------


async def test_an_invoice_is_asked_for_in_whole_sats_with_its_label() -> None:
    fake = FakeLnbits(pay=as_json({"bolt11": INVOICE.payment_request, "payment_hash": INVOICE.payment_hash}, 201))
    async with wallet_at(fake) as wallet:
        new = await wallet.create_invoice(AMOUNT, memo="two words", expiry_seconds=600, label="inv_1")
        with pytest.raises(ValueError, match="whole sats"):
            await wallet.create_invoice(AMOUNT + Msats(1), memo="two words", expiry_seconds=600, label="inv_2")
    assert (new.payment_hash, new.payment_request) == (INVOICE.payment_hash, INVOICE.payment_request)
    ((_, path, body),) = fake.asked
    assert path == "/api/v1/payments"
    assert body == {"out": False, "unit": "sat", "amount": 210, "memo": "two words", "expiry": 600, "extra": {"label": "inv_1"}}


@pytest.mark.parametrize(
    "answer",
    [{"bolt11": invoice(Sats(209).msats).payment_request}, {"bolt11": invoice(AMOUNT, Network.MAINNET).payment_request}, {"bolt11": 7}, {}],
    ids=["another amount", "another network", "no text", "nothing"],
)
async def test_an_invoice_that_was_not_asked_for_is_not_handed_out(answer: dict[str, object]) -> None:
    async with wallet_at(FakeLnbits(pay=as_json(answer, 201))) as wallet:
        with pytest.raises(WalletDown):
            await wallet.create_invoice(AMOUNT, memo="m", expiry_seconds=600, label="inv_1")


async def test_the_network_is_learned_from_an_invoice() -> None:
    probe = invoice(Sats(1).msats, Network.SIGNET)
    async with listening(FakeLnbits(pay=as_json({"bolt11": probe.payment_request}, 201))) as url:
        wallet = await LnbitsWallet.connect(url, KEY, SystemClock())
        assert wallet.network is Network.SIGNET
        await wallet.aclose()


async def test_a_wallet_below_zero_can_spend_nothing() -> None:
    async with wallet_at(FakeLnbits(wallet=as_json({"balance": -5}))) as wallet:
        assert await wallet.balance() == Msats(0)


@pytest.mark.fault("D11", "D14")
async def test_hints_name_incoming_payments_and_come_again_after_a_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lnbits, "RECONNECT_SECONDS_MIN", 0)
    connections: list[str] = []

    async def socket(request: web.Request) -> web.StreamResponse:
        connections.append(request.path)
        if len(connections) == 2:
            return as_text("not now", 503)
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        for message in ("garbage", "[]", '{"payment": null}', '{"payment": {"payment_hash": "short", "amount": 1}}'):
            await connection.send_str(message)
        await connection.send_str(json.dumps({"payment": row(amount=-5)}))
        for _ in range(2):
            await connection.send_str(json.dumps({"wallet_balance": 1, "payment": row()}))
        await connection.close()
        return connection

    heard: list[str] = []
    async with wallet_at(socket) as wallet:
        async for payment_hash in wallet.settlements():
            heard.append(payment_hash)
            if len(heard) == 4:
                break
    assert set(heard) == {INVOICE.payment_hash}
    assert len(connections) >= 3
    assert set(connections) == {f"/api/v1/ws/{KEY}"}
