"""Jobs over HTTP: order one, watch it, take back what was paid too much."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from timmy.errors import TimmyError
from timmy.idempotency import KeyReused
from timmy.jobs.desk import JobNotFound, JobUnderWay
from timmy.lightning import lnurl
from timmy.lightning.wallets.protocol import WalletDown
from timmy.web import fields, problems, refusals, spending, views
from timmy.web.bodies import read_object, read_signed
from timmy.web.callers import caller_of, principal
from timmy.web.examples import COMPLETE, CREATED, ID, SESSION_REQUEST, TOKEN
from timmy.web.house import WebHouse
from timmy.web.operations import ANYBODY, IDEMPOTENCY_KEY, LAST_EVENT_ID, PAID, Document, Operation, Sends, Takes, path_parameter
from timmy.web.payout_refusals import PAYOUT_REFUSALS
from timmy.web.render import PRIVATE, private
from timmy.web.spending import Asked
from timmy.web.stream import JobStream, OpenStreams, begin, last_seen

JOB_ID = re.compile(r"[!-~]{1,64}")


class JobRoutes:
    def __init__(self, house: WebHouse, streams: OpenStreams) -> None:
        self.house = house
        self.streams = streams

    async def create(self, request: Request) -> Response | ASGIApp:
        document, raw = await read_signed(request, bytes_max=self.house.settings.max_body_bytes)
        wanted = fields.new_job(document, request_chars_max=self.house.settings.max_request_chars)
        key = fields.idempotency_key(request, document)
        if spending.is_wanted(request):
            spending.check_job(wanted)
            caller = await caller_of(self.house.identity, request, raw, wanted.nostr_token)
            return await spending.answered(self.house, request, Asked(wanted.request, key, pubkey=caller.pubkey if caller else None))
        with self.house.offers.passing(request):
            caller = await caller_of(self.house.identity, request, raw, wanted.nostr_token)
            view = await self.house.jobs.submit(
                wanted.request,
                refund_to=wanted.refund_to,
                key=fields.owned(key, principal(caller)),
                pubkey=caller.pubkey if caller else None,
            )
        return private(views.created(view), 201, {"Location": f"/api/jobs/{view.id}"})

    async def show(self, request: Request) -> Response:
        return private(views.job(await self.house.jobs.view(job_id(request))))

    async def refund(self, request: Request) -> Response:
        known = job_id(request)
        document = await read_object(request, bytes_max=self.house.settings.max_body_bytes)
        destination = fields.destination(document)
        # A refund's key belongs to its job: the same key may have made the job, and may be used with another one.
        key = fields.idempotency_key(request, document, principal=f"job:{known}")
        return private(views.job(await self.house.jobs.refund(known, destination, key=key)))

    async def events(self, request: Request) -> Response | ASGIApp:
        self.streams.check()
        view = await self.house.jobs.view(job_id(request))
        seen = last_seen(request.headers.get("last-event-id", ""))
        news = self.house.jobs.follow(view.id, after_seq=seen)
        first = await begin(news, seen=seen, is_over=view.state.is_final)
        if first is None:
            return Response(status_code=204, headers=PRIVATE)  # tells an EventSource not to come back again
        return self.streams.counted(JobStream(self.house, view, news, first))


def job_id(request: Request) -> str:
    """What stands in the path, unless it cannot possibly be an id (a NUL would be an error in PostgreSQL, and so a 500)."""
    found = request.path_params["jobId"]
    if not isinstance(found, str) or JOB_ID.fullmatch(found) is None:
        raise JobNotFound("There is no job with this id. It is the jobId of the answer that created it.")
    return found


# Described ------------------------------------------------------------------------------------------------

LOCATION: Document = {"Location": {"description": "Where the job is.", "schema": {"type": "string"}}}
JOB_ID_PARAMETER = path_parameter("jobId", "The jobId of the answer that created it.", ID)
PAY: Document = {
    "name": "pay",
    "in": "query",
    "required": False,
    "description": "`l402`: answer 402 with a challenge, and be paid ahead.",
    "schema": {"type": "string"},
}
REQUEST_REFUSALS = (
    refusals.FieldUnknown,
    refusals.RequestMissing,
    refusals.RequestEmpty,
    refusals.RequestTooLong,
    refusals.RequestWrongType,
    refusals.FieldEmpty,
    refusals.FieldTooLong,
    refusals.FieldWrongType,
    refusals.IdempotencyKeyInvalid,
    KeyReused,
    *problems.IDENTITY,
    lnurl.LightningAddressMalformed,
)
PAID_AHEAD_REFUSALS = tuple(kind for kind in spending.SPENDING_REFUSALS if kind not in REQUEST_REFUSALS)
REFUND_REFUSALS: tuple[type[TimmyError], ...] = (JobNotFound, JobUnderWay, *PAYOUT_REFUSALS, lnurl.LnurlMalformed)

ABOUT_CREATE = """\
Answers with an invoice for the evaluation. Nothing happens, and nothing is owed, until it is paid. With a Nostr identity (`nostr_token`,
`X-Nostr-Token`, or NIP-98) the job is bound to that key: it counts for its trust, and the pool may take over all of the work or a part.

