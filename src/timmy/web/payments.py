"""What is done with a `Payment` credential: a charge buys one call; a session is opened, spent from, topped up and closed.

Whatever it is, the money is the balance of a session, so each becomes that session's own macaroon, and goes the way of all macaroons.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from timmy.completions import CompletionView, Wanted
from timmy.errors import Refusal
from timmy.idempotency import Key
from timmy.sessions.protocol import Prepaid
from timmy.sessions.refusals import NotOpenYet, PrepaidClosed, PrepaidNotFound
from timmy.web.credentials import LOOK_AGAIN_SECONDS, Credential
from timmy.web.house import WebHouse
from timmy.web.payment_refusals import ChallengeExpired, ChallengeUnknown, ChargeExpired, PaymentMalformed, type_of
from timmy.web.payment_scheme import CHARGE, HASH, SCHEME, Presented, encoded, presented, receipt
from timmy.web.render import PRIVATE, Json
from timmy.web.v1_stream import CompletionStream

ACTIONS = ("open", "bearer", "topUp", "close")
TIMES_MAX = 16  # that one challenge buys the same; a key is kept for days, an answer for one

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Paid:
    """A credential that holds, and the session whose balance it spends. `ended`: the whole answer, for a top-up and a close."""

    known: Presented
    session_hash: str
    credential: Credential
    at_ms: int
    ended: Response | None = None

    @property
    def is_charge(self) -> bool:
        return self.known.intent == CHARGE

    @property
    def is_by_payer(self) -> bool:
        """It answers the challenge that came with this very deposit's invoice, and was sent to nobody else. A preimage alone is known to
        every node that the payment went through."""
        return self.known.payment_hash == self.session_hash

    @property
    def receipt(self) -> tuple[str, str]:
        return "Payment-Receipt", encoded(receipt(self.known, self.session_hash, self.at_ms))

    def spent(self, view: CompletionView, at_ms: int) -> bytes:
        """The event before the end of a session's stream. A charge has none: its clients read every event as a chunk."""
        if self.is_charge:
            return b""
        spent = view.charged.ceil_sats().value
        told = receipt(self.known, self.session_hash, at_ms, spent=spent, units=spent, spentMsat=view.charged.value)
        return b"event: payment-receipt\ndata: " + Json(told).body + b"\n\n"

    def bought(self, wanted: Wanted, idempotency_key: str | None, time: int = 0) -> Wanted:
        """The call as this payment buys it: with a charge once; with a session once for each challenge and body, because a credential
        that is sent again is answered again (draft-lightning-session-00, "Idempotency"). `time`: how often there was nothing left to
        answer with."""
        if self.is_charge:
            repeats = wanted.is_retry or idempotency_key is not None
            return replace(wanted, key=Key("payment", hashlib.sha256(b"").hexdigest(), "session"), once=True, is_retry=repeats)
        return replace(wanted, key=wanted.key or self._key(wanted.body_sha256, "session", time))

    def is_named_by_us(self, wanted: Wanted) -> bool:
        """The call has no key but the one that `bought` gives it, and that can be another the next time."""
        return wanted.key is None and not self.is_charge

    def repeating(self, key: Key | None, text: str, principal: str, time: int = 0) -> Key:
        """The same for a session's request, where it has no key of its own."""
        return key or self._key(hashlib.sha256(text.encode()).hexdigest(), principal, time)

    def _key(self, body_sha256: str, principal: str, time: int) -> Key:
        again = f" {time}" if time else ""
        return Key(f"payment {self.known.id} {body_sha256}{again}", body_sha256, principal)


async def paid(house: WebHouse, request: Request) -> Paid | None:
    """What the request is paid with; None: not by this scheme. A top-up and a close are carried out.

    The refusals of payment_scheme.presented and of PrepaidDesk; ChallengeExpired."""
    known = presented(request)
    if known is None:
        return None
    if known.action not in (CHARGE, *ACTIONS):
        raise PaymentMalformed(f"action must be one of {', '.join(ACTIONS)}.")
    asked = await house.sessions.prepaid.find(known.payment_hash)
    if asked is None or not known.is_sealed_with(asked.seals):
        raise ChallengeUnknown("That challenge was not made here, or it was changed. Echo the one of our latest answer as it was sent.")
    match known.action:
        case "charge":
            return await _charged(house, request, known, asked)
        case "open":
            return await _opened(house, request, known, asked)
        case "topUp":
            return await _topped_up(house, known, asked)
        case "close":
            return await _closed(house, known)
        case _:
            session = await _session(house, known, "preimage")
            return _paid(house, known, known.text("sessionId"), session)


