"""Receipts: what was bought, what it cost and why, as a Nostr event that the server has signed.

A receipt can be shown to others. So it names a job by the hash of its id, and what was asked and answered by their hashes: whoever knows
those can prove what it is about, and nobody learns them from it. Each time it is asked for it is signed anew, as things stand then.
"""

from __future__ import annotations

import hashlib

from starlette.requests import Request
from starlette.responses import Response

from timmy.clock import SECOND_MS, iso
from timmy.identity.nostr import NostrEvent
from timmy.identity.signing import SigningKey
from timmy.jobs.desk import JobNotFound, JobUnderWay
from timmy.jobs.model import InvoiceView, JobView
from timmy.models import Usage
from timmy.money import Msats, NanoUsd
from timmy.pricing import Quote
from timmy.sessions import refusals as sessions
from timmy.sessions.protocol import RequestState, RequestView
from timmy.web import views
from timmy.web.examples import EVENT
from timmy.web.house import WebHouse
from timmy.web.jobs import JOB_ID_PARAMETER, job_id
from timmy.web.operations import BEARER, Operation, Sends
from timmy.web.render import Json, private, to_json
from timmy.web.session_operations import MACAROON_REFUSALS, REQUEST_ID_PARAMETER, SESSION_ID_PARAMETER
from timmy.web.sessions import ID, SessionRoutes
from timmy.web.stream import OpenStreams

KIND = 30_078  # NIP-78, "Arbitrary custom app data": addressable, so that a relay keeps the latest of each
TYPE, FORMAT = "timmy.receipt", 1
Document = dict[str, object]


