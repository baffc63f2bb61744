"""A whole house behind its HTTP, without a socket: real keys, a real ledger, the built-in wallet and agent, and a clock in our hands."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from timmy.app import App, build
from timmy.clock import ManualClock
from timmy.db import Tx
from timmy.identity import nostr, trust
from timmy.identity.trust import Change
from timmy.money import Sats
from timmy.settings import Settings

PATIENCE_SECONDS = 90  # for what must happen at all; nothing here is about speed
SITE = "http://timmy.test"


@dataclass(slots=True)
class House:
    app: App
    clock: ManualClock
    http: httpx.AsyncClient

    async def get(self, path: str, *, status: int = 200, **headers: str) -> Any:
        return self._read(await self.http.get(path, headers=named(headers)), status)

    async def post(self, path: str, body: Mapping[str, Any] | None = None, *, status: int = 200, **headers: str) -> Any:
        return self._read(await self.http.post(path, json=body, headers=named(headers)), status)

    def _read(self, answer: httpx.Response, status: int) -> Any:
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer.json()

    async def pay(self, invoice: Mapping[str, Any]) -> None:
        await self.post(f"/api/dev/stub/pay/{invoice['paymentHash']}")

    async def until(self, path: str, member: str, *values: str) -> Any:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                shown = await self.get(path)
                if shown[member] in values:
                    return shown
                await asyncio.sleep(0.02)

    async def has_earned(self, someone: Person, score: int) -> None:
        """As if they had paid for so much work."""
        steps = -(-score // self.app.identity.terms.success)
        changes = [Change(f"{someone.pubkey}/{n}", someone.pubkey, "work_paid", True, Sats(20).msats) for n in range(steps)]
        await self.app.db.write(trust.change_all, changes, self.app.identity.terms, self.clock.now_ms())

    async def rows(self) -> str:
        """The whole content of the database, as one number."""
        return hashlib.sha256(repr(await self.tables()).encode()).hexdigest()

    async def tables(self) -> dict[str, list[str]]:
        """Every row of every table, in an order of its own."""
        return await self.app.db.read(content, self.app.db.engine)


TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name",
    "postgres": "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name",
}


def content(tx: Tx, engine: str) -> dict[str, list[str]]:
    names = [row["name"] for row in tx.all(TABLES[engine])]
    assert {"accounts", "transfers", "budgets", "grants", "identities", "events", "tasks"} <= set(names)
    return {name: sorted(repr(dict(row)) for row in tx.all(f"SELECT * FROM {name}")) for name in names}


def named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


class Person:
    """Somebody with a key of their own."""

    def __init__(self) -> None:
        self.secret = secrets.token_bytes(32)
        self.pubkey = self.event(0, 1, ()).pubkey

    def event(self, at_seconds: int, kind: int, tags: tuple[tuple[str, str], ...], text: str = "") -> nostr.NostrEvent:
        return nostr.sign(self.secret, created_at=at_seconds, kind=kind, tags=tags, content=text, aux=secrets.token_bytes(32))

    def answer(self, nonce: str, at_ms: int, kind: int = 22_242) -> dict[str, Any]:
        return document(self.event(at_ms // 1_000, kind, (("relay", SITE), ("challenge", nonce))))

    def signed(self, method: str, target: str, at_ms: int, body: bytes | None = None) -> str:
        """`Authorization` for this very request (NIP-98)."""
        payload = () if body is None else (("payload", hashlib.sha256(body).hexdigest()),)
        event = self.event(at_ms // 1_000, 27_235, (("u", SITE + target), ("method", method), *payload))
        return "Nostr " + base64.b64encode(json.dumps(document(event)).encode()).decode()

    async def log_in(self, house: House) -> str:
        nonce = (await house.post("/api/identity/challenge"))["nonce"]
        login = await house.post("/api/identity/verify", {"event": self.answer(nonce, house.clock.now_ms())})
        assert login["pubkey"] == self.pubkey
        token: str = login["nostr_token"]
        return token


def document(event: nostr.NostrEvent) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(event)))  # type: ignore[no-any-return]


@asynccontextmanager
async def open_house(folder: Path, *, background: bool = True, **environ: str) -> AsyncIterator[House]:
    clock = ManualClock()
    given = {"DATA_DIR": str(folder), "BTC_PRICE_SOURCES": "", "PUBLIC_URL": SITE, "POOL_SEED_SATS": "10000", **environ}
    settings = Settings.load(given, dotenv=None)
    async with build(settings, clock=clock, background=background) as app:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app.web), base_url=SITE, timeout=PATIENCE_SECONDS) as http:
            yield House(app, clock, http)
