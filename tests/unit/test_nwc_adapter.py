"""What the wallet over Nostr makes of relays and wallets that lie, stammer, or say nothing."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from tests.unit.backends import invoice, listening

from timmy.clock import SECOND_MS, SystemClock
from timmy.identity import nostr
from timmy.identity.nostr import NostrEvent
from timmy.identity.sealing import Nip44
from timmy.lightning.wallets.nwc import NwcWallet
from timmy.lightning.wallets.nwc_uri import parse_uri
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
INVOICE = invoice(AMOUNT)
WALLET_SECRET, OUR_SECRET = bytes(31) + b"\x07", bytes(31) + b"\x08"
WALLET_KEY = nostr.sign(WALLET_SECRET, created_at=0, kind=1, tags=[], content="", aux=bytes(32)).pubkey
OUR_KEY = nostr.sign(OUR_SECRET, created_at=0, kind=1, tags=[], content="", aux=bytes(32)).pubkey
NOT_FOUND = {"error": {"code": "NOT_FOUND", "message": "no such thing"}, "result": None}
URI = f"nostr+walletconnect://{WALLET_KEY}?relay=wss%3A%2F%2Frelay.example&secret={OUR_SECRET.hex()}"
METHODS = "pay_invoice lookup_invoice make_invoice get_balance"

Document = dict[str, Any]
Say = Callable[[list[Any]], Awaitable[None]]


def signed(kind: int, content: str, tags: list[list[str]], secret: bytes = WALLET_SECRET) -> NostrEvent:
    return nostr.sign(secret, created_at=SystemClock().now_ms() // SECOND_MS, kind=kind, tags=tags, content=content, aux=bytes(32))


@dataclass
class FakeRelay:
    """A relay and the wallet behind it in one: `answers` by method. Each hook may say something else instead."""

    answers: dict[str, Document] = field(default_factory=dict)
    encryption: str | None = "nip44_v2"
    introduces: bool = True
    challenges: bool = False  # NIP-42: nobody is heard before they have named themselves
    on_request: Callable[[FakeRelay, Say, NostrEvent, Document], Awaitable[bool]] | None = None
    asked: list[str] = field(default_factory=list)
    known: bool = False

    def __post_init__(self) -> None:
        self.seal = Nip44(WALLET_SECRET, OUR_KEY, secrets.token_bytes)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)

        async def say(message: list[Any]) -> None:
            await socket.send_str(json.dumps(message))

        if self.challenges:
            await say(["AUTH", "who are you?"])
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await self._heard(say, json.loads(message.data))
        return socket

    async def _heard(self, say: Say, message: list[Any]) -> None:
        match message:
            case ["AUTH", dict(document)]:
                event = nostr.parse(document)
                nostr.verify(event)
                self.known = event.kind == 22_242 and event.tag("challenge") == "who are you?" and event.pubkey == OUR_KEY
            case ["REQ", name, _] if self.challenges and not self.known:
                await say(["CLOSED", name, "auth-required: say who you are"])
            case ["REQ", name, _]:
                if name == "info" and self.introduces:
                    tags = [["encryption", self.encryption]] if self.encryption is not None else []
                    await say(["EVENT", name, nostr.document(signed(13_194, METHODS, tags))])
                await say(["EOSE", name])
            case ["EVENT", dict(document)]:
                event = nostr.parse(document)
                nostr.verify(event)
                await self._requested(say, event)

    async def _requested(self, say: Say, event: NostrEvent) -> None:
        asked = json.loads(self.seal.open(event.content))
        self.asked.append(asked["method"])
        if self.on_request is not None and await self.on_request(self, say, event, asked):
            return
        await say(["OK", event.id, True, ""])
        await say(["EVENT", "answers", nostr.document(self.answer(event, asked["method"], self.answers.get(asked["method"], NOT_FOUND)))])

    def answer(self, event: NostrEvent, method: str, told: Document, secret: bytes = WALLET_SECRET) -> NostrEvent:
        content = self.seal.seal(json.dumps({"result_type": method, "error": None, "result": None, **told}))
        return signed(23_195, content, [["p", event.pubkey], ["e", event.id]], secret)


@asynccontextmanager
async def wallet_at(fake: FakeRelay, seconds: float = 1.2) -> AsyncIterator[NwcWallet]:
    async with listening(fake) as url:
        uri = URI.replace("wss%3A%2F%2Frelay.example", url.replace("http", "ws"))
        wallet = NwcWallet(uri, SystemClock(), network=Network.REGTEST, timeout_seconds=seconds, pay_timeout_seconds=seconds)
        yield wallet
        await wallet.aclose()


def found(**changes: object) -> Document:
    base = {"type": "outgoing", "payment_hash": INVOICE.payment_hash, "amount": AMOUNT.value, "fees_paid": 1_000, "created_at": 1}
    return {"result": {**base, **changes}}


def refusal(code: str) -> Document:
    return {"error": {"code": code, "message": "because"}}


async def pay(wallet: NwcWallet) -> PaymentOutcome:
    return await wallet.pay_invoice(INVOICE.payment_request, amount=AMOUNT, fee_limit=FEE_LIMIT)


# The address ------------------------------------------------------------------------------------------


def test_an_address_is_read_and_its_secret_is_not_shown() -> None:
    uri = parse_uri(URI + "&relay=ws://127.0.0.1:1&lud16=me@wallet.example")
    assert (uri.wallet_pubkey, uri.pubkey) == (WALLET_KEY, OUR_KEY)
    assert uri.relays == ("wss://relay.example", "ws://127.0.0.1:1")
    assert OUR_SECRET.hex() not in repr(uri)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        URI.replace("nostr+walletconnect", "nostrwalletconnect"),
        URI.replace("//", "", 1),
        URI.replace(WALLET_KEY, WALLET_KEY.upper()),
        URI.replace(WALLET_KEY, WALLET_KEY[:-2]),
        URI.replace(WALLET_KEY, "ff" * 32),
        URI.replace(WALLET_KEY, f"user@{WALLET_KEY}"),
        URI.replace("wss%3A%2F%2Frelay.example", "https%3A%2F%2Frelay.example"),
        URI.replace("wss%3A%2F%2Frelay.example", "wss%3A%2F%2Fme%3Apass%40relay.example"),
        URI.replace("relay=wss%3A%2F%2Frelay.example&", ""),
        URI + "&secret=" + "22" * 32,
        URI.replace(OUR_SECRET.hex(), "00" * 32),
        URI.replace(OUR_SECRET.hex(), "ff" * 32),
        URI.replace(OUR_SECRET.hex(), OUR_SECRET.hex()[:-1]),
        URI + "".join(f"&relay=wss://r{n}.example" for n in range(9)),
        URI + "x" * 5_000,
    ],
)
def test_an_address_that_is_doubtful_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_uri(text)
    assert OUR_SECRET.hex()[:60] not in str(refused.value)
    assert "Nostr Wallet Connect" in str(refused.value)


# What counts as an answer ------------------------------------------------------------------------------


@pytest.mark.fault("D14")
@pytest.mark.parametrize(
    "lie", ["another key", "broken signature", "another question", "for somebody else", "another seal", "another method"]
)
async def test_what_the_wallet_did_not_say_to_this_question_is_no_answer(lie: str) -> None:
    """The relay is believed nothing: a payment stays in doubt, and the balance is not known."""

    async def lies(fake: FakeRelay, say: Say, event: NostrEvent, asked: Document) -> bool:
        told = {"result": {"preimage": INVOICE.preimage, "balance": 5}}
        true = fake.answer(event, asked["method"], told)
        content = true.content
        match lie:
            case "another key":
                false = fake.answer(event, asked["method"], told, OUR_SECRET)
            case "broken signature":
                false = replace(true, sig="00" * 64)
            case "another question":
                false = signed(23_195, content, [["p", event.pubkey], ["e", "11" * 32]])
            case "for somebody else":
                false = signed(23_195, content, [["p", WALLET_KEY], ["e", event.id]])
            case "another seal":
                sealed = Nip44(b"\x05" * 32, OUR_KEY, secrets.token_bytes).seal(json.dumps({"result_type": asked["method"], **told}))
                false = signed(23_195, sealed, [["p", event.pubkey], ["e", event.id]])
            case _:
                false = fake.answer(event, "get_info", told)
        await say(["EVENT", "answers", nostr.document(false)])
        return True

    async with wallet_at(FakeRelay(on_request=lies)) as wallet:
        assert isinstance(await pay(wallet), Unknown)
        with pytest.raises(WalletDown, match="not answering"):
            await wallet.balance()


async def test_nonsense_from_the_relay_is_passed_over() -> None:
    async def nonsense(fake: FakeRelay, say: Say, event: NostrEvent, asked: Document) -> bool:
        for message in (
            [],
            ["EVENT"],
            ["EVENT", "answers", {}],
            ["EVENT", "answers", {"id": 5}],
            ["OK", event.id],
            ["NOTICE", 7],
            ["EOSE", 3],
        ):
            await say(message)
        return False

    async with wallet_at(FakeRelay({"get_balance": {"result": {"balance": 5_000}}}, on_request=nonsense), 5.0) as wallet:
        assert await wallet.balance() == Msats(5_000)


@pytest.mark.fault("D13")
async def test_a_relay_that_says_no_is_not_believed_that_the_wallet_never_heard_of_it() -> None:
    async def refuses(_fake: FakeRelay, say: Say, event: NostrEvent, asked: Document) -> bool:
        if asked["method"] == "pay_invoice":
            await say(["OK", event.id, False, "blocked: not today"])
            return True
        return False

    async with wallet_at(FakeRelay(on_request=refuses), 5.0) as wallet:
        outcome = await pay(wallet)
        assert isinstance(outcome, Unknown)
        assert "not today" in outcome.reason
        assert isinstance(await wallet.lookup_payment(INVOICE.payment_hash), Unknown)


async def test_a_relay_that_wants_to_know_who_asks_is_told() -> None:
    fake = FakeRelay({"get_balance": {"result": {"balance": 5_000}}}, challenges=True)
    async with wallet_at(fake, 5.0) as wallet:
        assert await wallet.balance() == Msats(5_000)
    assert fake.known


@pytest.mark.parametrize(("encryption", "introduces"), [("nip99", True), ("nip44_v2", False)])
async def test_a_wallet_that_cannot_be_spoken_to_was_sent_nothing(encryption: str, introduces: bool) -> None:
    fake = FakeRelay(encryption=encryption, introduces=introduces)
    async with wallet_at(fake) as wallet:
        with pytest.raises(WalletDown):
            await pay(wallet)
        assert await _never_sent(wallet)
    assert fake.asked == []


async def _never_sent(wallet: NwcWallet) -> bool:
    with pytest.raises(WalletDown):
        await wallet.lookup_payment(INVOICE.payment_hash)
    return True


async def test_a_second_relay_serves_when_the_first_does_not() -> None:
    fake = FakeRelay({"get_balance": {"result": {"balance": 5_000}}})
    async with listening(fake) as url:
        uri = URI.replace("wss%3A%2F%2Frelay.example", "ws://127.0.0.1:1&relay=" + url.replace("http", "ws"))
        wallet = NwcWallet(uri, SystemClock(), network=Network.REGTEST)
        assert await wallet.balance() == Msats(5_000)
        await wallet.aclose()


async def test_a_connection_that_broke_is_made_again_at_the_next_question() -> None:
    async def hangs_up(fake: FakeRelay, _say: Say, _event: NostrEvent, _asked: Document) -> bool:
        if len(fake.asked) == 1:
            raise ConnectionResetError
        return False

    async with wallet_at(FakeRelay({"get_balance": {"result": {"balance": 5_000}}}, on_request=hangs_up), 5.0) as wallet:
        with pytest.raises(WalletDown):
            await wallet.balance()
        assert await wallet.balance() == Msats(5_000)


# What an answer means ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "became"),
    [
        (found(state="settled", preimage=INVOICE.preimage), Succeeded(INVOICE.preimage, Msats(1_000))),
        (found(preimage=INVOICE.preimage), Succeeded(INVOICE.preimage, Msats(1_000))),  # before there was a state
        (found(settled_at=5, preimage="11" * 32, fees_paid=None), Succeeded(None, None)),  # a preimage of something else proves nothing
        (found(state="pending"), InFlight()),
        (found(), InFlight()),
        (found(state="failed"), Failed("The wallet calls the payment failed.")),
        (NOT_FOUND, NeverSent()),
    ],
)
async def test_a_payment_is_what_the_look_up_says(answer: Document, became: PaymentOutcome) -> None:
    async with wallet_at(FakeRelay({"lookup_invoice": answer}), 5.0) as wallet:
        assert await wallet.lookup_payment(INVOICE.payment_hash) == became


@pytest.mark.parametrize("answer", [found(type="incoming", state="settled"), found(state="expired"), found(state="lost")])
async def test_what_says_nothing_of_our_payment_leaves_it_in_doubt(answer: Document) -> None:
    async with wallet_at(FakeRelay({"lookup_invoice": answer}), 5.0) as wallet:
        assert isinstance(await wallet.lookup_payment(INVOICE.payment_hash), Unknown)


@pytest.mark.parametrize("answer", [found(type="sideways"), found(payment_hash="11" * 32), refusal("INTERNAL"), {"result": 7}])
async def test_a_look_up_that_makes_no_sense_is_no_answer(answer: Document) -> None:
    async with wallet_at(FakeRelay({"lookup_invoice": answer}), 5.0) as wallet:
        with pytest.raises(WalletDown):
            await wallet.lookup_payment(INVOICE.payment_hash)


async def test_an_invoice_is_what_the_look_up_says() -> None:
    fake = FakeRelay()
    async with wallet_at(fake, 5.0) as wallet:
        for answer, became in (
            (found(type="incoming", state="settled", preimage=INVOICE.preimage), Settled(AMOUNT)),
            (found(type="incoming", settled_at=5), Settled(AMOUNT)),
            (found(type="incoming", state="accepted"), Unpaid()),
            (found(type="incoming", state="expired"), Unpaid()),
            (found(type="outgoing", state="settled"), NoSuchInvoice()),
            (NOT_FOUND, NoSuchInvoice()),
        ):
            fake.answers["lookup_invoice"] = answer
            assert await wallet.lookup_invoice(INVOICE.payment_hash) == became


@pytest.mark.parametrize("code", ["PAYMENT_FAILED", "INSUFFICIENT_BALANCE", "QUOTA_EXCEEDED", "INTERNAL", "OTHER", "RESTRICTED", "NEW"])
@pytest.mark.parametrize(
    ("seen", "became"), [(found(state="settled", preimage=INVOICE.preimage), Succeeded), (found(state="pending"), InFlight)]
)
async def test_no_refusal_is_believed_of_what_has_arrived_or_is_on_its_way(code: str, seen: Document, became: type) -> None:
    async with wallet_at(FakeRelay({"pay_invoice": refusal(code), "lookup_invoice": seen}), 5.0) as wallet:
        assert isinstance(await pay(wallet), became)


@pytest.mark.parametrize(
    ("code", "became"), [("PAYMENT_FAILED", Failed), ("QUOTA_EXCEEDED", Failed), ("INTERNAL", Unknown), ("NEW", Unknown)]
)
async def test_a_refusal_of_what_the_wallet_does_not_know_is_as_sure_as_its_code(code: str, became: type) -> None:
    async with wallet_at(FakeRelay({"pay_invoice": refusal(code)}), 5.0) as wallet:
        assert isinstance(await pay(wallet), became)


async def test_a_connection_that_may_not_pay_says_so_and_has_sent_nothing() -> None:
    async with wallet_at(FakeRelay({"pay_invoice": refusal("RESTRICTED")}), 5.0) as wallet:
        with pytest.raises(WalletDown, match="does not allow"):
            await pay(wallet)


async def test_another_amount_than_the_invoices_is_not_sent() -> None:
    fake = FakeRelay()
    async with wallet_at(fake) as wallet:
        assert isinstance(await wallet.pay_invoice(INVOICE.payment_request, amount=AMOUNT + Msats(1), fee_limit=FEE_LIMIT), Failed)
    assert fake.asked == []


async def test_an_invoice_that_was_not_asked_for_is_not_handed_out() -> None:
    fake = FakeRelay()
    async with wallet_at(fake, 5.0) as wallet:
        other = invoice(AMOUNT, Network.MAINNET).payment_request
        for text in (other, invoice(Msats(5_000)).payment_request, "lnbc1", None):
            fake.answers["make_invoice"] = {"result": {"type": "incoming", "invoice": text}}
            with pytest.raises(WalletDown):
                await wallet.create_invoice(AMOUNT, memo="two words", expiry_seconds=600, label="inv_1")
