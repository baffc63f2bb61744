"""A receipt says what was bought, is signed by the server that sold it, and gives nothing away."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.contract.real_house import open_house
from tests.e2e.serving import Site, serving
from timmy.cli import app
from timmy.client import AsyncTimmy, Notebook, receipts, store
from timmy.client.receipts import ReceiptInvalid
from timmy.identity import nostr
from timmy.lightning.wallets.builtin import _Node
from timmy.lightning.wallets.protocol import InvoiceLookup, WalletDown
from timmy.money import Sats

QUESTION = "What is a satoshi?"


async def bought(site: Site, notebook: Notebook) -> tuple[str, dict[str, Any]]:
    """The job's id, and its receipt's file."""
    async with AsyncTimmy(site.url, purse="dev", notebook=notebook) as timmy:
        answer = await timmy.ask(QUESTION)
    return answer.job.id, await receipts.file_of(notebook, answer.job.id)


async def done(site: Site) -> str:
    """A job that was done, and that nobody has asked a receipt of."""
    job = await site.post("/api/jobs", {"request": QUESTION}, status=201)
    await site.pay(job["evalInvoice"])
    job = await site.until(job["jobId"], "awaiting_work_payment")
    await site.pay(job["workInvoice"])
    return str((await site.until(job["jobId"], "complete"))["jobId"])


async def payments_of(site: Site, job_id: str) -> list[Any]:
    job = await site.get(f"/api/jobs/{job_id}")
    return [job["evalInvoice"], job["workInvoice"]]


async def test_a_receipt_says_what_the_job_says(site: Site, notebook: Notebook) -> None:
    job_id, file = await bought(site, notebook)
    job = await site.get(f"/api/jobs/{job_id}")
    receipt = receipts.read(json.dumps(file))
    told = receipt.told
    assert told["state"] == "complete"
    assert [payment["amountSats"] for payment in told["payments"]] == [job["evalInvoice"]["amountSats"], job["workInvoice"]["amountSats"]]
    assert told["tokens"]["work"]["input"] == job["costLedger"]["actualInputTokens"]
    assert told["tokens"]["work"]["output"] == job["costLedger"]["actualOutputTokens"]
    assert told["prices"][0]["model"] == job["pricingBreakdown"]["model"]
    assert told["prices"][0]["marginPct"] == job["pricingBreakdown"]["marginPct"]
    assert told["prices"][0]["btcPriceSource"] == job["pricingBreakdown"]["btcPriceSource"]
    assert -(-told["chargedMsat"] // 1_000) == job["costLedger"]["actualAmountSats"]
    assert told["refund"]["paidSats"] == job["refund"]["paidSats"]
    receipts.check_text(receipt, "promptSha256", QUESTION)
    receipts.check_text(receipt, "answerSha256", job["result"])


async def test_the_key_is_the_one_that_the_server_names_and_stays_after_a_new_start(tmp_path: Path) -> None:
    environ = {"DATA_DIR": str(tmp_path / "server")}
    keys = []
    for _ in range(2):
        async with serving(environ) as site:
            keys.append((await site.get("/.well-known/nostr.json"))["names"]["_"])
    assert keys[0] == keys[1]
    kept = tmp_path / "server" / "receipt_key"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


async def test_servers_that_share_a_secret_sign_with_one_key(tmp_path: Path) -> None:
    keys = []
    for name in ("one", "other"):
        async with serving({"DATA_DIR": str(tmp_path / name), "TIMMY_TOKEN_SECRET": "a secret that two share".replace(" ", "-")}) as site:
            keys.append((await site.get("/.well-known/nostr.json"))["names"]["_"])
    assert keys[0] == keys[1]


async def test_a_receipt_holds_for_its_server_and_for_no_other(site: Site, notebook: Notebook, tmp_path: Path) -> None:
    _, file = await bought(site, notebook)
    receipt = receipts.read(json.dumps(file))
    await receipts.check_server(receipt, site.url)
    async with serving({"DATA_DIR": str(tmp_path / "other")}) as other:
        with pytest.raises(ReceiptInvalid, match="not signed with the key"):
            await receipts.check_server(receipt, other.url)


async def test_a_receipt_that_was_changed_does_not_hold(site: Site, notebook: Notebook) -> None:
    _, file = await bought(site, notebook)
    event = file["event"]
    cheaper = json.loads(event["content"])
    cheaper["chargedMsat"] += 1
    for changed in (
        {**event, "content": json.dumps(cheaper)},
        {**event, "created_at": event["created_at"] + 1},
        {**event, "pubkey": "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e"},
        {**event, "sig": "00" * 64},
    ):
        with pytest.raises(ReceiptInvalid):
            receipts.read(json.dumps(changed))


async def test_a_receipt_gives_no_id_no_request_and_no_answer_away(site: Site, notebook: Notebook) -> None:
    """Whoever knows a job's id may claim its refund; a receipt is for showing around."""
    job_id, file = await bought(site, notebook)
    job = await site.get(f"/api/jobs/{job_id}")
    shown = json.dumps(file)
    assert job_id not in shown
    assert QUESTION not in shown
    assert job["result"] not in shown
    assert hashlib.sha256(job_id.encode()).hexdigest() in shown


