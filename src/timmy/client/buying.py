"""Buying one answer: order, pay, follow, pay, follow, take back what is left.

Every step is found in the notebook, so an interrupted purchase goes on from where it was: what was paid is followed, never paid again."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from timmy.client import answers, destinations, store
from timmy.client.answers import Estimate, Job
from timmy.client.errors import AnswerInvalid, NotKnownHere, ServerDown, ServerRefused, Unfinished
from timmy.client.http import TimmyHttp
from timmy.client.notebook import Limits, Notebook
from timmy.client.spending import Spending, paid_with_fees
from timmy.ids import new_id
from timmy.money import Msats, Sats

REFUND_PATIENCE_SECONDS = 20.0
LOOK_SECONDS = 0.3
EVAL, WORK = "eval", "work"
CLAIM_TO = "claimTo"  # in a purchase's body, and never sent: an LNURL, which a server takes only once something is owed
UNPAID = {"awaiting_eval_payment": EVAL, "awaiting_work_payment": WORK}


@dataclass(frozen=True, slots=True)
class Piece:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Afresh:
    """The work was begun anew: what came so far is not the answer."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The job is somewhere else now."""

    job: Job


@dataclass(frozen=True, slots=True)
class Answer:
    """How a purchase ended. `state` is "complete", or why there is no `text`: "rejected", "failed", "expired"."""

    purchase: str
    job: Job
    paid: Msats  # to be judged and for the work, with routing fees
    payments: tuple[tuple[str, str, str | None], ...] = field(repr=False)  # purpose, payment hash, preimage

    @property
    def text(self) -> str | None:
        return self.job.result

    @property
    def state(self) -> str:
        return self.job.state

    @property
    def cost(self) -> Msats:
        """What it came to, once the refund has arrived."""
        back = self.job.refund.paid.msats
        return self.paid - back if back <= self.paid else Msats(0)


Event = Piece | Afresh | Moved | Answer


