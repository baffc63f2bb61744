"""The interface and its description say the same, and nothing that can be sent makes a 500."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck
from hypothesis import settings as effort
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from scripts import errors_page, openapi
from starlette.routing import Route
from tests.contract.http_desk import World

from timmy.identity import macaroons
from timmy.settings import Settings
from timmy.web import create_app
from timmy.web.operations import PageRoute

WORLD = World.build(hook_secret="s3cret-of-the-hook", steps=True, talks=True)
asyncio.run(WORLD.desk.submit("Why?"))  # something to be found by the ids that are tried
KEY = macaroons.mint(bytes(32), bytes(66), "here", ()).encode()
schema = schemathesis.openapi.from_asgi("/api/openapi.json", create_app(WORLD.house))

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
)


@pytest.mark.fault("F01", "F02", "F03", "F09")
@schema.parametrize()
@effort(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_whatever_is_sent_is_answered_as_described(case: schemathesis.Case[Any]) -> None:
    validated(case, CHECKS)


@pytest.mark.fault("E19", "F01", "F02", "F09")
@schema.include(path_regex="^/v1/").parametrize()
@effort(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_whatever_is_sent_with_a_key_is_answered_as_described(case: schemathesis.Case[Any]) -> None:
    """Past the counter, where a call is looked at to its last field."""
    case.headers["Authorization"] = f"Bearer {KEY}"
    validated(case, [check for check in CHECKS if check is not unsupported_method])


def validated(case: schemathesis.Case[Any], checks: Sequence[Any]) -> None:
    """402 is a refusal too: who shows nothing is asked to pay."""
    answer = case.call()
    case.validate_response(answer, checks=[one for one in checks if one is not negative_data_rejection or answer.status_code != 402])


def test_the_document_on_paper_is_the_one_that_is_served() -> None:
    assert openapi.DOCUMENT.read_text("utf-8") == openapi.render_document(), "./run docs writes it anew"
    assert openapi.PAGE.read_text("utf-8") == openapi.render(), "./run docs writes it anew"


def test_the_page_of_errors_is_what_the_classes_say() -> None:
    assert errors_page.PAGE.read_text("utf-8") == errors_page.render(), "./run docs writes it anew"


def test_no_two_errors_share_a_code() -> None:
    meanings = defaultdict(set)
    for kind in errors_page.classes():
        meanings[kind.code].add((kind.status, kind.title))
    assert {code: found for code, found in meanings.items() if len(found) > 1} == {}
    assert [code for code in meanings if not re.fullmatch(r"[a-z][a-z0-9_]*", code)] == []


def test_every_route_is_described_and_every_description_routed() -> None:
    app = create_app(WORLD.house)
    described = {(method.upper(), path) for path, methods in app.document["paths"].items() for method in methods}
    routed = {
        (method, str(getattr(route, "path", "")).replace(":path}", "}"))
        for route in app.router.routes
        for method in getattr(route, "methods", None) or ()
        if not isinstance(route, PageRoute)  # for people
        if method != "HEAD" or not isinstance(route, Route)
    }
    assert described == routed


def resolved(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}", "components": document["components"]}


def examples() -> list[tuple[str, str, Any]]:
    found = []
    for path, methods in openapi.describe()["paths"].items():
        for method, one in methods.items():
            for content in one.get("requestBody", {}).get("content", {}).values():
                shape = content["schema"]["$ref"].rpartition("/")[2]
                found += [(f"{method} {path} {name}", shape, example["value"]) for name, example in content["examples"].items()]
            for status, answer in one["responses"].items():
                for content in answer.get("content", {}).values():
                    shape = content["schema"].get("$ref", "").rpartition("/")[2]
                    if "example" in content:
                        found.append((f"{method} {path} {status}", shape, content["example"]))
                    found += [(f"{method} {path} {code}", shape, e["value"]) for code, e in content.get("examples", {}).items()]
    return found


def test_every_example_has_the_shape_that_it_is_an_example_of() -> None:
    document = openapi.describe()
    shown = examples()
    assert len(shown) > 50
    wrong = [where for where, shape, example in shown if not jsonschema_rs.is_valid(resolved(document, shape), example)]
    assert wrong == []


def test_the_numbers_of_the_examples_agree() -> None:
    complete = next(example for where, _, example in examples() if where == "get /api/jobs/{jobId} 200")
    ledger, breakdown = complete["costLedger"], complete["pricingBreakdown"]
    assert ledger["actualAmountSats"] + ledger["refundAmountSats"] == ledger["workAmountSats"] == complete["workInvoice"]["amountSats"]
    assert ledger["totalTokens"] == ledger["actualInputTokens"] + ledger["actualOutputTokens"]
    exact = breakdown["estimatedCostUsd"] * (1 + breakdown["marginPct"] / 100) / breakdown["btcPriceUsd"] * 100_000_000
    assert 0 <= breakdown["amountSats"] - exact < 1.000001


async def test_a_job_in_every_state_has_the_described_shape() -> None:
    world = World.build(steps=True)
    document, seen = openapi.describe(), set()
    async with world.client() as client:
        for request in ("Why?", "please reject this", "please fail"):
            job_id = (await client.post("/api/jobs", json={"request": request})).json()["jobId"]
            for step in (None, world.desk.judge, world.desk.work):
                if step is not None and not world.desk.jobs[job_id].state.is_final:
                    await step(job_id)
                shown = (await client.get(f"/api/jobs/{job_id}")).json()
                jsonschema_rs.validate(resolved(document, "Job"), shown)
                assert set(shown) == set(document["components"]["schemas"]["Job"]["properties"])
                seen.add(shown["state"])
    assert seen == {"awaiting_eval_payment", "awaiting_work_payment", "rejected", "complete", "failed"}


async def test_the_limit_in_the_document_is_the_servers() -> None:
    async with World.build(Settings(max_request_chars=123)).client() as client:
        document = (await client.get("/api/openapi.json")).json()
    assert document["components"]["schemas"]["NewJob"]["properties"]["request"]["maxLength"] == 123


# Pages -----------------------------------------------------------------------------------------------------


def without_built_pages(settings: Settings | None = None) -> World:
    """A house whose landing page was not built: a plain one stands in its place."""
    world = World.build(settings)
    world.house.built_pages = Path("nowhere")
    return world


async def test_the_page_needs_nothing_from_another_host_and_runs_no_script() -> None:
    async with without_built_pages().client() as client:
        for path in ("/api/docs", "/"):
            answer = await client.get(path)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert "<script" not in answer.text
            assert not re.search(r"""(src|href)=["']?(https?:)?//""", answer.text)
            assert "sha256-" in answer.headers["content-security-policy"]