Paid ahead instead, for clients of L402: with `?pay=l402`, or `Accept-Authenticate: L402`, the answer is 402 with a challenge. The same
request with `Authorization: L402 <macaroon>:<preimage>` is judged and worked on in one call and answered 200, as a session's request is.
What it did not cost stays in the macaroon's balance, for the next job, for `/v1`, or to be paid out. A client of the `Payment` scheme that
accepts `lightning/session` is served in the same way. `refundTo` is not for these."""

ABOUT_EVENTS = """\
`event: job` carries the whole job, at once and whenever it changes. `event: progress` carries `{text}`, the next piece of the answer as
it is written. `event: restarted`: the work broke off and begins anew, so forget the pieces that came before. `event: end` is the last
one: close the stream then. Ids grow; a reader that comes back with `Last-Event-ID` gets what it missed. A comment line every 15 seconds
keeps the connection alive. 204: the job is over and there is nothing more."""

ABOUT_REFUND = """\
Give exactly one of `invoice` (BOLT11, of exactly `refund.owedSats`), `lightningAddress` and `lnurl`. It is paid once, whatever is
repeated: the same destination again is answered with how far it has got. A payment whose fate is unknown stays `pending` and is
looked up, never sent again."""


def operations(house: WebHouse, streams: OpenStreams) -> tuple[Operation, ...]:
    routes = JobRoutes(house, streams)
    return (*_buying(routes), *_watching(routes))


def _buying(routes: JobRoutes) -> tuple[Operation, ...]:
    return (
        Operation(
            method="POST",
            path="/api/jobs",
            name="createJob",
            summary="Order a job",
            about=ABOUT_CREATE,
            endpoint=routes.create,
            takes=Takes(
                "NewJob",
                {
                    "plain": {"value": {"request": "Write a haiku about rain."}},
                    "refundTo": {"value": {"request": "Write a haiku about rain.", "refundTo": "me@wallet.example"}},
                    "known": {"value": {"request": "Write a haiku about rain.", "nostr_token": TOKEN}},
                },
            ),
            sends=(
                Sends(201, "The job, waiting for its evaluation fee.", "JobCreated", example=CREATED, headers=LOCATION),
                Sends(200, "How it ended: it was paid ahead.", "SessionRequest", example=SESSION_REQUEST),
            ),
            refuses=(*REQUEST_REFUSALS, *PAID_AHEAD_REFUSALS, refusals.RateLimited, WalletDown),
            proof=(*ANYBODY, *PAID),
            paid=("session",),
            parameters=(IDEMPOTENCY_KEY, PAY),
            tag="jobs",
        ),
        Operation(
            method="POST",
            path="/api/jobs/{jobId}/refund",
            name="refundJob",
            summary="Take back what was paid too much",
            about=ABOUT_REFUND,
            endpoint=routes.refund,
            takes=Takes(
                "RefundTo",
                {
                    "invoice": {"value": {"invoice": "lnbcrt100n1p…"}},
                    "lightningAddress": {"value": {"lightningAddress": "me@wallet.example"}},
                    "lnurl": {"value": {"lnurl": "LNURL1DP68GURN8GHJ7…"}},
                },
            ),
            sends=(Sends(200, "The job; `refund` says how far the payment has got.", "Job", example=COMPLETE),),
            refuses=REFUND_REFUSALS,
            parameters=(JOB_ID_PARAMETER, IDEMPOTENCY_KEY),
            tag="jobs",
        ),
    )


def _watching(routes: JobRoutes) -> tuple[Operation, ...]:
    return (
        Operation(
            method="GET",
            path="/api/jobs/{jobId}",
            name="getJob",
            summary="A job and all that belongs to it",
            about="May be polled as often as you like; looking changes nothing. `/events` tells the same without being asked.",
            endpoint=routes.show,
            sends=(Sends(200, "The job.", "Job", example=COMPLETE),),
            refuses=(JobNotFound,),
            parameters=(JOB_ID_PARAMETER,),
            tag="jobs",
        ),
        Operation(
            method="GET",
            path="/api/jobs/{jobId}/events",
            name="followJob",
            summary="A job as it happens",
            about=ABOUT_EVENTS,
            endpoint=routes.events,
            sends=(
                Sends(200, "Server-sent events, until the job is over.", media_type="text/event-stream"),
                Sends(204, "The job is over, and everything has been told."),
            ),
            refuses=(JobNotFound, refusals.StreamsFull),
            parameters=(JOB_ID_PARAMETER, LAST_EVENT_ID),
            tag="jobs",
        ),
    )
