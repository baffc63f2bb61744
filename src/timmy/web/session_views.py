"""Sessions and their requests, as they are shown on the wire."""

from __future__ import annotations

from timmy.clock import iso
from timmy.money import Msats
from timmy.sessions.protocol import InvoiceView, RefundView, RequestCost, RequestView, SessionNews, SessionState, SessionView
from timmy.web import views

Document = dict[str, object]


def invoice(view: InvoiceView) -> Document:
    return {
        "paymentRequest": view.payment_request,
        "paymentHash": view.payment_hash,
        "amountSats": view.amount.value,
        "expiresAt": iso(view.expires_at_ms),
    }


def opened(view: SessionView) -> Document:
    """The answer to an opening. It tells how the session began, and not where it has got to: with the same key it is the same again."""
    return {
        "sessionId": view.id,
        "state": SessionState.AWAITING_PAYMENT.value,
        "createdAt": iso(view.created_at_ms),
        "invoice": invoice(view.deposit),
        "trust_tier": view.trust_tier,
    }


def session(view: SessionView) -> Document:
    return {**session_without_key(view), "macaroon": view.macaroon}


def session_without_key(view: SessionView) -> Document:
    """For streams: they are kept open, passed on and recorded by more programs than one answer is."""
    return {
        "sessionId": view.id,
        "state": view.state.value,
        "createdAt": iso(view.created_at_ms),
        "expiresAt": iso(view.expires_at_ms),
        "closedAt": None if view.closed_at_ms is None else iso(view.closed_at_ms),
        "trust_tier": view.trust_tier,
        "invoice": invoice(view.deposit),
        "balanceSats": view.balance.floor_sats().value,
        "balanceMsat": view.balance.value,
        "heldMsat": view.held.value,
        "minimumBalanceSats": view.minimum_balance.value,
        "pendingTopup": invoice(view.pending_topup) if view.pending_topup else None,
        "refund": refund(view.refund),
    }


def refund(view: RefundView) -> Document:
    return {
        "state": view.state.value,
        "owedSats": view.owed.value,
        "paidSats": view.paid.value,
        "destination": view.destination,
        "trouble": view.trouble,
    }


def request(view: RequestView) -> Document:
    """Not its session's id: who holds a narrowed macaroon only must not learn it, for it opens the whole one."""
    return {
        "requestId": view.id,
        "state": view.state.value,
        "startedAt": iso(view.started_at_ms),
        "endedAt": None if view.ended_at_ms is None else iso(view.ended_at_ms),
        "result": view.result,
        "truncated": view.truncated,
        "reason": view.reason,
        "debitedSats": view.debited.ceil_sats().value,
        "debitedMsat": view.debited.value,
        "balanceRemaining": view.balance_remaining.floor_sats().value,
        "balanceRemainingMsat": view.balance_remaining.value,
        "cost": cost(view.cost) if view.cost else None,
        "free_tier": view.free_tier,
        "absorbed_sats": view.absorbed.ceil_sats().value,
        "absorbedMsat": view.absorbed.value,
    }


def cost(made: RequestCost) -> Document:
    """`chargedMsat` is what the customer and the pool have paid together; it is never above `reservedMsat`."""
    used = [usage for usage in (made.eval_usage, made.work_usage) if usage is not None]
    return {
        "evalModel": made.eval_quote.model,
        "workModel": made.work_quote.model,
        "inputTokens": sum(usage.input for usage in used),
        "outputTokens": sum(usage.output for usage in used),
        "usageEstimated": any(usage.estimated for usage in used),
        "actualCostUsd": views.dollars(made.actual_cost),
        "marginPct": views.hundredths(made.work_quote.margin_bp),
        "btcPriceUsd": views.hundredths(made.work_quote.btc.cents_per_btc),
        "btcPriceSource": made.work_quote.btc.source,
        "chargedMsat": made.charged.value,
        "reservedMsat": made.reserved.value,
    }


def balance_news(item: SessionNews) -> tuple[str, Document] | None:
    """A balance that has moved, and why; other news are seen in the session itself."""
    if item.kind != "balance":
        return None
    balance = Msats(item.body["balanceMsat"])
    moved: Document = {"balanceSats": balance.floor_sats().value, "balanceMsat": balance.value, "state": item.state.value}
    told = {name: item.body[name] for name in ("reason", "requestId", "debitedMsat", "absorbedMsat") if name in item.body}
    return "balance", {**moved, **told}
