"""What a provider's bytes are taken for. Half an answer is never taken for a whole one, whatever way it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from functools import partial
from itertools import repeat

import pytest
import uvloop
from tests.contract.model_servers.asking import ask, upstream_of
from tests.contract.model_servers.wire import OK, Answer, Run, Then, WireServer, chunk, chunked, whole

from timmy.models import ProviderDown
from timmy.models.connection import BARREN_BYTES_MAX, WAITING_BYTES_MAX
from timmy.models.sse import Event
from timmy.models.upstream import ANSWER_BYTES_MAX, ERROR_BYTES_MAX, Timeouts, Upstream

gzipped = partial(gzip.compress, mtime=0)  # else the tests have other names in each second, and in each worker

UNPACKED = b'{"text": "%s"}' % (b"so it goes " * 20_000)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """The server runs on one loop, its tests on the other: this room keeps its promises on both."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


def understood(run: Run, *parts: bytes | Then) -> object:
    found: list[object] = []

    async def scenario() -> None:
        async with WireServer(parts).running() as server:
            upstream = upstream_of(server)
            found.append(await ask(upstream))
            await upstream.aclose()

    run(scenario())
    return found[0]


GOOD = {
    "by its length": (whole(),),
    "in chunks": (chunked(OK[:3], OK[3:]),),
    "in chunks with extensions and trailers": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc;a=b;c\r\n" + OK + b"\r\n0;x\r\nDigest: y\r\nServer-Timing: z\r\n\r\n",
    ),
    "to the end of the connection": (b"HTTP/1.1 200 OK\r\n\r\n" + OK, Then.HANG_UP),
    "by HTTP/1.0": (b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\n" + OK[:5], OK[5:], Then.HANG_UP),
    "by HTTP/1.0 with a length": (b"HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\n" + OK, Then.WAIT),
    "after interim answers": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\nContent-Encoding: gzip\r\n\r\n" + whole(),
    ),
    "with lines that end without CR": (b"HTTP/1.1 200 OK\nContent-Length: 12\n\n" + OK,),
    "and then no more": (whole(OK, "Connection: close"), Then.WAIT),
    "with an invalid byte in a text": (whole(b'{"ok": "\xff"}'),),
}


@pytest.mark.parametrize("answer", GOOD.values(), ids=GOOD.keys())
def test_an_answer_is_whole_where_it_says_that_it_ends(run: Run, answer: tuple[bytes | Then, ...]) -> None:
    assert understood(run, *answer) in ({"ok": True}, {"ok": "\ufffd"})


@pytest.mark.parametrize("answer", [whole(), chunked(OK[:3], OK[3:]), whole(gzipped(OK), "Content-Encoding: gzip")])
def test_it_may_come_byte_by_byte(run: Run, answer: bytes) -> None:
    assert understood(run, *(answer[at : at + 1] for at in range(len(answer)))) == {"ok": True}


CUT = {
    "its length": whole()[:-1],
    "its length, in what looks like an end": whole(OK + b" ")[:-1],
    "a chunk": chunked(OK, end=b"")[:-5],
    "its chunks, before the last": chunked(OK, end=b""),
    "its last chunk": chunked(OK, end=b"0\r\n"),
    "its trailers": chunked(OK, end=b"0\r\nDigest: y\r\n"),
    "what another coding holds": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n" + OK,
    "gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzipped(OK)[:-9],
    "the checksum of gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzipped(OK)[:-1],
    "zlib": whole(zlib.compress(OK)[:-1], "Content-Encoding: deflate"),
}


@pytest.mark.fault("D23")
@pytest.mark.parametrize("answer", CUT.values(), ids=CUT.keys())
def test_an_answer_that_ends_within(run: Run, answer: bytes) -> None:
    """Even where all that has come is a whole answer by its looks."""
    assert understood(run, answer, Then.HANG_UP) == "cut_off"


@pytest.mark.fault("D23")
@pytest.mark.parametrize("answer", [*CUT.values(), b"HTTP/1.1 200 OK\r\n\r\n" + OK], ids=[*CUT.keys(), "the connection"])
def test_an_answer_whose_connection_is_torn_down(run: Run, answer: bytes) -> None:
    """What had come over it may be lost with it, and even the head."""
    assert understood(run, answer, Then.RESET) in {"cut_off", "unreachable"}


NONSENSE = {
    "nothing": (Then.HANG_UP,),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", Then.WAIT),
    "another version": (b"HTTP/2 200 OK\r\n\r\n", Then.WAIT),
    "no status": (b"HTTP/1.1 OK\r\n\r\n", Then.WAIT),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-Le", Then.HANG_UP),
    "an interim answer alone": (b"HTTP/1.1 100 Continue\r\n\r\n", Then.HANG_UP),
    "a switch of protocols": (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + whole(), Then.WAIT),
    "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nContent-Length: 13\r\n\r\n" + OK, Then.WAIT),
    "a length and chunks": (b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nTransfer-Encoding: chunked\r\n\r\n" + OK, Then.WAIT),
    "a length below zero": (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + OK, Then.WAIT),
    "a head without end": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * BARREN_BYTES_MAX, Then.WAIT),
    "a field without end": (b"HTTP/1.1 200 OK\r\nX: " + b"y" * BARREN_BYTES_MAX * 4, Then.WAIT),
    "interim answers without end": (b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, Then.WAIT),
}


