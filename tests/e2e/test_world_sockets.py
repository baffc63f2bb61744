"""The world over real sockets: what visitors see of a job, of each other, and of a server that stops or comes back."""

from __future__ import annotations

import asyncio
import importlib
import json
from pathlib import Path

import orjson
import pytest
import websockets

from tests.contract.visiting import VALIDATOR, Visitor, visiting
from tests.e2e.serving import Site, serving

SECRET_REQUEST = "Please add 20 and 22 for my secret plan"


async def a_whole_job(site: Site) -> dict[str, str]:
    job: dict[str, str] = await site.post("/api/jobs", {"request": SECRET_REQUEST}, status=201)
    await site.pay(job["evalInvoice"])  # type: ignore[arg-type]
    offered = await site.until(job["jobId"], "awaiting_work_payment")
    await site.pay(offered["workInvoice"])
    done: dict[str, str] = await site.until(job["jobId"], "complete")
    return done


async def test_the_agents_follow_a_whole_job_and_nobody_learns_whose_it_is(tmp_path: Path) -> None:
    async with serving({"DATA_DIR": str(tmp_path)}) as site, visiting(site.url) as visitor:
        first = await visitor.next()
        assert first["type"] == "world_state"
        job = await a_whole_job(site)
        await visitor.of_type("agent_state", agentId="beta", state="idle")
        states = [said["state"] for said in visitor.seen if said["type"] == "job"]
        assert states == ["awaiting_eval_payment", "evaluating", "awaiting_work_payment", "executing", "complete"]
        assert len({said["ref"] for said in visitor.seen if said["type"] == "job"}) == 1
        busy = {(said["agentId"], said["state"]) for said in visitor.seen if said["type"] == "agent_state"}
        assert {("alpha", "evaluating"), ("beta", "working"), ("delta", "processing"), ("timmy", "working")} <= busy
        paid = {said["purpose"]: said["amountSats"] for said in visitor.seen if said["type"] == "payment"}
        assert paid == {"eval": 10, "work": job["workInvoice"]["amountSats"]}  # type: ignore[index]
        told = json.dumps(visitor.seen) + json.dumps(await site.get("/api/world/state"))
        for private in (
            job["jobId"],
            job["jobId"].removeprefix("job_"),
            job["evalInvoice"]["paymentHash"],  # type: ignore[index]
            job["workInvoice"]["paymentHash"],  # type: ignore[index]
            job["workInvoice"]["paymentRequest"],  # type: ignore[index]
            SECRET_REQUEST,
            "secret plan",
            job["result"],
        ):
            assert private not in told


async def test_what_is_asked_for_is_what_is_sent_first(tmp_path: Path) -> None:
    async with serving({"DATA_DIR": str(tmp_path)}) as site, visiting(site.url) as visitor:
        first = await visitor.next()
        asked = await site.get("/api/world/state")
        VALIDATOR.validate(asked)
        assert {name: first[name] for name in ("type", "cursor", "pool", "recent", "limits")} == {
            name: asked[name] for name in ("type", "cursor", "pool", "recent", "limits")
        }
        assert asked["pool"] == await site.get("/api/pool")
        assert asked["limits"] == {"messageCharsMax": 250, "repliesPerMinute": 3}


async def test_timmy_answers_a_visitor_before_everybody(tmp_path: Path) -> None:
    async with serving({"DATA_DIR": str(tmp_path)}) as site, visiting(site.url) as one, visiting(site.url) as other:
        await one.next()
        await other.next()
        await one.say("Good evening, who are you?")
        assert (await one.of_type("chat", agentId="visitor"))["mine"] is True
        assert "mine" not in await other.of_type("chat", agentId="visitor")
        assert (await one.of_type("chat", agentId="timmy"))["text"] == (await other.of_type("chat", agentId="timmy"))["text"]


