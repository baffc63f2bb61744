"""The customer's side of the HTTP API: a handful of calls, in the words of the contract."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

JSON = dict[str, Any]
Trace = Callable[[str, str, int], None]  # method, path, status

CALL_TIMEOUT_SECONDS = 30
EVENT_LINE_BYTES_MAX = 2**20


class DemoFailed(Exception):
    """The story cannot go on; the message says what happened instead, in a sentence."""


@dataclass(frozen=True, slots=True)
class News:
    """One server-sent event."""

    kind: str
    data: JSON


class TimmyHttp:
    """One server, seen from outside. Everything that is not a 2xx is a DemoFailed with the server's own words."""

    def __init__(self, url: str, session: aiohttp.ClientSession, trace: Trace) -> None:
        self.url = url.rstrip("/")
        self._session = session
        self._trace = trace

    async def health(self) -> JSON:
        return await self._call("GET", "/api/healthz")

    async def ask(self, request: str) -> JSON:
        return await self._call("POST", "/api/jobs", {"request": request})

    async def job(self, job_id: str) -> JSON:
        return await self._call("GET", f"/api/jobs/{job_id}")

    async def refund(self, job_id: str, payment_request: str) -> JSON:
        return await self._call("POST", f"/api/jobs/{job_id}/refund", {"invoice": payment_request})

    async def order_node(self) -> JSON:
        return await self._call("POST", "/api/bootstrap", {})

    async def node(self, order_id: str) -> JSON:
        return await self._call("GET", f"/api/bootstrap/{order_id}")

    async def stub_pay(self, payment_hash: str) -> JSON:
        return await self._call("POST", f"/api/dev/stub/pay/{payment_hash}")

    async def stub_invoice(self, amount_sats: int) -> JSON:
        return await self._call("POST", "/api/dev/stub/invoice", {"amountSats": amount_sats})

    async def _call(self, method: str, path: str, body: JSON | None = None) -> JSON:
        try:
            timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_SECONDS)
            async with self._session.request(method, self.url + path, json=body, timeout=timeout) as response:
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as trouble:
            raise DemoFailed(f"{method} {path} got no answer from {self.url}: {trouble!r}") from None
        self._trace(method, path, response.status)
        if not response.ok or not isinstance(answer, dict):
            words = answer.get("error") if isinstance(answer, dict) else answer
            raise DemoFailed(f"{method} {path} was answered {response.status}: {words}")
        return answer

    def events(self, job_id: str) -> AsyncGenerator[News, None]:
        """What happens to a job, as it happens, until the server ends the stream."""
        return self._events(f"/api/jobs/{job_id}/events")

    def node_events(self, order_id: str) -> AsyncGenerator[News, None]:
        """The same of an order of a node."""
        return self._events(f"/api/bootstrap/{order_id}/events")

    async def _events(self, path: str) -> AsyncGenerator[News, None]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CALL_TIMEOUT_SECONDS)
        headers = {"Accept": "text/event-stream"}
        async with self._session.get(self.url + path, headers=headers, timeout=timeout, read_bufsize=EVENT_LINE_BYTES_MAX) as response:
            self._trace("GET", path, response.status)
            if not response.ok:
                raise DemoFailed(f"GET {path} was answered {response.status}")
            kind, data = "message", ""
            async for raw in response.content:
                line = raw.decode("utf-8").rstrip("\r\n")
                field, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if field == "event":
                    kind = value
                elif field == "data":
                    data += value
                elif not line and data:
                    yield News(kind, json.loads(data))
                    kind, data = "message", ""