async def test_a_preimage_proves_its_payment_and_another_does_not(site: Site, notebook: Notebook) -> None:
    _, file = await bought(site, notebook)
    first = json.loads(file["event"]["content"])["payments"][0]["paymentHash"]
    assert first not in receipts.read(json.dumps({**file, "preimages": {first: "11" * 32}})).proven
    preimage = b"\x07" * 32
    content = json.dumps(
        {
            **json.loads(file["event"]["content"]),
            "payments": [{"purpose": "eval", "paymentHash": hashlib.sha256(preimage).hexdigest(), "amountSats": 10}],
        }
    )
    signed = nostr.sign(b"\x05" * 32, created_at=1_700_000_000, kind=receipts.KIND, tags=[], content=content, aux=bytes(32))
    event = {**{name: getattr(signed, name) for name in ("id", "pubkey", "created_at", "kind", "content", "sig")}, "tags": []}
    paid = hashlib.sha256(preimage).hexdigest()
    assert receipts.read(json.dumps({"event": event, "preimages": {paid: preimage.hex()}})).proven == (paid,)


async def test_a_job_that_has_not_ended_has_no_receipt(site: Site) -> None:
    job = await site.post("/api/jobs", {"request": QUESTION}, status=201)
    async with site.http.get(f"{site.url}/api/jobs/{job['jobId']}/receipt") as answer:
        assert (answer.status, (await answer.json())["code"]) == (409, "job_not_finished")


async def test_a_sessions_request_has_a_receipt_for_whoever_has_its_key(site: Site, notebook: Notebook) -> None:
    async with AsyncTimmy(site.url, purse="dev", notebook=notebook) as timmy:
        session = await timmy.open_session(Sats(200))
        reply = await session.request(QUESTION)
        document = await session.receipt(reply.id)
    receipt = receipts.read(json.dumps(document))
    assert receipt.told["chargedMsat"] == reply.debited.value
    assert {each["purpose"] for each in receipt.told["prices"]} == {"eval", "work"}
    receipts.check_text(receipt, "promptSha256", QUESTION)
    receipts.check_text(receipt, "answerSha256", reply.result or "")
    assert session.id not in json.dumps(document)
    async with site.http.get(f"{site.url}/api/sessions/{session.id}/requests/{reply.id}/receipt") as refused:
        assert refused.status == 401


async def test_the_command_says_what_holds_and_what_does_not(site: Site, notebook: Notebook, tmp_path: Path) -> None:
    _, file = await bought(site, notebook)
    path, answer = tmp_path / "receipt.json", tmp_path / "answer.txt"
    path.write_text(json.dumps(file))
    answer.write_text("another answer")
    run = CliRunner()
    held = run.invoke(app, ["receipt", "verify", str(path), "--prompt", QUESTION])
    assert held.exit_code == 0
    assert "signature  holds" in held.stdout
    assert "was not asked" in held.stdout
    asked = await asyncio.to_thread(run.invoke, app, ["receipt", "verify", str(path), "--server", site.url])
    assert asked.exit_code == 0
    assert f"(the key that {site.url} names as its own)" in asked.stdout
    for words in (["--prompt", "Something else"], ["--answer", str(answer)]):
        refused = run.invoke(app, ["receipt", "verify", str(path), *words])
        assert refused.exit_code == 1
        assert "the hashes differ" in refused.stderr
    for raw in ("", "[]", "{}", "nonsense", '{"event": 3}'):
        path.write_text(raw)
        assert run.invoke(app, ["receipt", "verify", str(path)]).exit_code == 1, raw
    assert run.invoke(app, ["receipt", "verify", str(tmp_path / "nowhere")]).exit_code == 2