async def test_two_houses_on_one_postgres_are_one_world(tmp_path: Path, postgres_url: str) -> None:
    def settings(name: str) -> dict[str, str]:
        return {"DATABASE_URL": postgres_url, "DATA_DIR": str(tmp_path / name), "TIMMY_TOKEN_SECRET": "a-secret-of-both-houses"}

    async with serving(settings("a")) as one, serving(settings("b")) as other:
        async with visiting(one.url) as here, visiting(other.url) as there:
            await here.next()
            await there.next()
            await here.of_type("visitors", count=2)
            await here.say("Is anybody in the other tower?")
            assert (await there.of_type("chat", agentId="visitor"))["text"] == "Is anybody in the other tower?"
            answer = await there.of_type("chat", agentId="timmy")
            assert (await here.of_type("chat", agentId="timmy"))["text"] == answer["text"]
            await a_whole_job(other)
            await here.of_type("job", state="complete")
        async with visiting(one.url) as again:
            recent = (await again.next())["recent"]
            assert answer["text"] in [said.get("text") for said in recent], "kept, and shown to whoever comes back"


@pytest.mark.fault("H04")
async def test_only_our_own_pages_and_those_on_the_list_may_open_a_socket(tmp_path: Path) -> None:
    settings = {"DATA_DIR": str(tmp_path), "PUBLIC_URL": "https://timmy.example", "CORS_ORIGINS": "https://friend.example"}
    async with serving(settings) as site:
        port = site.url.rpartition(":")[2]
        for origin in ("https://timmy.example", "https://friend.example", f"http://127.0.0.1:{port}", None):
            async with visiting(site.url, origin=origin) as visitor:
                assert (await visitor.next())["type"] == "world_state", origin
        for origin in (
            "https://evil.example",
            "null",
            "https://timmy.example.evil.example",
            "http://127.0.0.1:1",
            f"http://localhost:{port}",
        ):
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with visiting(site.url, origin=origin):
                    raise AssertionError(origin)
            assert refused.value.response.status_code == 403
            assert orjson.loads(refused.value.response.body or b"")["code"] == "origin_not_allowed"


async def test_a_server_that_stops_says_so_to_everybody(tmp_path: Path) -> None:
    sockets = []
    async with serving({"DATA_DIR": str(tmp_path)}) as site:
        for _ in range(5):
            sockets.append(await websockets.connect(site.url.replace("http", "ws") + "/api/ws"))
            await sockets[-1].recv()
    assert [await Visitor(socket).closing_code() for socket in sockets] == [1001] * 5


@pytest.mark.fault("H06")
async def test_one_network_does_not_take_all_the_places_and_a_full_house_says_so(tmp_path: Path) -> None:
    settings = {"DATA_DIR": str(tmp_path), "VIEWERS_PER_ADDRESS": "2", "VIEWERS_MAX": "3", "TRUSTED_PROXIES": "127.0.0.1"}

    def by(address: str) -> dict[str, str]:
        return {"X-Forwarded-For": address}

    async with serving(settings) as site:
        async with (
            visiting(site.url, additional_headers=by("2001:db8::1")) as one,
            visiting(site.url, additional_headers=by("2001:db8::2")) as two,  # of the same /64
            visiting(site.url, additional_headers=by("2001:db8::3")) as three,
            visiting(site.url, additional_headers=by("192.0.2.1")) as elsewhere,
            visiting(site.url, additional_headers=by("192.0.2.2")) as late,
        ):
            assert [(await each.next())["type"] for each in (one, two, elsewhere)] == ["world_state"] * 3
            assert await three.closing_code() == 1008
            assert await late.closing_code() == 1013
        async with asyncio.timeout(60):
            while len(site.app.house.world.crowd):  # type: ignore[union-attr]
                await asyncio.sleep(0.01)
        async with visiting(site.url, additional_headers=by("2001:db8::1")) as again:
            assert (await again.next())["type"] == "world_state", "a place that was left is free"


@pytest.mark.fault("E14", "H06")
async def test_an_address_that_a_client_claims_counts_for_nothing(tmp_path: Path) -> None:
    async with serving({"DATA_DIR": str(tmp_path), "VIEWERS_PER_ADDRESS": "1"}) as site, visiting(site.url) as one:
        await one.next()
        async with visiting(site.url, additional_headers={"X-Forwarded-For": "203.0.113.7"}) as claimed:
            assert await claimed.closing_code() == 1008


async def test_a_crowd_of_sockets_does_not_keep_requests_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("timmy.web.server"), "CONNECTIONS_MAX", 4)
    async with serving({"DATA_DIR": str(tmp_path)}) as site:
        sockets = [await websockets.connect(site.url.replace("http", "ws") + "/api/ws") for _ in range(12)]
        assert (await site.get("/api/healthz"))["status"] in ("ok", "degraded")
        for socket in sockets:
            await socket.close()
