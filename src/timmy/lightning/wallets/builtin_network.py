"""How sats move between the nodes of the built-in wallet: plain functions of `tx`, so that several processes share one network.

A payment takes everything from the payer at once, into `routes`, and ends once: delivered (the fee stays in `routes`) or given back.
The balances of all nodes always add up to what they began with.
"""

from __future__ import annotations

from dataclasses import dataclass

from timmy.db import Row, Tx
from timmy.lightning.bolt11 import Invoice
from timmy.lightning.wallets import builtin_store as store
from timmy.lightning.wallets.protocol import Failed, InFlight, Network, NeverSent, PaymentOutcome, Succeeded
from timmy.money import Msats

ROUTES = "routes"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A payment, and what its payer insists on."""

    payer: str
    invoice: Invoice
    amount: Msats
    fee: Msats
    now_ms: int
    fee_limit: Msats | None = None
    exact: bool = True  # False: another amount than the invoice names may be sent
    late: bool = False  # True: even to an expired invoice
    fee_uncapped: bool = False  # a fault: the limit is ignored
    looks: int = 0  # a fault: held by the recipient for so many look-ups
    fails: bool = False  # a fault: given back after that


def pay(tx: Tx, attempt: Attempt) -> PaymentOutcome:
    """One invoice is paid by one payer once: again is the first answer. A payment that failed may be tried again."""
    invoice = attempt.invoice
    payee = store.invoice(tx, invoice.payment_hash)
    balances = store.lock_balances(tx, [attempt.payer, ROUTES, *([payee["node"]] if payee else [])])
    known = store.payment(tx, attempt.payer, invoice.payment_hash)
    if known is not None and known["state"] != "failed":
        return outcome(known)
    objection = _objection(attempt, store.lock_invoice(tx, invoice.payment_hash), balances[attempt.payer])
    row = {
        "payment_hash": invoice.payment_hash,
        "payer": attempt.payer,
        "state": "failed" if objection else "in_flight",
        "amount_msat": attempt.amount.value,
        "fee_msat": attempt.fee.value,
        "reason": objection,
        "looks_left": attempt.looks,
        "ends_in": "failed" if attempt.fails else "succeeded",
        "created_at_ms": attempt.now_ms,
    }
    store.put_payment(tx, row)
    if objection:
        return Failed(objection)
    total_msat = (attempt.amount + attempt.fee).value
    store.add(tx, attempt.payer, -total_msat)
    store.add(tx, ROUTES, total_msat)
    return _end_if_due(tx, attempt.payer, invoice.payment_hash)


def look(tx: Tx, payer: str, payment_hash: str) -> PaymentOutcome:
    """What became of a payment. Where the recipient holds it, this look brings its end nearer."""
    known = store.payment(tx, payer, payment_hash)
    if known is None:
        return NeverSent()
    if known["state"] != "in_flight":
        return outcome(known)
    store.lock_balances(tx, [payer, ROUTES, *([known["payee"]] if known["payee"] else [])])
    store.count_look(tx, payer, payment_hash)
    return _end_if_due(tx, payer, payment_hash)


def outcome(payment: Row) -> PaymentOutcome:
    if payment["state"] == "in_flight":
        return InFlight()
    if payment["state"] == "failed":
        return Failed(payment["reason"])
    return Succeeded(preimage=payment["preimage"], fee=Msats(payment["fee_msat"]))


def _objection(attempt: Attempt, payee: Row | None, balance_msat: int) -> str | None:
    """Why this payment cannot be, in the words that a node would use."""
    invoice = attempt.invoice
    if invoice.network is not Network.REGTEST:
        return f"the invoice is for {invoice.network.name.lower()}"
    if payee is None or payee["payment_request"] != invoice.payment_request:
        return "no route: no node of this network made that invoice"
    if payee["node"] == attempt.payer:
        return "the invoice is our own"
    if payee["received_msat"] is not None:
        return "the invoice was paid before"
    if invoice.expired(attempt.now_ms) and not attempt.late:
        return "the invoice has expired"
    if not attempt.amount or (attempt.exact and invoice.amount not in (None, attempt.amount)):
        return "the amount is not the one that the invoice names"
    if attempt.fee_limit is not None and attempt.fee > attempt.fee_limit and not attempt.fee_uncapped:
        return "no route within the fee limit"
    if (attempt.amount + attempt.fee).value > balance_msat:
        return "not enough sats"
    return None


def _end_if_due(tx: Tx, payer: str, payment_hash: str) -> PaymentOutcome:
    """The nodes are locked. Read again: another process may have ended the payment meanwhile."""
    payment = store.payment(tx, payer, payment_hash)
    assert payment is not None, "a payment is never deleted"
    if payment["state"] != "in_flight" or payment["looks_left"] > 0:
        return outcome(payment)
    amount_msat, total_msat = payment["amount_msat"], payment["amount_msat"] + payment["fee_msat"]
    invoice = store.lock_invoice(tx, payment_hash)
    if payment["ends_in"] == "failed" or invoice is None or invoice["received_msat"] is not None:
        store.add(tx, ROUTES, -total_msat)
        store.add(tx, payer, total_msat)
        store.end_payment(tx, payer, payment_hash, "failed", "the recipient did not take it")
    else:
        store.add(tx, ROUTES, -amount_msat)
        store.add(tx, invoice["node"], amount_msat)
        store.settle_invoice(tx, payment_hash, amount_msat, store.next_cursor(tx, invoice["node"]))
        store.end_payment(tx, payer, payment_hash, "succeeded", None)
    ended = store.payment(tx, payer, payment_hash)
    assert ended is not None, "a payment is never deleted"
    return outcome(ended)
