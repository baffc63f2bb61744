"""What can be asked of sessions, described."""

from __future__ import annotations

from timmy.errors import TimmyError
from timmy.idempotency import KeyReused
from timmy.lightning.wallets.protocol import WalletDown
from timmy.sessions import refusals as sessions
from timmy.web import problems, refusals
from timmy.web.examples import INVOICE, SESSION, SESSION_ID, SESSION_OPENED, SESSION_REQUEST, TOKEN
from timmy.web.house import WebHouse
from timmy.web.operations import ANYBODY, BEARER, IDEMPOTENCY_KEY, LAST_EVENT_ID, PAID, Document, Operation, Sends, Takes, path_parameter
from timmy.web.payout_refusals import PAYOUT_REFUSALS
from timmy.web.sessions import SessionRoutes
from timmy.web.spending import BROUGHT, SPENDING_REFUSALS
from timmy.web.stream import OpenStreams

LOCATION: Document = {"Location": {"description": "Where the session is.", "schema": {"type": "string"}}}
SESSION_ID_PARAMETER = path_parameter("sessionId", "The sessionId of the answer that opened it.", SESSION_ID)
REQUEST_ID_PARAMETER = path_parameter("requestId", "The requestId of the answer to the request.", "req_jqxw2zlp5v3k7m4t6r2yq5hs4a")

MACAROON_REFUSALS: tuple[type[TimmyError], ...] = (refusals.MacaroonWanted, *BROUGHT)
AMOUNT_REFUSALS: tuple[type[TimmyError], ...] = (
    refusals.FieldUnknown,
    refusals.FieldMissing,
    refusals.FieldWrongType,
    sessions.AmountOutOfBounds,
    refusals.IdempotencyKeyInvalid,
    KeyReused,
    WalletDown,
)
REQUEST_REFUSALS: tuple[type[TimmyError], ...] = (
    sessions.SessionNotFound,
    refusals.FieldUnknown,
    refusals.RequestMissing,
    refusals.RequestEmpty,
    refusals.RequestTooLong,
    refusals.RequestWrongType,
    refusals.IdempotencyKeyInvalid,
    KeyReused,
    *SPENDING_REFUSALS,
    sessions.SessionEnded,
    refusals.RateLimited,
)
CLOSE_REFUSALS: tuple[type[TimmyError], ...] = (
    sessions.SessionNotFound,
    *MACAROON_REFUSALS,
    sessions.NotOpenYet,
    sessions.RequestsRunning,
    *PAYOUT_REFUSALS,
)

ABOUT_OPEN = """\
Answers with an invoice. Once it is paid, `GET /api/sessions/{sessionId}` shows the macaroon that spends from it. The sessionId is
unguessable, and whoever knows it may see the macaroon: keep it like a key."""

ABOUT_ASK = """\
Judged and worked on in one call. The most that it can cost is held first, the pool's gift before your own sats; what it really cost is
charged, and the rest is released at once. A request that fails costs nothing; a rejected one costs its judgement. It goes on if you hang
up: ask again with the same `Idempotency-Key`, or look at `/requests/{requestId}`. 402 says what is needed (`neededMsat`), what is there
(`balanceMsat`) and what to top up (`topupSats`). Send `Authorization: Bearer` with the macaroon, L402 with its preimage, or a `Payment`
credential of a session. Who sends nothing gets 402 with an L402 challenge, whose payment is this session's: its deposit, or a top-up."""

ABOUT_CLOSE = """\
Ends the session and pays what is left, in whole sats, to an invoice of exactly that amount or to a Lightning address, once. An expired
session is paid out the same way. Send `Authorization: Bearer` with the session's own macaroon, not a narrowed one."""

ABOUT_SESSION_EVENTS = """\
`event: session` carries the session (without its macaroon), at once and whenever it changes. `event: balance` says that the balance has
moved, and why. `event: end` is the last one. Ids grow; a reader that comes back with `Last-Event-ID` gets what it missed."""


def operations(house: WebHouse, streams: OpenStreams) -> tuple[Operation, ...]:
    routes = SessionRoutes(house, streams)
    return (*_opening(routes), *_spending(routes), *_watching(routes))


