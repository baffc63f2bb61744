"""A real Timmy in a thread of its own, with the built-in wallet and a clock that can be put forward."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from timmy.app import App, build
from timmy.clock import SECOND_MS, SystemClock
from timmy.lightning import bolt11
from timmy.regtest.processes import free_ports
from timmy.settings import Settings
from timmy.web import Server, server

PATIENCE_SECONDS = 60


class AheadClock(SystemClock):
    """The machine's clock, and as much as it was put forward."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms

    def advance(self, *, seconds: int) -> None:
        self.ahead_ms += seconds * SECOND_MS


class House:
    """What a test may do with it from outside the browser."""

    def __init__(self, url: str, clock: AheadClock) -> None:
        self.url = url
        self.clock = clock
        self.http = httpx.Client(base_url=url, timeout=PATIENCE_SECONDS)

    def get(self, path: str) -> Any:
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def pay(self, payment_hash: str) -> None:
        answer = self.http.post(f"/api/dev/stub/pay/{payment_hash}", json={})
        assert answer.status_code == 200, answer.text

    def pay_as_a_wallet(self, payment_request: str) -> None:
        """As a wallet does, that knows no more than what it has scanned."""
        self.pay(_payment_hash(payment_request))

    def customer_invoice(self, amount_sats: int) -> str:
        answer = self.http.post("/api/dev/stub/invoice", json={"amountSats": amount_sats})
        assert answer.status_code == 201, answer.text
        invoice: str = answer.json()["paymentRequest"]
        return invoice


def _payment_hash(payment_request: str) -> str:
    return bolt11.decode(payment_request.lower()).payment_hash


@contextmanager
def at_home(folder: Path, **environ: str) -> Iterator[House]:
    """Serves until the block ends."""
    (port,) = free_ports(1)
    settings = Settings.load(
        {"PORT": str(port), "DATA_DIR": str(folder), "BTC_PRICE_SOURCES": "none", "LOG_LEVEL": "error", **environ}, dotenv=None
    )
    clock, opened, running = AheadClock(), threading.Event(), list[Server]()

    async def serve() -> None:
        async with build(settings, clock=clock) as app:
            running.append(_server(app, port))
            serving = asyncio.create_task(running[0].serve())
            while not running[0].started:
                assert not serving.done(), "the server did not start"
                await asyncio.sleep(0.01)
            opened.set()
            await serving

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert opened.wait(PATIENCE_SECONDS), "the server did not start in time"
    house = House(f"http://127.0.0.1:{port}", clock)
    try:
        yield house
    finally:
        house.http.close()
        running[0].should_exit = True
        thread.join(PATIENCE_SECONDS)


def _server(app: App, port: int) -> Server:
    return server(app.web, app.house, host="127.0.0.1", port=port)
