"""Sessions that are spent from with a preimage alone, as the `Payment` scheme has them (draft-lightning-session-00).

They are sessions like all others. What is kept of them besides is where the rest is to go when they are closed, and which of them was only
a top-up of another. A session is spent from so only after somebody has opened it with its own challenge: nodes on the way of a payment
learn its preimage, and whoever holds a macaroon besides would have given it away for nothing.
"""

from __future__ import annotations

import asyncio

from timmy import events
from timmy.clock import Clock
from timmy.db import Database, Row, Tx
from timmy.errors import Refusal
from timmy.events import NewEvent
from timmy.ids import RandomBytes, new_id
from timmy.ledger import Code, MoveAll, chart, commit
from timmy.ledger.commit import available, hold_still
from timmy.lightning import bolt11, invoices, payouts
from timmy.lightning.bolt11 import InvalidInvoice
from timmy.money import Sats
from timmy.sessions import closing, store
from timmy.sessions.closing import Closing
from timmy.sessions.flow import DEPOSIT, balance_news, balances
from timmy.sessions.keys import RootKeys
from timmy.sessions.protocol import Prepaid, Refunded, RefundStatus
from timmy.sessions.refusals import (
    NotOpenYet,
    PaymentUsed,
    PrepaidClosed,
    PrepaidNotFound,
    RequestsRunning,
    ReturnInvoiceInvalid,
)
from timmy.tasks import Bell

REFUND_PATIENCE_SECONDS = 10.0  # a payment takes seconds; who waits for more asks again
LOOK_EVERY_SECONDS = 0.5
USED = "This payment has been used for something else already. What is left of it is still its payer's."


