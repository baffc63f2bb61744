"""Streams that are open and say nothing: what one of them takes of a gateway's memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bench.gateway.callers import Line, Refused, lines, request
from bench.gateway.gateways import Gateway
from bench.gateway.wire import HELD

FIRST_STREAMS = 50  # before the baseline: what a process takes once is not the streams' own
STREAMS, STREAMS_QUICK = 250, 100
SETTLE_SECONDS = 3.0
PATIENCE_SECONDS = 120


async def measure(gateway: Gateway, rss_kib: Callable[[], int], streams: int) -> dict[str, float]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        opened = await _open(gateway, FIRST_STREAMS)
        await asyncio.sleep(SETTLE_SECONDS)
        first_kib = rss_kib()
        opened += await _open(gateway, streams)
        await asyncio.sleep(SETTLE_SECONDS)
        all_kib = rss_kib()
        for line in opened:
            line.hang_up()
        await asyncio.sleep(SETTLE_SECONDS)  # it notices, and charges what was said
    return {"streams": streams, "first_streams": FIRST_STREAMS, "first_rss_kib": first_kib, "all_rss_kib": all_kib}


async def _open(gateway: Gateway, count: int) -> list[Line]:
    """Each has brought its first token, and is still open."""
    opened = await lines(gateway.ports, count)
    answers = [line.ask(request(gateway.keys[n % len(gateway.keys)], HELD, stream=True)) for n, line in enumerate(opened)]
    while any(not line.tokens for line in opened):
        if over := [answer for answer in answers if answer.done()]:
            raise over[0].exception() or Refused("a stream that should be held has ended")
        await asyncio.sleep(0.05)
    for answer in answers:
        answer.add_done_callback(lambda done: done.exception())  # hanging up is meant: nobody is to complain of it
    return opened
