"""Top-ups asked for, and sessions closed: each in one transaction that refuses, or changes everything it has to.

Closing moves what is left to what is owed and plans its payout together. If the invoice does not fit, nothing has happened: the session
goes on, and its owner comes back with another invoice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from timmy import events, idempotency
from timmy.clock import iso
from timmy.db import Tx
from timmy.events import NewEvent
from timmy.idempotency import Key
from timmy.ledger import Code, MoveAll, chart, commit
from timmy.ledger.commit import available_all, hold_still
from timmy.lightning import bolt11, invoices, payouts
from timmy.lightning.invoices import Invoice
from timmy.lightning.payouts import NothingOwed, Payout
from timmy.lightning.wallets.protocol import NewInvoice
from timmy.money import Sats
from timmy.sessions import store
from timmy.sessions.flow import balance_news, balances
from timmy.sessions.refusals import NotOpenYet, RequestsRunning, SessionEnded, TopupPending


@dataclass(frozen=True, slots=True)
class Topup:
    """A top-up's invoice has been made by the wallet, and is about to be shown."""

    session_id: str
    invoice_id: str
    invoice: NewInvoice
    key: Key | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class Closing:
    """A session is about to be closed, and paid out to this invoice. `place`: the address that gave it, if one did."""

    session_id: str
    payout_id: str
    invoice: bolt11.Invoice
    destination: str
    terms: payouts.Terms
    key: Key | None
    at_ms: int
    place: str | None = None
    amountless: bool = False  # the invoice may leave the amount to us


def topup_verb(session_id: str) -> str:
    return f"sessions.topup {session_id}"


def await_topup(tx: Tx, topup: Topup) -> str:
    """One top-up waits at a time. Answers the invoice's id: an earlier one's, where the Idempotency-Key has one.

    Raises TopupPending, SessionEnded, KeyReused."""
    if topup.key is not None:
        bound = idempotency.bind(tx, topup_verb(topup.session_id), topup.key, topup.invoice_id, topup.at_ms)
        if bound != topup.invoice_id:
            return bound
    if not store.await_topup(tx, topup.session_id, topup.invoice_id):
        row = store.find_all(tx, [topup.session_id])[topup.session_id]
        if row["closed_at_ms"] is not None or row["topup_invoice"] is None:
            raise SessionEnded("The session has been closed. Open another one.")
        raise pending(invoices.by_id(tx, [row["topup_invoice"]])[row["topup_invoice"]])
    invoices.open_all(tx, [(topup.invoice_id, topup.invoice)], topup.at_ms)
    events.append(tx, topup.at_ms, [NewEvent(topup.session_id, "state")])
    return topup.invoice_id


def open_topup(tx: Tx, topup: Topup) -> str:
    """One that nobody waits for: whenever it is paid, it is the session's, or owed back if that has been closed. Answers the invoice's
    id."""
    invoices.open_all(tx, [(topup.invoice_id, topup.invoice)], topup.at_ms)
    return topup.invoice_id


def pending(invoice: Invoice) -> TopupPending:
    shown: Mapping[str, object] = {
        "paymentRequest": invoice.payment_request,
        "paymentHash": invoice.payment_hash,
        "amountSats": invoice.amount.ceil_sats().value,
        "expiresAt": iso(invoice.expires_at_ms),
    }
    return TopupPending("A top-up is waiting to be paid. Pay it, or wait until it has expired.", invoice=shown)


def close(tx: Tx, closing: Closing) -> Payout:
    """Close the session and plan the payout of what is left; of one that was closed before, of what is owed since.

    Raises RequestsRunning, NotOpenYet, and the refusals of payouts.plan: then the transaction leaves no trace."""
    id = closing.session_id
    earlier = payouts.keyed(tx, closing.key)
    if earlier is not None:
        return earlier
    # Held first: a request that begins at the same time has begun before this, and is seen below, or finds the session closed.
    hold_still(tx, {chart.session(id), chart.owed(id)})
    row = store.find_all(tx, [id])[id]
    if row["opened_at_ms"] is None:
        raise NotOpenYet("The session waits for its deposit: there is nothing to pay out.")
    if store.count_running(tx, id) or balances(tx, [id])[id][1]:  # what is reserved belongs to work that another room does from it
        raise RequestsRunning("Requests of this session are being worked on. Close it when they have ended.")
    closes = store.mark_closed(tx, id, closing.at_ms)
    if closes:
        commit(tx, closing.at_ms, MoveAll(f"session/{id}/owed", chart.session(id), chart.owed(id), Code.OWED_BACK))
    payout = payouts.plan(
        tx,
        id=closing.payout_id,
        obligation=chart.owed(id),
        subject=id,
        invoice=closing.invoice,
        destination=closing.destination,
        terms=closing.terms,
        at_ms=closing.at_ms,
        key=closing.key,
        place=closing.place,
        amountless=closing.amountless,
    )
    if closes:
        events.append(tx, closing.at_ms, [*balance_news(tx, [id], "closed"), NewEvent(id, "state")])
    return payout


def to_be_paid(tx: Tx, session_id: str, place: str, key: Key | None, at_ms: int) -> Sats | Payout:
    """For an address, which has to be asked for an invoice first: how much closing would pay out, or the payout that goes there already.

    A look, and no promise: `close` decides. Raises NothingOwed, PayoutInProgress, NotOpenYet, KeyReused."""
    earlier = payouts.same_refund(tx, chart.owed(session_id), place, key, at_ms)
    if earlier is not None:
        return earlier
    row = store.find_all(tx, [session_id])[session_id]
    if row["opened_at_ms"] is None:
        raise NotOpenYet("The session waits for its deposit: there is nothing to pay out.")
    have = available_all(tx, [chart.session(session_id), chart.owed(session_id)])  # once closed, the first has less than a sat
    amount = sum((part.floor_sats() for part in have.values()), Sats(0))
    if not amount:
        paid = payouts.obligation(tx, chart.owed(session_id)).paid
        raise NothingOwed("What was left of the session was paid out already." if paid else "Nothing is left in the session.")
    return amount
