"""The chapter that ARCHITECTURE.md opens with, kept true: one job from the question to the refund, over real HTTP, on both engines."""

from __future__ import annotations

from tests.e2e.serving import serving
from timmy.ledger import audit


async def test_the_journey_of_a_sat(database_url: str, tmp_path: object) -> None:
    async with serving({"DATABASE_URL": database_url, "DATA_DIR": str(tmp_path)}) as site:
        # 1-2: asked for, and an invoice for the evaluation
        made = await site.post("/api/jobs", {"request": "What is 6 * 7?"}, status=201)
        assert made["state"] == "awaiting_eval_payment"
        assert made["evalInvoice"]["amountSats"] == 10

        # 3: paid, credited once
        await site.pay(made["evalInvoice"])

        # 4: judged, priced, offered
        job = await site.until(made["jobId"], "awaiting_work_payment")
        price = job["workInvoice"]["amountSats"]
        assert price == job["pricingBreakdown"]["amountSats"] > 0

        # 5-6: paid, done, accounted for
        await site.pay(job["workInvoice"])
        job = await site.until(made["jobId"], "complete")
        assert "42" in job["result"]
        cost = job["costLedger"]
        assert cost["workAmountSats"] == price
        assert cost["actualAmountSats"] + cost["refundAmountSats"] == price
        assert cost["refundState"] == "pending"

        # 7: the rest comes back
        invoice = await site.post("/api/dev/stub/invoice", {"amountSats": cost["refundAmountSats"]})
        await site.post(f"/api/jobs/{made['jobId']}/refund", {"invoice": invoice["paymentRequest"]})
        for _ in range(200):
            job = await site.get(f"/api/jobs/{made['jobId']}")
            if job["refund"]["state"] == "paid":
                break
        assert job["refund"]["paidSats"] == cost["refundAmountSats"]

        checks = await site.app.db.read(audit)
        assert [check for check in checks if not check.holds] == []