class Buying:
    def __init__(self, http: TimmyHttp, notebook: Notebook, spending: Spending) -> None:
        self._http = http
        self._notebook = notebook
        self._spending = spending

    async def estimate(self, request: str) -> Estimate:
        return answers.estimate(await self._http.post("/api/estimate", {"request": request}))

    async def check_price(self, request: str, most: Sats | None) -> Estimate:
        """LimitReached if the whole would not fit into the limits: better known before the judging is paid for."""
        made = await self.estimate(request)
        await self._spending.check_room([made.eval_fee, made.work], Limits(most, None), f"About {made.total.value} sats")
        return made

    async def order(self, request: str, *, most: Sats | None = None, refund_to: str | None = None, work: Sats | None = None) -> str:
        """Written down before the server hears of it; the name of the purchase. `work`: what the work will cost, by an estimate; the
        judging is paid only where there is room for both. DestinationWrong: nothing was begun."""
        id = new_id("buy")
        place = destinations.read_for_later(refund_to) if refund_to else {}
        address, lnurl = place.get(destinations.ADDRESS), place.get(destinations.LNURL)
        body: dict[str, Any] = {"request": request}
        if address:
            body["refundTo"] = address
        elif lnurl:
            body[CLAIM_TO] = lnurl
        await self._notebook.do(
            _write_down,
            self._spending.worst(work) if work else None,
            id=id,
            url=self._http.url,
            kind="job",
            subject=None,
            body=json.dumps(body),
            most_msat=None if most is None else most.msats.value,
            now_ms=self._notebook.now_ms(),
        )
        return id

    async def row(self, id: str) -> store.Row:
        row = await self._notebook.do(store.find_purchase, id)
        if row is None or row["kind"] != "job":
            raise NotKnownHere(f"There is no purchase {id} in {self._notebook.path}.")
        return row

    async def follow(self, id: str) -> AsyncGenerator[Event, None]:
        """From wherever it is to its end; the last event is the Answer. Raises what `Spending.pay` raises; follow it again then."""
        row = await self.row(id)
        most = None if row["most_msat"] is None else Msats(row["most_msat"]).floor_sats()
        job_id = row["subject"] or await self._begin(id, json.loads(row["body"]))
        try:
            await self.job(job_id)
        except ServerRefused as refused:
            if refused.answer_status == 404:  # what nobody paid for, a server forgets
                await self._notebook.drop(id, refused.message)
            raise
        shown = ""
        asked: set[str] = set()
        async with aclosing(self._http.events(f"/api/jobs/{job_id}/events")) as events:
            async for event in events:
                if event.kind == "progress":
                    piece = str(event.data.get("text", ""))
                    shown += piece
                    yield Piece(piece)
                elif event.kind == "restarted":
                    if shown:
                        yield Afresh()
                    shown = ""
                elif event.kind == "job":
                    job = answers.job(event.data)
                    yield Moved(job)
                    await self._pay_what_is_due(id, job, most, asked)
                    if job.is_over:
                        break
        job = await self.job(job_id)
        if not job.is_over:
            raise Unfinished(f"The job {job_id} is still {job.state}. Follow it again with resume().")
        result = job.result or ""
        if not result.startswith(shown):
            yield Afresh()
            shown = ""
        if result != shown:
            yield Piece(result.removeprefix(shown))
        yield await self._end(id, job, json.loads(row["body"]))

    async def job(self, job_id: str) -> Job:
        return answers.job(await self._http.get(f"/api/jobs/{job_id}"))

    async def _begin(self, id: str, body: dict[str, Any]) -> str:
        # With the purchase's name as its Idempotency-Key: sent again after a crash, it is the same job.
        sent = {name: value for name, value in body.items() if name != CLAIM_TO}
        try:
            created = answers.text(await self._http.post("/api/jobs", sent, key=id), "jobId")
        except ServerRefused as refused:
            if refused.is_for_good:
                await self._notebook.drop(id, refused.message)
            raise
        await self._notebook.do(store.name_subject, id, created)
        return created

    async def _pay_what_is_due(self, id: str, job: Job, most: Sats | None, asked: set[str]) -> None:
        due = UNPAID.get(job.state)
        if due == WORK or (due is None and (job.state != "expired" or job.work_invoice is not None)):
            await self._spending.seen_paid(job.eval_invoice)  # the server has moved on from it
        if due is None and job.state != "expired" and job.work_invoice is not None:
            await self._spending.seen_paid(job.work_invoice)
        invoice = job.eval_invoice if due == EVAL else job.work_invoice
        if due is None or invoice is None or due in asked:
            return
        asked.add(due)
        await self._spending.pay(id, due, invoice, Limits(most, None))

    async def _see_the_last(self, job: Job) -> None:
        """What became of the last invoice of a job that is over. Raises Unfinished while its payment may still arrive: it is owed back
        then, and a purchase that had ended would not take it."""
        invoice = job.work_invoice or job.eval_invoice
        if job.state != "expired":
            await self._spending.seen_paid(invoice)
            return
        fate = await self._spending.seen_lapsed(invoice)
        if fate is not None and (job.refund.owed or job.refund.paid):
            await self._spending.seen_paid(invoice)  # it came late
        elif fate is not None:
            raise Unfinished(
                f"A payment for the job {job.id} was not there in time, and may still arrive. Then it is owed back: look again with"
                " resume()."
            )

    async def _end(self, id: str, job: Job, body: dict[str, Any]) -> Answer:
        await self._see_the_last(job)
        if job.refund.owed and not body.get("refundTo"):
            job = await self._claim(job, body.get(CLAIM_TO))
        await self._notebook.do(store.end_purchase, id, json.dumps(job.document), self._notebook.now_ms())
        await self._keep_receipt(id, job.id)
        return await self._answer(id, job)

    async def _answer(self, id: str, job: Job) -> Answer:
        rows = await self._notebook.do(store.payments_of, id)
        return Answer(id, job, paid_with_fees(rows), tuple((row["purpose"], row["payment_hash"], row["preimage"]) for row in rows))

    async def _keep_receipt(self, id: str, job_id: str) -> None:
        """The purchase is whole without one: a server may be too old for it, or gone in this moment."""
        try:
            receipt = await self._http.get(f"/api/jobs/{job_id}/receipt")
        except (ServerRefused, ServerDown, AnswerInvalid):
            return
        await self._notebook.do(store.keep_receipt, id, json.dumps(receipt))

    async def _claim(self, job: Job, lnurl: str | None) -> Job:
        """Take the refund to the LNURL that was named, or with an invoice of the purse's, where it can make one. Otherwise it stays
        claimable."""
        purse = self._spending.purse
        invoice = await purse.invoice(job.refund.owed, f"Refund of {job.id}") if purse and not lnurl else None
        place = {destinations.LNURL: lnurl} if lnurl else {destinations.INVOICE: invoice} if invoice else None
        if place is None:
            return job
        try:
            return await self._arrived(await self.refund(job.id, place))
        except ServerRefused as refused:
            if refused.answer_status == 409:  # somebody of ours has claimed it, or it is on its way
                return await self._arrived(await self.job(job.id))
            # Owed for as long as it takes, and the purchase itself is whole; why it is not on its way is told with it.
            return replace(job, refund=replace(job.refund, trouble=refused.message))

    async def _arrived(self, job: Job) -> Job:
        deadline = time.monotonic() + REFUND_PATIENCE_SECONDS
        while job.refund.state == "pending" and not job.refund.trouble and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
            job = await self.job(job.id)
        return job

    async def refund(self, job_id: str, destination: dict[str, str]) -> Job:
        """`destination` is one of `invoice`, `lightningAddress`, `lnurl`. It is paid once, whatever is repeated."""
        return answers.job(await self._http.post(f"/api/jobs/{job_id}/refund", destination, key=new_id("ref")))


def _write_down(tx: sqlite3.Connection, /, room: Msats | None, **row: object) -> None:
    store.insert_purchase(tx, **row)
    if room is not None:
        store.keep_room(tx, str(row["id"]), WORK, room.value)
