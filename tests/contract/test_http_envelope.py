"""What surrounds every answer: ids, protecting headers, CORS, logs and metrics without secrets, and no exception that gets out."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import structlog
from structlog.testing import LogCapture
from tests.contract.http_desk import World

from timmy.jobs.model import JobView
from timmy.models import ProviderDown
from timmy.settings import Secret, Settings
from timmy.web import Condition, Part, create_app

CANARY = "canary-7c1e"
PATHS = ("/", "/api", "/api/docs", "/api/openapi.json", "/api/testkit", "/api/healthz", "/metrics", "/api/jobs/none", "/nothing")


@pytest.fixture
def logged() -> Iterator[LogCapture]:
    captured = LogCapture()
    before = structlog.get_config()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, structlog.processors.format_exc_info, captured])
    yield captured
    structlog.configure(**before)


@pytest.mark.fault("H10")
@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_protects_whoever_reads_it(path: str) -> None:
    async with World.build().client() as client:
        headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert "set-cookie" not in headers


async def test_over_tls_browsers_are_told_to_stay_there() -> None:
    async with World.build(Settings(public_url="https://timmy.example")).client() as client:
        assert "max-age" in (await client.get("/")).headers["strict-transport-security"]
    async with World.build().client() as client:
        assert "strict-transport-security" not in (await client.get("/")).headers


@pytest.mark.fault("H12")
async def test_what_is_said_about_a_job_is_neither_kept_nor_listed() -> None:
    world = World.build()
    async with world.client() as client:
        created = await client.post("/api/jobs", json={"request": "Why?"})
        path = f"/api/jobs/{created.json()['jobId']}"
        for answer in (created, await client.get(path), await client.post(f"{path}/refund", json={})):
            assert answer.headers["cache-control"] == "no-store"
            assert "noindex" in answer.headers["x-robots-tag"]


async def test_a_request_id_is_kept_when_it_is_harmless_and_made_when_not() -> None:
    async with World.build().client() as client:
        assert (await client.get("/", headers={"X-Request-Id": "mine_1.2:3-4"})).headers["x-request-id"] == "mine_1.2:3-4"
        for odd in ("", "x" * 65, "a b", "{evil}", "a\x1b[31m"):
            made = (await client.get("/", headers={"X-Request-Id": odd})).headers["x-request-id"]
            assert made.startswith("req_")


@pytest.mark.fault("F07")
@pytest.mark.parametrize("headers", [{f"x-{n}": "1" for n in range(101)}, {"x-large": "1" * 40_000}])
async def test_too_many_headers_are_refused(headers: dict[str, str]) -> None:
    async with World.build().client() as client:
        answer = await client.get("/api/healthz", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (431, "headers_too_large")


# CORS ---------------------------------------------------------------------------------------------------


ALLOWED = Settings(cors_origins=("https://shop.example",))
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,idempotency-key,x-stainless-os"}


@pytest.mark.fault("H09")
async def test_a_listed_page_may_call_and_never_with_cookies() -> None:
    async with World.build(ALLOWED).client() as client:
        asked = await client.options("/api/jobs", headers={"Origin": "https://shop.example", **PREFLIGHT})
        assert asked.status_code == 200
        assert "idempotency-key" in asked.headers["access-control-allow-headers"]
        answer = await client.get("/api/healthz", headers={"Origin": "https://shop.example"})
    for one in (asked, answer):
        assert one.headers["access-control-allow-origin"] == "https://shop.example"
        assert "access-control-allow-credentials" not in one.headers
    assert {"Retry-After", "X-Request-Id", "WWW-Authenticate"} <= set(answer.headers["access-control-expose-headers"].split(", "))
    assert "Origin" in answer.headers["vary"]


@pytest.mark.fault("H09")
@pytest.mark.parametrize("settings", [Settings(), ALLOWED])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://shop.example.evil.example", "http://shop.example"])
async def test_any_other_page_may_not(settings: Settings, origin: str) -> None:
    async with World.build(settings).client() as client:
        asked = await client.options("/api/jobs", headers={"Origin": origin, **PREFLIGHT})
        answer = await client.get("/api/healthz", headers={"Origin": origin})
    assert (asked.status_code, asked.json()["code"]) == (403, "origin_not_allowed")
    assert asked.headers["content-type"] == "application/problem+json"
    assert "access-control-allow-origin" not in {**asked.headers, **answer.headers}


@pytest.mark.fault("H09")
async def test_where_openais_shape_is_read_a_refused_page_is_told_in_it() -> None:
    async with World.build(ALLOWED).client() as client:
        asked = await client.options("/v1/chat/completions", headers={"Origin": "https://evil.example", **PREFLIGHT})
    error = asked.json()["error"]
    assert (asked.status_code, error["code"], error["type"]) == (403, "origin_not_allowed", "permission_error")
    assert (asked.headers["content-type"], asked.headers["x-should-retry"]) == ("application/json", "false")
    assert "access-control-allow-origin" not in asked.headers


async def test_a_refusal_can_be_read_by_a_listed_page() -> None:
    async with World.build(ALLOWED).client() as client:
        answer = await client.post("/api/jobs", json={}, headers={"Origin": "https://shop.example"})
    assert answer.status_code == 422
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"


# Trouble below -------------------------------------------------------------------------------------------------


def failing(world: World, trouble: Exception) -> httpx.AsyncClient:
    async def view(job_id: str) -> JobView:
        raise trouble

    world.desk.view = view  # type: ignore[method-assign]
    return world.client()


@pytest.mark.fault("H11", "G02")
async def test_an_unexpected_exception_is_logged_here_and_told_nowhere_else(logged: LogCapture) -> None:
    async with failing(World.build(), KeyError(CANARY)) as client:
        answer = await client.get("/api/jobs/job_1", headers={"X-Request-Id": "find-me"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-frame-options"] == "DENY"
    assert CANARY not in answer.text
    assert "Traceback" not in answer.text
    told = next(entry for entry in logged.entries if entry["event"] == "unexpected")
    assert (told["request_id"], told["route"]) == ("find-me", "/api/jobs/{jobId}")


async def test_an_outage_says_when_to_come_back() -> None:
    async with failing(World.build(), ProviderDown("The model is not answering. Nothing is lost.")) as client:
        answer = await client.get("/api/jobs/job_1")
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "model_down", "5")


# Logs and metrics -------------------------------------------------------------------------------------------------


@pytest.mark.fault("G01", "G02")
async def test_no_log_and_no_metric_holds_what_a_client_sent_or_who_may_see_a_job(logged: LogCapture) -> None:
    world = World.build(hook_secret=f"{CANARY}-hook")
    secret = {"Authorization": f"Bearer {CANARY}", "Idempotency-Key": CANARY, "Cookie": CANARY, "User-Agent": CANARY, "Referer": CANARY}
    async with world.client() as client:
        created = await client.post("/api/jobs", json={"request": CANARY}, headers=secret)
        job_id = created.json()["jobId"]
        await client.get(f"/api/jobs/{job_id}?token={CANARY}", headers=secret)
        await client.post(f"/api/jobs/{job_id}/refund", json={"invoice": CANARY, CANARY: 1})
        await client.post("/api/jobs", content=CANARY, headers={"Content-Type": "application/json"})
        await client.post(f"/api/hooks/lnbits/{CANARY}-hook", json={"payment_hash": "ab" * 32})
        await client.post(f"/api/hooks/lnbits/{CANARY}-wrong", json={})
        await client.get(f"/{CANARY}/{CANARY}")
        await client.request(f"X{CANARY.upper()}", "/api/jobs")
        text = (await client.get("/metrics")).text
    assert len(logged.entries) >= 9
    for place in (repr(logged.entries), text, repr(world.metrics.requests)):
        assert CANARY not in place
        assert CANARY.upper() not in place
        assert job_id not in place


async def test_requests_are_counted_by_template() -> None:
    world = World.build()
    async with world.client() as client:
        await client.get("/api/jobs/job_1")
        await client.post("/api/jobs/job_2/refund", json={"invoice": "x"})
        await client.get("/no/such/thing")
        await client.get("/")
        await client.request("BREW", "/api/jobs")
    assert world.metrics.requests == [
        ("GET", "/api/jobs/{jobId}", 404),
        ("POST", "/api/jobs/{jobId}/refund", 404),
        ("GET", "unmatched", 404),
        ("GET", "/", 200),
        ("OTHER", "/api/jobs", 405),
    ]


async def test_an_access_line_has_what_an_operator_needs(logged: LogCapture) -> None:
    async with World.build().client() as client:
        await client.get("/api/jobs/job_1", headers={"X-Request-Id": "mine"})
    line = logged.entries[-1]
    assert {line[name] for name in ("event", "method", "route", "request_id")} == {"http", "GET", "/api/jobs/{jobId}", "mine"}
    assert line["status"] == 404
    assert line["duration_ms"] >= 0


async def test_the_figures_are_the_operators_when_there_is_an_operators_token() -> None:
    async with World.build(Settings(admin_token=Secret("a-token-of-the-operator"))).client() as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic a-token-of-the-operator"}):
            answer = await client.get("/metrics", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "admin_token_wanted")
            assert answer.headers["www-authenticate"].startswith("Bearer")
        assert (await client.get("/metrics", headers={"Authorization": "Bearer a-token-of-the-operator"})).status_code == 200
    async with World.build().client() as client:
        assert (await client.get("/metrics")).headers["content-type"].startswith("text/plain")


# How it is ---------------------------------------------------------------------------------------------------------


async def test_health_names_every_stand_in() -> None:
    world = World.build()
    async with world.client() as client:
        shown = (await client.get("/api/healthz")).json()
    assert shown["status"] == "ok"
    assert shown["parts"]["wallet"] == {"status": "ok", "kind": "builtin", "detail": None, "standIn": world.parts[0].stand_in}
    assert shown["standIns"] == [world.parts[0].stand_in]
    assert shown["version"] == "0.0.0-test"


async def test_a_server_that_cannot_take_jobs_is_alive_but_not_ready() -> None:
    world = World.build()
    world.parts += [Part("price", Condition.DEGRADED, "fallback"), Part("books", Condition.DOWN, "ledger", "they do not close")]
    async with world.client() as client:
        alive, ready = await client.get("/api/healthz"), await client.get("/api/readyz")
        assert (alive.status_code, alive.json()["status"]) == (200, "down")
        assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
        assert ready.headers["retry-after"]
        assert ready.json()["parts"]["books"]["status"] == "down"
        world.parts.pop()
        ready = await client.get("/api/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")


async def test_the_house_is_started_before_the_first_request_and_stopped_after_the_last() -> None:
    world, told = World.build(), list[str]()

    async def start() -> None:
        told.append("start")

    async def stop() -> None:
        told.append(f"stop, closing {world.house.closing.is_set()}")

    world.house.start, world.house.stop = start, stop
    app = create_app(world.house)
    async with app.router.lifespan_context(app):
        told.append("open")
    assert told == ["start", "open", "stop, closing True"]
