"""The counter: where jobs are handed in, looked at, followed, and where refunds are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from timmy import events, idempotency
from timmy.clock import SECOND_MS, Clock
from timmy.db import Database, Row, Tx
from timmy.errors import NotFound, Refusal
from timmy.idempotency import Key
from timmy.identity import trust
from timmy.ids import RandomBytes, new_id
from timmy.jobs import store
from timmy.jobs.flow import EVAL, SUBMIT, Opening, open_all, usage_of
from timmy.jobs.model import CostLedger, InvoiceView, JobNews, JobView, RefundState, RefundView, State
from timmy.jobs.protocol import Destination, ToInvoice, ToLightningAddress, ToLnurl
from timmy.ledger import chart
from timmy.ledger.commit import available_all
from timmy.lightning import invoices, payouts
from timmy.lightning.invoices import Invoice
from timmy.lightning.lnurl import check_lightning_address
from timmy.lightning.paying import Paying
from timmy.lightning.payouts import Obligation
from timmy.lightning.receiving import Receiving
from timmy.money import Msats, NanoUsd, Sats
from timmy.pricing import Quote
from timmy.tasks import Bell

LOOK_EVERY_SECONDS = 0.5
FOLLOW_AFTER_THE_END_SECONDS = 60
ANONYMOUS = "anonymous"
NOTHING_OWED = RefundView(RefundState.NOT_APPLICABLE, Sats(0), Sats(0), Msats(0), None, None)


class JobNotFound(NotFound):
    code = "job_not_found"
    title = "There is no such job"


class JobUnderWay(Refusal):
    status = 409
    code = "job_not_finished"
    title = "The job has not ended yet"


class Jobs:
    """The `JobsDesk` of the house."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        bell: Bell,
        random_bytes: RandomBytes,
        receiving: Receiving,
        paying: Paying,
        *,
        eval_fee: Msats,
        trust_terms: trust.Terms,
    ) -> None:
        self._db = db
        self._clock = clock
        self._bell = bell
        self._random_bytes = random_bytes
        self._receiving = receiving
        self._paying = paying
        self._eval_fee = eval_fee
        self._trust_terms = trust_terms
        self._glances: set[asyncio.Task[None]] = set()

    async def submit(self, request: str, *, refund_to: str | None = None, key: Key | None = None, pubkey: str | None = None) -> JobView:
        """See JobsDesk.submit."""
        if refund_to is not None:
            check_lightning_address(refund_to, "refundTo")
        if key is not None:
            earlier = await self._db.read(idempotency.subject_of, SUBMIT, key)
            if earlier is not None:
                return await self._load(earlier)
        job_id, invoice_id = new_id("job", self._random_bytes), new_id("inv", self._random_bytes)
        invoice = await self._receiving.ask(
            id=invoice_id,
            purpose=EVAL,
            subject=job_id,
            account=chart.job(job_id),
            amount=self._eval_fee,
            memo=f"Timmy: judging {job_id}",
        )
        opening = Opening(job_id, request, refund_to, self._eval_fee, invoice_id, invoice, key, self._clock.now_ms(), pubkey)
        opened = await self._db.write_grouped(open_all, opening)
        return await self._load(opened) if opened != job_id or pubkey else new_view(opening)

    async def view(self, job_id: str) -> JobView:
        """See JobsDesk.view."""
        view = await self._load(job_id)
        if view.state is State.AWAITING_EVAL_PAYMENT:
            self._glance(view.eval_invoice)
        elif view.state is State.AWAITING_WORK_PAYMENT and view.work_invoice is not None:
            self._glance(view.work_invoice)
        return view

    async def follow(self, job_id: str, *, after_seq: int = 0) -> AsyncIterator[JobNews]:
        """See JobsDesk.follow."""
        ended_at_ms: int | None = None
        seq = after_seq
        while True:
            view = await self._load(job_id)  # before the events: what it shows as ended has all its events already
            for event in await self._db.read(events.of_subject, job_id, seq):
                seq = event.seq
                yield JobNews(event.seq, event.kind, event.body.get("text"))
            if view.state.is_final:
                now_ms = self._clock.now_ms()
                ended_at_ms = ended_at_ms or now_ms
                on_its_way = view.refund.state is RefundState.PENDING and (view.refund.destination or view.refund_to)
                if not on_its_way or now_ms - ended_at_ms > FOLLOW_AFTER_THE_END_SECONDS * SECOND_MS:
                    return
            await self._bell.wait(LOOK_EVERY_SECONDS)

    async def so_far(self, job_id: str) -> str:
        """See JobsDesk.so_far."""
        pieces: list[str] = []
        seq = 0
        while news := await self._db.read(events.of_subject, job_id, seq):
            seq = news[-1].seq
            for event in news:
                if event.kind == "restarted":
                    pieces.clear()
                elif event.kind == "progress":
                    pieces.append(event.body.get("text") or "")
        return "".join(pieces)

    async def refund(self, job_id: str, destination: Destination, *, key: Key | None = None) -> JobView:
        """See JobsDesk.refund."""
        view = await self._load(job_id)
        obligation = chart.owed(job_id)
        if not view.state.is_final and not view.refund.owed:
            raise JobUnderWay("The job has not ended yet. When it ends, what was over-paid can be claimed here.")
        match destination:
            case ToInvoice(payment_request=text):
                await self._paying.to_invoice(obligation, job_id, text, key=key)
            case ToLightningAddress(address=text):
                check_lightning_address(text, "lightningAddress")
                await self._paying.to_address(obligation, job_id, text, destination="lightning_address", key=key)
            case ToLnurl(lnurl=text):
                await self._paying.to_address(obligation, job_id, text, destination="lnurl", key=key)
        return await self._load(job_id)

    def _glance(self, invoice: InvoiceView) -> None:
        """Not awaited: a wallet that is slow must not make the customer's poll slow."""
        if invoice.settled:
            return
        glance = asyncio.create_task(self._receiving.hint(invoice.payment_hash))
        self._glances.add(glance)
        glance.add_done_callback(self._glances.discard)

    def _load_together(self, tx: Tx, job_ids: Sequence[str]) -> list[JobView | None]:
        return load_all(tx, job_ids, self._trust_terms, self._clock.now_ms())

    async def _load(self, job_id: str) -> JobView:
        view = await self._db.read_grouped(self._load_together, job_id)
        if view is None:
            raise JobNotFound("There is no job with this id. Check it, or hand the request in again.")
        return view