async def test_every_error_and_every_operation_has_its_place_on_the_page() -> None:
    async with World.build().client() as client:
        page = (await client.get("/api/docs")).text
        problem = (await client.get("/api/jobs/none")).json()
        document = (await client.get("/api/openapi.json")).json()
    assert f'id="{problem["type"].partition("#")[2]}"' in page
    for methods in document["paths"].values():
        for one in methods.values():
            assert f'id="{one["operationId"]}"' in page
    anchors = set(re.findall(r'id="?([\w-]+)', page))
    assert set(re.findall(r'href="#([\w-]+)"', page)) <= anchors


async def test_the_way_in_leads_to_the_page() -> None:
    async with World.build().client() as client:
        answer = await client.get("/api", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.headers["location"]) == (302, "/api/ui")


@pytest.mark.fault("H01", "H10")
@pytest.mark.parametrize("host", ['x"><img src=x>', "x; rm -rf ~", "$(id)", "a b", "`id`", "x/../..", "", "x:123456", "x\\y"])
async def test_no_host_that_a_client_claims_gets_into_a_page_or_a_script(host: str) -> None:
    async with without_built_pages().client() as client:
        for path in ("/", "/api/testkit"):
            text = (await client.get(path, headers={"Host": host})).text
            assert "http://127.0.0.1:8402/api" in text
            assert f"http://{host}/api" not in text


async def test_what_is_to_be_typed_is_where_the_reader_has_come() -> None:
    async with without_built_pages().client() as client:
        for host in ("shop.example:81", "[::1]:8402", "10.0.0.7"):
            assert f"http://{host}/api/jobs" in (await client.get("/", headers={"Host": host})).text
    async with without_built_pages(Settings(public_url="https://timmy.example")).client() as client:
        assert "https://timmy.example/api/jobs" in (await client.get("/", headers={"Host": "10.0.0.7"})).text


def test_the_document_is_json_that_anyone_can_read() -> None:
    assert json.loads(openapi.render_document())["openapi"] == "3.1.0"