class PrepaidSessions:
    """The `PrepaidDesk` of the house."""

    def __init__(
        self, db: Database, clock: Clock, bell: Bell, random_bytes: RandomBytes, keys: RootKeys, payout_terms: payouts.Terms
    ) -> None:
        self._db = db
        self._clock = clock
        self._bell = bell
        self._random_bytes = random_bytes
        self._keys = keys
        self._payout_terms = payout_terms

    async def find(self, payment_hash: str) -> Prepaid | None:
        """See PrepaidDesk.find."""
        return await self._db.read(self._find, payment_hash)

    def _find(self, tx: Tx, payment_hash: str) -> Prepaid | None:
        invoice = invoices.find(tx, payment_hash)
        row = store.find_all(tx, [invoice.subject]).get(invoice.subject) if invoice is not None and invoice.purpose == DEPOSIT else None
        if row is None:
            return None
        kept = store.find_prepaid(tx, row["id"])
        return Prepaid(
            session_id=row["id"],
            macaroon=self._keys.minter(tx)(row["identifier"]),
            seals=self._keys.seals(tx, row["identifier"]),
            is_open=kept is not None and kept["joined_to"] is None,
            is_closed=row["closed_at_ms"] is not None,
        )

    async def open(self, session_id: str, return_invoice: str) -> None:
        """See PrepaidDesk.open."""
        self._check_return(return_invoice)
        await self._db.write(_open, session_id, return_invoice, self._clock.now_ms())

    def _check_return(self, return_invoice: str) -> None:
        """Only what would be refused for ever: whether it can still be paid is seen when it has to be."""
        try:
            invoice = bolt11.decode(return_invoice)
        except InvalidInvoice as problem:
            raise ReturnInvoiceInvalid(f"returnInvoice: {problem.message}") from None
        if invoice.network is not self._payout_terms.network:
            network = self._payout_terms.network.name.lower()
            raise ReturnInvoiceInvalid(f"returnInvoice is for another network than the deposit's. Make one on {network}.")
        if invoice.amount:
            raise ReturnInvoiceInvalid("returnInvoice must name no amount: what is left is known only when the session is closed.")

    async def join(self, session_id: str, from_session_id: str) -> None:
        """See PrepaidDesk.join."""
        await self._db.write(_join, session_id, from_session_id, self._clock.now_ms())
        self._bell.ring()

    async def close(self, session_id: str, by: str) -> Refunded:
        """See PrepaidDesk.close."""
        try:
            await self._db.write(self._close, session_id, by, pays=True)
        except (PrepaidClosed, PrepaidNotFound, RequestsRunning, NotOpenYet):
            raise
        except Refusal:  # nothing is left, or the return invoice cannot be paid: then it is closed all the same, and what is left is owed
            await self._db.write(self._close, session_id, by, pays=False)
        self._bell.ring()
        return await self._refunded(session_id)

    def _close(self, tx: Tx, session_id: str, by: str, *, pays: bool) -> None:
        hold_still(tx, {chart.session(session_id), chart.owed(session_id)})
        row, kept = store.find_all(tx, [session_id])[session_id], store.find_prepaid(tx, session_id)
        if kept is None or kept["joined_to"] is not None:
            raise PrepaidNotFound("No session was opened with that payment. Open it first, with its own challenge.")
        if kept["closed_by"] == by:
            return
        if row["closed_at_ms"] is not None:
            raise PrepaidClosed("The session has been closed.")
        left = available(tx, chart.session(session_id)).floor_sats()
        now_ms = self._clock.now_ms()
        if pays:
            payout_id, invoice = new_id("pay", self._random_bytes), bolt11.decode(kept["return_invoice"])
            closing.close(tx, Closing(session_id, payout_id, invoice, "invoice", self._payout_terms, None, now_ms, amountless=True))
        else:
            _close_unpaid(tx, session_id, now_ms)
        store.close_prepaid(tx, session_id, by, left.value)

    async def _refunded(self, session_id: str) -> Refunded:
        """Once it has arrived or failed, or when the patience is at its end."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + REFUND_PATIENCE_SECONDS
        while True:
            found = await self._db.read(_refunded, session_id)
            if found.status is not RefundStatus.PENDING or loop.time() >= deadline:
                return found
            await self._bell.wait(LOOK_EVERY_SECONDS)


def _open(tx: Tx, session_id: str, return_invoice: str, at_ms: int) -> None:
    hold_still(tx, {chart.session(session_id)})
    if store.find_all(tx, [session_id])[session_id]["opened_at_ms"] is None:
        raise NotOpenYet("The session waits for its deposit. Pay its invoice first.")
    store.insert_prepaid(tx, {"session_id": session_id, "return_invoice": return_invoice, "joined_to": None, "at_ms": at_ms})
    kept = store.find_prepaid(tx, session_id)
    if kept is None or kept["return_invoice"] != return_invoice:
        raise PaymentUsed(USED)


def _join(tx: Tx, session_id: str, from_id: str, at_ms: int) -> None:
    hold_still(tx, {chart.session(session_id), chart.session(from_id)})
    rows, kept = store.find_all(tx, [session_id, from_id]), store.find_prepaid(tx, from_id)
    if kept is not None and kept["joined_to"] == session_id:
        return  # asked again
    _check_joinable(tx, rows[session_id], rows[from_id], kept)
    if balances(tx, [from_id])[from_id][1]:
        raise RequestsRunning("This payment is being spent from. Use it for a top-up when that has ended.")
    store.insert_prepaid(tx, {"session_id": from_id, "return_invoice": None, "joined_to": session_id, "at_ms": at_ms})
    commit(tx, at_ms, MoveAll(f"session/{from_id}/joined", chart.session(from_id), chart.session(session_id), Code.SESSION_JOINED))
    store.mark_closed(tx, from_id, at_ms)
    store.mark_used(tx, [{"id": session_id, "at_ms": at_ms}])
    news = [*balance_news(tx, [session_id], "topup"), *balance_news(tx, [from_id], "joined")]
    events.append(tx, at_ms, [*news, *(NewEvent(id, "state") for id in (session_id, from_id))])


def _check_joinable(tx: Tx, into: Row, row: Row, kept: Row | None) -> None:
    if row["opened_at_ms"] is None:
        raise NotOpenYet("The top-up has not been paid yet. Pay its invoice first.")
    if kept is not None or row["closed_at_ms"] is not None or row["id"] == into["id"]:
        raise PaymentUsed(USED)
    opened = store.find_prepaid(tx, into["id"])
    if opened is None or opened["joined_to"] is not None:
        raise PrepaidNotFound("No session was opened with that payment. Open it first, with its own challenge.")
    if into["closed_at_ms"] is not None:
        raise PrepaidClosed("The session has been closed. What you paid is a session of its own: open it with the same challenge.")


def _close_unpaid(tx: Tx, session_id: str, at_ms: int) -> None:
    if balances(tx, [session_id])[session_id][1]:
        raise RequestsRunning("Requests of this session are being worked on. Close it when they have ended.")
    store.mark_closed(tx, session_id, at_ms)
    commit(tx, at_ms, MoveAll(f"session/{session_id}/owed", chart.session(session_id), chart.owed(session_id), Code.OWED_BACK))
    events.append(tx, at_ms, [*balance_news(tx, [session_id], "closed"), NewEvent(session_id, "state")])


def _refunded(tx: Tx, session_id: str) -> Refunded:
    kept = store.find_prepaid(tx, session_id)
    assert kept is not None, "it was closed a moment ago"
    amount, owed = Sats(kept["refund_sats"]), payouts.obligation(tx, chart.owed(session_id))
    if not amount:
        return Refunded(amount, RefundStatus.SKIPPED)
    if owed.live is not None:
        return Refunded(amount, RefundStatus.PENDING)
    return Refunded(amount, RefundStatus.SUCCEEDED if owed.paid >= amount else RefundStatus.FAILED)
