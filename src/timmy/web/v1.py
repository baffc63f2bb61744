"""Conversations over HTTP as OpenAI's clients ask for them, with a session's macaroon as the API key."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from timmy.clock import SECOND_MS
from timmy.completions import CompletionsDesk, CompletionView
from timmy.completions.protocol import Use
from timmy.completions.refusals import CompletionForgotten, CompletionInProgress, CompletionNotFound, ModelNotFound
from timmy.errors import Refusal
from timmy.identity.macaroons import Macaroon
from timmy.sessions.refusals import InsufficientBalance, KeyLimitReached, NotOpenYet, SessionEnded
from timmy.web import v1_fields, v1_views
from timmy.web.bodies import parse_object, read_bytes
from timmy.web.credentials import Credential, credential, paid_for, with_offer
from timmy.web.house import WebHouse
from timmy.web.payment_refusals import PAYMENT_REFUSALS, PaymentMethodUnsupported
from timmy.web.payments import TIMES_MAX, Paid, paid, problem, receipted
from timmy.web.render import PRIVATE, Json, private
from timmy.web.v1_errors import OpenAIError
from timmy.web.v1_fields import Call
from timmy.web.v1_refusals import PaymentRequired
from timmy.web.v1_stream import HEADERS, CompletionStream, until_first

CAPABILITY = "chat"
LOOKED_INTO_BYTES_MAX = 65_536  # of a body that came without a credential
NO_MONEY: tuple[type[Refusal], ...] = (InsufficientBalance, KeyLimitReached, NotOpenYet, SessionEnded, PaymentRequired, *PAYMENT_REFUSALS)

Route = Callable[["V1Routes", Request, Paid | None], Awaitable[Response | ASGIApp]]


def offering(route: Route) -> Callable[[V1Routes, Request], Awaitable[Response | ASGIApp]]:
    """Where the money is what is missing, the answer is 402 with a fresh offer, whatever the reason. What is paid by the `Payment` scheme
    has its receipt."""

    @functools.wraps(route)
    async def offered(self: V1Routes, request: Request) -> Response | ASGIApp:
        payment = None
        try:
            payment = await paid(self.house, request)
            if payment is not None and payment.ended is not None:
                return receipted(payment.ended, payment)
            return receipted(await route(self, request, payment), payment)
        except NO_MONEY as refusal:
            status = refusal.status if isinstance(refusal, PaymentMethodUnsupported) else PaymentRequired.status
            members, challenges = await with_offer(self.house, request, refusal)
            by_scheme = problem(request, refusal, status)
            answer = OpenAIError(refusal, status=status, more=members, problem=by_scheme)
            for name, value in challenges:
                answer.headers.append(name, value)
            return answer

    return offered


class V1Routes:
    def __init__(self, house: WebHouse, desk: CompletionsDesk) -> None:
        self.house = house
        self.desk = desk
        self.created = house.clock.now_ms() // SECOND_MS

    @offering
    async def chat(self, request: Request, payment: Paid | None) -> Response | ASGIApp:
        raw = await read_bytes(request, bytes_max=self.house.settings.max_v1_body_bytes)
        known = payment.credential if payment else credential(request)
        if known is None:
            raise self._priced(request, raw)
        macaroon = known.macaroon  # before the body, which is work: parsed, checked, counted
        call = v1_fields.call(request, parse_object(raw), raw, principal="session")  # the session's, once it is known which
        if payment is None:
            return await self._answered(request, known, macaroon, call, None)
        given = request.headers.get("idempotency-key")
        for time in range(TIMES_MAX):
            wanted = payment.bought(call.wanted, given, time)
            try:
                return await self._answered(request, known, macaroon, replace(call, wanted=wanted), payment)
            except CompletionForgotten:
                if not payment.is_named_by_us(call.wanted):
                    raise
        raise CompletionForgotten("This challenge has bought this call too often. Ask without a credential for a fresh one.")

    async def _answered(
        self, request: Request, known: Credential, macaroon: Macaroon, call: Call, payment: Paid | None
    ) -> Response | ASGIApp:
        if not call.wanted.stream:
            view = await paid_for(self.house, known, lambda: self.desk.complete(macaroon, self._use(request), call.wanted))
            return private(v1_views.completion(view), headers=_costs(view))
        return await self._stream(request, known, macaroon, call, payment)

    def _priced(self, request: Request, raw: bytes) -> PaymentRequired:
        """Who is about to pay is told first what is wrong, and asked for what the call may come to; for a body that is larger than most,
        that would be work for nobody."""
        why = "Pay the invoice and send `Authorization: L402 <macaroon>:<preimage>`, or bring a session's macaroon."
        if len(raw) > LOOKED_INTO_BYTES_MAX:
            return PaymentRequired(why)
        call = v1_fields.call(request, parse_object(raw), raw, principal="session")
        return PaymentRequired(why, neededMsat=self.desk.most(call.wanted).value)

    async def _stream(
        self, request: Request, known: Credential, macaroon: Macaroon, call: Call, payment: Paid | None
    ) -> Response | ASGIApp:
        live = await paid_for(self.house, known, lambda: self.desk.stream(macaroon, self._use(request), call.wanted))
        spent = functools.partial(payment.spent, at_ms=self.house.clock.now_ms()) if payment else None
        chunks = v1_views.Chunks(live, include_usage=call.include_usage, spent=spent)
        if isinstance(live, CompletionView):
            return Response(chunks.whole(live), headers={**HEADERS, **_costs(live)})
        try:
            first = await until_first(request, live)  # trouble before the first piece is a status
        except BaseException:
            await live.leave()
            raise
        if first is None:
            await live.leave()
            return Response(status_code=499)  # read by nobody; for the log and the metrics
        return CompletionStream(live, first, chunks, {"X-Completion-Id": live.id})

    @offering
    async def show(self, request: Request, payment: Paid | None) -> Response:
        view = await self.kept(request, payment)
        if view.ending is None:
            raise CompletionInProgress("It is being worked on. Ask again in a moment.")
        return private(v1_views.completion(view), headers=_costs(view))

    async def kept(self, request: Request, payment: Paid | None) -> CompletionView:
        """The call that the path names, if whoever asks may see it."""
        known = self._known(request, payment)
        id = request.path_params["completionId"]
        if not (isinstance(id, str) and id.isascii() and id.isprintable() and len(id) <= 64):
            raise CompletionNotFound("There is no completion with this id.")
        return await self.desk.view(known.macaroon, self._use(request), id)

    async def models(self, _request: Request) -> Response:
        return Json(v1_views.models(list(self.desk.models()), self.created))

    async def model(self, request: Request) -> Response:
        wanted = request.path_params["model"]
        for one in self.desk.models():
            if one.id == wanted:
                return Json(v1_views.model(one, self.created))
        raise ModelNotFound("That model is not sold here. GET /v1/models says what is.", param="model")

    @offering
    async def key(self, request: Request, payment: Paid | None) -> Response:
        known = self._known(request, payment)
        view = await paid_for(self.house, known, lambda: self.desk.key(known.macaroon, self._use(request)))
        if payment is not None and not payment.is_by_payer:
            view = replace(view, is_whole=False)  # the session's id shows its macaroon, and with that the sats themselves are paid out
        return private(v1_views.key(view))

    def _known(self, request: Request, payment: Paid | None) -> Credential:
        known = payment.credential if payment else credential(request)
        if known is None:
            raise PaymentRequired("Send `Authorization: Bearer` with a session's macaroon.")
        return known

    def _use(self, request: Request) -> Use:
        return Use(CAPABILITY, request.scope["path"], self.house.clock.now_ms())


def _costs(view: CompletionView) -> dict[str, str]:
    return {"X-Cost-Msat": str(view.charged.value), "X-Balance-Msat": str(view.balance.value), **PRIVATE}
