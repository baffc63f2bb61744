"""The rival: the `websockets` library and nothing else. Whatever anybody sends is sent to everybody, by its own `broadcast()`.

As quick as it can be had: uvloop, no compression, no greeting, no checks, nothing written down.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

viewers: set[ServerConnection] = set()


async def visitor(connection: ServerConnection) -> None:
    viewers.add(connection)
    try:
        with contextlib.suppress(ConnectionClosed):  # the crowd leaves without a word
            async for message in connection:
                broadcast(viewers, message)
    finally:
        viewers.discard(connection)


async def main() -> None:
    async with serve(visitor, "127.0.0.1", 0, compression=None, ping_interval=25, ping_timeout=20, backlog=2_048) as server:
        print(f"open at http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


if __name__ == "__main__":
    uvloop.run(main())