def new_view(opening: Opening) -> JobView:
    """A job that was written down a moment ago, as `load_all` would show it."""
    eval_invoice = InvoiceView(
        opening.invoice.payment_request,
        opening.invoice.payment_hash,
        opening.eval_fee.ceil_sats(),
        opening.invoice.expires_at_ms,
        settled=False,
    )
    return JobView(
        id=opening.job_id,
        state=State.AWAITING_EVAL_PAYMENT,
        request=opening.request,
        created_at_ms=opening.at_ms,
        completed_at_ms=None,
        trust_tier=ANONYMOUS,
        eval_invoice=eval_invoice,
        work_invoice=None,
        quote=None,
        reason=None,
        waiting=None,
        result=None,
        truncated=False,
        cost=None,
        refund=NOTHING_OWED,
        refund_to=opening.refund_to,
        pubkey=None,
        free=False,
        absorbed=Msats(0),
        shortfall=Msats(0),
    )


def load_all(tx: Tx, job_ids: Sequence[str], terms: trust.Terms, now_ms: int) -> list[JobView | None]:
    """All that belongs to each job, from one snapshot; None where there is no such job."""
    rows = store.find_all(tx, job_ids)
    found = invoices.by_id(tx, [id for row in rows if row for id in (row["eval_invoice"], row["work_invoice"]) if id])
    refunds = _refunds(tx, [row["id"] for row in rows if row and State(row["state"]).is_final])
    known = trust.standings(tx, [row["pubkey"] for row in rows if row and row["pubkey"]], terms, now_ms)
    tiers = {pubkey: standing.tier.value for pubkey, standing in known.items()}
    return [_view(row, found, refunds.get(row["id"], NOTHING_OWED), tiers.get(row["pubkey"], ANONYMOUS)) if row else None for row in rows]


