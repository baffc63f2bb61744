"""Money in: an invoice of ours, from being asked for to being credited, once.

asked ──(the wallet made it, its asker shows it)──▶ open ──(expired, and the wallet says unpaid)──▶ lapsed
  │                                                   │                                             │
  └─(nobody was shown it)─▶ forgotten                 └────────── paid, whoever reports it ────────▶ settled
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from timmy import events
from timmy.db import Row, Tx
from timmy.errors import Breach
from timmy.events import NewEvent
from timmy.ledger import Code, Move, chart, commit_all
from timmy.lightning import store
from timmy.lightning.wallets.protocol import NewInvoice, WalletDown
from timmy.money import Msats

FIRST_LOOK_MS = 1_000
ORPHAN_AFTER_MS = 60 * 60 * 1_000


@dataclass(frozen=True, slots=True)
class Invoice:
    id: str
    purpose: str
    subject: str
    account: str
    amount: Msats
    state: str
    payment_hash: str
    payment_request: str
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class Ask:
    """An invoice that is about to be asked for: whom it concerns, and which account its sats go to."""

    id: str
    purpose: str
    subject: str
    account: str
    amount: Msats
    at_ms: int
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class Payment:
    """An invoice was just credited with `received`, which may be less or more than it asked for."""

    invoice: Invoice
    received: Msats
    at_ms: int

    @property
    def credit(self) -> Move:
        """What credits it. Whoever is `Crediting` applies it together with what follows from the payment."""
        id = f"invoice/{self.invoice.id}/received"
        return Move(id, chart.LIGHTNING, self.invoice.account, self.received, Code.PAYMENT_RECEIVED)

    @property
    def is_enough(self) -> bool:
        return self.received >= self.invoice.amount


@dataclass(frozen=True, slots=True)
class Report:
    """Someone (push, poll or sweep) has it from the wallet that this hash was paid."""

    payment_hash: str
    received: Msats
    at_ms: int


Told = Callable[[Tx, Sequence[Payment]], None]


@dataclass(frozen=True, slots=True)
class Crediting:
    """Somebody who is told of payments and applies their credits too, with the same `commit_all` that applies what follows: the sats are
    locked, counted and written once instead of twice. `settle_all` looks whether they really did."""

    told: Told


OnPaid = Mapping[str, Told | Crediting]
"""Purpose → who is told, in the settling transaction. A handful of lines in app.py, not a bus."""


def note_asks(tx: Tx, asks: Sequence[Ask]) -> list[None]:
    """Before the wallet is asked: if we die while it answers, this row says that an invoice may exist that nobody was shown."""
    store.insert_invoices(
        tx,
        [
            {
                "id": ask.id,
                "purpose": ask.purpose,
                "subject": ask.subject,
                "account": ask.account,
                "amount_msat": ask.amount.value,
                "created_at_ms": ask.at_ms,
                "expires_at_ms": ask.at_ms + ask.ttl_ms,
                "look_at_ms": ask.at_ms + ORPHAN_AFTER_MS,
            }
            for ask in asks
        ],
    )
    return [None] * len(asks)


def open_all(tx: Tx, made: Sequence[tuple[str, NewInvoice]], at_ms: int) -> None:
    """The wallet has made them: from now on they may be shown, and are looked at. In the transaction of whoever shows them.

    Raises WalletDown when one of their rows was forgotten meanwhile (the wallet, or this process, took an hour): without its row a
    payment of it would match nothing, so it must not be shown."""
    opened = store.open_invoices(
        tx,
        [
            {
                "id": id,
                "payment_hash": new.payment_hash,
                "payment_request": new.payment_request,
                "expires_at_ms": new.expires_at_ms,
                "look_at_ms": at_ms + FIRST_LOOK_MS,
            }
            for id, new in made
        ],
    )
    if opened != len(made):
        raise WalletDown("The wallet took too long to make an invoice. Ask again for a new one.")


def settle_all(tx: Tx, reports: Sequence[Report], on_paid: OnPaid) -> None:
    """Credit what was paid. Told twice, told late, told by three at once: credited once, by payment hash.

    What matches no invoice of ours goes to `unallocated`, where `timmy ledger verify` shows it."""
    first = {report.payment_hash: report for report in reversed(reports)}
    rows = store.lock_by_hash(tx, first)
    fresh = store.mark_settled(
        tx, [{"id": row["id"], "received_msat": first[hash].received.value, "at_ms": first[hash].at_ms} for hash, row in rows.items()]
    )
    payments: dict[str, list[Payment]] = {}
    units = []
    strays: list[NewEvent] = []
    for hash, report in first.items():
        row = rows.get(hash)
        if row is None:
            units.append([Move(f"stray/{hash}", chart.LIGHTNING, chart.UNALLOCATED, report.received, Code.STRAY_PAYMENT)])
            strays.append(NewEvent("unallocated", "stray", {"receivedMsat": report.received.value}))
        elif row["id"] in fresh:
            payment = Payment(invoice_of(row), report.received, report.at_ms)
            payments.setdefault(payment.invoice.purpose, []).append(payment)
            if not isinstance(on_paid[payment.invoice.purpose], Crediting):
                units.append([payment.credit])
    commit_all(tx, reports[0].at_ms, units)
    for purpose, paid in payments.items():
        told = on_paid[purpose]
        if isinstance(told, Crediting):
            told.told(tx, paid)
            _see_credited(tx, paid)
        else:
            told(tx, paid)
    events.append(tx, reports[0].at_ms, [*strays, *(_news(payment) for paid in payments.values() for payment in paid)])


def _see_credited(tx: Tx, paid: Sequence[Payment]) -> None:
    """Without this, whoever promised to credit a payment and forgot one would have marked it settled and lost it."""
    if store.count_transfers(tx, [payment.credit.id for payment in paid]) != len(paid):
        raise Breach("a payment was settled without being credited")


def _news(payment: Payment) -> NewEvent:
    invoice = payment.invoice
    return NewEvent(invoice.subject, "payment", {"purpose": invoice.purpose, "receivedMsat": payment.received.value})


def find(tx: Tx, payment_hash: str) -> Invoice | None:
    row = store.invoice_of_hash(tx, payment_hash)
    return invoice_of(row) if row else None


def by_id(tx: Tx, ids: Sequence[str]) -> dict[str, Invoice]:
    return {id: invoice_of(row) for id, row in store.invoices_by_id(tx, ids).items()}


def invoice_of(row: Row) -> Invoice:
    return Invoice(
        row["id"],
        row["purpose"],
        row["subject"],
        row["account"],
        Msats(row["amount_msat"]),
        row["state"],
        row["payment_hash"] or "",
        row["payment_request"] or "",
        row["expires_at_ms"],
    )
