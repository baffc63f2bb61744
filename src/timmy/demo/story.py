"""The sale itself, step by step, as one customer lives it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from timmy.demo.buyers import Buyer
from timmy.demo.http import JSON, DemoFailed, TimmyHttp
from timmy.demo.screen import Screen, Stream

PATIENCE_SECONDS = 180
LOOK_EVERY_SECONDS = 0.2
MSAT_PER_SAT = 1_000

Pause = Callable[[str], Awaitable[None]]


class Story:
    """One job, told. What is printed is what the server answered."""

    def __init__(self, screen: Screen, server: TimmyHttp, buyer: Buyer, pause: Pause) -> None:
        self._screen = screen
        self._server = server
        self._buyer = buyer
        self._pause = pause

    async def tell(self, request: str) -> JSON:
        before = await self._buyer.balance_msat()
        job = await self._ask(request)
        job = await self._pay_to_be_judged(job)
        if job["state"] == "awaiting_work_payment":
            await self._pay_for_the_work(job)
            job = await self._watch(job["jobId"])
        self._outcome(job)
        if job["refund"]["owedSats"] > 0:
            job = await self._take_the_refund(job)
        await self._sums(job, before)
        return job

    async def _ask(self, request: str) -> JSON:
        self._screen.step("A customer asks")
        self._screen.say(f"“{request}”" if self._screen.unicode else f'"{request}"', "italic")
        job = await self._server.ask(request)
        self._screen.note(f"The job is {job['state']}.")
        await self._pause("")
        return job

    async def _pay_to_be_judged(self, job: JSON) -> JSON:
        invoice = job["evalInvoice"]
        self._screen.step(f"{invoice['amountSats']} sats to have it judged")
        self._screen.qr(invoice["paymentRequest"])
        await self._pay(invoice)
        job = await self._until(job["jobId"], lambda job: job["state"] not in ("awaiting_eval_payment", "evaluating"))
        if job["state"] == "awaiting_work_payment":
            self._screen.good("judged: Timmy will do it, and says what it costs")
        else:
            self._screen.warn(f"judged: {job['state']}. {job['reason'] or ''}")
        return job

    async def _pay_for_the_work(self, job: JSON) -> None:
        invoice, price = job["workInvoice"], job["pricingBreakdown"]
        self._screen.step(f"{invoice['amountSats']} sats for the work, at most")
        self._screen.table(
            [
                ("model", price["model"], ""),
                ("tokens expected", f"{price['estimatedInputTokens']} in, {price['estimatedOutputTokens']} out", ""),
                ("cost expected", f"${price['estimatedCostUsd']}", "the model, and a share of the machine"),
                ("margin", f"{price['marginPct']} %", "applied once"),
                ("bitcoin", f"${price['btcPriceUsd']:,}", str(price["btcPriceSource"])),
                ("price", f"{price['amountSats']} sats", "frozen with the invoice"),
            ],
            last_bold=True,
        )
        self._screen.qr(invoice["paymentRequest"])
        await self._pay(invoice)

    async def _pay(self, invoice: JSON) -> None:
        await self._pause(f"Enter pays {invoice['amountSats']} sats with {self._buyer.name}")
        self._screen.good(f"{invoice['amountSats']} sats {await self._buyer.pay(invoice)}")

    async def _watch(self, job_id: str) -> JSON:
        """The answer as it is made. What the stream may have missed is asked for afterwards: the job is the truth, events are news."""
        self._screen.step("The work, as it is done")
        stream = Stream(self._screen)
        shown = ""
        deadline = time.monotonic() + PATIENCE_SECONDS
        async with aclosing(self._server.events(job_id)) as events:
            async for news in events:
                if news.kind == "progress":
                    shown += news.data["text"]
                    stream.feed(news.data["text"])
                job = news.data.get("job", news.data)
                if job.get("completedAt") or job.get("state") in ("complete", "failed") or time.monotonic() > deadline:
                    break
        job = await self._until(job_id, lambda job: bool(job["completedAt"]))
        result = job["result"] or ""
        if not result.startswith(shown):  # the work was begun anew: what was streamed is not the answer
            stream.feed("\n")
            shown = ""
        stream.feed(result.removeprefix(shown))
        stream.end()
        return job

    def _outcome(self, job: JSON) -> None:
        cost = job["costLedger"]
        if cost is None:
            self._screen.warn(f"the job ended {job['state']}: {job['reason'] or 'no reason was given'}")
            return
        self._screen.step("What it really cost")
        counted = "counted by Timmy" if cost["usageEstimated"] else "as the model reported"
        self._screen.table(
            [
                ("tokens used", f"{cost['actualInputTokens']} in, {cost['actualOutputTokens']} out", counted),
                ("cost", f"${cost['actualCostUsd']}", "before the margin"),
                ("charged", f"{cost['actualAmountSats']} sats", "with it, in whole sats, rounded up"),
                ("paid for the work", f"{cost['workAmountSats']} sats", ""),
                ("owed back", f"{cost['refundAmountSats']} sats", cost["refundState"]),
            ],
            last_bold=True,
        )

    async def _take_the_refund(self, job: JSON) -> JSON:
        owed = job["refund"]["owedSats"]
        self._screen.step(f"{owed} sats back")
        self._screen.note(f"the customer's wallet makes an invoice of exactly {owed} sats")
        payment_request = await self._buyer.create_invoice(owed, f"refund of {job['jobId']}")
        await self._pause(f"Enter claims {owed} sats")
        await self._server.refund(job["jobId"], payment_request)
        job = await self._until(job["jobId"], lambda job: job["refund"]["state"] == "paid" or bool(job["refund"]["trouble"]))
        if job["refund"]["state"] != "paid":
            raise DemoFailed(f"the refund did not arrive: {job['refund']['trouble']}")
        self._screen.good(f"{job['refund']['paidSats']} sats arrived")
        return job

    async def _sums(self, job: JSON, before: int | None) -> None:
        self._screen.step("What it came to")
        judged = job["evalInvoice"]["amountSats"]
        worked = job["workInvoice"]["amountSats"] if job["workInvoice"] and job["costLedger"] else 0
        back, credit_msat = job["refund"]["paidSats"], job["refund"]["creditMsat"]
        rows = [
            ("paid to be judged", f"{judged} sats", ""),
            ("paid for the work", f"{worked} sats", ""),
            ("got back", f"-{back} sats", ""),
            ("left as credit", f"{credit_msat} msat", "the customer's, too small to send") if credit_msat else ("", "", ""),
            ("the answer cost", f"{judged + worked - back} sats", "to the customer"),
        ]
        self._screen.table([row for row in rows if row[0]], last_bold=True)
        after = await self._buyer.balance_msat()
        if before is not None and after is not None:
            self._screen.note(f"The customer's wallet: {before // MSAT_PER_SAT} sats before, {after // MSAT_PER_SAT} after.")

    async def _until(self, job_id: str, enough: Callable[[JSON], bool]) -> JSON:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            job = await self._server.job(job_id)
            if enough(job):
                return job
            if time.monotonic() > deadline:
                waiting = f", waiting for: {job['waiting']}" if job["waiting"] else ""
                raise DemoFailed(f"after {PATIENCE_SECONDS} seconds the job is still {job['state']}{waiting}")
            await asyncio.sleep(LOOK_EVERY_SECONDS)
