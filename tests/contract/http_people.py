"""Keys, the pool and sessions in memory, small but honest: what the house of http_desk.py has besides its jobs desk."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field, replace

from timmy.clock import ManualClock
from timmy.generosity import Gate
from timmy.generosity.pool import ANONYMOUS, NO_BUDGET
from timmy.generosity.status import PoolBalance, PoolStatus
from timmy.idempotency import KeyReused
from timmy.identity import SignedRequest, Standing, Tier, Tokens, nostr, trust
from timmy.identity.caveats import Grant, NotAllowed, Use
from timmy.identity.login import Challenge, ChallengeUnknown, EventNotForThis, EventReplayed, Login
from timmy.identity.macaroons import MacaroonMalformed
from timmy.ids import new_id
from timmy.jobs.estimate import Estimate
from timmy.models import Usage
from timmy.money import Msats, NanoUsd, Sats
from timmy.pricing import Quote
from timmy.pricing.book import UnknownModel
from timmy.sessions.protocol import (
    Destination,
    InvoiceView,
    Key,
    Offer,
    Permit,
    Prepaid,
    Refunded,
    RefundState,
    RefundView,
    RequestCost,
    RequestState,
    RequestView,
    SessionNews,
    SessionState,
    SessionView,
    ToInvoice,
)
from timmy.sessions.refusals import InsufficientBalance, NotOpenYet, RequestNotFound, SessionEnded, SessionNotFound, TopupPending
from timmy.web import Profile

TERMS = trust.Terms(established=10, trusted=50, elite=200, success=2, setback=1, decay_after_days=30, decay_per_day=1)
DAILY = {"new": Msats(0), "established": Sats(50).msats, "trusted": Sats(200).msats, "elite": Sats(1_000).msats}
REQUEST_COST = Msats(10_640)
RESERVED = Msats(29_400)
MINIMUM = Sats(20)


@dataclass
class Keys:
    """`IdentityDesk`, for keys that have earned nothing yet."""

    clock: ManualClock
    tokens: Tokens = field(default_factory=lambda: Tokens(b"t" * 32))
    terms: trust.Terms = TERMS
    nonces: set[str] = field(default_factory=set)
    burned: set[str] = field(default_factory=set)

    async def challenge(self) -> Challenge:
        nonce = hashlib.sha256(new_id("nonce").encode()).hexdigest()
        self.nonces.add(nonce)
        return Challenge(nonce, self.clock.now_ms() + 300_000)

    async def verify(self, document: object, *, pubkey: str | None = None) -> Login:
        event = nostr.parse(document)
        nostr.verify(event)
        if pubkey is not None and nostr.pubkey_of(pubkey) != event.pubkey:
            raise EventNotForThis
        nonce = event.tag("challenge")
        if nonce not in self.nonces:
            raise ChallengeUnknown
        self.nonces.remove(nonce)
        expires_at_ms = self.clock.now_ms() + 3_600_000
        return Login(self.tokens.issue(event.pubkey, expires_at_ms), standing(event.pubkey), expires_at_ms)

    async def who(self, token: str) -> Standing:
        return standing(self.tokens.read(token, self.clock.now_ms()))

    async def who_signed(self, header: str, request: SignedRequest) -> Standing:
        try:
            event = nostr.parse(json.loads(base64.b64decode(header, validate=True)))
        except (binascii.Error, ValueError):
            raise nostr.NostrEventInvalid from None
        nostr.verify(event)
        if event.tag("method") != request.method or event.tag("u") != f"http://timmy.test{request.target}":
            raise EventNotForThis
        if event.id in self.burned:
            raise EventReplayed
        self.burned.add(event.id)
        return standing(event.pubkey)


def standing(pubkey: str) -> Standing:
    return Standing(pubkey, 0, Tier.NEW, 0, 0, 0, Msats(0), None)


async def profile(known: Standing) -> Profile:
    return Profile([], "2026-01-01", DAILY[known.tier.value], DAILY[known.tier.value])


async def not_frozen() -> bool:
    return False


@dataclass
class Gifts:
    """`Giving`, of a pool that helps nobody yet."""

    quote: Quote
    eval_fee: Sats

    async def estimate(self, request: str, *, model: str | None = None, who: Standing | None = None) -> Estimate:
        if model not in (None, self.quote.model):
            raise UnknownModel(f"No price is known for {model}.")
        status, daily = await self.pool()
        balance = PoolBalance(status.available, status.reserved)
        tier = who.tier.value if who else "anonymous"
        return Estimate(self.quote, self.eval_fee, tier, Gate(NO_BUDGET if who else ANONYMOUS), balance, daily)

    async def pool(self) -> tuple[PoolStatus, Mapping[str, Msats]]:
        return PoolStatus(Sats(9_000).msats, Sats(1_000).msats, Msats(0), {}, {}), DAILY


class NoPrepaid:
    """`PrepaidDesk` of a house in which nobody has ever paid in advance."""

    async def find(self, payment_hash: str) -> Prepaid | None:
        return None

    async def open(self, session_id: str, return_invoice: str) -> None:
        raise AssertionError("nothing can be found to be opened")

    async def join(self, session_id: str, from_session_id: str) -> None:
        raise AssertionError("nothing can be found to be joined")

    async def close(self, session_id: str, by: str) -> Refunded:
        raise AssertionError("nothing can be found to be closed")


@dataclass
class Till:
    """`SessionsDesk`, and the wallet that its invoices are paid with. A macaroon here is a word that nobody can guess."""

    clock: ManualClock
    quote: Quote
    price_of: Callable[[str], Sats | None]  # what an invoice of the built-in customer asks for
    sessions: dict[str, SessionView] = field(default_factory=dict)
    requests: dict[str, RequestView] = field(default_factory=dict)
    keys: dict[tuple[str, str, str], tuple[str, str]] = field(default_factory=dict)  # verb, principal, key → body, what it made
    invoices: dict[str, tuple[str, Sats]] = field(default_factory=dict)  # payment hash → session, amount
    news: dict[str, list[SessionNews]] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    prepaid: NoPrepaid = field(default_factory=NoPrepaid)

    async def open(self, amount: Sats, *, pubkey: str | None = None, key: Key | None = None) -> SessionView:
        session_id = self._once("open", key, new_id("ses"))
        if session_id not in self.sessions:
            self.sessions[session_id] = SessionView(
                id=session_id,
                state=SessionState.AWAITING_PAYMENT,
                created_at_ms=self.clock.now_ms(),
                expires_at_ms=self.clock.now_ms() + 600_000,
                closed_at_ms=None,
                trust_tier="new" if pubkey else "anonymous",
                deposit=self._invoice("deposit", session_id, amount),
                balance=Msats(0),
                held=Msats(0),
                minimum_balance=MINIMUM,
                pending_topup=None,
                refund=RefundView(RefundState.NOT_APPLICABLE, Sats(0), Sats(0), None, None),
                macaroon=None,
            )
            self.news[session_id] = []
        return self.sessions[session_id]

    async def offer(self, amount: Sats, *, pubkey: str | None = None) -> Offer:
        view = await self.open(max(amount, Sats(100)), pubkey=pubkey)
        return Offer(f"macaroon-of-{view.id}", view.deposit, b"seal", 2_592_000)

    async def offer_into(self, session_id: str, amount: Sats) -> Offer:
        view = await self.view(session_id)
        waits = view.state is SessionState.AWAITING_PAYMENT
        invoice = view.deposit if waits else self._invoice("topup", session_id, max(amount, Sats(100)))
        return Offer(f"macaroon-of-{view.id}", invoice, b"seal", 2_592_000, opens=waits)

    def most(self, text: str) -> Msats:
        return RESERVED

    async def view(self, session_id: str) -> SessionView:
        if session_id not in self.sessions:
            raise SessionNotFound("There is no session with this id.")
        return self.sessions[session_id]

    async def follow(self, session_id: str, *, after_seq: int = 0) -> AsyncGenerator[SessionNews, None]:
        while True:
            for item in [item for item in self.news[session_id] if item.seq > after_seq]:
                after_seq = item.seq
                yield item
            async with self.changed:
                if any(item.seq > after_seq for item in self.news[session_id]):
                    continue
                if self.sessions[session_id].state is SessionState.EXPIRED:
                    return
                await self.changed.wait()

    async def authorize(self, macaroon: str, use: Use, *, session_id: str | None = None) -> Permit:
        assert use.capability == "session"
        owner = next((view for view in self.sessions.values() if view.macaroon == macaroon), None)
        if owner is None:
            raise MacaroonMalformed("That is no macaroon.")
        if session_id not in (None, owner.id):
            raise NotAllowed("The macaroon belongs to another session.")
        return Permit(owner.id, None, owner.trust_tier, Grant((), None))

    async def request(self, permit: Permit, text: str, *, key: Key | None = None) -> RequestView:
        request_id = self._once(f"request {permit.session_id}", key, new_id("req"))
        if request_id in self.requests:
            return self.requests[request_id]
        session = self.sessions[permit.session_id]
        if session.state is SessionState.EXPIRED:
            raise SessionEnded("The session has ended.")
        if session.balance < RESERVED:
            raise InsufficientBalance("Top it up.", neededMsat=RESERVED.value, balanceMsat=session.balance.value, topupSats=100)
        failed, rejected = "please fail" in text, "please reject this" in text
        debited = Msats(0) if failed else REQUEST_COST
        left = session.balance - debited
        work = None if rejected else Usage(118, 420)
        cost = RequestCost(self.quote, self.quote, Usage(200, 20), work, NanoUsd.parse("0.0076"), debited, RESERVED)
        self.requests[request_id] = RequestView(
            id=request_id,
            session_id=session.id,
            state=RequestState.FAILED if failed else RequestState.REJECTED if rejected else RequestState.COMPLETE,
            started_at_ms=self.clock.now_ms(),
            ended_at_ms=self.clock.now_ms(),
            result=None if failed or rejected else "An answer.",
            truncated=False,
            reason="You asked for it." if failed or rejected else None,
            debited=debited,
            absorbed=Msats(0),
            balance_remaining=left,
            cost=None if failed else cost,
        )
        await self._now(replace(session, balance=left, state=self._alive(left)), "request")
        return self.requests[request_id]

    async def request_view(self, permit: Permit, request_id: str) -> RequestView:
        found = self.requests.get(request_id)
        if found is None or found.session_id != permit.session_id:
            raise RequestNotFound("There is no such request in this session.")
        return found

    async def topup(self, session_id: str, amount: Sats, *, key: Key | None = None) -> InvoiceView:
        session = await self.view(session_id)
        if session.state is SessionState.AWAITING_PAYMENT:
            raise NotOpenYet("Pay its invoice first.")
        if session.state is SessionState.EXPIRED:
            raise SessionEnded("The session has ended.")
        waiting = session.pending_topup
        if waiting is not None:
            shown = {"paymentRequest": waiting.payment_request, "paymentHash": waiting.payment_hash, "amountSats": waiting.amount.value}
            raise TopupPending("Pay that one first.", invoice=shown)
        invoice = self._invoice("topup", session_id, amount)
        self.sessions[session_id] = replace(session, pending_topup=invoice)
        return invoice

    async def close(self, permit: Permit, destination: Destination, *, key: Key | None = None) -> SessionView:
        session = self.sessions[permit.session_id]
        if session.closed_at_ms is not None:
            return session
        left = session.balance.floor_sats()
        if not isinstance(destination, ToInvoice) or self.price_of(destination.payment_request) != left:
            raise NotAllowed("Only an invoice of exactly what is left will do here.")
        refund = RefundView(RefundState.PAID, Sats(0), left, "invoice", None)
        closed = replace(session, balance=Msats(0), state=SessionState.EXPIRED, closed_at_ms=self.clock.now_ms(), refund=refund)
        await self._now(closed, "closed")
        return closed

    async def pay(self, payment_hash: str) -> bool:
        if payment_hash not in self.invoices:
            return False
        session_id, amount = self.invoices[payment_hash]
        session = self.sessions[session_id]
        if session.macaroon is None:
            opened = replace(session, balance=amount.msats, state=SessionState.ACTIVE, macaroon=new_id("mac"))
            await self._now(opened, "deposit")
        elif session.pending_topup is not None and session.pending_topup.payment_hash == payment_hash:
            more = session.balance + amount.msats
            await self._now(replace(session, balance=more, pending_topup=None, state=self._alive(more)), "topup")
        return True

    def _alive(self, balance: Msats) -> SessionState:
        return SessionState.PAUSED if balance < MINIMUM.msats else SessionState.ACTIVE

    async def _now(self, session: SessionView, reason: str) -> None:
        self.sessions[session.id] = session
        async with self.changed:
            told = self.news[session.id]
            told.append(SessionNews(len(told) + 1, "balance", {"balanceMsat": session.balance.value, "reason": reason}, session.state))
            self.changed.notify_all()

    def _once(self, verb: str, key: Key | None, id: str) -> str:
        if key is None:
            return id
        body, made = self.keys.setdefault((verb, key.principal, key.key), (key.body_sha256, id))
        if body != key.body_sha256:
            raise KeyReused("Use a new key for a new request.")
        return made

    def _invoice(self, purpose: str, session_id: str, amount: Sats) -> InvoiceView:
        payment_hash = hashlib.sha256(f"{purpose} {session_id} {len(self.invoices)}".encode()).hexdigest()
        self.invoices[payment_hash] = (session_id, amount)
        return InvoiceView(f"lnbcrt{amount.value}{purpose}{session_id}", payment_hash, amount, self.clock.now_ms() + 600_000, settled=False)
