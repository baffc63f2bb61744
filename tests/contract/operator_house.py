"""A real house with an operator's token, and somebody who signs in at its desk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.contract.plain_reader import Browser, Reader
from tests.contract.real_house import House, open_house

TOKEN = "a-token-of-the-operator-that-nobody-guesses"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
JSON_PATHS = tuple(f"/api/admin/{name}" for name in ("summary", "days", "days.csv", "jobs", "refunds", "tasks", "node-status"))
ACTS = ("sign-out", "stop", "go-on", "tasks/retry", "refunds/retry", "audit")


@asynccontextmanager
async def desk(folder: Path, trusted_proxies: str = "") -> AsyncIterator[tuple[House, Browser]]:
    async with open_house(folder, ADMIN_TOKEN=TOKEN, TRUSTED_PROXIES=trusted_proxies) as house:
        yield house, Browser(house.http)


async def signed_in(browser: Browser) -> Reader:
    page = await browser.open("/admin")
    return await browser.send(page.form("/sign-in"), token=TOKEN)


async def bought(house: House, request: str = "What is 6 * 7?") -> dict[str, Any]:
    job = await house.post("/api/jobs", {"request": request}, status=201)
    await house.pay(job["evalInvoice"])
    shown = await house.until(f"/api/jobs/{job['jobId']}", "state", "awaiting_work_payment", "rejected")
    if shown["workInvoice"]:
        await house.pay(shown["workInvoice"])
    done: dict[str, Any] = await house.until(f"/api/jobs/{job['jobId']}", "state", "complete", "rejected", "failed")
    return done
