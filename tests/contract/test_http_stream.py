"""Event streams and the server itself, over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from tests.contract.http_desk import PATIENCE_SECONDS, World, opened

from timmy.jobs.model import JobNews
from timmy.web import create_app, server, stream


@dataclass
class Told:
    kind: str
    data: Any
    id: str | None


async def read(answer: aiohttp.ClientResponse) -> AsyncIterator[Told]:
    kind, data, seen = "", "", None
    async for raw in answer.content:
        line = raw.decode().rstrip("\n")
        field, _, value = line.partition(": ")
        if field == "event":
            kind = value
        elif field == "data":
            data = value
        elif field == "id":
            seen = value
        elif line.startswith(":"):
            yield Told("comment", None, None)
        elif not line and (data or seen):
            yield Told(kind, json.loads(data) if data else None, seen)
            kind, data, seen = "", "", None


async def until_nobody_reads(world: World) -> None:
    await asyncio.wait_for(world.desk.nobody_reads.wait(), PATIENCE_SECONDS)


async def test_a_job_is_told_as_it_happens_and_the_stream_ends_with_it() -> None:
    async with opened() as here:
        job = await here.order()
        told: list[Told] = []
        async with here.events(job["jobId"]) as answer:
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            assert answer.headers["Cache-Control"] == "no-store"
            async for event in read(answer):
                told.append(event)
                if event.kind == "job" and event.data["state"] == "awaiting_eval_payment":
                    await here.pay(job["evalInvoice"]["paymentHash"])
                if event.kind == "job" and event.data["state"] == "awaiting_work_payment":
                    await here.pay(event.data["workInvoice"]["paymentHash"])
        assert told[0].kind == "job"
        states = [event.data["state"] for event in told if event.kind == "job"]
        assert states[0] == "awaiting_eval_payment"
        assert states[-1] == "complete"
        assert len(states) == len(set(states)), "the whole job whenever it changes, and only then"
        assert "".join(event.data["text"] for event in told if event.kind == "progress") == "An answer."
        assert told[-1].kind == "end"
        ids = [int(event.id) for event in told if event.id]
        assert ids == sorted(set(ids))
        async with here.session.get(f"{here.url}/api/jobs/{job['jobId']}") as answer:
            assert [event.data for event in told if event.kind == "job"][-1] == await answer.json()
        await until_nobody_reads(here.world)


async def test_a_reader_that_comes_back_gets_what_it_missed_and_nothing_twice() -> None:
    async with opened(steps=True) as here:
        desk, job_id = here.world.desk, (await here.order())["jobId"]
        await desk.judge(job_id)
        await desk.work(job_id)
        async with here.events(job_id) as answer:
            everything = [event async for event in read(answer)]
        numbered = [event for event in everything if event.id]
        async with here.events(job_id, numbered[2].id) as answer:
            rest = [event async for event in read(answer)]
        assert [event.id for event in rest if event.id] == [event.id for event in numbered[3:]]
        assert rest[0].kind == "job", "the whole state, whatever was missed"
        async with here.events(job_id, numbered[-1].id) as answer:
            assert answer.status == 204, "an EventSource stops coming back"
        for odd in ("-1", "1e3", "x", "9" * 30):
            async with here.events(job_id, odd) as answer:
                assert [event.id for event in [event async for event in read(answer)] if event.id] == [event.id for event in numbered]
        await until_nobody_reads(here.world)


async def test_a_reader_that_leaves_leaves_nothing_behind() -> None:
    async with opened(steps=True) as here:
        job_id = (await here.order())["jobId"]
        for _ in range(5):
            async with here.events(job_id) as answer:
                await anext(read(answer))
                assert here.world.desk.readers == 1
            await until_nobody_reads(here.world)


async def test_the_server_stops_although_streams_are_open() -> None:
    async with opened(steps=True) as here:
        job_id = (await here.order())["jobId"]
        answers = [await here.events(job_id) for _ in range(3)]
        for answer in answers:
            await anext(read(answer))
        here.world.house.closing.set()  # what Server.shutdown() does first
        for answer in answers:
            assert [event.kind async for event in read(answer) if event.kind == "end"] == []
        await until_nobody_reads(here.world)


async def test_stopping_the_server_ends_its_streams_first() -> None:
    world = World.build(steps=True)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = server(create_app(world.house), world.house, host="127.0.0.1", port=0)
        running.config.timeout_graceful_shutdown = None  # for ever, if the streams do not end by themselves
        serving = asyncio.create_task(running.serve(sockets=[listening]))
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/api/jobs"
            async with session.post(url, json={"request": "Why?"}) as answer:
                job_id = (await answer.json())["jobId"]
            async with session.get(f"{url}/{job_id}/events") as answer:
                await anext(read(answer))
                running.should_exit = True  # what a SIGTERM sets
                await asyncio.wait_for(serving, PATIENCE_SECONDS)
    assert world.desk.readers == 0


async def test_a_silent_stream_shows_that_it_is_alive() -> None:
    world = World.build(steps=True)
    job = await world.desk.submit("Why?")
    sent: list[bytes] = []
    enough, never = asyncio.Event(), asyncio.Event()

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))
        if sent.count(b": still here\n\n") == 2:
            enough.set()

    async def receive() -> Any:
        await never.wait()

    news = world.desk.follow(job.id, after_seq=1)
    quiet = stream.JobStream(world.house, job, news, asyncio.create_task(stream.next_news(news)), heartbeat_seconds=0)
    task = asyncio.create_task(quiet({"type": "http", "method": "GET"}, receive, send))
    await asyncio.wait_for(enough.wait(), PATIENCE_SECONDS)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert world.desk.readers == 0


@pytest.mark.fault("H01")
def test_no_text_of_a_model_can_forge_an_event() -> None:
    frame = stream.event("progress", {"text": "x\n\nevent: job\ndata: {}\r\nid: 9\u2028"}, 3)
    assert frame.count(b"\n") == 4
    assert b"\r" not in frame
    assert frame.startswith(b"id: 3\nevent: progress\ndata: {")


async def test_an_answer_that_breaks_off_ends_the_stream_and_frees_it() -> None:
    async with opened(steps=True) as here:
        job_id = (await here.order())["jobId"]
        async with here.events(job_id) as answer:
            await anext(read(answer))
            here.world.desk.jobs.pop(job_id)  # the next look at the job fails
            here.world.desk.news[job_id].append(JobNews(99, "state", None))
            async with here.world.desk.changed:
                here.world.desk.changed.notify_all()
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        await until_nobody_reads(here.world)


# The body on the wire ----------------------------------------------------------------------------------------


@pytest.mark.fault("F02", "F07")
async def test_a_body_without_an_end_is_refused_when_it_is_too_large() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'{"request": "'
        while sent < 200:
            sent += 1
            yield b"x" * 65_536
            await asyncio.sleep(0)

    async with opened() as here:
        try:
            headers = {"Content-Type": "application/json"}
            async with here.session.post(f"{here.url}/api/jobs", data=endless(), headers=headers) as answer:
                assert answer.status == 413
                assert answer.headers["Connection"] == "close"
        except aiohttp.ClientError:
            assert sent < 200, "the server hung up before it had all been sent"
        assert here.world.desk.jobs == {}


@pytest.mark.fault("F02")
async def test_a_body_that_announces_too_much_is_refused_before_it_is_sent() -> None:
    async with opened() as here:
        host, port = here.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /api/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 104857600\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"body_too_large" in answer


@pytest.mark.fault("F07")
async def test_a_body_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timmy.web.bodies.BODY_SECONDS_MAX", 0.05)
    async with opened() as here:
        host, port = here.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /api/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{")
        answer = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"body_too_slow" in answer
