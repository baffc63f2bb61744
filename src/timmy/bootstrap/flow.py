"""Carrying orders through their lives: one event, one transaction, in which the order moves, its money moves, what comes next is written
down, and what happened is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from timmy import events, idempotency, tasks
from timmy.bootstrap import machine, store
from timmy.bootstrap.machine import IllegalTransition, Order, Paid, PaidShort, Unpaid
from timmy.bootstrap.model import State
from timmy.bootstrap.protocol import Wanted
from timmy.db import Row, Tx
from timmy.errors import Breach
from timmy.events import NewEvent
from timmy.idempotency import Key
from timmy.ledger import Code, InsufficientFunds, Move, MoveAll, chart, commit
from timmy.lightning import again, invoices, payouts
from timmy.lightning.invoices import Crediting, Invoice, Payment
from timmy.lightning.payouts import Payout
from timmy.lightning.wallets.protocol import NewInvoice
from timmy.money import Msats
from timmy.tasks import NewTask

FEE = "bootstrap_fee"  # the purpose of an order's invoice
ORDER = "bootstrap.order"  # what an Idempotency-Key is for here
REFUND_ADDRESS = "lightning_address"  # the destination of a refund that goes where the customer said at the beginning

log = structlog.get_logger("timmy.bootstrap")


@dataclass(frozen=True, slots=True)
class Opening:
    """An order that is about to exist: its invoice has been made by the wallet."""

    order_id: str
    wanted: Wanted
    cloud: str
    fee: Msats
    invoice_id: str
    invoice: NewInvoice
    key: Key | None
    at_ms: int


def open_order(tx: Tx, opening: Opening) -> str:
    """Write a new order down. Answers its id, or that of the order which its Idempotency-Key has already. Raises KeyReused."""
    if opening.key is not None:
        known = idempotency.bind(tx, ORDER, opening.key, opening.order_id, opening.at_ms)
        if known != opening.order_id:
            return known
    invoices.open_all(tx, [(opening.invoice_id, opening.invoice)], opening.at_ms)
    row: Row = {
        "id": opening.order_id,
        "refund_to": opening.wanted.refund_to,
        "fee_msat": opening.fee.value,
        "invoice": opening.invoice_id,
        "cloud": opening.cloud,
        "key_kind": opening.wanted.key_kind.value,
        "public_key": opening.wanted.public_key,
        "at_ms": opening.at_ms,
    }
    store.insert(tx, [row])
    events.append(tx, opening.at_ms, [_news(opening.order_id, State.AWAITING_PAYMENT)])
    return opening.order_id


def advance(tx: Tx, order_id: str, event: machine.Event, at_ms: int, credit: Move | None = None) -> State:
    """Move an order by one event; where it is then. `credit`: a payment to its account that comes with the event. Raises
    IllegalTransition, and then nothing was changed."""
    row = store.lock(tx, [order_id])[order_id]
    order = order_of(row)
    state, decision = machine.decide(order, event)
    if not store.move(tx, order.id, order.state.value, state.value, decision.reason, at_ms, at_ms if state.is_final else None):
        raise Breach("an order moved while it was locked")
    try:
        commit(tx, at_ms, *((credit,) if credit else ()), *decision.money)
    except InsufficientFunds as refusal:
        raise Breach("an order's account does not hold what was paid into it") from refusal
    tasks.add(tx, [NewTask(kind, order.id, at_ms) for kind in decision.tasks])
    events.append(tx, at_ms, [_news(order.id, state)])
    return state


def paid_all(tx: Tx, payments: Sequence[Payment]) -> None:
    """Called in the transaction that settles the payments, and credits them."""
    rows = store.lock(tx, [payment.invoice.subject for payment in payments])
    for payment in sorted(payments, key=lambda payment: payment.invoice.subject):
        row = rows[payment.invoice.subject]
        if State(row["state"]) is State.AWAITING_PAYMENT and payment.invoice.id == row["invoice"]:
            advance(tx, row["id"], Paid() if payment.is_enough else PaidShort(), payment.at_ms, payment.credit)
        else:
            _owe_late(tx, payment, row)


def _owe_late(tx: Tx, payment: Payment, row: Row) -> None:
    """Paid after the order had ended: still the payer's money."""
    late = MoveAll(f"bootstrap/{row['id']}/late/{payment.invoice.id}", chart.bootstrap(row["id"]), chart.owed(row["id"]), Code.OWED_BACK)
    commit(tx, payment.at_ms, payment.credit, late)
    if row["refund_to"]:
        tasks.add(tx, [NewTask(machine.REFUND_TO, row["id"], payment.at_ms)])
    events.append(tx, payment.at_ms, [NewEvent(row["id"], "refund", {"state": "pending"})])


def lapsed(tx: Tx, invoice: Invoice, at_ms: int) -> None:
    """Called in the transaction that closes an invoice of an order as unpaid."""
    try:
        advance(tx, invoice.subject, Unpaid(), at_ms)
    except IllegalTransition as illegal:
        log.info("bootstrap.lapse_without_effect", order=invoice.subject, why=illegal.message)


def payout_ended(tx: Tx, payout: Payout, at_ms: int) -> None:
    """An order's refund arrived or came back. Where the customer gave an address, what is owed (again, or still) goes there."""
    if payout.destination != REFUND_ADDRESS or not payouts.obligation(tx, payout.obligation).claimable:
        return
    row = store.find(tx, payout.subject)
    if row is not None and row["refund_to"]:
        tasks.add(tx, [NewTask(machine.REFUND_TO, row["id"], at_ms + again.pause_ms(tx, payout.obligation))])


ON_PAID: dict[str, Crediting] = {FEE: Crediting(paid_all)}
ON_LAPSED: dict[str, Callable[[Tx, Invoice, int], None]] = {FEE: lapsed}


def order_of(row: Row) -> Order:
    return Order(row["id"], State(row["state"]), Msats(row["fee_msat"]), bool(row["refund_to"]))


def _news(order_id: str, state: State) -> NewEvent:
    return NewEvent(order_id, "bootstrap", {"state": state.value})
