"""A server for Lightning addresses whose answers can be spoiled, and the clients that ask it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from timmy.lightning import bolt11
from timmy.lightning.lnurl import (
    LnurlClient,
)
from timmy.lightning.wallets.protocol import Network
from timmy.money import Msats, Sats

OWED = Sats(21).msats
METADATA = json.dumps([["text/plain", "sats for alice"]])
NOW_MS = 1_700_000_000_000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def invoice(amount: Msats | None = OWED, *, described: str | None = METADATA) -> str:
    return bolt11.encode(
        network=Network.REGTEST,
        private_key=bytes(range(1, 33)),
        payment_hash=hashlib.sha256(b"preimage").hexdigest(),
        payment_secret=bytes(32),
        amount=amount,
        description="sats for alice",
        description_hash=None if described is None else hashlib.sha256(described.encode()).hexdigest(),
        created_at_ms=NOW_MS,
        expiry_seconds=600,
    )


class Alice:
    """A server for Lightning addresses whose answers can be spoiled. `asked` is what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.offer: dict[str, object] = {"tag": "payRequest", "minSendable": 1_000, "maxSendable": 100_000_000, "metadata": METADATA}
        self.answer: dict[str, object] = {"pr": invoice(), "routes": []}
        self.page: Handler | None = None  # instead of the offer
        app = web.Application()
        app.router.add_get("/.well-known/lnurlp/{name}", self._offer)
        app.router.add_get("/callback", self._answer)
        self.server = TestServer(app, host="127.0.0.1")

    @property
    def address(self) -> str:
        return f"alice@127.0.0.1:{self.server.port}"

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server.port}{path}"

    async def _offer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        if self.page is not None:
            return await self.page(request)
        return web.json_response({"callback": self.url("/callback?k=7"), **self.offer})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        return web.json_response(self.answer)


@pytest.fixture
async def alice() -> AsyncIterator[Alice]:
    alice = Alice()
    await alice.server.start_server()
    yield alice
    await alice.server.close()


@pytest.fixture
async def client() -> AsyncIterator[LnurlClient]:
    client = LnurlClient(allow_loopback_http=True, timeout_seconds=2.0)
    yield client
    await client.aclose()


@pytest.fixture
async def strict() -> AsyncIterator[LnurlClient]:
    """As it runs in production. Its resolver knows two names, so that no test leaves this machine."""

    async def resolve(host: str, port: int) -> list[str]:
        return {"inside.example.com": ["10.1.2.3"], "mixed.example.com": ["1.1.1.1", "127.0.0.1"]}.get(host, [])

    client = LnurlClient(resolve=resolve)
    yield client
    await client.aclose()
