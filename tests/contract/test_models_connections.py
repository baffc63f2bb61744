"""Connections to a provider: which are used again, which never, and how they are made."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import aclosing

import pytest
import uvloop
from tests.contract.model_servers.asking import TIMEOUTS, ask, received, upstream_of
from tests.contract.model_servers.wire import OK, Answer, Run, Then, WireServer, chunked, whole
from yarl import URL

from timmy.models import ProviderDown, connections
from timmy.models.connection import Broken
from timmy.models.upstream import Timeouts, Upstream


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.001)


# ---- used again, or not


@pytest.mark.parametrize(
    "answer",
    [
        (whole(),),
        (chunked(OK),),
        (chunked(OK, end=b"0\r\nX: y\r\n\r\n"),),
        (whole(status="404 Not Found"),),
        (b"HTTP/1.1 204 No Content\r\n\r\n",),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 12\r\n\r\n" + OK,),
    ],
)
def test_a_connection_is_used_again_after_a_whole_answer(run: Run, answer: Answer) -> None:
    async def scenario() -> None:
        async with WireServer(answer).running() as server:
            upstream = upstream_of(server)
            found = [await ask(upstream) for _ in range(3)]
            assert len(set(map(str, found))) == 1
            assert server.connections == 1
            await upstream.aclose()

    run(scenario())


@pytest.mark.parametrize(
    "first",
    [
        (whole(OK, "Connection: close"),),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\n" + OK,),
        (b"HTTP/1.1 200 OK\r\n\r\n" + OK, Then.HANG_UP),
        (whole() + b"x",),
        (whole() + whole(b'{"ok": "forged"}'),),
        (whole() + whole(b'{"ok": "forged"}')[:20],),
        (whole(OK, "Connection: close") + whole(),),
        (whole(b"x" * 1_000_000, status="500 Oh"),),
        (chunked(OK, end=b"oh\r\n"),),
    ],
)
@pytest.mark.fault("D23")
def test_a_connection_of_which_anything_is_doubtful_is_never_used_again(run: Run, first: Answer) -> None:
    """What comes behind an answer is an answer to nobody: it must not be told to the next who asks."""

    async def scenario() -> None:
        async with WireServer(first, (whole(b'{"ok": 2}'),)).running() as server:
            upstream = upstream_of(server)
            await ask(upstream)
            assert await ask(upstream) == {"ok": 2}
            assert [number for number, _ in server.heard] == [1, 2]
            await upstream.aclose()

    run(scenario())


@pytest.mark.fault("D23")
def test_a_server_that_answers_before_it_has_heard_all_is_not_asked_again_over_the_rest_of_it(run: Run) -> None:
    async def scenario() -> None:
        asked: list[bytes] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(whole())
            await writer.drain()
            await let_go.wait()
            writer.transport.abort()

        let_go = asyncio.Event()
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        upstream = Upstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeouts=TIMEOUTS)
        for times in (1, 2):
            assert await upstream.post("/chat", {}, {"text": "x" * 30_000_000}) == {"ok": True}
            assert len(asked) == times
        let_go.set()
        await upstream.aclose()
        server.close()

    run(scenario())


def test_a_server_that_hangs_up_on_whoever_comes_is_nobody_there(run: Run) -> None:
    async def scenario() -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        upstream = Upstream(f"http://127.0.0.1:{port}", timeouts=TIMEOUTS)
        assert set(await asyncio.gather(*(ask(upstream) for _ in range(20)))) == {"unreachable"}
        await upstream.aclose()
        late = asyncio.get_running_loop().time() + 60
        made = await connections.Connections(URL(f"http://127.0.0.1:{port}"), connect_seconds=20).connected(late)
        await until(lambda: not made.is_open)
        with pytest.raises(Broken):
            await made.ask(b"too late").headed(late)
        server.close()

    run(scenario())


@pytest.mark.fault("D23")
def test_what_is_said_unasked_is_never_an_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS_MAX", 3_600.0)

    async def scenario() -> None:
        async with WireServer((whole(),)).running() as server:
            upstream = upstream_of(server)
            await ask(upstream)
            await server.say_unasked(whole(b'{"ok": "forged"}'))
            await asyncio.wait_for(server.left.wait(), 60)
            assert await ask(upstream) == {"ok": True}
            assert server.connections == 2
            await upstream.aclose()

    run(scenario())


def test_a_connection_that_the_server_has_closed_is_not_used(run: Run) -> None:
    async def scenario() -> None:
        async with WireServer((whole(),)).running() as server:
            upstream = upstream_of(server)
            for connections_before in range(3):
                assert server.connections == connections_before
                assert await ask(upstream) == {"ok": True}
                server.close_connections()
                await asyncio.wait_for(server.left.wait(), 60)
                server.left.clear()
            await upstream.aclose()

    run(scenario())


@pytest.mark.parametrize("then", [Then.HANG_UP, Then.RESET])
def test_a_question_that_meets_the_closing_of_its_connection_is_put_again_only_if_nothing_can_come_of_it(run: Run, then: Then) -> None:
    """A GET at once, and a POST only where all trouble is weighed: it may have been heard."""

    async def scenario() -> None:
        async with WireServer((whole(),), (then,), (whole(),), (whole(),), (then,), (whole(),)).running() as server:
            upstream = upstream_of(server)
            assert await ask(upstream) == {"ok": True}
            assert await ask(upstream) == "unreachable"
            assert [number for number, _ in server.heard] == [1, 1]
            assert await ask(upstream) == {"ok": True}
            assert await upstream.get("/models", {}) == {"ok": True}
            assert await upstream.get("/models", {}) == {"ok": True}
            assert [number for number, _ in server.heard] == [1, 1, 2, 2, 2, 3]
            await upstream.aclose()

    run(scenario())


def test_a_get_that_was_begun_to_be_answered_is_not_put_again(run: Run) -> None:
    async def scenario() -> None:
        async with WireServer((whole(),), (b"HTTP/1.1 2", Then.HANG_UP), (whole(),)).running() as server:
            upstream = upstream_of(server)
            await upstream.get("/models", {})
            with pytest.raises(ProviderDown):
                await upstream.get("/models", {})
            assert len(server.heard) == 2
            await upstream.aclose()

    run(scenario())


def test_idle_connections_are_closed_after_a_while(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS_MAX", 0.02)

    async def scenario() -> None:
        gate = asyncio.Event()
        async with WireServer((gate, whole()), (gate, whole()), (whole(),)).running() as server:
            upstream = upstream_of(server)
            asking = [asyncio.create_task(ask(upstream)) for _ in range(2)]
            await until(lambda: len(server.heard) == 2)
            gate.set()
            assert await asyncio.gather(*asking) == [{"ok": True}] * 2
            await until(lambda: server.gone == 2)
            assert await ask(upstream) == {"ok": True}
            assert server.connections == 3
            await upstream.aclose()

    run(scenario())


def test_there_are_as_many_connections_as_questions_at_once_and_they_are_kept(run: Run) -> None:
    async def scenario() -> None:
        gate = asyncio.Event()
        async with WireServer((gate, whole())).running() as server:
            upstream = upstream_of(server)
            for _ in range(2):
                gate.clear()
                server.heard.clear()
                asking = [asyncio.create_task(ask(upstream)) for _ in range(120)]
                await until(lambda: len(server.heard) == 120)
                gate.set()
                assert await asyncio.gather(*asking) == [{"ok": True}] * 120
            assert server.connections == 120
            await upstream.aclose()
            await until(lambda: server.gone == 120)

    run(scenario())


# ---- left


@pytest.mark.fault("D25")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", whole()[:-1]])
def test_whoever_is_cancelled_hangs_up_at_once_and_leaves_nothing_behind(run: Run, streamed: bool, said: bytes) -> None:
    async def scenario() -> None:
        async with WireServer((said, Then.WAIT), (whole(),)).running() as server:
            upstream = upstream_of(server)
            asking = asyncio.create_task(drained(upstream) if streamed else ask(upstream))
            await server.asked.wait()
            await asyncio.sleep(0.01)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await asyncio.wait_for(server.left.wait(), 60)
            assert await ask(upstream) == {"ok": True}
            assert server.connections == 2
            await upstream.aclose()

    run(scenario())


async def drained(upstream: Upstream) -> object:
    return [each async for each in upstream.events("/chat", {}, {}, is_last=lambda _: False)]


@pytest.mark.fault("D25")
def test_a_stream_that_is_left_is_hung_up_on_at_once_whatever_is_still_to_be_sent(run: Run) -> None:
    async def scenario() -> None:
        async with WireServer((chunked(b"data: a\n\n" * 100_000, end=b""), Then.WAIT)).running() as server:
            upstream = upstream_of(server)
            async with aclosing(upstream.events("/chat", {}, {}, is_last=lambda _: False)) as items:
                assert (await anext(items)).data == "a"
            await asyncio.wait_for(server.left.wait(), 60)
            await upstream.aclose()

    run(scenario())


@pytest.mark.fault("D25")
def test_a_question_that_nobody_takes_in_is_given_up_with_all_of_it(run: Run) -> None:
    """A server that reads nothing: what is still to be sent is not sent any more."""

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            upstream = Upstream(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeouts=Timeouts(20, 20, 20, 0.1))
            with pytest.raises(ProviderDown) as down:
                await upstream.post("/chat", {}, {"text": "x" * 30_000_000})
            assert down.value.extra == {"reason": "timed_out"}
            heard, _ = deaf.accept()
            with heard:
                heard.settimeout(60)
                size = 0
                while chunk := await asyncio.to_thread(received, heard):
                    size += len(chunk)
                assert size < 30_000_000
            await upstream.aclose()

    run(scenario())


def test_closing_hangs_up_on_those_in_use_too(run: Run) -> None:
    async def scenario() -> None:
        async with WireServer((Then.WAIT,)).running() as server:
            upstream = upstream_of(server)
            asking = asyncio.create_task(ask(upstream))
            await server.asked.wait()
            await upstream.aclose()
            assert await asking == "unreachable"
            await asyncio.wait_for(server.left.wait(), 60)

    run(scenario())