class ReceiptRoutes(SessionRoutes):
    def __init__(self, house: WebHouse, streams: OpenStreams, key: SigningKey) -> None:
        super().__init__(house, streams)
        self.key = key

    async def job(self, request: Request) -> Response:
        view = await self.house.jobs.view(job_id(request))
        if not view.state.is_final:
            raise JobUnderWay("A receipt is made when the job has ended. Follow it at /events.")
        return private(self._signed(view.id, of_job(view)))

    async def session_request(self, request: Request) -> Response:
        permit = await self._permit(request)
        known = request.path_params["requestId"]
        if ID.fullmatch(known) is None:
            raise sessions.RequestNotFound("There is no request with this id in this session.")
        view = await self.house.sessions.request_view(permit, known)
        if view.state is RequestState.RUNNING:
            raise sessions.RequestInProgress(
                "A receipt is made when the request has ended. Ask again in a moment.", runningRequestId=view.id
            )
        return private(self._signed(view.id, of_request(view)))

    async def names(self, _request: Request) -> Response:
        """NIP-05: which key speaks for this site. A page of another site may ask, so the answer is for every origin."""
        return Json({"names": {"_": self.key.pubkey}}, headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=300"})

    def _signed(self, subject: str, told: Document) -> Document:
        content = {"type": TYPE, "version": FORMAT, "server": self.house.settings.public_url, "subjectSha256": sha256(subject), **told}
        tags = (("d", f"timmy/receipt/{sha256(subject)}"), ("alt", "A receipt for an AI agent's work, paid over Lightning"))
        created_at = self.house.clock.now_ms() // SECOND_MS
        return event(self.key.sign(created_at=created_at, kind=KIND, tags=tags, content=to_json(content).decode()))


def of_job(view: JobView) -> Document:
    cost, quote = view.cost, view.quote
    asked = [("eval", view.eval_invoice), *([("work", view.work_invoice)] if view.work_invoice else [])]
    return {
        "of": "job",
        "state": view.state.value,
        "startedAt": iso(view.created_at_ms),
        "endedAt": iso(view.completed_at_ms or view.created_at_ms),
        "promptSha256": sha256(view.request),
        "answerSha256": None if view.result is None else sha256(view.result),
        "truncated": view.truncated,
        "payments": [payment(purpose, invoice) for purpose, invoice in asked if invoice.settled],
        "prices": [price("work", quote)] if quote is not None and cost is not None else [],
        "tokens": {"work": tokens(cost.usage)} if cost is not None else {},
        "costUsd": views.dollars(cost.actual_cost) if cost is not None else 0,
        "chargedMsat": charged(view),
        "poolMsat": view.absorbed.value if cost is not None else 0,
        "refund": {"state": view.refund.state.value, "owedSats": view.refund.owed.value, "paidSats": view.refund.paid.value},
    }


def charged(view: JobView) -> int:
    """For the work, by the customer; the evaluation fee is flat, and stands among the payments."""
    return (view.cost.charged if view.cost is not None else Msats(0)).value


def of_request(view: RequestView) -> Document:
    cost = view.cost
    used = {"eval": cost.eval_usage, "work": cost.work_usage} if cost is not None else {}
    quotes = [("eval", cost.eval_quote), ("work", cost.work_quote)] if cost is not None else []
    return {
        "of": "sessionRequest",
        "state": view.state.value,
        "startedAt": iso(view.started_at_ms),
        "endedAt": iso(view.ended_at_ms or view.started_at_ms),
        "promptSha256": sha256(view.request),
        "answerSha256": None if view.result is None else sha256(view.result),
        "truncated": view.truncated,
        "payments": [],  # it was paid from a balance; the deposit is not this request's
        "prices": [price(purpose, quote) for purpose, quote in quotes if used[purpose] is not None],
        "tokens": {purpose: tokens(usage) for purpose, usage in used.items() if usage is not None},
        "costUsd": views.dollars(cost.actual_cost) if cost is not None else 0,
        "chargedMsat": view.debited.value,
        "poolMsat": view.absorbed.value,
        "refund": None,  # what was held and not used was released at once
    }


def payment(purpose: str, invoice: InvoiceView) -> Document:
    """The preimage, which proves the payment, is the payer's: this house never sees it."""
    return {"purpose": purpose, "paymentHash": invoice.payment_hash, "amountSats": invoice.amount.value}


def price(purpose: str, quote: Quote) -> Document:
    """Everything that a bill is computed from; pricing/quote.py says how, and anyone can repeat it."""
    return {
        "purpose": purpose,
        "model": quote.model,
        "usdPerMillionTokens": {
            "input": views.dollars(NanoUsd(quote.rate.input_nano_usd_per_mtok)),
            "cachedInput": views.dollars(NanoUsd(quote.rate.cached_nano_usd_per_mtok)),
            "output": views.dollars(NanoUsd(quote.rate.output_nano_usd_per_mtok)),
        },
        "infraUsd": views.dollars(quote.infra),
        "marginPct": views.hundredths(quote.margin_bp),
        "btcPriceUsd": views.hundredths(quote.btc.cents_per_btc),
        "btcPriceSource": quote.btc.source,
        "btcPriceAt": iso(quote.btc.at_ms),
    }


def tokens(usage: Usage) -> Document:
    return {"input": usage.input, "cachedInput": usage.cached, "output": usage.output, "estimated": usage.estimated}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def event(signed: NostrEvent) -> Document:
    """NIP-01's form."""
    return {
        "id": signed.id,
        "pubkey": signed.pubkey,
        "created_at": signed.created_at,
        "kind": signed.kind,
        "tags": [list(tag) for tag in signed.tags],
        "content": signed.content,
        "sig": signed.sig,
    }


ABOUT_RECEIPT = f"""\
A Nostr event (NIP-01) of kind {KIND} (NIP-78), signed with the server's key, which `/.well-known/nostr.json` names. Its `content` is JSON:
models, tokens, unit prices, the bitcoin price and its source, margin, what the pool gave, the refund as it stands, payment hashes, and the
SHA-256 of request, answer and id. With the preimages, which only the payer has, it proves that it was paid. `timmy receipt verify` reads
it."""
WHEN_ENDED = " 409 until it has ended."


def operations(house: WebHouse, streams: OpenStreams, key: SigningKey) -> tuple[Operation, ...]:
    routes = ReceiptRoutes(house, streams, key)
    return (
        Operation(
            method="GET",
            path="/api/jobs/{jobId}/receipt",
            name="jobReceipt",
            summary="A signed receipt of a job",
            about=ABOUT_RECEIPT + WHEN_ENDED,
            endpoint=routes.job,
            sends=(Sends(200, "The receipt.", "NostrEvent", example=EVENT),),
            refuses=(JobNotFound, JobUnderWay),
            parameters=(JOB_ID_PARAMETER,),
            tag="jobs",
        ),
        Operation(
            method="GET",
            path="/api/sessions/{sessionId}/requests/{requestId}/receipt",
            name="sessionRequestReceipt",
            summary="A signed receipt of a request",
            about="As a job's, without payments: it was paid from a balance. Send `Authorization: Bearer` with the macaroon." + WHEN_ENDED,
            endpoint=routes.session_request,
            sends=(Sends(200, "The receipt.", "NostrEvent", example=EVENT),),
            refuses=(sessions.SessionNotFound, sessions.RequestNotFound, sessions.RequestInProgress, *MACAROON_REFUSALS),
            proof=BEARER,
            parameters=(SESSION_ID_PARAMETER, REQUEST_ID_PARAMETER),
            tag="sessions",
        ),
        Operation(
            method="GET",
            path="/.well-known/nostr.json",
            name="nostrNames",
            summary="The server's Nostr key",
            about="As NIP-05 has it: `_` is the key that signs receipts.",
            endpoint=routes.names,
            sends=(Sends(200, "The key.", "NostrNames", example={"names": {"_": EVENT["pubkey"]}}),),
            tag="server",
        ),
    )
