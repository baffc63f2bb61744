"""The naive design, small and fair: FastAPI, httpx, and two interactive transactions for each request.

The first locks the key's row, looks whether there is enough, and holds the most that the call can cost; the second locks it again, charges
what it came to, and writes it down. One shared client, one shared pool of connections, uvloop and httptools as we have them, plain SQL by
psycopg and no ORM, which would cost more. It checks no macaroon, prices nothing by a rate that moves, and keeps no double entry.

    python -m bench.gateway.naive '{"url": …, "port": …, "upstream_port": …}'
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, Header, HTTPException
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

from bench.gateway.wire import FIXED_MSAT, LIMIT, MARGIN_PCT

CONNECTIONS = 16
LOCK = "SELECT balance_msat - held_msat FROM keys WHERE key = %s FOR UPDATE"
HOLD = "UPDATE keys SET held_msat = held_msat + %s WHERE key = %s"
CHARGE = "UPDATE keys SET held_msat = held_msat - %s, balance_msat = balance_msat - %s WHERE key = %s"
WRITE_DOWN = "INSERT INTO calls (key, model, prompt_tokens, completion_tokens, charged_msat) VALUES (%s, %s, %s, %s, %s)"


class Message(BaseModel):
    role: str
    content: str


class Call(BaseModel):
    model: str
    messages: list[Message]
    max_tokens: int = LIMIT


def price_msat(prompt_tokens: int, completion_tokens: int) -> int:
    return (FIXED_MSAT + 5 * prompt_tokens + 10 * completion_tokens) * (100 + MARGIN_PCT) // 100


def app_of(url: str, upstream_port: int) -> FastAPI:
    pool = AsyncConnectionPool(url, min_size=CONNECTIONS, max_size=CONNECTIONS, open=False, timeout=60)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{upstream_port}/v1", timeout=60, limits=limits)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with pool, client:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/v1/chat/completions")
    async def chat(call: Call, authorization: str = Header()) -> dict[str, Any]:
        key = authorization.removeprefix("Bearer ")
        most_msat = price_msat(sum(len(message.content) + 4 for message in call.messages), call.max_tokens)
        async with pool.connection() as connection:
            row = await (await connection.execute(LOCK, (key,))).fetchone()
            if row is None:
                raise HTTPException(401, "This key is not known.")
            if row[0] < most_msat:
                raise HTTPException(402, "There is not enough on this key.")
            await connection.execute(HOLD, (most_msat, key))
        answer = (await client.post("/chat/completions", json=call.model_dump())).raise_for_status().json()
        used = answer["usage"]
        cost_msat = price_msat(used["prompt_tokens"], used["completion_tokens"])
        async with pool.connection() as connection:
            await connection.execute(LOCK, (key,))
            await connection.execute(CHARGE, (most_msat, cost_msat, key))
            await connection.execute(WRITE_DOWN, (key, call.model, used["prompt_tokens"], used["completion_tokens"], cost_msat))
        answer["usage"]["cost_msat"] = cost_msat
        return dict(answer)

    return app


if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    uvicorn.run(app_of(order["url"], order["upstream_port"]), host="127.0.0.1", port=order["port"], log_level="error", access_log=False)