@pytest.mark.fault("D23")
@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE.keys())
def test_what_is_no_http_is_as_good_as_nobody_there(run: Run, answer: tuple[bytes | Then, ...]) -> None:
    assert understood(run, *answer) == "unreachable"


@pytest.mark.fault("D23")
@pytest.mark.parametrize(
    "answer",
    [
        chunked(end=b"-1\r\n"),
        chunked(end=b"zz\r\n"),
        chunked(OK, end=b"fffffffffffffffff\r\n"),
        chunked(OK, end=b"0\r\n" + b"X: y\r\n" * BARREN_BYTES_MAX),
        chunked(OK, end=b"0\r\nX: " + b"y" * BARREN_BYTES_MAX * 4),
        chunked(OK, end=b"5;" + b"y" * BARREN_BYTES_MAX * 4),
        whole(OK, "Content-Encoding: gzip"),
        whole(gzipped(OK)[:9] + b"\x07" * 20, "Content-Encoding: gzip"),
        whole(gzipped(OK) + b"more", "Content-Encoding: gzip"),
    ],
)
def test_a_body_of_nonsense_is_half_an_answer(run: Run, answer: bytes) -> None:
    assert understood(run, answer, Then.WAIT) == "cut_off"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", "garbled"),
        (whole(b""), "garbled"),
        (whole(OK, "Content-Encoding: br"), {"ok": True}),  # a coding that is not known is read as it is
        (whole(b"\x1b\x03\x00", "Content-Encoding: br"), "garbled"),
        (whole(b"", "Content-Encoding: gzip"), "garbled"),
        (whole(b"", "Location: /elsewhere", status="307 Temporary Redirect"), (307, "")),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n", (304, "")),
        (whole(b"no", status="400 Bad Request"), (400, "no")),
        (whole(gzipped(b"no"), "Content-Encoding: gzip", status="400 Bad Request"), (400, "no")),
        (whole(b"no", "Content-Encoding: gzip", status="400 Bad Request"), (400, "")),
        (whole(b"x" * (ERROR_BYTES_MAX * 9), status="500 Oh"), (500, "x" * ERROR_BYTES_MAX)),
        (whole(b"half", status="503 Busy")[:-1], (503, "")),
    ],
)
def test_what_is_no_answer_is_told_as_what_it_is(run: Run, answer: bytes, found: object) -> None:
    assert understood(run, answer, Then.HANG_UP) == found


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzipped(UNPACKED)),
        ("GZIP", gzipped(UNPACKED)),
        ("x-gzip", gzipped(UNPACKED[:9]) + gzipped(UNPACKED[9:])),
        ("deflate", zlib.compress(UNPACKED)),
        ("deflate", zlib.compress(UNPACKED)[2:-4]),
        ("identity", UNPACKED),
    ],
)
def test_a_server_that_packs_its_answer_unasked_is_understood(run: Run, coding: str, packed: bytes) -> None:
    answer = whole(packed, f"Content-Encoding: {coding}")
    assert understood(run, answer) == understood(run, answer[:-7], answer[-7:]) == {"text": "so it goes " * 20_000}


@pytest.mark.fault("D23")
@pytest.mark.parametrize("packed", [True, False])
def test_an_answer_has_a_size_however_it_is_packed(run: Run, packed: bool) -> None:
    body = b'{"x": "' + b"y" * (ANSWER_BYTES_MAX * 4) + b'"}'
    answer = whole(gzipped(body), "Content-Encoding: gzip") if packed else whole(body)
    assert understood(run, answer, Then.WAIT) == "garbled"


def test_the_question_is_what_http_asks_for(run: Run) -> None:
    async def scenario() -> None:
        async with WireServer((whole(),)).running() as server:
            upstream = Upstream(f"http://127.0.0.1:{server.port}/a b/ä/v1/")
            await upstream.post("/chat?x=1", {"Authorization": "Bearer k"}, {"a": "ä"})
            await upstream.get("/models", {})
            await upstream.aclose()
            heads = [question.split(b"\r\n") for _, question in server.heard]
            host = b"Host: 127.0.0.1:%d" % server.port
            assert heads[0][:2] == [b"POST /a%20b/%C3%A4/v1/chat?x=1 HTTP/1.1", host]
            assert heads[1][:2] == [b"GET /a%20b/%C3%A4/v1/models HTTP/1.1", host]
            fields = {b"Accept-Encoding: identity", b"Content-Type: application/json", b"Authorization: Bearer k", b"Content-Length: 10"}
            assert fields < set(heads[0])
            assert heads[0][-2:] == [b"", '{"a":"ä"}'.encode()]
            assert not any(line.startswith((b"Content-Length", b"Authorization")) for line in heads[1])

    run(scenario())


