"""The counter: where sessions are opened, looked at, topped up, spent from and closed."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Sequence

from timmy import events, idempotency
from timmy.clock import SECOND_MS, Clock
from timmy.db import Database, Tx
from timmy.errors import Refusal
from timmy.idempotency import Key
from timmy.identity import macaroons
from timmy.identity.caveats import NotAllowed, Use
from timmy.ids import RandomBytes, new_id
from timmy.ledger import chart
from timmy.lightning import bolt11, invoices, payouts
from timmy.lightning.lnurl import LightningAddressMalformed, LnurlClient, is_lightning_address, place_of
from timmy.lightning.payouts import Payout
from timmy.lightning.receiving import Receiving
from timmy.models import Provider
from timmy.money import Sats
from timmy.pricing import BtcOracle, RateBook
from timmy.sessions import closing, flow, store
from timmy.sessions.closing import Closing, Topup
from timmy.sessions.finish import request_view
from timmy.sessions.flow import DEPOSIT, OPEN, TOPUP, Opening, balances
from timmy.sessions.keys import RootKeys
from timmy.sessions.permits import Brought, permits
from timmy.sessions.prepaid import PrepaidSessions
from timmy.sessions.protocol import (
    Destination,
    InvoiceView,
    Offer,
    Permit,
    RefundState,
    RequestView,
    SessionNews,
    SessionState,
    SessionView,
    ToInvoice,
    ToLightningAddress,
)
from timmy.sessions.refusals import AmountOutOfBounds, NotOpenYet, RequestNotFound, SessionEnded, SessionNotFound
from timmy.sessions.running import Running
from timmy.sessions.terms import Terms
from timmy.sessions.views import invoice_view, load_all, new_view, tiers_of
from timmy.sessions.work import Work
from timmy.tasks import Bell

LOOK_EVERY_SECONDS = 0.5
FOLLOW_AFTER_THE_END_SECONDS = 60
ENDED = "The session has ended. What is left of it can be paid out; for new work, open another one."


class Sessions:
    """The `SessionsDesk` of the house."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        bell: Bell,
        random_bytes: RandomBytes,
        receiving: Receiving,
        lnurl: LnurlClient,
        provider: Provider,
        book: RateBook,
        oracle: BtcOracle,
        terms: Terms,
        payout_terms: payouts.Terms,
        *,
        location: str,
    ) -> None:
        """`location` is shown in macaroons, for people: the public URL. `payout_terms` are those that `Paying` has."""
        self._db = db
        self._clock = clock
        self._bell = bell
        self._random_bytes = random_bytes
        self._receiving = receiving
        self._lnurl = lnurl
        self._terms = terms
        self._payout_terms = payout_terms
        self.keys = RootKeys(db, clock, random_bytes, location=location)
        self.prepaid = PrepaidSessions(db, clock, bell, random_bytes, self.keys, payout_terms)
        work = Work(clock, random_bytes, provider, book, oracle, terms)
        self.most = work.most
        self._running = Running(db, clock, bell, work, terms)
        self._glances: set[asyncio.Task[None]] = set()
        self.handlers = self._running.handlers

    async def aclose(self, patience_seconds: float = 10.0) -> None:
        """Let the requests that run come to their end; those that take longer are given up, and cost nothing."""
        await self._running.aclose(patience_seconds)

    # opened and looked at --------------------------------------------------------------------------------

    async def open(self, amount: Sats, *, pubkey: str | None = None, key: Key | None = None) -> SessionView:
        """See SessionsDesk.open."""
        self._check_amount(amount)
        await self.keys.ensure()
        if key is not None:
            earlier = await self._db.read(idempotency.subject_of, OPEN, key)
            if earlier is not None:
                return await self._load(earlier)
        session_id, invoice_id = new_id("ses", self._random_bytes), new_id("inv", self._random_bytes)
        invoice = await self._receiving.ask(
            id=invoice_id,
            purpose=DEPOSIT,
            subject=session_id,
            account=chart.session(session_id),
            amount=amount.msats,
            memo="Timmy: a session's deposit",  # an id in a memo would hand the session to whoever sees the invoice
        )
        now_ms = self._clock.now_ms()
        opening = Opening(session_id, pubkey, self.keys.identifier(invoice.payment_hash), invoice_id, invoice, key, now_ms)
        opened = await self._db.write_grouped(flow.open_all, opening)
        if opened != session_id:
            return await self._load(opened)
        tiers = await self._db.read(tiers_of, [pubkey], self._terms, now_ms)
        return new_view(opening, amount, tiers[pubkey], self._terms)

    async def offer(self, amount: Sats, *, pubkey: str | None = None) -> Offer:
        """See SessionsDesk.offer."""
        return await self._db.read(self._offered_deposit, await self.open(self._within_bounds(amount), pubkey=pubkey))

    async def offer_into(self, session_id: str, amount: Sats) -> Offer:
        """See SessionsDesk.offer_into. It waits for nobody: the top-up that the customer asked for, if one is pending, stays the pending
        one."""
        view = await self._load(session_id)
        if view.state is SessionState.EXPIRED:
            raise SessionEnded(ENDED)
        if view.state is SessionState.AWAITING_PAYMENT:
            return await self._db.read(self._offered_deposit, view)
        made = await self._ask_topup(session_id, self._within_bounds(amount))
        shown = await self._db.write(closing.open_topup, made)
        return await self._db.read(self._offered, self.keys.identifier(made.invoice.payment_hash), await self._invoice(shown), opens=False)

    def _offered_deposit(self, tx: Tx, view: SessionView) -> Offer:
        return self._offered(tx, store.find_all(tx, [view.id])[view.id]["identifier"], view.deposit)

    def _offered(self, tx: Tx, identifier: str, invoice: InvoiceView, *, opens: bool = True) -> Offer:
        seal = self.keys.seals(tx, identifier)[0]
        return Offer(self.keys.minter(tx)(identifier), invoice, seal, self._terms.ttl_ms // SECOND_MS, opens)

    def _within_bounds(self, amount: Sats) -> Sats:
        return min(max(amount, self._terms.min_deposit), self._terms.max_deposit)

    async def view(self, session_id: str) -> SessionView:
        """See SessionsDesk.view."""
        view = await self._load(session_id)
        self._glance(view.deposit)
        if view.pending_topup is not None:
            self._glance(view.pending_topup)
        return view

    async def follow(self, session_id: str, *, after_seq: int = 0) -> AsyncIterator[SessionNews]:
        """See SessionsDesk.follow."""
        ended_at_ms: int | None = None
        seq = after_seq
        while True:
            view = await self._load(session_id)  # before the events: what it shows as ended has all its events already
            for event in await self._db.read(events.of_subject, session_id, seq):
                seq = event.seq
                yield SessionNews(event.seq, event.kind, event.body, view.state)
            if view.state is SessionState.EXPIRED:
                now_ms = self._clock.now_ms()
                ended_at_ms = ended_at_ms or now_ms
                on_its_way = view.refund.state is RefundState.PENDING and view.refund.destination is not None
                if not on_its_way or now_ms - ended_at_ms > FOLLOW_AFTER_THE_END_SECONDS * SECOND_MS:
                    return
            await self._bell.wait(LOOK_EVERY_SECONDS)

    def _glance(self, invoice: InvoiceView) -> None:
        """Not awaited: a wallet that is slow must not make the customer's poll slow."""
        if invoice.settled:
            return
        glance = asyncio.create_task(self._receiving.hint(invoice.payment_hash))
        self._glances.add(glance)
        glance.add_done_callback(self._glances.discard)

    async def _load(self, session_id: str) -> SessionView:
        view = await self._db.read_grouped(self._load_together, session_id)
        if view is None:
            raise SessionNotFound("There is no session with this id. Check it, or open a new one.")
        return view

    def _load_together(self, tx: Tx, session_ids: Sequence[str]) -> list[SessionView | None]:
        return load_all(tx, session_ids, self.keys, self._terms, self._clock.now_ms())

    # spent from ------------------------------------------------------------------------------------------

    async def authorize(self, macaroon: str, use: Use, *, session_id: str | None = None) -> Permit:
        """See SessionsDesk.authorize."""
        permit = await self._db.read_grouped(self._authorize_together, Brought(macaroons.decode(macaroon), use))
        if session_id is not None and not hmac.compare_digest(session_id.encode(), permit.session_id.encode()):
            raise NotAllowed("The macaroon belongs to another session.")
        return permit

    def _authorize_together(self, tx: Tx, brought: Sequence[Brought]) -> list[Permit | Refusal]:
        return permits(tx, brought, self._terms)

    async def request(self, permit: Permit, text: str, *, key: Key | None = None) -> RequestView:
        """See SessionsDesk.request."""
        return await self._running.request(permit, text, key)

    async def request_view(self, permit: Permit, request_id: str) -> RequestView:
        """See SessionsDesk.request_view."""
        view = await self._db.read(_find_request, permit.session_id, request_id)
        if view is None:
            raise RequestNotFound("There is no request with this id in this session.")
        return view

    # topped up and closed --------------------------------------------------------------------------------

    async def topup(self, session_id: str, amount: Sats, *, key: Key | None = None) -> InvoiceView:
        """See SessionsDesk.topup."""
        self._check_amount(amount)
        view = await self._load(session_id)
        if key is not None:
            earlier = await self._db.read(idempotency.subject_of, closing.topup_verb(session_id), key)
            if earlier is not None:
                return await self._invoice(earlier)
        if view.state is SessionState.AWAITING_PAYMENT:
            raise NotOpenYet("The session waits for its deposit. Pay its invoice first.")
        if view.state is SessionState.EXPIRED:
            raise SessionEnded(ENDED)
        if view.pending_topup is not None:
            await self._db.read(self._refuse_second_topup, session_id)
        shown = await self._db.write(closing.await_topup, await self._ask_topup(session_id, amount, key))
        self._bell.ring()
        return await self._invoice(shown)

    async def _ask_topup(self, session_id: str, amount: Sats, key: Key | None = None) -> Topup:
        invoice_id = new_id("inv", self._random_bytes)
        invoice = await self._receiving.ask(
            id=invoice_id,
            purpose=TOPUP,
            subject=session_id,
            account=chart.session(session_id),
            amount=amount.msats,
            memo="Timmy: a session's top-up",
        )
        return Topup(session_id, invoice_id, invoice, key, self._clock.now_ms())

    def _refuse_second_topup(self, tx: Tx, session_id: str) -> None:
        waiting = store.find_all(tx, [session_id])[session_id]["topup_invoice"]
        if waiting is not None:  # it may have been paid since we looked
            raise closing.pending(invoices.by_id(tx, [waiting])[waiting])

    async def _invoice(self, invoice_id: str) -> InvoiceView:
        return invoice_view((await self._db.read(invoices.by_id, [invoice_id]))[invoice_id])

    def _check_amount(self, amount: Sats) -> None:
        least, most = self._terms.min_deposit, self._terms.max_deposit
        if not least <= amount <= most:
            raise AmountOutOfBounds(f"amountSats must be from {least.value} to {most.value}.", minSats=least.value, maxSats=most.value)

    async def close(self, permit: Permit, destination: Destination, *, key: Key | None = None) -> SessionView:
        """See SessionsDesk.close."""
        if permit.grant.budgets or permit.grant.per_request is not None:
            # Without this, whoever was handed a key that may spend 50 sats could have the whole balance paid out to themselves.
            raise NotAllowed("A key that may spend only a part cannot pay out the whole. Use the session's own macaroon.")
        match destination:
            case ToInvoice(payment_request=text):
                await self._close(permit, bolt11.decode(text), "invoice", key)
            case ToLightningAddress(address=address):
                await self._close_to_address(permit, address, key)
        return await self._load(permit.session_id)

    async def _close_to_address(self, permit: Permit, address: str, key: Key | None) -> None:
        """The address is asked for an invoice first, while nothing has changed yet. If what is left changes meanwhile, its invoice does
        not fit any more, and is refused like any other."""
        if not is_lightning_address(address):
            raise LightningAddressMalformed("lightningAddress must be a Lightning address, like name@example.com.")
        place = place_of(address)
        amount = await self._db.write(closing.to_be_paid, permit.session_id, place, key, self._clock.now_ms())
        if isinstance(amount, Payout):
            return
        fetched = await self._lnurl.fetch_invoice(address, amount.msats)
        await self._close(permit, bolt11.decode(fetched), "lightning_address", key, place)

    async def _close(self, permit: Permit, invoice: bolt11.Invoice, destination: str, key: Key | None, place: str | None = None) -> None:
        payout_id = new_id("pay", self._random_bytes)
        now_ms = self._clock.now_ms()
        wanted = Closing(permit.session_id, payout_id, invoice, destination, self._payout_terms, key, now_ms, place)
        await self._db.write(closing.close, wanted)
        self._bell.ring()


def _find_request(tx: Tx, session_id: str, request_id: str) -> RequestView | None:
    row = store.find_request(tx, request_id)
    if row is None or row["session_id"] != session_id:
        return None
    now_msat = balances(tx, [session_id])[session_id][0]
    return request_view(row, now_msat if row["left_msat"] is None else row["left_msat"])
