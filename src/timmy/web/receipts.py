"""Receipts: what was bought, what it cost and why, as a Nostr event that the server has signed.

A receipt can be shown to others. So it names a job by the hash of its id, and what was asked and answered by their hashes: whoever knows
those can prove what it is about, and nobody learns them from it. Each time it is asked for it is signed anew, as things stand then.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
from contextlib import suppress

import orjson
from starlette.requests import Request
from starlette.responses import Response

from timmy.clock import SECOND_MS, iso
from timmy.completions.protocol import CompletionView, Ending
from timmy.completions.refusals import CompletionInProgress, CompletionNotFound
from timmy.identity import nostr
from timmy.identity.signing import SigningKey
from timmy.jobs.desk import JobNotFound, JobUnderWay
from timmy.jobs.model import InvoiceView, JobView, State
from timmy.lightning.wallets.protocol import Settled
from timmy.models import Usage
from timmy.money import Msats, NanoUsd
from timmy.pricing import Quote
from timmy.sessions import refusals as sessions
from timmy.sessions.protocol import RequestState, RequestView
from timmy.web import views
from timmy.web.examples import EVENT
from timmy.web.house import WebHouse
from timmy.web.jobs import JOB_ID_PARAMETER, job_id
from timmy.web.operations import BEARER, Operation, Sends, path_parameter
from timmy.web.payments import Paid
from timmy.web.preimages import LOOK_SECONDS, Preimages
from timmy.web.render import Json, private, to_json
from timmy.web.session_operations import MACAROON_REFUSALS, REQUEST_ID_PARAMETER, SESSION_ID_PARAMETER
from timmy.web.sessions import ID, SessionRoutes
from timmy.web.stream import OpenStreams
from timmy.web.v1 import V1Routes, offering
from timmy.web.v1_operations import EXAMPLE, KEY_REFUSALS

KIND = 30_078  # NIP-78, "Arbitrary custom app data": addressable, so that a relay keeps the latest of each
TYPE, FORMAT = "timmy.receipt", 1
WALLET_HIDES = "The server's wallet shows no preimages of what it received."
Document = dict[str, object]


class ReceiptRoutes(SessionRoutes):
    def __init__(self, house: WebHouse, streams: OpenStreams, key: SigningKey) -> None:
        super().__init__(house, streams)
        self.key = key
        self.preimages = Preimages(house.look, house.clock)

    async def job(self, request: Request) -> Response:
        view = await self.house.jobs.view(job_id(request))
        if not view.state.is_final:
            raise JobUnderWay("A receipt is made when the job has ended. Follow it at /events.")
        unpaid = [invoice for invoice in _invoices(view) if not invoice.settled]
        if unpaid:
            # One that arrived late and was not noticed yet is owed back. Without this, we would sign that nothing is.
            await asyncio.gather(*(self._hint(invoice) for invoice in unpaid))
            view = await self.house.jobs.view(view.id)
        seen = await asyncio.gather(*(self._seen(invoice) for invoice in _invoices(view)))
        return private(signed(self.house, self.key, view.id, of_job(view, list(seen))))

    async def _hint(self, invoice: InvoiceView) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self.house.wallet_hint(invoice.payment_hash)

    async def _seen(self, invoice: InvoiceView) -> Settled | str | None:
        """What arrived, by the wallet's word; None where nothing did; or why the wallet cannot be asked about what did."""
        return await self.preimages.of(invoice.payment_hash) if invoice.settled else None

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
        return private(signed(self.house, self.key, view.id, of_request(view)))

    async def names(self, _request: Request) -> Response:
        """NIP-05: which key speaks for this site. A page of another site may ask, so the answer is for every origin."""
        return Json({"names": {"_": self.key.pubkey}}, headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=300"})


def _invoices(view: JobView) -> list[InvoiceView]:
    return [view.eval_invoice, *([view.work_invoice] if view.work_invoice else [])]


@offering
async def receipt_of_completion(routes: V1Routes, request: Request, payment: Paid | None) -> Response:
    """For whoever could read the answer: the key that bought it, or the session's own."""
    view = await routes.kept(request, payment)
    if view.ending is None:
        raise CompletionInProgress("A receipt is made when the call has ended. Ask again in a moment.")
    key = routes.house.receipt_key
    assert key is not None, "without a key these addresses do not exist"
    return private(signed(routes.house, key, view.id, of_completion(view, view.ending)))


def signed(house: WebHouse, key: SigningKey, subject: str, told: Document) -> Document:
    """As an event (NIP-01)."""
    content = {"type": TYPE, "version": FORMAT, "server": house.settings.public_url, "subjectSha256": sha256(subject), **told}
    tags = (("d", f"timmy/receipt/{sha256(subject)}"), ("alt", "A receipt for an AI agent's work, paid over Lightning"))
    return nostr.document(key.sign(created_at=house.clock.now_ms() // SECOND_MS, kind=KIND, tags=tags, content=to_json(content).decode()))


def of_job(view: JobView, seen: list[Settled | str | None]) -> Document:
    """`seen`: what the wallet says of each of its invoices."""
    cost, quote, refund = view.cost, view.quote, view.refund
    asked = [("eval", view.eval_invoice), *([("work", view.work_invoice)] if view.work_invoice else [])]
    judged = view.state is State.REJECTED or view.work_invoice is not None or view.free
    return {
        "of": "job",
        "state": view.state.value,
        "startedAt": iso(view.created_at_ms),
        "endedAt": iso(view.completed_at_ms or view.created_at_ms),
        "promptSha256": sha256(view.request),
        "answerSha256": None if view.result is None else sha256(view.result),
        "truncated": view.truncated,
        "payments": [payment(purpose, invoice, what) for (purpose, invoice), what in zip(asked, seen, strict=True) if what is not None],
        "prices": [price("work", quote)] if quote is not None and cost is not None else [],
        "tokens": {"work": tokens(cost.usage)} if cost is not None else {},
        "costUsd": views.dollars(cost.actual_cost) if cost is not None else 0,
        "evalFeeMsat": view.eval_invoice.amount.msats.value if judged else 0,
        "heldMsat": min(cost.held, quote.price.msats).value if cost is not None and quote is not None else 0,
        "chargedMsat": charged(view),
        "poolMsat": view.absorbed.value if cost is not None else 0,
        "refund": {
            "state": refund.state.value,
            "owedSats": refund.owed.value,
            "paidSats": refund.paid.value,
            "creditMsat": refund.credit.value,
        },
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
        "heldMsat": cost.reserved.value if cost is not None else 0,
        "chargedMsat": view.debited.value,
        "poolMsat": view.absorbed.value,
        "refund": None,  # what was held and not used was released at once
    }


def of_completion(view: CompletionView, ending: Ending) -> Document:
    """`promptSha256` is of the request's body, byte for byte as it came: what was asked is not kept."""
    usage, message = view.usage, view.message or {}
    text, calls = message.get("content"), message.get("tool_calls")
    return {
        "of": "completion",
        "state": ending.value,
        "startedAt": iso(view.started_at_ms),
        "endedAt": iso(view.ended_at_ms or view.started_at_ms),
        "promptSha256": view.body_sha256,
        "answerSha256": sha256(text) if isinstance(text, str) else None,
        "toolCallsSha256": sha256(orjson.dumps(calls, option=orjson.OPT_SORT_KEYS).decode()) if calls else None,
        "truncated": view.finish == "length",
        "payments": [],  # as a session's request
        "prices": [price("work", view.quote)] if usage is not None else [],
        "tokens": {"work": tokens(usage)} if usage is not None else {},
        "costUsd": views.dollars(view.quote.cost(usage.input, usage.output, usage.cached)) if usage is not None else 0,
        "heldMsat": view.held.value,
        "chargedMsat": view.charged.value,
        "poolMsat": 0,
        "refund": None,
    }


def payment(purpose: str, invoice: InvoiceView, seen: Settled | str) -> Document:
    """With the preimage, if the wallet shows it; otherwise with the reason why not."""
    told: Document = {"purpose": purpose, "paymentHash": invoice.payment_hash, "amountSats": invoice.amount.value}
    if isinstance(seen, str):
        return {**told, "receivedMsat": None, "preimage": None, "preimageUnknown": seen}
    preimage = seen.preimage
    shown = preimage is not None and hashlib.sha256(bytes.fromhex(preimage)).hexdigest() == invoice.payment_hash
    told["receivedMsat"] = seen.received.value
    return {**told, "preimage": preimage if shown else None, "preimageUnknown": None if shown else WALLET_HIDES}


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


ABOUT_RECEIPT = f"""\
A Nostr event (NIP-01) of kind {KIND} (NIP-78), signed with the server's key, which `/.well-known/nostr.json` names. Its `content` is JSON:
models, tokens, unit prices, the bitcoin price and its source, margin, what the pool gave, the refund as it stands, payment hashes with
what arrived, their preimages where the wallet shows them (`preimageUnknown` says why it does not), and the SHA-256 of request, answer and
id. `timmy receipt verify` reads it, and recomputes the bill."""
ABOUT_COMPLETION = """\
As a job's, without payments: it was paid from a balance, whose preimage would open it. `promptSha256` is of the request's body as it was
sent, `answerSha256` of the answer's text, `toolCallsSha256` of its tool calls as JSON with sorted keys. For whoever could read the answer,
and as long as that is kept: a day."""
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
        *_of_completions(house),
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


def _of_completions(house: WebHouse) -> tuple[Operation, ...]:
    if house.completions is None:
        return ()
    return (
        Operation(
            method="GET",
            path="/v1/chat/completions/{completionId}/receipt",
            name="completionReceipt",
            summary="A signed receipt of a call",
            about=ABOUT_COMPLETION,
            endpoint=functools.partial(receipt_of_completion, V1Routes(house, house.completions)),
            sends=(Sends(200, "The receipt.", "NostrEvent", example=EVENT),),
            refuses=(*KEY_REFUSALS, CompletionNotFound, CompletionInProgress),
            proof=BEARER,
            parameters=(path_parameter("completionId", "The id of the completion, or of its chunks.", str(EXAMPLE["id"])),),
            tag="openai",
            v1=True,
        ),
    )
