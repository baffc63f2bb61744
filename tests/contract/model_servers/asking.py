"""What asks a `WireServer`, and what became of it."""

from __future__ import annotations

import socket

from tests.contract.model_servers.wire import WireServer

from timmy.models import ProviderDown
from timmy.models.upstream import BadStatus, Timeouts, Upstream

TIMEOUTS = Timeouts(connect_seconds=20, first_byte_seconds=20, idle_seconds=20, total_seconds=60)


def upstream_of(server: WireServer, timeouts: Timeouts = TIMEOUTS) -> Upstream:
    return Upstream(f"http://127.0.0.1:{server.port}", timeouts=timeouts)


async def ask(upstream: Upstream) -> object:
    """What was understood, the kind of trouble, or a status and what it says."""
    try:
        return await upstream.post("/chat", {}, {"a": 1})
    except ProviderDown as trouble:
        return trouble.extra["reason"]
    except BadStatus as bad:
        return (bad.status, bad.text)


def received(heard: socket.socket) -> bytes:
    """What a server hears, empty at the end, however that comes."""
    try:
        return heard.recv(1_000_000)
    except ConnectionResetError:
        return b""
