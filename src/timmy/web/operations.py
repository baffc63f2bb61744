"""One entry for each thing that can be asked over HTTP: it routes the request and it describes it, so the two cannot drift apart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from timmy.errors import TimmyError
from timmy.web import refusals
from timmy.web.payment_refusals import PAYMENT_REFUSALS, type_of
from timmy.web.routing import NamedRoute, WrittenOut
from timmy.web.v1_errors import body

Endpoint = Callable[[Request], Awaitable[Response | ASGIApp]]
Document = dict[str, Any]

REF = "#/components/schemas/{model}"

BODY_REFUSALS = (
    refusals.InvalidJson,
    refusals.JsonNotFinite,
    refusals.JsonDuplicateKey,
    refusals.JsonTooDeep,
    refusals.BodyTooSlow,
    refusals.BodyTooLarge,
    refusals.UnsupportedMediaType,
    refusals.JsonNotObject,
    refusals.TextInvalid,
)
ALWAYS = (refusals.HeadersTooLarge,)


@dataclass(frozen=True, slots=True)
class Sends:
    """A successful answer."""

    status: int
    meaning: str
    shape: str | None = None  # the name of a schema in schemas.py
    media_type: str = "application/json"
    example: object = None
    headers: Document = field(default_factory=dict)
    schema: Document = field(default_factory=lambda: {"type": "string"})  # when it has no shape
    streams: bool = False  # it may come as server-sent events instead


@dataclass(frozen=True, slots=True)
class Takes:
    """A JSON body."""

    shape: str
    examples: Document
    required: bool = True


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    path: str  # a parameter that may hold slashes is `{name:path}`
    name: str
    summary: str
    about: str
    endpoint: Endpoint
    sends: tuple[Sends, ...]
    refuses: tuple[type[TimmyError], ...] = ()
    parameters: tuple[Document, ...] = ()
    takes: Takes | None = None
    tag: str = "server"
    proof: tuple[str, ...] = ()  # the names of what it takes as proof, in SECURITY; `""` is none
    paid: tuple[str, ...] = ()  # the intents that are offered besides L402, where who brings no key can be answered 402 with an offer
    v1: bool = False  # its errors have OpenAI's shape


class App(Starlette):
    """Routes, and the document that describes exactly these."""

    operations: tuple[Operation, ...] = ()
    version: str = ""
    request_chars_max: int = 0

    @cached_property
    def document(self) -> Document:
        """OpenAPI 3.1. Made when it is first asked for: it takes longer than all the rest of a start."""
        return openapi(self.operations, version=self.version, request_chars_max=self.request_chars_max)

    async def describe(self) -> Document:
        """The document, made beside the loop: its first reader must not keep everybody waiting."""
        return await asyncio.to_thread(lambda: self.document)

    def build_middleware_stack(self) -> ASGIApp:
        """Without Starlette's own layer for what was not expected: the envelope is that layer."""
        app: ASGIApp = ExceptionMiddleware(WrittenOut(self.router, self.routes), handlers=self.exception_handlers)
        for layer in reversed(self.user_middleware):
            app = layer.cls(app, *layer.args, **layer.kwargs)
        return app


class PageRoute(NamedRoute):
    """A page for people, which has no place in a document for programs."""


def install(app: App, operations: Iterable[Operation], *, version: str, request_chars_max: int) -> None:
    """Routes for the operations, and a document that describes exactly these."""
    app.operations, app.version, app.request_chars_max = tuple(operations), version, request_chars_max
    for one in sorted(app.operations, key=lambda one: not one.v1):  # looked through in this order, and calls are the most frequent
        app.router.routes.append(NamedRoute(one.path, one.endpoint, methods=[one.method], name=one.name))


def openapi(operations: Iterable[Operation], *, version: str, request_chars_max: int) -> Document:
    paths: Document = {}
    for one in operations:
        paths.setdefault(one.path.replace(":path}", "}"), {})[one.method.lower()] = _described(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Timmy",
            "version": version,
            "summary": "An AI agent's work for Bitcoin Lightning payments. No accounts, no cards.",
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "x-service-info": SERVICE,
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "jobs", "description": "Pay to have a request judged, then pay to have it done."},
            {"name": "sessions", "description": "Pay ahead, and spend per request with a macaroon. What is left is paid back."},
            {"name": "openai", "description": "Conversations, for programs that speak OpenAI's API. A session's macaroon is the API key."},
            {
                "name": "nodes",
                "description": "One payment, and a Bitcoin and Lightning node of one's own on a rented machine.",
            },
            {"name": "identity", "description": "A Nostr key, and what it has earned. Nobody needs one."},
            {"name": "pool", "description": "What work would cost, and what is given of it."},
            {"name": "world", "description": "What everybody may see of the house, and a first answer for nothing."},
            {"name": "server", "description": "How the server is, and what it says about itself."},
            {
                "name": "operator",
                "description": "For the operator, with ADMIN_TOKEN; 404 where none is set. It shows nothing of customers' texts.",
            },
            {"name": "development", "description": "Only where development routes exist; 404 elsewhere."},
        ],
        "paths": paths,
        "components": {"schemas": _schemas(request_chars_max), "securitySchemes": SECURITY},
    }