def _opening(routes: SessionRoutes) -> tuple[Operation, ...]:
    return (
        Operation(
            method="POST",
            path="/api/sessions",
            name="openSession",
            summary="Open a session",
            about=ABOUT_OPEN,
            endpoint=routes.open,
            takes=Takes(
                "NewSession", {"plain": {"value": {"amountSats": 500}}, "known": {"value": {"amountSats": 500, "nostr_token": TOKEN}}}
            ),
            sends=(Sends(201, "The session, waiting for its deposit.", "SessionOpened", example=SESSION_OPENED, headers=LOCATION),),
            refuses=(*AMOUNT_REFUSALS, refusals.RateLimited, *problems.IDENTITY),
            proof=ANYBODY,
            parameters=(IDEMPOTENCY_KEY,),
            tag="sessions",
        ),
        Operation(
            method="POST",
            path="/api/sessions/{sessionId}/topup",
            name="topUpSession",
            summary="Put more into a session",
            about="Answers with an invoice. One may wait at a time: a second is 409 and carries the pending one as `invoice`.",
            endpoint=routes.topup,
            takes=Takes("TopupWanted", {"plain": {"value": {"amountSats": 500}}}),
            sends=(Sends(201, "The invoice.", "Invoice", example={**INVOICE, "amountSats": 500}),),
            refuses=(*AMOUNT_REFUSALS, sessions.SessionNotFound, sessions.NotOpenYet, sessions.SessionEnded, sessions.TopupPending),
            parameters=(SESSION_ID_PARAMETER, IDEMPOTENCY_KEY),
            tag="sessions",
        ),
    )


def _spending(routes: SessionRoutes) -> tuple[Operation, ...]:
    return (
        Operation(
            method="POST",
            path="/api/sessions/{sessionId}/request",
            name="askSession",
            summary="Have a request done",
            about=ABOUT_ASK,
            endpoint=routes.ask,
            takes=Takes("SessionRequestWanted", {"plain": {"value": {"request": "Write a haiku about rain."}}}),
            sends=(Sends(200, "How it ended.", "SessionRequest", example=SESSION_REQUEST),),
            refuses=REQUEST_REFUSALS,
            proof=PAID,
            paid=("session",),
            parameters=(SESSION_ID_PARAMETER, IDEMPOTENCY_KEY),
            tag="sessions",
        ),
        Operation(
            method="POST",
            path="/api/sessions/{sessionId}/close",
            name="closeSession",
            summary="Take the rest back",
            about=ABOUT_CLOSE,
            endpoint=routes.close,
            takes=Takes(
                "PayTo",
                {
                    "invoice": {"value": {"invoice": "lnbcrt4890n1p…"}},
                    "lightningAddress": {"value": {"lightningAddress": "me@wallet.example"}},
                },
            ),
            sends=(Sends(200, "The session; `refund` says how far the payment has got.", "Session", example=SESSION),),
            refuses=CLOSE_REFUSALS,
            proof=BEARER,
            parameters=(SESSION_ID_PARAMETER, IDEMPOTENCY_KEY),
            tag="sessions",
        ),
    )


def _watching(routes: SessionRoutes) -> tuple[Operation, ...]:
    return (
        Operation(
            method="GET",
            path="/api/sessions/{sessionId}",
            name="getSession",
            summary="A session and its balance",
            about="The `macaroon` is there once the deposit is settled. A session below its minimum is `paused`, and a top-up wakes it.",
            endpoint=routes.show,
            sends=(Sends(200, "The session.", "Session", example=SESSION),),
            refuses=(sessions.SessionNotFound,),
            parameters=(SESSION_ID_PARAMETER,),
            tag="sessions",
        ),
        Operation(
            method="GET",
            path="/api/sessions/{sessionId}/requests/{requestId}",
            name="getSessionRequest",
            summary="How a request has ended",
            about="For whoever hung up before the answer came. Send `Authorization: Bearer` with the macaroon.",
            endpoint=routes.show_request,
            sends=(Sends(200, "The request.", "SessionRequest", example=SESSION_REQUEST),),
            refuses=(sessions.SessionNotFound, sessions.RequestNotFound, *MACAROON_REFUSALS),
            proof=BEARER,
            parameters=(SESSION_ID_PARAMETER, REQUEST_ID_PARAMETER),
            tag="sessions",
        ),
        Operation(
            method="GET",
            path="/api/sessions/{sessionId}/events",
            name="followSession",
            summary="A session as it is spent",
            about=ABOUT_SESSION_EVENTS,
            endpoint=routes.events,
            sends=(
                Sends(200, "Server-sent events, until the session is over.", media_type="text/event-stream"),
                Sends(204, "The session is over, and everything has been told."),
            ),
            refuses=(sessions.SessionNotFound, refusals.StreamsFull),
            parameters=(SESSION_ID_PARAMETER, LAST_EVENT_ID),
            tag="sessions",
        ),
    )
