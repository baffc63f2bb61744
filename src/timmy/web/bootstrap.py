"""Nodes over HTTP: order one, watch it come up, collect its key; and the call that its machine makes."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from timmy.bootstrap import desk
from timmy.bootstrap.keys import PublicKeyInvalid
from timmy.bootstrap.model import BootstrapNews
from timmy.bootstrap.protocol import BootstrapDesk
from timmy.errors import TimmyError
from timmy.idempotency import KeyReused
from timmy.lightning import lnurl
from timmy.lightning.wallets.protocol import WalletDown
from timmy.web import bootstrap_views as views
from timmy.web import fields, refusals
from timmy.web.bodies import parse_object, read_bytes, read_object
from timmy.web.examples import INVOICE
from timmy.web.house import WebHouse
from timmy.web.operations import IDEMPOTENCY_KEY, LAST_EVENT_ID, Document, Operation, Sends, Takes, path_parameter
from timmy.web.payout_refusals import PAYOUT_REFUSALS
from timmy.web.render import PRIVATE, private
from timmy.web.stream import OpenStreams, Shown, Stream, begin, last_seen

KEY_CHARS_MIN = 16  # else two customers who count from 1 would have one node, and one claim to its key
ORDER_ID = re.compile(r"[a-z0-9_]{1,64}")


class BootstrapRoutes:
    def __init__(self, house: WebHouse, nodes: BootstrapDesk, streams: OpenStreams) -> None:
        self.house = house
        self.nodes = nodes
        self.streams = streams

    async def create(self, request: Request) -> Response:
        raw = await read_bytes(request, bytes_max=self.house.settings.max_body_bytes)
        document = parse_object(raw) if raw.strip() else {}  # there is nothing that has to be said
        wanted = views.wanted(document)
        key = fields.idempotency_key(request, document)
        if key is not None and len(key.key) < KEY_CHARS_MIN:
            raise refusals.IdempotencyKeyInvalid(
                f"Idempotency-Key must have at least {KEY_CHARS_MIN} characters here, such as a random UUID: whoever sends the"
                " same one gets the same order, with its claimToken."
            )
        with self.house.offers.passing(request):
            view = await self.nodes.order(wanted, key=key)
        return private(views.created(view), 201, {"Location": f"/api/bootstrap/{view.id}"})

    async def show(self, request: Request) -> Response:
        claim = views.claim_token(request)
        if request.method == "HEAD":  # whoever only knocks takes nothing with them
            return private(views.bootstrap(await self.nodes.view(order_id(request))))
        return private(views.bootstrap(*await self.nodes.collect(order_id(request), claim)))

    async def refund(self, request: Request) -> Response:
        known = order_id(request)
        document = await read_object(request, bytes_max=self.house.settings.max_body_bytes)
        destination = views.destination(document)
        key = fields.idempotency_key(request, document, principal=f"bootstrap:{known}")
        return private(views.bootstrap(await self.nodes.refund(known, destination, key=key)))

    async def call_home(self, request: Request) -> Response:
        known = order_id(request)
        token = views.call_home_token(request)
        document = await read_object(request, bytes_max=self.house.settings.max_body_bytes)
        state = await self.nodes.called_home(known, token, views.report(document))
        return private({"state": state.value})

    async def events(self, request: Request) -> Response | ASGIApp:
        self.streams.check()
        view = await self.nodes.view(order_id(request))
        seen = last_seen(request.headers.get("last-event-id", ""))
        news = self.nodes.follow(view.id, after_seq=seen)
        first = await begin(news, seen=seen, is_over=view.state.is_final)
        if first is None:
            return Response(status_code=204, headers=PRIVATE)

        async def look() -> Shown:
            return views.bootstrap(await self.nodes.view(view.id))

        stream: Stream[BootstrapNews] = Stream(
            self.house, "bootstrap", views.bootstrap(view), {"bootstrapJobId": view.id}, look, _all_in_one, news, first
        )
        return self.streams.counted(stream)


def _all_in_one(_: BootstrapNews) -> tuple[str, Shown] | None:
    """Every piece of news is a change of the whole."""
    return None


def order_id(request: Request) -> str:
    """What stands in the path, unless it cannot possibly be an id."""
    found = request.path_params["bootstrapJobId"]
    if not isinstance(found, str) or ORDER_ID.fullmatch(found) is None:
        raise desk.BootstrapNotFound("There is no order with this id. It is the bootstrapJobId of the answer that created it.")
    return found


# Described ------------------------------------------------------------------------------------------------

ID = "bst_jqxw2zlp5v3k7m4t6r2yq5hs4a"
PARAMETER = path_parameter("bootstrapJobId", "The bootstrapJobId of the answer that created it.", ID)
LOCATION: Document = {"Location": {"description": "Where the order is.", "schema": {"type": "string"}}}
CLAIM: Document = {
    "name": "X-Claim-Token",
    "in": "header",
    "required": False,
    "description": "The claimToken of the answer that created the order: with it the private key can be had again for ten minutes.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
}
LONG_KEY: Document = {
    **IDEMPOTENCY_KEY,
    "description": f"{KEY_CHARS_MIN} to 255 printable ASCII characters, such as a random UUID. The same key and body: the same order.",
    "schema": {**IDEMPOTENCY_KEY["schema"], "minLength": KEY_CHARS_MIN},
}
FEE: Document = {**INVOICE, "amountSats": 10_000}
CREATED: Document = {
    "bootstrapJobId": ID,
    "state": "awaiting_payment",
    "createdAt": "2026-01-01T00:00:00.000Z",
    "rehearsal": False,
    "invoice": FEE,
    "claimToken": "claim_mfrggzdfmztwq2lknnwg23tpobyxe43u",
}
READY: Document = {
    "bootstrapJobId": ID,
    "state": "ready",
    "createdAt": "2026-01-01T00:00:00.000Z",
    "completedAt": "2026-01-01T00:21:00.000Z",
    "rehearsal": False,
    "rehearsalNote": None,
    "invoice": FEE,
    "progress": "The node answers.",
    "reason": None,
    "trouble": None,
    "address": "203.0.113.7",
    "tailscaleName": "timmy-bst-jqxw.tail1234.ts.net",
    "lnbitsUrl": "http://timmy-bst-jqxw.tail1234.ts.net:5000",
    "sshUser": "root",
    "sshKey": {
        "type": "ed25519",
        "state": "delivered",
        "publicKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…",
        "deliveredAt": "2026-01-01T00:21:05.000Z",
        "againUntil": "2026-01-01T00:31:05.000Z",
        "note": "The private key was handed over.",
    },
    "sshPrivateKey": "-----BEGIN OPENSSH PRIVATE KEY-----\n…",
    "nextSteps": ["Save sshPrivateKey to a file named node_key, and run: chmod 600 node_key", "Log in: ssh -i node_key root@203.0.113.7"],
    "refund": {"state": "not_applicable", "owedSats": 0, "paidSats": 0, "creditMsat": 0, "destination": None, "trouble": None},
    "refundTo": None,
}

EVENT: Document = {"type": "object", "properties": {"event": {"enum": ["bootstrap", "end"]}, "data": {"type": "string"}}}

ABOUT_CREATE = """\
Answers with an invoice for the fee; nothing happens until it is paid. Then a machine is rented and prepared, once, whoever asks and
however often. The order ends `ready` when the machine itself has said that Bitcoin, Lightning and LNbits answer on it; or `failed`, and
then nothing is left standing and the whole fee is owed back. The body may be empty."""

ABOUT_SHOW = """\
May be polled as often as you like. The first GET after the order has become `ready` carries `sshPrivateKey`, and no later one: so ask when
you can keep it. If that answer was lost on its way, ask again within ten minutes with `X-Claim-Token`: the claimant is whoever has the
claimToken of the answer that created the order. After that the key is erased, and nobody here can read it any more. HEAD takes nothing."""

ABOUT_EVENTS = """\
`event: bootstrap` carries the whole order, at once and whenever it changes, and never its private key. `event: end` is the last one. A
reader that comes back with `Last-Event-ID` gets what it missed. 204: the order is over and there is nothing more."""

ABOUT_REFUND = """\
Give exactly one of `invoice` (BOLT11, of exactly `refund.owedSats`), `lightningAddress` and `lnurl`. It is paid once, whatever is
repeated."""

ABOUT_CALL = """\
For the machine alone, with the token that it was given: it says that its node answers, and only that makes the order `ready`. The same call
again is answered the same. 410: the order has failed, and the machine is being taken away."""


def operations(house: WebHouse, nodes: BootstrapDesk, streams: OpenStreams) -> tuple[Operation, ...]:
    routes = BootstrapRoutes(house, nodes, streams)
    return (*_buying(routes), *_watching(routes))


ORDER_REFUSALS: tuple[type[TimmyError], ...] = (
    refusals.FieldUnknown,
    refusals.FieldEmpty,
    refusals.FieldTooLong,
    refusals.FieldWrongType,
    refusals.IdempotencyKeyInvalid,
    KeyReused,
    PublicKeyInvalid,
    lnurl.LightningAddressMalformed,
    refusals.RateLimited,
    desk.NotOffered,
    WalletDown,
)


def _buying(routes: BootstrapRoutes) -> tuple[Operation, ...]:
    own = {"sshPublicKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI… you@home", "refundTo": "me@wallet.example"}
    return (
        Operation(
            method="POST",
            path="/api/bootstrap",
            name="createBootstrap",
            summary="Order a Bitcoin node",
            about=ABOUT_CREATE,
            endpoint=routes.create,
            takes=Takes("NewBootstrap", {"plain": {"value": {}}, "own": {"value": own}}, required=False),
            sends=(Sends(201, "The order, waiting for its fee.", "BootstrapCreated", example=CREATED, headers=LOCATION),),
            refuses=ORDER_REFUSALS,
            parameters=(LONG_KEY,),
            tag="nodes",
        ),
        Operation(
            method="POST",
            path="/api/bootstrap/{bootstrapJobId}/refund",
            name="refundBootstrap",
            summary="Take the fee of a failed order back",
            about=ABOUT_REFUND,
            endpoint=routes.refund,
            takes=Takes("RefundTo", {"invoice": {"value": {"invoice": "lnbcrt100u1p…"}}}),
            sends=(Sends(200, "The order; `refund` says how far the payment has got.", "Bootstrap", example=READY),),
            refuses=(desk.BootstrapNotFound, desk.BootstrapUnderWay, *PAYOUT_REFUSALS, lnurl.LnurlMalformed),
            parameters=(PARAMETER, IDEMPOTENCY_KEY),
            tag="nodes",
        ),
        Operation(
            method="POST",
            path="/api/bootstrap/{bootstrapJobId}/call-home",
            name="callHome",
            summary="A machine says that its node answers",
            about=ABOUT_CALL,
            endpoint=routes.call_home,
            takes=Takes(
                "CallHome",
                {"ready": {"value": {"state": "ready", "bitcoin": {"blocks": 0}, "lnd": {}, "lnbitsUrl": "http://127.0.0.1:5000"}}},
            ),
            sends=(Sends(200, "Heard.", "CalledHome", example={"state": "ready"}),),
            refuses=(
                desk.BootstrapNotFound,
                desk.CallHomeTokenInvalid,
                desk.BootstrapOver,
                desk.MachineNotKnownYet,
                refusals.FieldMissing,
                refusals.FieldEmpty,
                refusals.FieldTooLong,
                refusals.FieldWrongType,
            ),
            parameters=(PARAMETER,),
            proof=("machine",),
            tag="nodes",
        ),
    )


def _watching(routes: BootstrapRoutes) -> tuple[Operation, ...]:
    return (
        Operation(
            method="GET",
            path="/api/bootstrap/{bootstrapJobId}",
            name="getBootstrap",
            summary="An order of a node, and once its private key",
            about=ABOUT_SHOW,
            endpoint=routes.show,
            sends=(Sends(200, "The order.", "Bootstrap", example=READY),),
            refuses=(desk.BootstrapNotFound, desk.ClaimTokenInvalid),
            parameters=(PARAMETER, CLAIM),
            tag="nodes",
        ),
        Operation(
            method="GET",
            path="/api/bootstrap/{bootstrapJobId}/events",
            name="followBootstrap",
            summary="An order as it happens",
            about=ABOUT_EVENTS,
            endpoint=routes.events,
            sends=(
                Sends(200, "Server-sent events, until the order is over.", media_type="text/event-stream", schema=EVENT),
                Sends(204, "The order is over, and everything has been told."),
            ),
            refuses=(desk.BootstrapNotFound, refusals.StreamsFull),
            parameters=(PARAMETER, LAST_EVENT_ID),
            tag="nodes",
        ),
    )
