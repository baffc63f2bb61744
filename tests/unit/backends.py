"""A backend that answers whatever a test wants it to, over real HTTP on this machine."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from timmy.clock import SystemClock
from timmy.lightning import bolt11
from timmy.lightning.wallets.protocol import Network
from timmy.money import Msats

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Bolt11:
    """An invoice, with the secret that pays it."""

    payment_request: str
    payment_hash: str
    preimage: str


def invoice(amount: Msats, network: Network = Network.REGTEST) -> Bolt11:
    preimage = secrets.token_bytes(32)
    payment_hash = hashlib.sha256(preimage).hexdigest()
    text = bolt11.encode(
        network=network,
        private_key=secrets.token_bytes(32),
        payment_hash=payment_hash,
        payment_secret=secrets.token_bytes(32),
        amount=amount,
        description="two words",
        created_at_ms=SystemClock().now_ms(),
        expiry_seconds=86_400,  # made when its module is read, and used when its turn comes: that may be half an hour later
    )
    return Bolt11(text, payment_hash, preimage.hex())


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[str]:
    """The URL of a server that gives every request to `handler`."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def as_json(body: object, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(body), status=status, content_type="application/json")


def as_text(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status)


async def hang_up(request: web.Request) -> web.StreamResponse:
    """Read the question and close the connection, as a proxy does whose backend has died."""
    await request.read()
    if request.transport is not None:
        request.transport.close()
    return web.Response()


async def never_answer(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()
