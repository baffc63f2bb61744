"""Sessions as they are shown: read from one snapshot, many at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from timmy.db import Row, Tx
from timmy.identity import Tier, trust
from timmy.ledger import chart
from timmy.lightning import invoices, payouts
from timmy.lightning.invoices import Invoice
from timmy.lightning.payouts import Obligation
from timmy.money import Msats, Sats
from timmy.sessions import store
from timmy.sessions.flow import Opening, balances
from timmy.sessions.keys import RootKeys
from timmy.sessions.protocol import InvoiceView, RefundState, RefundView, SessionState, SessionView
from timmy.sessions.terms import Terms

NOTHING_OWED = RefundView(RefundState.NOT_APPLICABLE, Sats(0), Sats(0), None, None)


def load_all(tx: Tx, session_ids: Sequence[str], keys: RootKeys, terms: Terms, now_ms: int) -> list[SessionView | None]:
    """All that belongs to each session; None where there is none."""
    rows = store.find_all(tx, session_ids)
    found = invoices.by_id(tx, [id for row in rows.values() for id in (row["deposit_invoice"], row["topup_invoice"]) if id])
    money = balances(tx, rows)
    tiers = tiers_of(tx, [row["pubkey"] for row in rows.values()], terms, now_ms)
    closed = [row["id"] for row in rows.values() if row["closed_at_ms"] is not None]
    owed = payouts.obligations(tx, [chart.owed(id) for id in closed]) if closed else {}
    mint = keys.minter(tx) if any(row["opened_at_ms"] is not None for row in rows.values()) else None

    def view(id: str) -> SessionView | None:
        if id not in rows:
            return None
        row, (balance_msat, held_msat) = rows[id], money[id]
        deposit = found[row["deposit_invoice"]]
        return SessionView(
            id=id,
            state=_state(row, deposit, balance_msat, terms, now_ms),
            created_at_ms=row["created_at_ms"],
            expires_at_ms=deposit.expires_at_ms if row["used_at_ms"] is None else row["used_at_ms"] + terms.ttl_ms,
            closed_at_ms=row["closed_at_ms"],
            trust_tier=tiers[row["pubkey"]],
            deposit=invoice_view(deposit),
            balance=Msats(balance_msat),
            held=Msats(held_msat),
            minimum_balance=terms.minimum_balance,
            pending_topup=invoice_view(found[row["topup_invoice"]]) if row["topup_invoice"] else None,
            refund=_refund(owed[chart.owed(id)]) if chart.owed(id) in owed else NOTHING_OWED,
            macaroon=_macaroon(row, mint),
        )

    return [view(id) for id in session_ids]


def _state(row: Row, deposit: Invoice, balance_msat: int, terms: Terms, now_ms: int) -> SessionState:
    if row["opened_at_ms"] is None:
        return SessionState.EXPIRED if deposit.state == "lapsed" else SessionState.AWAITING_PAYMENT
    return open_state(row, balance_msat, terms, now_ms)


def open_state(row: Row, balance_msat: int, terms: Terms, now_ms: int) -> SessionState:
    """How a session stands, apart from what became of its deposit's invoice."""
    if row["opened_at_ms"] is None:
        return SessionState.AWAITING_PAYMENT
    if row["closed_at_ms"] is not None or now_ms >= row["used_at_ms"] + terms.ttl_ms:
        return SessionState.EXPIRED
    # The whole balance, what running requests hold included: a session must not seem paused because it is being used.
    return SessionState.PAUSED if balance_msat < terms.minimum_balance.msats.value else SessionState.ACTIVE


def _macaroon(row: Row, mint: Callable[[str], str] | None) -> str | None:
    return mint(row["identifier"]) if mint is not None and row["opened_at_ms"] is not None else None


def tiers_of(tx: Tx, pubkeys: Sequence[str | None], terms: Terms, now_ms: int) -> dict[str | None, str]:
    known = {pubkey for pubkey in pubkeys if pubkey is not None}
    standings = trust.standings(tx, sorted(known), terms.trust, now_ms) if known else {}
    return {None: Tier.ANONYMOUS.value, **{pubkey: standing.tier.value for pubkey, standing in standings.items()}}


def invoice_view(invoice: Invoice) -> InvoiceView:
    return InvoiceView(
        invoice.payment_request, invoice.payment_hash, invoice.amount.ceil_sats(), invoice.expires_at_ms, invoice.state == "settled"
    )


def _refund(owed: Obligation) -> RefundView:
    on_its_way = owed.live.amount.floor_sats() if owed.live else Sats(0)
    shown = owed.live or owed.last
    return RefundView(
        state=RefundState.PENDING if owed.claimable or owed.live else RefundState.PAID if owed.paid else RefundState.NOT_APPLICABLE,
        owed=owed.claimable + on_its_way,
        paid=owed.paid,
        destination=owed.live.destination if owed.live else None,
        trouble=shown.trouble if shown and shown.state != "sent" else None,
    )


def new_view(opening: Opening, amount: Sats, tier: str, terms: Terms) -> SessionView:
    """A session that was written down a moment ago, as `load_all` would show it."""
    return SessionView(
        id=opening.session_id,
        state=SessionState.AWAITING_PAYMENT,
        created_at_ms=opening.at_ms,
        expires_at_ms=opening.invoice.expires_at_ms,
        closed_at_ms=None,
        trust_tier=tier,
        deposit=InvoiceView(
            opening.invoice.payment_request, opening.invoice.payment_hash, amount, opening.invoice.expires_at_ms, settled=False
        ),
        balance=Msats(0),
        held=Msats(0),
        minimum_balance=terms.minimum_balance,
        pending_topup=None,
        refund=NOTHING_OWED,
        macaroon=None,
    )
