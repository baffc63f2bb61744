"""Buy an answer from a Timmy, with Python's standard library and nothing else.

    python3 examples/buy_an_answer.py http://127.0.0.1:8402 "What is a satoshi?"

Each invoice is printed for your wallet to pay. With --dev the server's built-in customer pays instead, where the server has one.
With --refund-to you@wallet.example what the work did not cost is sent there without being asked for.
"""

# ruff: noqa: T201 - a program for people prints

from __future__ import annotations

import argparse
import json
import time
import urllib.error
import urllib.request
import uuid
from typing import Any

CALL_TIMEOUT_SECONDS = 30
PATIENCE_SECONDS = 900
LOOK_EVERY_SECONDS = 0.5
UNPAID_OR_WORKING = {"awaiting_eval_payment", "evaluating", "executing"}


class Timmy:
    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, *, key: str | None = None) -> dict[str, Any]:
        """An error of the server's becomes its own sentence. `key`: sent again with the same key, the same thing is done once."""
        headers = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=CALL_TIMEOUT_SECONDS) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as refusal:
            raise SystemExit(f"{method} {path}: {json.load(refusal)['error']}") from None
        except urllib.error.URLError as trouble:
            raise SystemExit(f"{self.url} does not answer: {trouble.reason}") from None

    def pay(self, invoice: dict[str, Any], what: str, *, dev: bool) -> None:
        print(f"{invoice['amountSats']} sats {what}")
        if dev:
            self.call("POST", f"/api/dev/stub/pay/{invoice['paymentHash']}")
        else:
            print(f"\n  lightning:{invoice['paymentRequest']}\n\npay it before {invoice['expiresAt']}")

    def wait(self, job_id: str, leaves: set[str]) -> dict[str, Any]:
        """Look until the job has left these states."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            job = self.call("GET", f"/api/jobs/{job_id}")
            if job["state"] not in leaves:
                return job
            time.sleep(LOOK_EVERY_SECONDS)
        raise SystemExit(f"nothing happened for {PATIENCE_SECONDS} seconds; look again later: {self.url}/api/jobs/{job_id}")


def buy(timmy: Timmy, question: str, *, dev: bool, refund_to: str | None) -> dict[str, Any]:
    wanted = {"request": question, **({"refundTo": refund_to} if refund_to else {})}
    job = timmy.call("POST", "/api/jobs", wanted, key=str(uuid.uuid4()))
    job_id = job["jobId"]
    timmy.pay(job["evalInvoice"], "to have it judged", dev=dev)
    job = timmy.wait(job_id, UNPAID_OR_WORKING)
    if job["state"] == "awaiting_work_payment":
        timmy.pay(job["workInvoice"], "for the work, at most", dev=dev)
        job = timmy.wait(job_id, {"awaiting_work_payment", "executing"})
    return job


def take_refund(timmy: Timmy, job: dict[str, Any], *, dev: bool) -> None:
    owed = job["refund"]["owedSats"]
    if not owed:
        return
    if not dev:
        print(f"{owed} sats are owed back: POST an invoice of exactly that to {timmy.url}/api/jobs/{job['jobId']}/refund")
        return
    invoice = timmy.call("POST", "/api/dev/stub/invoice", {"amountSats": owed})["paymentRequest"]
    timmy.call("POST", f"/api/jobs/{job['jobId']}/refund", {"invoice": invoice})
    while timmy.call("GET", f"/api/jobs/{job['jobId']}")["refund"]["state"] != "paid":
        time.sleep(LOOK_EVERY_SECONDS)
    print(f"{owed} sats came back")


def main() -> None:
    parser = argparse.ArgumentParser(description="Buy an answer from a Timmy.")
    parser.add_argument("url")
    parser.add_argument("question")
    parser.add_argument("--dev", action="store_true", help="let the server's built-in customer pay")
    parser.add_argument("--refund-to", metavar="ADDRESS", help="a Lightning address for what is owed back")
    given = parser.parse_args()
    timmy = Timmy(given.url)
    job = buy(timmy, given.question, dev=given.dev, refund_to=given.refund_to)
    if job["state"] != "complete":
        raise SystemExit(f"{job['state']}: {job['reason']}")
    print(f"\n{job['result']}\n")
    cost = job["costLedger"]
    print(f"{cost['actualAmountSats']} of {cost['workAmountSats']} sats were used for {cost['totalTokens']} tokens")
    take_refund(timmy, job, dev=given.dev)


if __name__ == "__main__":
    main()