def _schemas(request_chars_max: int) -> Document:
    # Here, because only the document needs the shapes, and Pydantic takes a third of a second for them.
    from pydantic.json_schema import models_json_schema

    from timmy.web import schemas

    _, definitions = models_json_schema([(model, "validation") for model in schemas.ALL], ref_template=REF)
    found: Document = dict(sorted(definitions["$defs"].items()))
    for shape in ("NewJob", "EstimateWanted", "SessionRequestWanted", "DemoWanted"):
        found[shape]["properties"]["request"]["maxLength"] = request_chars_max
    # Pydantic cannot say "exactly one of them, and not null".
    for shape in ("RefundTo", "PayTo"):
        found[shape]["oneOf"] = [{"required": [name], "properties": {name: {"type": "string"}}} for name in found[shape]["properties"]]
    return found


def _described(one: Operation) -> Document:
    described: Document = {
        "operationId": one.name,
        "summary": one.summary,
        "description": one.about,
        "tags": [one.tag],
        "responses": _responses(one),
    }
    if one.paid:
        described["x-payment-info"] = {"protocols": PROTOCOLS, "offers": [OFFERS[intent] for intent in one.paid]}
    if one.proof:
        described["security"] = [{name: []} if name else {} for name in one.proof]
    if one.parameters:
        described["parameters"] = list(one.parameters)
    if one.takes:
        content = {"schema": {"$ref": REF.format(model=one.takes.shape)}, "examples": one.takes.examples}
        described["requestBody"] = {"required": one.takes.required, "content": {"application/json": content}}
    return described


def _responses(one: Operation) -> Document:
    responses: Document = {str(sends.status): _success(sends) for sends in one.sends}
    refuses = dict.fromkeys((*one.refuses, *(BODY_REFUSALS if one.takes else ()), *ALWAYS))
    for status in sorted({kind.status for kind in refuses}):
        kinds = [kind for kind in refuses if kind.status == status]
        responses[str(status)] = _failure_v1(kinds) if one.v1 else _failure(kinds)
    responses["default"] = _failure_v1([TimmyError]) if one.v1 else _failure([TimmyError])
    return responses


def _success(sends: Sends) -> Document:
    described: Document = {"description": sends.meaning}
    if sends.headers:
        described["headers"] = sends.headers
    if sends.shape:
        described["content"] = {sends.media_type: {"schema": {"$ref": REF.format(model=sends.shape)}}}
    elif sends.status not in (204, 302):
        described["content"] = {sends.media_type: {"schema": sends.schema}}
    if sends.streams:
        event: Document = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
        described["content"]["text/event-stream"] = {"schema": event}
    if sends.example is not None:
        described["content"][sends.media_type]["example"] = sends.example
    return described


def _failure(kinds: list[type[TimmyError]]) -> Document:
    """One answer for all errors of a status: which of them it is, `code` says."""
    examples = {kind.code: {"summary": kind.title, "value": _example(kind)} for kind in kinds}
    return {
        "description": "; ".join(f"`{kind.code}`: {kind.title}" for kind in kinds),
        "content": {"application/problem+json": {"schema": {"$ref": REF.format(model="Problem")}, "examples": examples}},
    }


def _failure_v1(kinds: list[type[TimmyError]]) -> Document:
    """The same in OpenAI's shape."""
    examples = {kind.code: {"summary": kind.title, "value": body(kind(f"{kind.title}."))} for kind in kinds}
    content: Document = {"application/json": {"schema": {"$ref": REF.format(model="OpenAIError")}, "examples": examples}}
    by_scheme = [kind for kind in kinds if kind in PAYMENT_REFUSALS]
    if by_scheme:  # to a client of the Payment scheme the members of RFC 9457 are told beside `error`
        told = {kind.code: {"summary": kind.title, "value": _example_by_scheme(kind)} for kind in by_scheme}
        content["application/problem+json"] = {"schema": {"$ref": REF.format(model="PaymentProblem")}, "examples": told}
    return {"description": "; ".join(f"`{kind.code}`: {kind.title}" for kind in kinds), "content": content}