def _view(row: Row, found: Mapping[str, Invoice], refund: RefundView, tier: str) -> JobView:
    quote = Quote.from_json(row["quote"]) if row["quote"] else None
    return JobView(
        id=row["id"],
        state=State(row["state"]),
        request=row["request"],
        created_at_ms=row["created_at_ms"],
        completed_at_ms=row["completed_at_ms"],
        trust_tier=tier,
        eval_invoice=_invoice_view(found[row["eval_invoice"]]),
        work_invoice=_invoice_view(found[row["work_invoice"]]) if row["work_invoice"] else None,
        quote=quote,
        reason=row["reason"],
        waiting=row["waiting"],
        result=row["result"],
        truncated=bool(row["truncated"]),
        cost=_cost(row, quote),
        refund=refund,
        refund_to=row["refund_to"],
        pubkey=row["pubkey"],
        free=row["charge_msat"] == 0,
        absorbed=Msats(_absorbed(row)),
        shortfall=Msats(row["gift_offered_msat"] - row["gift_reserved_msat"] if row["state"] in _PAST_PAYMENT else 0),
    )


_PAST_PAYMENT = (State.EXECUTING, State.COMPLETE, State.FAILED)


def _absorbed(row: Row) -> int:
    """What the pool took over; while that is not known yet, what it has reserved, and before that, what it has offered."""
    if row["absorbed_msat"] is not None:
        return int(row["absorbed_msat"])
    if State(row["state"]).is_final:
        return 0
    return int(row["gift_reserved_msat"] if row["state"] == State.EXECUTING else row["gift_offered_msat"])


def _invoice_view(invoice: Invoice) -> InvoiceView:
    return InvoiceView(
        invoice.payment_request, invoice.payment_hash, invoice.amount.ceil_sats(), invoice.expires_at_ms, invoice.state == "settled"
    )


def _cost(row: Row, quote: Quote | None) -> CostLedger | None:
    if row["charged_msat"] is None or quote is None:
        return None
    return CostLedger(
        usage_of(row["usage"]),
        NanoUsd(row["cost_nano_usd"]),
        Msats(row["charged_msat"]),
        Msats(row["charge_msat"]),
        Msats(row["absorbed_msat"] or 0),
        Msats(row["charge_msat"] + row["gift_reserved_msat"]),
    )


def _refunds(tx: Tx, job_ids: Sequence[str]) -> dict[str, RefundView]:
    """How the refunds of jobs that have ended stand."""
    if not job_ids:
        return {}
    obligations = payouts.obligations(tx, [chart.owed(id) for id in job_ids])
    left = available_all(tx, [chart.job(id) for id in job_ids])
    return {id: _refund(obligations[chart.owed(id)], left[chart.job(id)]) for id in job_ids}


def _refund(owed: Obligation, credit: Msats) -> RefundView:
    on_its_way = owed.live.amount.floor_sats() if owed.live else Sats(0)
    shown = owed.live or owed.last
    return RefundView(
        state=RefundState.PENDING if owed.claimable or owed.live else RefundState.PAID if owed.paid else RefundState.NOT_APPLICABLE,
        owed=owed.claimable + on_its_way,
        paid=owed.paid,
        credit=credit,
        destination=owed.live.destination if owed.live else None,
        trouble=shown.trouble if shown and shown.state != "sent" else None,
    )
