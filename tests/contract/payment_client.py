"""What a client of the `Payment` scheme has to do, told from its drafts and not from our code: the tests read and write with it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from tests.contract.test_openai_sdk import MESSAGES, MODEL, Shop, customer_of

BODY = {"model": MODEL, "messages": MESSAGES}
PARAM = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def receipt(self) -> Any:
        return decoded(self.headers["Payment-Receipt"])

    def challenge(self, intent: str) -> dict[str, str]:
        """The challenge with this intent, as its params."""
        lines = [line for line in self.headers.getall("WWW-Authenticate", []) if line.startswith("Payment ")]
        return next(params for params in (dict(PARAM.findall(line)) for line in lines) if params["intent"] == intent)

    @property
    def problem(self) -> str:
        """The problem type, without what all have in common."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self.headers
        assert self.headers["Cache-Control"] == "no-store"
        assert self.challenge("charge")["id"], "each refusal brings a fresh challenge"
        kind: str = self.body["type"]
        assert self.body["status"] == self.status
        return kind.removeprefix("https://paymentauth.org/problems/")


class Client:
    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    async def ask(self, credential: Mapping[str, Any] | None = None, *, path: str = "/v1/chat/completions", **more: Any) -> Answer:
        headers = dict(more.pop("headers", {}))
        if credential is not None:
            headers["Authorization"] = "Payment " + encoded(credential)
        method = more.pop("method", "POST")
        body = None if method == "GET" else {**BODY, **more}
        try:
            async with self.shop.site.http.request(method, self.shop.site.url + path, json=body, headers=headers) as answer:
                return Answer(answer.status, answer.headers, await answer.text())
        except aiohttp.ClientError as error:
            raise AssertionError(f"the server answered with nothing that is HTTP: {error}") from error

    async def pay(self, challenge: Mapping[str, str], **how: Any) -> str:
        """The preimage. Nobody tells the shop."""
        asked = decoded(challenge["request"])
        invoice = asked["methodDetails"]["invoice"] if challenge["intent"] == "charge" else asked["depositInvoice"]
        preimage: str = await customer_of(self.shop).pay(invoice, **how)
        return preimage

    async def return_invoice(self) -> str:
        invoice: str = await customer_of(self.shop).create_invoice(None, expiry_seconds=30 * 86_400)
        return invoice

    async def charged(self, **more: Any) -> tuple[dict[str, Any], Answer]:
        """A charge bought, and the credential that bought it."""
        challenge = (await self.ask(**more)).challenge("charge")
        credential = {"challenge": challenge, "payload": {"preimage": await self.pay(challenge)}}
        return credential, await self.ask(credential, **more)

    async def opened(self, **more: Any) -> Opened:
        challenge = (await self.ask(**more)).challenge("session")
        preimage, back = await self.pay(challenge), await self.return_invoice()
        credential = {"challenge": challenge, "payload": {"action": "open", "preimage": preimage, "returnInvoice": back}}
        answer = await self.ask(credential, **more)
        return Opened(self, hash_of(preimage), preimage, back, credential, answer)

    async def balance_msat(self, credential: Mapping[str, Any]) -> int:
        """What is left of what was paid."""
        shown = await self.ask(credential, path="/v1/key", method="GET")
        assert shown.status == 200, shown.text
        balance: int = shown.body["balance_msat"]
        return balance


@dataclass(frozen=True)
class Opened:
    client: Client
    id: str
    preimage: str
    return_invoice: str
    credential: dict[str, Any]
    answer: Answer

    async def bearer(self) -> dict[str, Any]:
        return await self._with("bearer")

    async def close(self) -> dict[str, Any]:
        return await self._with("close")

    async def _with(self, action: str) -> dict[str, Any]:
        challenge = (await self.client.ask()).challenge("session")
        return {"challenge": challenge, "payload": {"action": action, "sessionId": self.id, "preimage": self.preimage}}

    async def topup(self) -> dict[str, Any]:
        """A top-up that is paid for."""
        challenge = (await self.client.ask()).challenge("session")
        preimage = await self.client.pay(challenge)
        return {"challenge": challenge, "payload": {"action": "topUp", "sessionId": self.id, "topUpPreimage": preimage}}


def hash_of(preimage: str) -> str:
    return hashlib.sha256(bytes.fromhex(preimage)).hexdigest()


def decoded(text: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def encoded(document: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).decode().rstrip("=")


def changed(credential: Mapping[str, Any], **challenge: str) -> dict[str, Any]:
    return {**credential, "challenge": {**credential["challenge"], **challenge}}


def shown(credential: Mapping[str, Any], **payload: Any) -> dict[str, Any]:
    return {**credential, "payload": {**credential["payload"], **payload}}