@pytest.mark.fault("G10")
@pytest.mark.parametrize("value", ["k\r\nX: y", "k\nX: y", "k\rX: y"])
def test_no_field_becomes_two(run: Run, value: str) -> None:
    async def scenario() -> None:
        async with WireServer((whole(),)).running() as server:
            upstream = upstream_of(server)
            with pytest.raises(ValueError, match="one line") as refused:
                await upstream.post("/chat", {"Authorization": value}, {})
            assert "X: y" not in str(refused.value)
            await upstream.aclose()
            assert not server.heard

    run(scenario())


# ---- streams


def event(text: str) -> bytes:
    return f"data: {text}\n\n".encode()


async def heard(upstream: Upstream, *, pause_seconds: float = 0.0) -> tuple[list[str], str]:
    """The events, each taken after a pause, and what ended them."""
    texts: list[str] = []
    try:
        async for each in upstream.events("/chat", {}, {}, is_last=lambda found: found.data == "last"):
            texts.append(each.data)
            await asyncio.sleep(pause_seconds)
    except ProviderDown as trouble:
        return texts, str(trouble.extra["reason"])
    return texts, "end"


@pytest.mark.parametrize(
    ("parts", "texts", "end"),
    [
        ((chunked(event("a"), event("b"), event("last")),), ["a", "b", "last"], "end"),
        ((chunked(event("a"), event("b"), fields="Content-Encoding: x\r\n"),), ["a", "b"], "end"),
        ((b"HTTP/1.1 200 OK\r\n\r\n" + event("a"), Then.HANG_UP), ["a"], "end"),
        ((chunked(event("a"), end=b""), Then.HANG_UP), ["a"], "cut_off"),
        ((chunked(event("a"), event("last"), end=b""), Then.WAIT), ["a", "last"], "end"),
        ((chunked(event("a"), end=b"oh\r\n"), Then.WAIT), ["a"], "cut_off"),
        ((chunked(gzipped(event("a") + event("last")), fields="Content-Encoding: gzip\r\n"),), ["a", "last"], "end"),
        ((chunked(gzipped(event("a"))[:-1], fields="Content-Encoding: gzip\r\n"),), ["a"], "cut_off"),
    ],
)
def test_a_stream_tells_how_it_ended(run: Run, parts: Answer, texts: list[str], end: str) -> None:
    async def scenario() -> None:
        async with WireServer(parts).running() as server:
            upstream = upstream_of(server)
            assert await heard(upstream) == (texts, end)
            await upstream.aclose()

    run(scenario())


@pytest.mark.fault("D23")
def test_a_stream_that_nobody_reads_is_made_to_wait_and_loses_nothing(run: Run) -> None:
    async def scenario() -> None:
        events = [f"{number} " + "x" * 10_000 for number in range(3_000)]
        parts = (chunked(end=b""), *(chunk(event(text)) for text in events), b"0\r\n\r\n")
        async with WireServer(parts).running() as server:
            upstream = upstream_of(server)
            told: list[str] = []
            async with aclosing(upstream.events("/chat", {}, {}, is_last=never)) as items:
                told.append((await anext(items)).data)
                before = -1
                while server.sent_bytes != before:  # until the server gets no more rid of
                    before = server.sent_bytes
                    for _ in range(100):
                        await asyncio.sleep(0.001)
                assert server.sent_bytes < 30_000_000 // 2
                told += [item.data async for item in items]
            assert told == events
            await upstream.aclose()
            assert server.sent_bytes > WAITING_BYTES_MAX

    run(scenario())


@contextlib.asynccontextmanager
async def telling(pieces: Iterable[bytes], *, every_seconds: float, total_seconds: float) -> AsyncIterator[Upstream]:
    """A provider that streams these, met by whoever gives an answer at most so long."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(chunked(end=b""))
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                if writer.is_closing():
                    break
                writer.write(chunk(piece))
                await writer.drain()
                await asyncio.sleep(every_seconds)
        writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    timeouts = Timeouts(connect_seconds=20, first_byte_seconds=20, idle_seconds=20, total_seconds=total_seconds)
    upstream = Upstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeouts=timeouts)
    yield upstream
    await upstream.aclose()
    server.close()


@pytest.mark.fault("E16")
def test_a_stream_that_says_nothing_without_a_pause_is_ended_by_the_total_time(run: Run) -> None:
    async def scenario() -> None:
        async with telling(repeat(b": and on\n\n" * 1_000), every_seconds=0, total_seconds=0.2) as upstream:
            assert await asyncio.wait_for(heard(upstream), 60) == ([], "timed_out")

    run(scenario())


@pytest.mark.fault("E16")
def test_a_reader_who_takes_a_stream_slowly_does_not_make_it_longer(run: Run) -> None:
    """There is always something more that has come already, so nothing is ever waited for."""

    async def scenario() -> None:
        async with telling([b"data: x\n\n"] * 200, every_seconds=0.005, total_seconds=0.3) as upstream:
            assert (await heard(upstream, pause_seconds=0.02))[1] == "timed_out"

    run(scenario())


def never(event: Event) -> bool:
    return False
