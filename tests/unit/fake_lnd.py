"""An LND that answers whatever a test wants it to: the forms of its answers, and of none."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from tests.contract.lnd_keys import EXACT, Bakery
from tests.unit.backends import Handler, as_json, as_text, invoice, listening

from timmy.clock import SystemClock
from timmy.lightning.wallets import lnd_line
from timmy.lightning.wallets.lnd import LndWallet
from timmy.lightning.wallets.protocol import (
    Network,
    PaymentOutcome,
    Succeeded,
)
from timmy.money import Msats, Sats

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


async def too_long(request: web.Request) -> web.StreamResponse:
    """A word that would be believed, if it were read to its end."""
    response = web.StreamResponse()
    await response.prepare(request)
    written = json.dumps({"result": payment("SUCCEEDED", payment_request="9" * (lnd_line.FRAME_BYTES_MAX + 2**20))}).encode()
    await response.write(written + b"\n")
    return response


async def first_word_only(request: web.Request) -> web.StreamResponse:
    """A payment on its way: the stream stays open."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(json.dumps({"result": payment("IN_FLIGHT")}).encode() + b"\n")
    await asyncio.Event().wait()
    return response