def _example_by_scheme(kind: type[TimmyError]) -> Document:
    error = kind(f"{kind.title}.")
    return {"type": type_of(kind), "title": kind.title, "status": kind.status, "detail": error.message, **body(error)}


def _example(kind: type[TimmyError]) -> Document:
    return {
        "type": f"/api/docs#error-{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": f"{kind.title}.",
        "code": kind.code,
        "error": f"{kind.title}.",
        "instance": "urn:timmy:request:req_4o2x",
        "requestId": "req_4o2x",
    }


# What it costs depends on what is asked; whatever is offered is paid as a deposit, and what is not used stays the payer's.
PROTOCOLS = ["L402", "LSAT", "Payment"]
OFFERS: Document = {
    "charge": {
        "intent": "charge",
        "method": "lightning",
        "amount": None,
        "currency": "sat",
        "description": "The most that the call may come to. What it does not use stays the payer's.",
    },
    "session": {
        "intent": "session",
        "method": "lightning",
        "amount": None,
        "currency": "sat",
        "description": "A deposit, spent by what is used. Closing the session pays the rest back.",
    },
}
SERVICE: Document = {
    "categories": ["compute", "developer-tools"],
    "docs": {"apiReference": "/api/docs", "llms": "/llms.txt"},
}  # draft-payment-discovery-00

ABOUT = """\
Whoever can pay a Lightning invoice can buy here: no account, no card, no key to be asked for.

1. `POST /api/jobs` with a request answers with an invoice for its evaluation.
2. Pay it. A small model judges whether the agent should do this; if so, there is a `workInvoice` with the reasons for its price.
3. Pay that. The agent works, and `result` is the answer.
4. What the work really cost is in `costLedger`. If it cost less than was paid, `POST /api/jobs/{jobId}/refund` gives the rest back.

Whoever comes often prefunds a session instead (`POST /api/sessions`): one payment, then a request per call, until it is used up.

**Identity**, for those who want one, is a Nostr key. Log in once (`/api/identity/challenge`, `/api/identity/verify`) and send the token as
`X-Nostr-Token`, or sign each request (NIP-98, `Authorization: Nostr …`). None is anonymous; one that is no good is 401, never anonymous.

**Errors** are `application/problem+json` (RFC 9457) with a stable `code`, and an `error` that says what to do.

**Repeating safely**: send an `Idempotency-Key` (a random UUID) with every POST. The same key and body is answered the same, and done once;
the same key with another body is refused (422). Make the key unguessable: whoever sends your key with your body gets your answer.

**Times** are ISO 8601 in UTC. **Amounts** are whole sats in `…Sats`, thousandths of a sat in `…Msat`, US dollars in `…Usd`.

**Headers**: every answer has `X-Request-Id`; send your own (1 to 64 letters, digits, `_ . : -`) and it is kept.
"""

SECURITY: Document = {
    "macaroon": {"type": "http", "scheme": "bearer", "description": "A session's macaroon, or one that was narrowed from it."},
    "machine": {"type": "http", "scheme": "bearer", "description": "The token that a machine was given, for its call home."},
    "adminToken": {"type": "http", "scheme": "bearer", "description": "The operator's ADMIN_TOKEN."},
    "payment": {
        "type": "http",
        "scheme": "payment",
        "description": "A charge, or a session's preimage: draft-ryan-httpauth-payment, with the method lightning.",
    },
    "nostrToken": {"type": "apiKey", "in": "header", "name": "X-Nostr-Token", "description": "The token of /api/identity/verify."},
    "nostr": {
        "type": "http",
        "scheme": "nostr",
        "description": "A signed request: NIP-98, `Authorization: Nostr` and the base64 of the event.",
    },
}
WHO = ("nostrToken", "nostr")
ANYBODY = ("", *WHO)
BEARER = ("macaroon",)
PAID = (*BEARER, "payment")
ADMIN = ("adminToken",)

IDEMPOTENCY_KEY: Document = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "1 to 255 printable ASCII characters, such as a random UUID. The same key and body: the same answer, done once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
}

LAST_EVENT_ID: Document = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The id of the last event that was received. What came after it is sent.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
}


def path_parameter(name: str, about: str, example: str) -> Document:
    return {"name": name, "in": "path", "required": True, "description": about, "schema": {"type": "string"}, "example": example}
