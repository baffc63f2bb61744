"""Those who ask: keep-alive connections on a bare protocol, one per caller, so that asking costs little beside what is measured."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, cast

import uvloop

from bench.gateway.wire import LIMIT, PROMPT, STREAM_TOKENS, WORD
from bench.stopwatch import Stopwatch, closed_loop, wait_for_go, wait_to_leave

GRACE_SECONDS = 90  # for what is under way when the window closes, and for the first answers: then nothing is measured
HEAD_END = b"\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
TOKEN = WORD.encode()


class Refused(Exception):
    """Not 200, or not what was asked for."""


def request(key: str, model: str, *, stream: bool) -> bytes:
    asked: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": LIMIT}
    if stream:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    body = json.dumps(asked).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Line(asyncio.Protocol):
    """One caller's connection. `tokens`: how many the answer under way has brought."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._answered: asyncio.Future[None] | None = None

    def ask(self, request: bytes, stopwatch: Stopwatch | None = None) -> asyncio.Future[None]:
        """Done when all of the answer is here. `stopwatch`: is told of each token of a stream."""
        self._heard, self._in_body, self._missing = b"", False, 0
        self.tokens, self._stopwatch = 0, stopwatch
        self._began: float | None = time.perf_counter()
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answered

    def hang_up(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self._in_body:
            self._heard += data
            head, ended, data = self._heard.partition(HEAD_END)
            if not ended:
                return
            self._open(head.lower(), data)
        if self._missing:
            self._missing -= len(data)
            if self._missing <= 0:
                self._end()
        elif self._in_body:
            self._read_stream(data)

    def _open(self, head: bytes, data: bytes) -> None:
        if head[9:12] != b"200":
            self._fail(Refused((head + HEAD_END + data)[:1500].decode(errors="replace")))
            return
        _, named, length = head.partition(b"content-length:")
        self._in_body, self._heard = True, b""
        self._missing = int(length.split(b"\r\n", 1)[0]) if named else 0

    def _read_stream(self, data: bytes) -> None:
        """A token may be cut between two readings, so the end of the last one is read again."""
        data = self._heard + data
        came = data.count(TOKEN)
        self.tokens += came
        if came:
            data = data[data.rindex(TOKEN) + len(TOKEN) :]
        self._heard = data[-(len(TOKEN) - 1) :]
        if self._stopwatch is not None:
            for _ in range(came):
                self._stopwatch.finished(self._began)
                self._began = None  # only of the first is it known how long it took
        if data.endswith(LAST_CHUNK):
            if self._stopwatch is not None and self.tokens != STREAM_TOKENS:
                self._fail(Refused(f"a stream ended after {self.tokens} of {STREAM_TOKENS} tokens"))
            self._end()

    def _end(self) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    def _fail(self, why: Exception) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(why)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(Refused(f"the connection was closed: {exc}"))


async def lines(ports: Sequence[int], count: int) -> list[Line]:
    """Connections, to each port in turn."""
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Line, "127.0.0.1", ports[n % len(ports)]))[1] for n in range(count)]


async def main(order: dict[str, Any]) -> None:
    async with asyncio.timeout(order["warm_seconds"] + order["seconds"] + GRACE_SECONDS):
        await _measure(order)


async def _measure(order: dict[str, Any]) -> None:
    free = await lines(order["ports"], order["callers"])
    requests = cycle([request(key, order["model"], stream=order["stream"]) for key in order["keys"]])
    answered = 0
    await free[0].ask(next(requests))
    wait_for_go()
    stopwatch = Stopwatch(order["warm_seconds"], order["seconds"])

    async def once() -> None:
        nonlocal answered
        line = free.pop()
        await line.ask(next(requests), stopwatch if order["stream"] else None)
        free.append(line)
        answered += 1

    if order["stream"]:
        watching = asyncio.create_task(stopwatch.watch())
        await asyncio.gather(*(_again(stopwatch, once) for _ in range(order["callers"])))
        await watching
    else:
        await closed_loop(stopwatch, order["callers"], once)
    Path(order["tally"]).write_text(str(answered + 1))  # noqa: ASYNC240 - nothing is measured any more
    wait_to_leave()


async def _again(stopwatch: Stopwatch, once: Any) -> None:
    while stopwatch.running:
        await once()


if __name__ == "__main__":
    uvloop.run(main(json.loads(sys.argv[1])))
