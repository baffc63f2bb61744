"""What nobody has paid for is free to ask for, as often as an address may, and no oftener: each makes an invoice at the wallet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.completion_house import Talker
from tests.e2e.serving import Site, serving

from timmy.clock import ManualClock
from timmy.db import Tx

CHAT = {"model": "timmy-demo", "messages": [{"role": "user", "content": "Say something."}]}
MOST = 3
ORDERS: dict[str, tuple[str, dict[str, Any], int]] = {
    "jobs": ("/api/jobs", {"request": "Why?"}, 201),
    "sessions": ("/api/sessions", {"amountSats": 100}, 201),
    "offers": ("/v1/chat/completions", CHAT, 402),
}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    environ = {
        "DATA_DIR": str(tmp_path),
        "OFFERS_PER_MINUTE": str(MOST),
        "LOGINS_PER_MINUTE": str(MOST),
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    async with serving(environ, provider=Talker()) as running:
        for gate in (running.app.house.offers, running.app.house.logins):
            gate._clock = ManualClock()  # no minute passes while a slow machine asks
        yield running


async def asked(site: Site, path: str, body: dict[str, Any], address: str) -> tuple[int, dict[str, str], Any]:
    async with site.http.post(site.url + path, json=body, headers={"X-Forwarded-For": address}) as answer:
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.json(content_type=None)


async def invoices(site: Site) -> int:
    def count(tx: Tx) -> int:
        row = tx.one("SELECT COUNT(*) AS n FROM invoices")
        assert row is not None
        return int(row["n"])

    return await site.app.db.read(count)


@pytest.mark.fault("E02")
@pytest.mark.parametrize("kind", ORDERS)
async def test_an_address_that_orders_and_does_not_pay_is_told_to_wait(site: Site, kind: str) -> None:
    path, body, good = ORDERS[kind]
    answers = [await asked(site, path, body, "203.0.113.9") for _ in range(MOST * 3)]
    assert [status for status, _, _ in answers] == [good] * MOST + [429] * MOST * 2
    _, headers, told = answers[-1]
    assert int(headers["retry-after"]) == 60 // MOST
    error = told["error"] if kind == "offers" else {**told, "message": told["error"], "type": "rate_limit_error"}
    assert (error["code"], error["type"]) == ("rate_limited", "rate_limit_error")
    assert "Wait" in error["message"]
    assert await invoices(site) == MOST, "who is refused makes no invoice"
    assert (await asked(site, path, body, "203.0.113.10"))[0] == good, "others do not notice"


@pytest.mark.fault("E02")
async def test_all_that_makes_an_invoice_counts_together(site: Site) -> None:
    for path, body, good in ORDERS.values():
        assert (await asked(site, path, body, "203.0.113.9"))[0] == good
    for path, body, _ in ORDERS.values():
        assert (await asked(site, path, body, "203.0.113.9"))[0] == 429


async def test_what_is_not_in_order_does_not_count(site: Site) -> None:
    for _ in range(MOST * 2):
        assert (await asked(site, "/api/jobs", {"request": ""}, "203.0.113.9"))[0] == 422
        assert (await asked(site, "/v1/chat/completions", {**CHAT, "n": 2}, "203.0.113.9"))[0] == 400
    assert (await asked(site, "/api/jobs", {"request": "Why?"}, "203.0.113.9"))[0] == 201


async def test_beginnings_of_a_login_are_counted_for_themselves(site: Site) -> None:
    answers = [(await asked(site, "/api/identity/challenge", {}, "203.0.113.9"))[0] for _ in range(MOST + 1)]
    assert answers == [200] * MOST + [429]
    assert (await asked(site, "/api/jobs", {"request": "Why?"}, "203.0.113.9"))[0] == 201


async def test_who_has_paid_is_not_limited(site: Site) -> None:
    opened = await site.post("/api/sessions", {"amountSats": 1_000}, status=201, **{"X-Forwarded-For": "203.0.113.9"})
    await site.pay(opened["invoice"])
    macaroon = (await site.get(f"/api/sessions/{opened['sessionId']}"))["macaroon"]
    headers = {"X-Forwarded-For": "203.0.113.9", "Authorization": f"Bearer {macaroon}"}
    for _ in range(MOST * 2):
        async with site.http.post(f"{site.url}/v1/chat/completions", json=CHAT, headers=headers) as served:
            assert served.status == 200, await served.text()
