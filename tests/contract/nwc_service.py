"""A wallet over Nostr, made of parts that share no line with the adapter: nostr-sdk's relay, keys, seals and events.

What answers behind it is any wallet of ours: here the built-in one, so that sats really move. nostr-sdk's own client is asked by a test
whether it understands this wallet, too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import nostr_sdk as sdk

from timmy.lightning import bolt11
from timmy.lightning.wallets.protocol import Failed, NoSuchInvoice, Settled, Succeeded, Unpaid, Wallet
from timmy.money import Msats
from timmy.regtest.processes import free_ports

INFO, REQUEST, ANSWER = 13_194, 23_194, 23_195
METHODS = "pay_invoice make_invoice lookup_invoice get_balance get_info notifications"
FORMS = "nip44_v2 nip04"
FEE_LIMIT = Msats(1_000_000)
Document = dict[str, Any]


class Refusal(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


async def open_relay() -> sdk.LocalRelay:
    relay = sdk.LocalRelayBuilder().addr("127.0.0.1").port(free_ports(1)[0]).build()
    await relay.run()
    return relay


class WalletService:
    """`deaf` for a method: the request is lost. `mute`: it is carried out, and the answer is lost. `twice`: the answer comes again."""

    def __init__(self, relay_url: str, node: Wallet, *, forms: str | None = FORMS, methods: str = METHODS) -> None:
        self.node = node
        self.forms, self.methods = forms, methods
        self.keys, self.client = sdk.Keys.generate(), sdk.Keys.generate()
        self.relay_url = relay_url
        self.deaf: set[str] = set()
        self.mute: set[str] = set()
        self.twice: set[str] = set()
        self.handled: list[str] = []
        self._sdk = sdk.ClientBuilder().build()
        self._tasks: set[asyncio.Task[None]] = set()
        self._paid: dict[str, Document] = {}
        self._stream: sdk.ClientNotificationStream | None = None

    @property
    def uri(self) -> str:
        relay = self.relay_url.replace(":", "%3A").replace("/", "%2F")
        return f"nostr+walletconnect://{self.keys.public_key().to_hex()}?relay={relay}&secret={self.client.secret_key().to_hex()}"

    async def start(self) -> None:
        await self._sdk.add_relay(sdk.RelayUrl.parse(self.relay_url))
        await self._sdk.connect(timedelta(seconds=10))
        self._stream = self._sdk.notifications()
        wanted = sdk.Filter().kind(sdk.Kind(REQUEST)).author(self.client.public_key()).pubkey(self.keys.public_key())
        await self._sdk.subscribe(sdk.ReqTarget.auto([wanted]))
        tags = [["encryption", self.forms]] if self.forms is not None else []
        tags.append(["notifications", "payment_received payment_sent"])
        await self._publish(INFO, self.methods, tags)
        self._spawn(self._listen())
        self._spawn(self._tell())

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in list(self._tasks):
            with suppress(asyncio.CancelledError):
                await task
        await self._sdk.shutdown()

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _listen(self) -> None:
        assert self._stream is not None
        while (heard := await self._stream.next()) is not None:
            if heard.is_NEW_EVENT():
                self._spawn(self._handle(heard.event))

    async def _handle(self, event: sdk.Event) -> None:
        tags = {tag.to_vec()[0]: tag.to_vec()[1] for tag in event.tags()}
        form = tags.get("encryption", "nip04")
        if event.is_expired() or form not in (self.forms or "nip04"):
            return
        asked = json.loads(self._opened(form, event.content()))
        method = asked["method"]
        if method in self.deaf:
            return
        self.handled.append(method)
        answer: Document = {"result_type": method, "error": None, "result": None}
        try:
            answer["result"] = await self._do(method, asked["params"])
        except Refusal as refusal:
            answer["error"] = {"code": refusal.code, "message": str(refusal)}
        if method in self.mute:
            return
        for _ in range(2 if method in self.twice else 1):
            await self._say(ANSWER, form, answer, [["e", event.id().to_hex()]])

    async def _do(self, method: str, params: Document) -> Document:
        if method not in self.methods.split():
            raise Refusal("RESTRICTED", "not on this connection")
        match method:
            case "get_info":
                about = {"alias": "a wallet", "color": "#000000", "pubkey": self.keys.public_key().to_hex(), "network": "regtest"}
                return {**about, "block_height": 1, "block_hash": "00" * 32, "methods": self.methods.split()[:5]}
            case "get_balance":
                return {"balance": (await self.node.balance()).value}
            case "make_invoice":
                new = await self.node.create_invoice(
                    Msats(params["amount"]), memo=params.get("description", ""), expiry_seconds=params.get("expiry", 600), label=""
                )
                return self._transaction("incoming", "pending", new.payment_request)
            case "pay_invoice":
                return await self._pay(params["invoice"])
            case _:
                return await self._look(params["payment_hash"])

    async def _pay(self, payment_request: str) -> Document:
        invoice = bolt11.decode(payment_request)
        assert invoice.amount is not None
        self._paid.setdefault(invoice.payment_hash, self._transaction("outgoing", "failed", payment_request))
        outcome = await self.node.pay_invoice(payment_request, amount=invoice.amount, fee_limit=FEE_LIMIT)
        if isinstance(outcome, Succeeded):
            assert outcome.fee is not None
            return {"preimage": outcome.preimage, "fees_paid": outcome.fee.value}
        raise Refusal("PAYMENT_FAILED", outcome.reason if isinstance(outcome, Failed) else "It did not arrive yet.")

    async def _look(self, payment_hash: str) -> Document:
        if payment_hash in self._paid:
            told, outcome = self._paid[payment_hash], await self.node.lookup_payment(payment_hash)
            if isinstance(outcome, Succeeded):
                assert outcome.fee is not None
                return {**told, "state": "settled", "preimage": outcome.preimage, "fees_paid": outcome.fee.value, "settled_at": 1}
            return {**told, "state": "failed" if isinstance(outcome, Failed) else "pending"}
        found = await self.node.lookup_invoice(payment_hash)
        if isinstance(found, NoSuchInvoice):
            raise Refusal("NOT_FOUND", "no such thing")
        base = {"type": "incoming", "payment_hash": payment_hash, "fees_paid": 0, "created_at": 1}
        if isinstance(found, Unpaid):
            return {**base, "state": "pending", "amount": 1}
        return {**base, "state": "settled", "amount": found.received.value, "preimage": found.preimage, "settled_at": 1}

    def _transaction(self, type: str, state: str, payment_request: str) -> Document:
        invoice = bolt11.decode(payment_request)
        assert invoice.amount is not None
        times = {"created_at": 1, "expires_at": invoice.expires_at_ms // 1_000}
        about = {"type": type, "state": state, "invoice": payment_request, "description": invoice.description}
        return {**about, **times, "payment_hash": invoice.payment_hash, "amount": invoice.amount.value, "fees_paid": 0}

    async def _tell(self) -> None:
        """What was received is told, in both forms that a client may read."""
        async for payment_hash in self.node.settlements():
            found = await self.node.lookup_invoice(payment_hash)
            if isinstance(found, Settled):
                about = {"type": "incoming", "payment_hash": payment_hash, "amount": found.received.value}
                news = {"notification_type": "payment_received", "notification": about}
                for form, kind in (("nip04", 23_196), ("nip44_v2", 23_197)):
                    if form in (self.forms or "nip04"):
                        await self._say(kind, form, news, [])

    async def _say(self, kind: int, form: str, document: Document, tags: list[list[str]]) -> None:
        them = self.client.public_key()
        text = json.dumps(document)
        sealed = self.keys.nip44_encrypt(them, text) if form == "nip44_v2" else self.keys.nip04_encrypt(them, text)
        await self._publish(kind, sealed, [["p", them.to_hex()], *tags])

    def _opened(self, form: str, content: str) -> str:
        open_with: Callable[..., str] = self.keys.nip44_decrypt if form == "nip44_v2" else self.keys.nip04_decrypt
        return open_with(self.client.public_key(), content)

    async def _publish(self, kind: int, content: str, tags: list[list[str]]) -> None:
        event = sdk.EventBuilder(sdk.Kind(kind), content).tags([sdk.Tag.parse(tag) for tag in tags]).finalize(self.keys)
        await self._sdk.send_event(event)