def _paid(house: WebHouse, known: Presented, session_hash: str, session: Prepaid, ended: Response | None = None) -> Paid:
    return Paid(known, session_hash, Credential(session.macaroon, session_hash), house.clock.now_ms(), ended)


async def _charged(house: WebHouse, request: Request, known: Presented, asked: Prepaid) -> Paid:
    known.proves(known.payment_hash)
    if request.method == "POST":
        _check_in_time(house, known)
    return _paid(house, known, known.payment_hash, asked)


async def _opened(house: WebHouse, request: Request, known: Presented, asked: Prepaid) -> Paid:
    """Late is not too late: the payment is its payer's, and this is how they get at it. Who only looks may do so once it is closed: what
    could not be paid back is claimed with what `GET /v1/key` shows."""
    known.proves(known.payment_hash)
    if asked.is_closed and asked.is_open and request.method == "GET":
        return _paid(house, known, known.payment_hash, asked)
    if asked.is_closed:
        raise PrepaidClosed("The session has been closed.")
    return_invoice = known.text("returnInvoice")
    await once_seen(house, known.payment_hash, lambda: house.sessions.prepaid.open(asked.session_id, return_invoice))
    return _paid(house, known, known.payment_hash, asked)


async def _topped_up(house: WebHouse, known: Presented, asked: Prepaid) -> Paid:
    known.proves(known.payment_hash, "topUpPreimage")
    session = await _session(house, known, None, may_be_closed=True)  # the desk says so, unless it is asked again
    _check_in_time(house, known)
    await once_seen(house, known.payment_hash, lambda: house.sessions.prepaid.join(session.session_id, asked.session_id))
    return _paid(house, known, known.text("sessionId"), session, Json({"status": "ok"}, headers=PRIVATE))


async def _closed(house: WebHouse, known: Presented) -> Paid:
    """Asked again with the same challenge, it is told again; so whether it is closed is for the desk to say."""
    session = await _session(house, known, "preimage", may_be_closed=True)
    refunded = await house.sessions.prepaid.close(session.session_id, known.id)
    told = {"refundSats": refunded.amount.value, "refundStatus": refunded.status.value}
    answer = Json({"status": "closed", **told}, headers=PRIVATE)
    proof = receipt(known, known.text("sessionId"), house.clock.now_ms(), **told)
    answer.headers["Payment-Receipt"] = encoded(proof)
    return _paid(house, known, known.text("sessionId"), session, answer)


async def _session(house: WebHouse, known: Presented, proof: str | None, *, may_be_closed: bool = False) -> Prepaid:
    """The session that the payload names. `proof`: the member with its preimage."""
    session_hash = known.text("sessionId")
    found = await house.sessions.prepaid.find(session_hash) if HASH.fullmatch(session_hash) else None
    if found is None or not found.is_open:
        raise PrepaidNotFound("No session was opened with that payment. Open it first, with its own challenge.")
    if proof is not None:
        known.proves(session_hash, proof)
    if found.is_closed and not may_be_closed:
        raise PrepaidClosed("The session has been closed. Pay a new challenge to open another one.")
    return found


def _check_in_time(house: WebHouse, known: Presented) -> None:
    if house.clock.now_ms() >= known.expires_at_ms:
        expired = ChargeExpired if known.intent == CHARGE else ChallengeExpired
        raise expired(
            "The challenge has expired, so this payment buys nothing by it. It is yours still: open a session with it, with the session "
            "challenge of the same answer, or spend it with that answer's L402 macaroon."
        )


async def once_seen(house: WebHouse, payment_hash: str, act: Callable[[], Awaitable[T]]) -> T:
    """`act`, and again where the payment has not been seen by us yet."""
    for pause_seconds in LOOK_AGAIN_SECONDS:
        try:
            return await act()
        except NotOpenYet:
            await asyncio.sleep(pause_seconds)
            await house.wallet_hint(payment_hash)
    return await act()


def problem(request: Request, refusal: Refusal, status: int) -> dict[str, object] | None:
    """The members by which a client of the scheme knows what is wrong; None: this is none."""
    if request.headers.get("authorization", "")[: len(SCHEME)].lower() != SCHEME:
        return None
    return {"type": type_of(type(refusal)), "title": refusal.title, "status": status, "detail": refusal.message}


def receipted(answer: Response | ASGIApp, payment: Paid | None) -> Response | ASGIApp:
    """What was bought, with the receipt that the scheme wants beside it."""
    if payment is not None and isinstance(answer, Response | CompletionStream) and not answer.headers.get("Payment-Receipt"):
        name, value = payment.receipt
        answer.headers[name] = value
    return answer