@pytest.mark.parametrize(
    "odd",
    [
        {"prices": ["ten sats"]},
        {"prices": 3},
        {"prices": [{"purpose": ["work"]}]},
        {"prices": [{"purpose": "work", "usdPerMillionTokens": "one"}]},
        {"prices": [{"purpose": "work"}], "tokens": ["many"]},
        {"prices": [{"purpose": "work"}], "tokens": {"work": 5}},
        {"state": 7},
    ],
)
def test_a_signed_receipt_that_makes_no_sense_is_refused_in_a_sentence(tmp_path: Path, odd: dict[str, Any]) -> None:
    told = {"type": receipts.TYPE, "version": receipts.FORMAT, "state": "complete", "payments": [], **odd}
    signed = nostr.sign(b"\x05" * 32, created_at=1_700_000_000, kind=receipts.KIND, tags=[], content=json.dumps(told), aux=bytes(32))
    event = {**{name: getattr(signed, name) for name in ("id", "pubkey", "created_at", "kind", "content", "sig")}, "tags": []}
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(event))
    ended = CliRunner().invoke(app, ["receipt", "verify", str(path)], catch_exceptions=False)
    assert ended.exit_code == 1
    assert "It does not hold" in ended.stderr


async def test_the_preimages_are_those_of_the_payments(site: Site, notebook: Notebook) -> None:
    _, file = await bought(site, notebook)
    receipt = receipts.read(json.dumps({**file, "preimages": {}}))
    assert len(receipt.proven) == 2  # the built-in wallet shows them to its server
    assert all(payment["preimageUnknown"] is None for payment in receipt.told["payments"])


