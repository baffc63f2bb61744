"""Sessions opened, paid for, topped up: one transaction each, in which the rows, the money and the news move together.

Whoever changes how a session stands, or decides from it, holds its account first: the account's lock is the session's. Then come its rows,
and the news last. One order everywhere (here, in begin.py, finish.py and closing.py), so nobody waits in a circle.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from timmy import events, idempotency
from timmy.db import Tx
from timmy.errors import Breach
from timmy.events import NewEvent
from timmy.idempotency import Key
from timmy.ledger import Code, MoveAll, chart, commit_all
from timmy.ledger.commit import Still
from timmy.ledger.store import accounts_like
from timmy.lightning import invoices
from timmy.lightning.invoices import Invoice, Payment
from timmy.lightning.wallets.protocol import NewInvoice
from timmy.sessions import store

DEPOSIT, TOPUP = "session_deposit", "session_topup"  # the purposes of a session's invoices
OPEN = "sessions.open"


@dataclass(frozen=True, slots=True)
class Opening:
    """A session that is about to exist: its deposit's invoice has been made by the wallet."""

    session_id: str
    pubkey: str | None
    identifier: str
    invoice_id: str
    invoice: NewInvoice
    key: Key | None
    at_ms: int


def open_all(tx: Tx, openings: Sequence[Opening]) -> list[str | Exception]:
    """Write new sessions down. Answers each one's id: an earlier session's, where its Idempotency-Key has one already."""
    ids: list[str | Exception] = []
    fresh: list[Opening] = []
    for opening in openings:
        id: str | Exception = opening.session_id
        if opening.key is not None:
            try:
                id = idempotency.bind(tx, OPEN, opening.key, opening.session_id, opening.at_ms)
            except idempotency.KeyReused as refusal:
                id = refusal
        ids.append(id)
        if id == opening.session_id:
            fresh.append(opening)
    if fresh:
        invoices.open_all(tx, [(opening.invoice_id, opening.invoice) for opening in fresh], fresh[0].at_ms)
        store.insert(
            tx,
            [
                {
                    "id": opening.session_id,
                    "pubkey": opening.pubkey,
                    "identifier": opening.identifier,
                    "deposit_invoice": opening.invoice_id,
                    "at_ms": opening.at_ms,
                }
                for opening in fresh
            ],
        )
    return ids


def deposited(tx: Tx, payments: Sequence[Payment]) -> None:
    """Called in the transaction that credits the payments. However much arrived, and however late: it is the session's balance."""
    opened = store.mark_opened(tx, [{"id": payment.invoice.subject, "at_ms": payment.at_ms} for payment in payments])
    if opened != {payment.invoice.subject for payment in payments}:
        raise Breach("a session's deposit was settled twice")
    events.append(tx, payments[0].at_ms, [*balance_news(tx, opened, "deposit"), *_moved(opened)])


def topped_up(tx: Tx, payments: Sequence[Payment]) -> None:
    """Called in the transaction that credits the payments. Paid after the session was closed, the sats are owed back."""
    at_ms = payments[0].at_ms
    store.end_topups(tx, [payment.invoice.id for payment in payments])
    rows = store.find_all(tx, {payment.invoice.subject for payment in payments})
    late = [payment for payment in payments if rows[payment.invoice.subject]["closed_at_ms"] is not None]
    commit_all(tx, at_ms, [[_owed_back(payment.invoice)] for payment in late])
    closed = {payment.invoice.subject for payment in late}
    alive = rows.keys() - closed
    store.mark_used(tx, [{"id": id, "at_ms": at_ms} for id in sorted(alive)])
    refunds = [NewEvent(id, "refund", {"state": "pending"}) for id in sorted(closed)]
    events.append(tx, at_ms, [*balance_news(tx, alive, "topup"), *_moved(alive), *refunds])


def _owed_back(invoice: Invoice) -> MoveAll:
    id = invoice.subject
    return MoveAll(f"session/{id}/late/{invoice.id}", chart.session(id), chart.owed(id), Code.OWED_BACK)


def deposit_lapsed(tx: Tx, invoice: Invoice, at_ms: int) -> None:
    """Called in the transaction that closes an unpaid deposit. There is nothing to undo: without it, a session is only a row."""
    events.append(tx, at_ms, _moved([invoice.subject]))


def topup_lapsed(tx: Tx, invoice: Invoice, at_ms: int) -> None:
    """Called in the transaction that closes an unpaid top-up: the next one may be asked for."""
    store.end_topups(tx, [invoice.id])
    events.append(tx, at_ms, _moved([invoice.subject]))


ON_PAID = {DEPOSIT: deposited, TOPUP: topped_up}
ON_LAPSED = {DEPOSIT: deposit_lapsed, TOPUP: topup_lapsed}


def balances(tx: Tx, session_ids: Collection[str], still: Still | None = None) -> dict[str, tuple[int, int]]:
    """What each session has, and how much of that running requests hold, in millisats. `still`: the accounts that are locked, and known."""
    accounts = {chart.session(id) for id in session_ids}
    kept = still.standing(accounts) if still is not None else {}
    if others := accounts - kept.keys():
        kept |= {account: (row["balance_msat"], row["reserved_msat"]) for account, row in accounts_like(tx, others).items()}
    return {id: kept.get(chart.session(id), (0, 0)) for id in session_ids}


def balance_news(tx: Tx, session_ids: Collection[str], reason: str) -> list[NewEvent]:
    """After the money has moved: what the sessions have now."""
    now = balances(tx, session_ids)
    return [NewEvent(id, "balance", {"balanceMsat": now[id][0], "reason": reason}) for id in sorted(session_ids)]


def _moved(session_ids: Collection[str]) -> list[NewEvent]:
    return [NewEvent(id, "state") for id in sorted(session_ids)]
