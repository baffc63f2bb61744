"""One request, judged and worked on in one call, from a balance that was paid ahead: at a session's own address, and as a job.

Whoever brings nothing that pays, or too little, gets 402 with an offer that pays for this very request: paid and shown as L402 has it, the
same request is served. So a client of L402 or of the `Payment` scheme buys here with no code for Timmy.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from timmy.errors import Refusal, TimmyError
from timmy.idempotency import Key
from timmy.identity.caveats import CaveatUnknown, MacaroonExpired, NotAllowed
from timmy.identity.macaroons import MacaroonMalformed
from timmy.money import Msats
from timmy.sessions.keys import is_whole
from timmy.sessions.protocol import RequestState, RequestView, Use
from timmy.sessions.refusals import (
    InsufficientBalance,
    KeyLimitReached,
    MacaroonUnknown,
    NotOpenYet,
    RequestInProgress,
    RequestsRunning,
    SessionEnded,
)
from timmy.web import fields, session_views
from timmy.web.credentials import PAYING, Credential, credential, hex_given, paid_for, with_offer
from timmy.web.fields import NewJob
from timmy.web.house import WebHouse
from timmy.web.payment_refusals import PAYMENT_REFUSALS, ChallengeUnknown
from timmy.web.payment_scheme import SCHEME, SESSION, wanted_intents
from timmy.web.payments import TIMES_MAX, Paid, paid, problem, receipted
from timmy.web.problems import Problem, request_id_of
from timmy.web.refusals import FieldUnknown
from timmy.web.render import private
from timmy.web.v1_refusals import CredentialMalformed, PaymentRequired, PreimageWrong

CAPABILITY = "session"  # what a macaroon must allow for a request
NO_MONEY: tuple[type[Refusal], ...] = (PaymentRequired, InsufficientBalance, KeyLimitReached, *PAYMENT_REFUSALS)
WAYS = ("l402", "lsat")
BROUGHT: tuple[type[TimmyError], ...] = (
    CredentialMalformed,
    PreimageWrong,
    MacaroonMalformed,
    MacaroonUnknown,
    CaveatUnknown,
    MacaroonExpired,
    NotAllowed,
)  # what a macaroon that was brought can be told
SPENDING_REFUSALS: tuple[type[TimmyError], ...] = (*BROUGHT, *NO_MONEY, NotOpenYet, RequestInProgress, RequestsRunning)
WHY = "Pay the invoice and send the same request with `Authorization: L402 <macaroon>:<preimage>`. What it does not use stays yours."


@dataclass(frozen=True, slots=True)
class Asked:
    """What is wanted of a balance. `session_id`: whose it must be; None: that of whatever is brought. `pubkey`: whose a balance shall be
    that is paid for this."""

    text: str
    key: Key | None
    session_id: str | None = None
    pubkey: str | None = None


def is_wanted(request: Request) -> bool:
    """Whether a job is to be paid ahead: it brings such a payment, or says that it can."""
    given = request.headers.get("authorization", "")
    if PAYING.match(given) or given[: len(SCHEME)].lower() == SCHEME or hex_given(request):
        return True
    accepted = ",".join(request.headers.getlist("accept-authenticate")).split(",")
    said = [request.query_params.get("pay", ""), *(one.partition(";")[0] for one in accepted)]
    return any(one.strip().lower() in WAYS for one in said) or SESSION in wanted_intents(request)


def check_job(wanted: NewJob) -> None:
    """Before it is paid for. FieldUnknown."""
    if wanted.refund_to is not None:
        why = "refundTo is for jobs that are paid by their own invoices. Of what is paid ahead, the rest stays in its balance."
        raise FieldUnknown(why, fields=["refundTo"], allowed=["request", "nostr_token"])


async def answered(house: WebHouse, request: Request, asked: Asked) -> Response | ASGIApp:
    """The request as it ended, or 402 with an offer; at a session's own address, one that adds to this session."""
    known: Credential | None = None
    payment: Paid | None = None
    try:
        payment = await paid(house, request)
        if payment is not None and payment.ended is not None:
            return receipted(payment.ended, payment)
        known = payment.credential if payment else credential(request)
        if known is None:
            raise PaymentRequired(WHY)
        return receipted(private(session_views.request(await _spent(house, request, asked, known, payment))), payment)
    except NO_MONEY as refusal:
        return await _offering(house, request, refusal, asked, _grows(refusal, known, payment, asked))


async def _spent(house: WebHouse, request: Request, asked: Asked, known: Credential, payment: Paid | None) -> RequestView:
    if payment is not None and payment.is_charge:
        raise ChallengeUnknown("A charge buys one call of /v1. This is paid for with the session challenge of this answer.")
    use = Use(CAPABILITY, request.scope["path"], house.clock.now_ms())

    began_ms = house.clock.now_ms()

    async def act(time: int) -> RequestView:
        permit = await house.sessions.authorize(known.text, use, session_id=asked.session_id)
        principal = f"session:{permit.session_id}"  # a key of one session says nothing about another's
        key = fields.owned(asked.key, principal)
        key = payment.repeating(key, asked.text, principal, time) if payment else key
        return await house.sessions.request(permit, asked.text, key=key)

    try:
        for time in range(TIMES_MAX):
            view = await paid_for(house, known, functools.partial(act, time))
            # One that failed before we asked is told again to who repeats a key of their own. A credential that is sent again is not
            # such a key: what cost nothing would be all that it could buy.
            is_old = view.state is RequestState.FAILED and (view.ended_at_ms or began_ms) < began_ms
            if payment is None or asked.key is not None or not is_old:
                break
        return view
    except SessionEnded as ended:
        if asked.session_id is not None:
            raise
        raise PaymentRequired(ended.message) from None


def _grows(refusal: Refusal, known: Credential | None, payment: Paid | None, asked: Asked) -> str | None:
    """The session that the offer adds to; None: it opens another. To who holds a narrowed key only, a top-up would hand the whole one."""
    if asked.session_id is None or payment is not None:
        return None
    if known is None:
        return asked.session_id if isinstance(refusal, PaymentRequired) else None
    return asked.session_id if isinstance(refusal, InsufficientBalance) and is_whole(known.macaroon) else None


async def _offering(house: WebHouse, request: Request, refusal: Refusal, asked: Asked, into: str | None) -> Response:
    # A charge buys a call of /v1. Here, a session's challenge is for a session, or for a top-up of one.
    most = house.sessions.most(asked.text)
    there = refusal.extra.get("balanceMsat") if into is not None else None
    amount = (most - min(most, Msats(there if isinstance(there, int) else 0))).ceil_sats()
    members, challenges = await with_offer(house, request, refusal, (SESSION,), amount=amount, into=into, pubkey=asked.pubkey)
    refusal.extra = {"neededMsat": most.value, **refusal.extra, "offer": members}
    answer = Problem(refusal, request_id_of(request), by_scheme=problem(request, refusal, refusal.status))
    for name, value in challenges:
        answer.headers.append(name, value)
    return answer
