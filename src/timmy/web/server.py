"""uvicorn, with our limits, and with a way to tell open streams that the server is about to stop."""

from __future__ import annotations

import resource
import socket
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from timmy.web.connections import Connection
from timmy.web.house import WebHouse
from timmy.web.sockets import MESSAGE_BYTES_MAX, PING_SECONDS, PONG_SECONDS, Socket, Sockets

CONNECTIONS_MAX = 4_000  # more at once are answered with 503 by uvicorn itself
BACKLOG = 2_048
KEEP_ALIVE_SECONDS = 75  # longer than the 60 s of usual proxies, so that it is never us who hang up on a reused connection
GRACE_SECONDS = 10  # what is still running then is cancelled; it is resumed at the next start
OPEN_FILES_MAX = 65_536


class Server(uvicorn.Server):
    """Ends event streams first: uvicorn waits for open answers before it stops, and a stream has no end of its own."""

    def __init__(self, config: uvicorn.Config, house: WebHouse, sockets: Sockets) -> None:
        super().__init__(config)
        self.house = house
        self.open_sockets = sockets

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.house.closing.set()
        self.open_sockets.shut_down()
        await super().shutdown(sockets)
        # Or uvicorn raises the signal a second time when it is done, and the process is gone before the house has been closed: work that
        # is under way would not be given back, and wait for its lease to run out.
        self._captured_signals.clear()


def raise_open_files() -> None:
    """As many as the system allows without asking: each viewer is one, and many systems begin with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def server(app: ASGIApp, house: WebHouse, *, host: str, port: int) -> Server:
    """Logging is ours, and so is the client's address: uvicorn would log paths, and believe X-Forwarded-For from any loopback peer."""
    sockets = Sockets()
    config = uvicorn.Config(
        app,
        http=Connection,
        ws=cast(Any, partial(Socket, sockets=sockets)),
        ws_max_size=MESSAGE_BYTES_MAX,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PONG_SECONDS,
        ws_per_message_deflate=False,  # a window and a compressor for each viewer, for messages of a hundred bytes
        host=host,
        port=port,
        lifespan="on",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS_MAX,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return Server(config, house, sockets)
