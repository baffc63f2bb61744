"""Jobs over HTTP, against a desk in memory: what is accepted, what is refused and how, and what is told."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.contract.http_desk import World

from timmy.jobs.model import State
from timmy.jobs.protocol import ToInvoice, ToLightningAddress, ToLnurl
from timmy.settings import Settings

JSON = {"Content-Type": "application/json"}


def problem(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    shown: dict[str, Any] = answer.json()
    assert shown["status"] == answer.status_code
    assert shown["requestId"] == answer.headers["x-request-id"]
    assert shown["error"] == shown["detail"] != ""
    assert {"type", "title", "code", "instance"} <= set(shown)
    return shown


async def order(client: httpx.AsyncClient, **fields: object) -> dict[str, Any]:
    answer = await client.post("/api/jobs", json={"request": "Why?", **fields})
    assert answer.status_code == 201, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_a_job_is_bought_in_two_payments_and_the_rest_comes_back() -> None:
    world = World.build(steps=True)
    async with world.client() as client:
        answer = await client.post("/api/jobs", json={"request": "Why?", "refundTo": None})
        created = answer.json()
        assert answer.status_code == 201
        assert list(created) == ["jobId", "state", "createdAt", "trust_tier", "evalInvoice"]
        path = f"/api/jobs/{created['jobId']}"
        assert answer.headers["location"] == path
        assert (created["state"], created["trust_tier"]) == ("awaiting_eval_payment", "anonymous")

        assert (await client.post(f"/api/dev/stub/pay/{created['evalInvoice']['paymentHash']}")).json()["paid"] is True
        assert (await client.get(path)).json()["state"] == "evaluating"
        await world.desk.judge(created["jobId"])
        offered = (await client.get(path)).json()
        assert offered["state"] == "awaiting_work_payment"
        assert offered["workInvoice"]["amountSats"] == offered["pricingBreakdown"]["amountSats"] == 21

        await client.post(f"/api/dev/stub/pay/{offered['workInvoice']['paymentHash']}")
        assert (await client.get(path)).json()["state"] == "executing"
        await world.desk.work(created["jobId"])
        done = (await client.get(path)).json()
        assert (done["state"], done["result"]) == ("complete", "An answer.")
        ledger = done["costLedger"]
        assert ledger["totalTokens"] == ledger["actualInputTokens"] + ledger["actualOutputTokens"] == 538
        assert ledger["actualAmountSats"] + ledger["refundAmountSats"] == ledger["workAmountSats"] == 21

        invoice = (await client.post("/api/dev/stub/invoice", json={"amountSats": ledger["refundAmountSats"]})).json()["paymentRequest"]
        refunded = (await client.post(f"{path}/refund", json={"invoice": invoice})).json()
        assert (refunded["refund"]["state"], refunded["costLedger"]["refundState"]) == ("paid", "paid")
        assert refunded["refund"]["paidSats"] == refunded["costLedger"]["refundAmountSats"] == 10
        assert (await client.post(f"{path}/refund", json={"invoice": invoice})).json() == refunded


# What a request may be ---------------------------------------------------------------------------------


@pytest.mark.fault("F01", "F02", "F03")
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ('{"request": "Why?", "sats": 1}', 422, "field_unknown"),
        ("{}", 422, "request_missing"),
        ('{"refundTo": "a@b.example"}', 422, "request_missing"),
        ('{"request": ""}', 422, "request_empty"),
        ('{"request": " \\n\\t\\u3000"}', 422, "request_empty"),
        ('{"request": null}', 422, "request_wrong_type"),
        ('{"request": 1}', 422, "request_wrong_type"),
        ('{"request": ["Why?"]}', 422, "request_wrong_type"),
        ('{"request": true}', 422, "request_wrong_type"),
        (json.dumps({"request": "x" * 501}), 422, "request_too_long"),
        ('{"request": "a\\u0000b"}', 422, "text_invalid"),
        ('{"request": "a\\ud800b"}', 422, "text_invalid"),
        ('{"request": "Why?", "refundTo": 1}', 422, "field_wrong_type"),
        ('{"request": "Why?", "refundTo": " "}', 422, "field_empty"),
        (json.dumps({"request": "Why?", "refundTo": "a" * 320 + "@b"}), 422, "field_too_long"),
        ('{"request": "Why?", "nostr_token": 1}', 422, "field_wrong_type"),
        ('{"request": "Why?", "nostr_token": "x"}', 401, "token_invalid"),
        ('{"request": "Why?", "nostr_token": ""}', 401, "token_invalid"),
        ("[]", 422, "json_not_object"),
        ("not json", 400, "invalid_json"),
        ("", 400, "invalid_json"),
        ('{"request": NaN}', 400, "json_number_invalid"),
        ('{"request": "a", "request": "b"}', 400, "json_duplicate_key"),
        ("[" * 1_000 + "]" * 1_000, 400, "json_too_deep"),
        (json.dumps({"request": "x" * 70_000}), 413, "body_too_large"),
    ],
)
async def test_each_way_to_be_wrong_has_a_code_of_its_own(body: str, status: int, code: str) -> None:
    world = World.build()
    async with world.client() as client:
        answer = await client.post("/api/jobs", content=body, headers=JSON)
        assert (answer.status_code, problem(answer)["code"]) == (status, code)
    assert world.desk.jobs == {}


async def test_too_long_says_the_limit_and_the_length() -> None:
    async with World.build(Settings(max_request_chars=7)).client() as client:
        await order(client, request="1234567")
        shown = problem(await client.post("/api/jobs", json={"request": "12345678"}))
        assert (shown["maxChars"], shown["chars"]) == (7, 8)
        assert "7" in shown["error"]
        assert "8" in shown["error"]


async def test_length_is_counted_in_characters_and_not_in_bytes() -> None:
    async with World.build().client() as client:
        assert (await order(client, request="😀" * 500))["state"] == "awaiting_eval_payment"


async def test_an_unknown_field_is_named() -> None:
    async with World.build().client() as client:
        shown = problem(await client.post("/api/jobs", json={"request": "Why?", "refund_to": "me@wallet.example"}))
        assert shown["fields"] == ["refund_to"]
        assert "refundTo" in shown["error"]


@pytest.mark.fault("H08", "F07")
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json", "", "text/json"]
)
async def test_what_a_form_or_a_foreign_page_can_send_without_asking_is_refused(kind: str) -> None:
    world = World.build()
    async with world.client() as client:
        answer = await client.post("/api/jobs", content='{"request": "Why?"}', headers={"Content-Type": kind})
        assert (answer.status_code, problem(answer)["code"]) == (415, "unsupported_media_type")
    assert world.desk.jobs == {}


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.api+json", None])
async def test_json_by_any_of_its_names_is_taken(kind: str | None) -> None:
    async with World.build().client() as client:
        headers = {} if kind is None else {"Content-Type": kind}
        assert (await client.post("/api/jobs", content=b'{"request": "Why?"}', headers=headers)).status_code == 201


@pytest.mark.parametrize(
    ("headers", "code"), [({"X-Nostr-Token": "abc"}, "token_invalid"), ({"Authorization": "Nostr eyJ9"}, "nostr_event_invalid")]
)
async def test_an_identity_that_cannot_be_checked_is_never_silently_nobody(headers: dict[str, str], code: str) -> None:
    world = World.build()
    async with world.client() as client:
        answer = await client.post("/api/jobs", json={"request": "Why?"}, headers=headers)
        assert (answer.status_code, problem(answer)["code"]) == (401, code)
        assert answer.headers["www-authenticate"].startswith("Nostr")
    assert world.desk.jobs == {}


# Once ----------------------------------------------------------------------------------------------------


@pytest.mark.fault("B06")
async def test_the_same_key_and_body_is_one_job_with_one_answer() -> None:
    world = World.build()
    async with world.client() as client:
        first = await client.post("/api/jobs", json={"request": "Why?"}, headers={"Idempotency-Key": "k"})
        again = await client.post("/api/jobs", content=b'{ "request":"Why\\u003f"}', headers={"Idempotency-Key": "k", **JSON})
        await client.post(f"/api/dev/stub/pay/{first.json()['evalInvoice']['paymentHash']}")
        later = await client.post("/api/jobs", json={"request": "Why?"}, headers={"Idempotency-Key": "k"})
    assert first.json() == again.json() == later.json()
    assert [answer.status_code for answer in (first, again, later)] == [201, 201, 201]
    assert len(world.desk.jobs) == 1


@pytest.mark.fault("B07")
async def test_the_same_key_with_another_body_is_refused() -> None:
    world = World.build()
    async with world.client() as client:
        await client.post("/api/jobs", json={"request": "Why?"}, headers={"Idempotency-Key": "k"})
        answer = await client.post("/api/jobs", json={"request": "How?"}, headers={"Idempotency-Key": "k"})
        assert (answer.status_code, problem(answer)["code"]) == (422, "idempotency_key_reused")
    assert len(world.desk.jobs) == 1


@pytest.mark.fault("F10")
@pytest.mark.parametrize("key", [b"", b"k" * 256, b"k" * 10_000, b"a\x7fb", b"caf\xe9", b"a\tb"])
async def test_a_key_that_cannot_be_kept_is_refused(key: bytes) -> None:
    world = World.build()
    async with world.client() as client:
        answer = await client.post("/api/jobs", content=b'{"request": "Why?"}', headers=[(b"idempotency-key", key)])
        assert (answer.status_code, problem(answer)["code"]) == (422, "idempotency_key_invalid")
    assert world.desk.jobs == {}


@pytest.mark.fault("F10")
async def test_the_key_of_a_refund_belongs_to_its_job() -> None:
    world = World.build()
    async with world.client() as client:
        for n in range(2):
            created = await client.post("/api/jobs", json={"request": f"{n}"}, headers={"Idempotency-Key": f"k{n}"})
            answer = await client.post(
                f"/api/jobs/{created.json()['jobId']}/refund", json={"invoice": f"lnbcrt{n}"}, headers={"Idempotency-Key": "k0"}
            )
            assert problem(answer)["code"] == "job_not_finished"  # it got as far as the desk
    assert len(world.desk.jobs) == 2


# Addresses -------------------------------------------------------------------------------------------------


@pytest.mark.fault("F08", "F09")
@pytest.mark.parametrize("job_id", ["1", "job_2", "%00", "job_%00", "' OR 1=1 --", "x" * 5_000, "%ff", "%F0%9F%98%80", "job_1%0d%0aX: y"])
async def test_an_id_that_names_no_job_is_404_on_every_route(job_id: str) -> None:
    world = World.build()
    async with world.client() as client:
        await order(client)
        for answer in (
            await client.get(f"/api/jobs/{job_id}"),
            await client.get(f"/api/jobs/{job_id}/events"),
            await client.post(f"/api/jobs/{job_id}/refund", json={"invoice": "lnbcrt1"}),
        ):
            assert (answer.status_code, problem(answer)["code"]) == (404, "job_not_found")


@pytest.mark.parametrize(("method", "path"), [("GET", "/nothing"), ("POST", "/api/job"), ("GET", "/api/jobs/"), ("GET", "/api/jobs/a/b")])
async def test_an_address_where_nothing_is_says_where_to_look(method: str, path: str) -> None:
    async with World.build().client() as client:
        answer = await client.request(method, path)
        assert (answer.status_code, problem(answer)["code"]) == (404, "route_not_found")
        assert "/api/docs" in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"), [("GET", "/api/jobs", "POST"), ("DELETE", "/api/jobs/job_1", "GET"), ("PUT", "/api", "GET")]
)
async def test_another_method_is_405_and_told_which(method: str, path: str, allowed: str) -> None:
    async with World.build().client() as client:
        answer = await client.request(method, path)
        assert (answer.status_code, problem(answer)["code"]) == (405, "method_not_allowed")
        assert allowed in answer.headers["allow"]


async def test_every_page_can_be_asked_for_its_head() -> None:
    async with World.build().client() as client:
        job = await order(client)
        for path in ("/", "/api/docs", "/api/healthz", "/api/readyz", "/metrics", f"/api/jobs/{job['jobId']}"):
            answer = await client.head(path)
            assert (answer.status_code, answer.content) == (200, b""), path


# Refunds ---------------------------------------------------------------------------------------------------


async def paid_job(world: World, client: httpx.AsyncClient) -> str:
    world.desk.steps = True
    job_id: str = (await order(client))["jobId"]
    await world.desk.judge(job_id)
    await world.desk.work(job_id)
    assert world.desk.jobs[job_id].state is State.COMPLETE
    return job_id


@pytest.mark.fault("F04")
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{}", 422, "destination_missing"),
        ('{"invoice": null}', 422, "destination_missing"),
        ('{"invoice": "a", "lnurl": "b"}', 422, "destination_ambiguous"),
        ('{"invoice": "a", "lightningAddress": "b", "lnurl": "c"}', 422, "destination_ambiguous"),
        ('{"invoice": ""}', 422, "field_empty"),
        ('{"invoice": 1}', 422, "field_wrong_type"),
        ('{"lnurl": {}}', 422, "field_wrong_type"),
        (json.dumps({"invoice": "lnbcrt" + "q" * 4_096}), 422, "field_too_long"),
        ('{"address": "a"}', 422, "field_unknown"),
        ('{"invoice": "lnbcrt1wrong"}', 422, "refund_refused_in_test"),
        ("nonsense", 400, "invalid_json"),
    ],
)
async def test_a_refund_that_cannot_be_is_refused_with_its_reason(body: str, status: int, code: str) -> None:
    world = World.build()
    async with world.client() as client:
        job_id = await paid_job(world, client)
        answer = await client.post(f"/api/jobs/{job_id}/refund", content=body, headers=JSON)
        assert (answer.status_code, problem(answer)["code"]) == (status, code)
    assert world.desk.paid_to == {}


@pytest.mark.parametrize(
    ("field", "value", "meant"),
    [
        ("lightningAddress", " me@wallet.example ", ToLightningAddress("me@wallet.example")),
        ("lnurl", "LNURL1DP68", ToLnurl("LNURL1DP68")),
    ],
)
async def test_a_refund_goes_where_it_was_told_to(field: str, value: str, meant: ToInvoice | ToLightningAddress | ToLnurl) -> None:
    world = World.build()
    async with world.client() as client:
        job_id = await paid_job(world, client)
        answer = await client.post(f"/api/jobs/{job_id}/refund", json={field: value, "invoice": None})
        assert answer.status_code == 200
    assert world.desk.paid_to == {job_id: meant}


async def test_what_a_refusal_knows_reaches_the_customer() -> None:
    world = World.build()
    async with world.client() as client:
        job_id = await paid_job(world, client)
        answer = await client.post(f"/api/jobs/{job_id}/refund", json={"invoice": "lnbcrt1"})
        assert problem(answer)["owedSats"] == 10


# Development, hooks ---------------------------------------------------------------------------------------------


async def test_an_invoice_can_be_paid_by_the_development_route_once_and_again() -> None:
    async with World.build().client() as client:
        job = await order(client)
        path = f"/api/dev/stub/pay/{job['evalInvoice']['paymentHash']}"
        for _ in range(2):
            answer = await client.post(path)
            assert (answer.status_code, answer.json()["paid"], len(answer.json()["preimage"])) == (200, True, 64)


@pytest.mark.parametrize("payment_hash", ["00" * 32, "1", "zz" * 32, "%00"])
async def test_an_unknown_invoice_cannot_be_paid(payment_hash: str) -> None:
    async with World.build().client() as client:
        answer = await client.post(f"/api/dev/stub/pay/{payment_hash}")
        assert (answer.status_code, problem(answer)["code"]) == (404, "invoice_not_found")


@pytest.mark.fault("F01")
@pytest.mark.parametrize("amount", ["-1", "0", "1e30", "1.5", "1.0", '"10"', "true", "null", "[1]", "10000000", "1e400", "NaN"])
async def test_only_a_whole_number_of_sats_within_bounds_is_an_amount(amount: str) -> None:
    world = World.build()
    async with world.client() as client:
        answer = await client.post("/api/dev/stub/invoice", content=f'{{"amountSats": {amount}}}', headers=JSON)
        assert answer.status_code in (400, 422)
        assert problem(answer)["code"] in ("field_wrong_type", "sats_out_of_range", "json_number_invalid")
    assert world.desk.customer == {}


async def test_without_development_routes_there_is_nothing_at_their_addresses() -> None:
    world = World.build(dev=False)
    async with world.client() as client:
        job = await order(client)
        for path in (f"/api/dev/stub/pay/{job['evalInvoice']['paymentHash']}", "/api/dev/stub/invoice"):
            answer = await client.post(path, json={"amountSats": 1})
            assert (answer.status_code, problem(answer)["code"]) == (404, "route_not_found")
        assert "/api/dev" not in (await client.get("/api/openapi.json")).text
        assert (await client.get(f"/api/jobs/{job['jobId']}")).json()["state"] == "awaiting_eval_payment"


@pytest.mark.fault("D11")
async def test_a_webhook_is_a_hint_and_moves_nothing() -> None:
    world = World.build(hook_secret="s3cret-of-the-hook")
    async with world.client() as client:
        job = await order(client)
        payment_hash = job["evalInvoice"]["paymentHash"]
        answer = await client.post(
            "/api/hooks/lnbits/s3cret-of-the-hook", json={"payment_hash": payment_hash, "amount": 10_000, "paid": True}
        )
        assert (answer.status_code, answer.json()) == (200, {"heard": True})
        assert world.hints == [payment_hash]
        assert (await client.get(f"/api/jobs/{job['jobId']}")).json()["state"] == "awaiting_eval_payment"
        for odd in ({}, {"payment_hash": 1}, {"payment_hash": "x" * 64}, {"payment_hash": None}):
            assert (await client.post("/api/hooks/lnbits/s3cret-of-the-hook", json=odd)).status_code == 200
        assert world.hints == [payment_hash]


@pytest.mark.fault("D11")
@pytest.mark.parametrize("secret", ["wrong", "s3cret-of-the-hoo", "%00", "é", "s3cret-of-the-hook-and-more"])
async def test_a_webhook_without_the_secret_is_no_address_at_all(secret: str) -> None:
    world = World.build(hook_secret="s3cret-of-the-hook")
    async with world.client() as client:
        answer = await client.post(f"/api/hooks/lnbits/{secret}", json={"payment_hash": "ab" * 32})
        assert (answer.status_code, problem(answer)["code"]) == (404, "route_not_found")
    assert world.hints == []