async def test_a_wallet_that_does_not_answer_leaves_the_preimage_out_and_says_why(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = await done(site)

    async def silent(_self: object, _payment_hash: str) -> InvoiceLookup:
        raise WalletDown

    monkeypatch.setattr("timmy.lightning.wallets.builtin._Node.lookup_invoice", silent)
    receipt = receipts.read(json.dumps(await site.get(f"/api/jobs/{job_id}/receipt")))
    assert [payment["preimage"] for payment in receipt.told["payments"]] == [None, None]
    assert all("not answering" in payment["preimageUnknown"] for payment in receipt.told["payments"])
    assert receipt.bill.untold == ("refund",)
    assert receipt.bill.wrong == ()


async def test_however_many_want_receipts_the_wallet_is_asked_once_for_each_payment(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    paid, unpaid = await done(site), (await site.post("/api/jobs", {"request": QUESTION}, status=201))["jobId"]
    asked: list[str] = []
    look = _Node.lookup_invoice

    async def counted(node: _Node, payment_hash: str) -> InvoiceLookup:
        asked.append(payment_hash)
        return await look(node, payment_hash)

    monkeypatch.setattr(_Node, "lookup_invoice", counted)
    asked_of = {invoice["paymentHash"] for invoice in (await payments_of(site, paid))}
    asked.clear()
    papers = await asyncio.gather(*(site.get(f"/api/jobs/{paid}/receipt") for _ in range(20)))
    assert sorted(hash for hash in asked if hash in asked_of) == sorted(asked_of)
    assert len({paper["content"] for paper in papers}) == 1
    async with site.http.get(f"{site.url}/api/jobs/{unpaid}/receipt") as none:
        assert none.status == 409


async def test_a_payment_that_nobody_has_noticed_yet_is_counted_before_a_receipt_says_that_nothing_is_owed(tmp_path: Path) -> None:
    async with open_house(tmp_path, background=False) as house:
        job = await house.post("/api/jobs", {"request": QUESTION}, status=201)
        invoice, path = job["evalInvoice"], f"/api/jobs/{job['jobId']}"
        house.clock.advance(seconds=86_400)
        await house.app.receiving.sweep_once()
        assert (await house.get(path))["state"] == "expired"
        desk: Any = house.app.house.dev
        await desk._customer.pay(invoice["paymentRequest"], late=True)
        receipt = receipts.read(json.dumps(await house.get(f"{path}/receipt")))
        receipts.check_bill(receipt)
        assert receipt.told["refund"] == {"state": "pending", "owedSats": invoice["amountSats"], "paidSats": 0, "creditMsat": 0}
        assert [payment["receivedMsat"] for payment in receipt.told["payments"]] == [invoice["amountSats"] * 1_000]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_of_v1_has_a_receipt_for_the_key_that_paid_and_for_no_other(site: Site, notebook: Notebook, stream: bool) -> None:
    async with AsyncTimmy(site.url, purse="dev", notebook=notebook) as timmy:
        session = await timmy.open_session(Sats(500))
        body = json.dumps({"model": "timmy-demo", "stream": stream, "messages": [{"role": "user", "content": QUESTION}]}).encode()
        headers = {"Authorization": f"Bearer {session.attenuate(most=Sats(100))}", "Content-Type": "application/json"}
        async with site.http.post(f"{site.url}/v1/chat/completions", data=body, headers=headers) as answer:
            raw = await answer.text()
        first = json.loads(raw.split("data: ")[1].split("\n")[0] if stream else raw)
        id = first["id"]
        path = f"{site.url}/v1/chat/completions/{id}/receipt"
        async with site.http.get(path, headers=headers) as kept:
            assert kept.status == 200, await kept.text()
        for stranger, status in (({}, 402), ({"Authorization": f"Bearer {session.attenuate(most=Sats(50))}"}, 404)):
            async with site.http.get(path, headers=stranger) as refused:
                assert refused.status == status
        async with site.http.get(f"{site.url}/v1/chat/completions/{id}", headers=headers) as shown:
            whole = await shown.json()
        document = await session.completion_receipt(id)
    receipt = receipts.read(json.dumps(document))
    receipts.check_bill(receipt)
    receipts.check_bytes(receipt, "promptSha256", body)
    receipts.check_text(receipt, "answerSha256", whole["choices"][0]["message"]["content"])
    assert receipt.told["chargedMsat"] == whole["usage"]["cost_msat"]
    assert receipt.told["tokens"]["work"]["output"] == whole["usage"]["completion_tokens"]
    assert receipt.told["prices"][0]["model"] == "timmy-demo"
    assert session.id not in json.dumps(document)
    assert (await receipts.file_of(notebook, id))["event"] == document


async def test_a_sessions_receipt_is_kept_with_its_answer(site: Site, notebook: Notebook) -> None:
    async with AsyncTimmy(site.url, purse="dev", notebook=notebook) as timmy:
        reply = await (await timmy.open_session(Sats(200))).request(QUESTION)
    receipt = receipts.read(json.dumps(await receipts.file_of(notebook, reply.id)))
    receipts.check_bill(receipt)
    assert {line.name for line in receipt.bill.lines} == {"costUsd", "chargedMsat + poolMsat"}


@pytest.mark.parametrize("trouble", ["silence", "disk"])
async def test_an_answer_that_was_paid_for_does_not_wait_for_its_receipt(
    site: Site, notebook: Notebook, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    async def silence(*_args: object, **_named: object) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    def disk(*_args: object, **_named: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    async with AsyncTimmy(site.url, purse="dev", notebook=notebook) as timmy:
        session = await timmy.open_session(Sats(200))
        if trouble == "silence":
            monkeypatch.setattr(receipts, "KEEP_SECONDS", 0.05)
            monkeypatch.setattr(timmy.http, "get", silence)
        else:
            monkeypatch.setattr(store, "keep_session_receipt", disk)
        assert "satoshi" in ((await session.request(QUESTION)).result or "")


async def test_whatever_a_job_ended_as_its_receipt_adds_up(site: Site) -> None:
    for request, ending in (("Please reject this.", "rejected"), (QUESTION, "complete")):
        job = await site.post("/api/jobs", {"request": request}, status=201)
        await site.pay(job["evalInvoice"])
        job = await site.until(job["jobId"], "rejected", "awaiting_work_payment")
        if job["state"] == "awaiting_work_payment":
            await site.pay(job["workInvoice"])
            job = await site.until(job["jobId"], ending, "failed")
        receipt = receipts.read(json.dumps(await site.get(f"/api/jobs/{job['jobId']}/receipt")))
        receipts.check_bill(receipt)
        assert receipt.bill.untold == ()
        assert receipt.told["evalFeeMsat"] == 10_000
