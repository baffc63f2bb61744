"""The model's provider, as cheap as Python gets: keep-alive HTTP/1.1 on a bare protocol, every answer made beforehand.

    python -m bench.gateway.upstream    # says its port

A stream is sent as real ones are, one event and one write for each token, and waits for a reader that is slow.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

import uvloop

from bench.gateway.wire import ANSWER_TOKENS, AT_ONCE, HELD, PROMPT_TOKENS, STREAM_TOKENS, WORD

HEAD_END = b"\r\n\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def usage(output: int) -> dict[str, int]:
    return {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": output, "total_tokens": PROMPT_TOKENS + output}


def _whole(document: object) -> bytes:
    body = json.dumps(document).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def _event(more: dict[str, object]) -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_769_860_800, "model": AT_ONCE}
    return _chunk(b"data: " + json.dumps({**head, **more}).encode() + b"\n\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


def _delta(delta: dict[str, str], finish: str | None = None) -> bytes:
    return _event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


ANSWER = _whole(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_769_860_800,
        "model": AT_ONCE,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": WORD * ANSWER_TOKENS}, "finish_reason": "stop"}],
        "usage": usage(ANSWER_TOKENS),
    }
)
MODELS = _whole({"object": "list", "data": [{"id": id, "object": "model", "created": 0, "owned_by": "bench"} for id in (AT_ONCE, HELD)]})
FIRST, TOKEN, STOP = _delta({"role": "assistant", "content": ""}), _delta({"content": WORD}), _delta({}, "stop")
USAGE = _event({"choices": [], "usage": usage(STREAM_TOKENS)})
DONE = _chunk(b"data: [DONE]\n\n") + LAST_CHUNK


class Provider(asyncio.Protocol):
    """One connection. Nobody who is measured asks a second time before the first is answered."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._heard = b""
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._stream: asyncio.Task[None] | None = None

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._stream is not None:
            self._stream.cancel()

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, ended, rest = self._heard.partition(HEAD_END)
        if not ended:
            return
        _, named, length = head.lower().partition(b"content-length:")
        wanted = int(length.split(b"\r\n", 1)[0]) if named else 0
        if len(rest) < wanted:
            return
        self._heard = rest[wanted:]
        if not wanted:
            self._transport.write(MODELS)
            return
        asked = json.loads(rest[:wanted])
        if asked.get("stream"):
            self._stream = asyncio.get_running_loop().create_task(self._tell(asked))
        else:
            self._transport.write(ANSWER)

    async def _tell(self, asked: dict[str, object]) -> None:
        write = self._transport.write
        write(STREAM_HEAD + FIRST)
        for _ in range(1 if asked["model"] == HELD else STREAM_TOKENS):
            write(TOKEN)
            await asyncio.sleep(0)
            await self._may_write.wait()
        if asked["model"] == HELD:
            await asyncio.Event().wait()
        write(STOP + (USAGE if asked.get("stream_options") else b"") + DONE)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until the parent closes it, or has died
    server.close()


if __name__ == "__main__":
    uvloop.run(main())
