"""Examples of the world and of a demonstration, for the OpenAPI document."""

from __future__ import annotations

from timmy.web.examples import POOL
from timmy.web.operations import Document

AT = "2026-01-01T00:00:00.000Z"
STATE: Document = {
    "type": "world_state",
    "at": AT,
    "cursor": 41,
    "agents": [
        {"agentId": "timmy", "name": "Timmy", "state": "working", "doing": "at the crystal ball", "since": AT},
        {"agentId": "alpha", "name": "Alpha", "state": "idle", "doing": "waiting for a request", "since": AT},
        {"agentId": "beta", "name": "Beta", "state": "working", "doing": "working on 2 requests", "since": AT},
        {"agentId": "gamma", "name": "Gamma", "state": "idle", "doing": "listening", "since": AT},
        {"agentId": "delta", "name": "Delta", "state": "idle", "doing": "minding the till", "since": AT},
    ],
    "pool": POOL,
    "visitors": 3,
    "recent": [
        {"type": "payment", "purpose": "work", "amountSats": 21, "at": AT, "cursor": 40},
        {"type": "job", "state": "executing", "ref": "9b1d6f0a", "at": AT, "cursor": 41},
    ],
    "limits": {"messageCharsMax": 250, "repliesPerMinute": 3},
}
DEMO: Document = {
    "state": "complete",
    "request": "Write a haiku about rain.",
    "result": "Rain on the tin roof…",
    "reason": None,
    "truncated": False,
    "left": 4,
}
