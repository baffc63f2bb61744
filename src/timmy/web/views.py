"""A job, as its owner sees it on the wire (product contract: camelCase but for the few names that are fixed otherwise)."""

from __future__ import annotations

from timmy.clock import iso
from timmy.jobs.model import CostLedger, InvoiceView, JobView, RefundView, State
from timmy.money import NanoUsd
from timmy.pricing import Quote


def number(decimal: str) -> object:
    """A decimal as a JSON number. Nothing is computed with it: it is on its way out, and is written with the digits that it came with."""
    return float(decimal) if "." in decimal else int(decimal)


def dollars(amount: NanoUsd) -> object:
    return number(str(amount))


def hundredths(amount: int) -> object:
    """Cents as dollars, basis points as percent: 4000 is 40, 4050 is 40.5."""
    whole, rest = divmod(amount, 100)
    return whole if rest == 0 else number(f"{whole}.{rest:02d}")


def invoice(view: InvoiceView) -> dict[str, object]:
    return {
        "paymentRequest": view.payment_request,
        "paymentHash": view.payment_hash,
        "amountSats": view.amount.value,
        "expiresAt": iso(view.expires_at_ms),
    }


def pricing_breakdown(quote: Quote) -> dict[str, object]:
    return {
        "estimatedCostUsd": dollars(quote.estimated_cost),
        "infraCostUsd": dollars(quote.infra),
        "marginPct": hundredths(quote.margin_bp),
        "btcPriceUsd": hundredths(quote.btc.cents_per_btc),
        "btcPriceSource": quote.btc.source,
        "model": quote.model,
        "estimatedInputTokens": quote.estimated_input_tokens,
        "estimatedOutputTokens": quote.estimated_output_tokens,
        "amountSats": quote.price.value,
    }


def cost_ledger(cost: CostLedger, refund: RefundView) -> dict[str, object]:
    """`refundAmountSats` is all that can be claimed, or has been: what an invoice for the refund must ask for."""
    return {
        "actualInputTokens": cost.usage.input,
        "actualOutputTokens": cost.usage.output,
        "totalTokens": cost.usage.input + cost.usage.output,
        "usageEstimated": cost.usage.estimated,
        "actualCostUsd": dollars(cost.actual_cost),
        "actualAmountSats": cost.charged.ceil_sats().value,
        "workAmountSats": cost.paid.ceil_sats().value,
        "refundAmountSats": (refund.owed + refund.paid).value,
        "refundState": refund.state.value,
    }


def refund_view(refund: RefundView) -> dict[str, object]:
    return {
        "state": refund.state.value,
        "owedSats": refund.owed.value,
        "paidSats": refund.paid.value,
        "creditMsat": refund.credit.value,
        "destination": refund.destination,
        "trouble": refund.trouble,
    }


def created(view: JobView) -> dict[str, object]:
    """The answer to a creation. It tells how the job began, and not where it has got to: asked again with the same key, it is the same."""
    return {
        "jobId": view.id,
        "state": State.AWAITING_EVAL_PAYMENT.value,
        "createdAt": iso(view.created_at_ms),
        "trust_tier": view.trust_tier,
        "evalInvoice": invoice(view.eval_invoice),
    }


def job(view: JobView) -> dict[str, object]:
    """All that belongs to a job; what does not exist (yet) is null."""
    return {
        "jobId": view.id,
        "state": view.state.value,
        "request": view.request,
        "createdAt": iso(view.created_at_ms),
        "completedAt": None if view.completed_at_ms is None else iso(view.completed_at_ms),
        "trust_tier": view.trust_tier,
        "evalInvoice": invoice(view.eval_invoice),
        "workInvoice": invoice(view.work_invoice) if view.work_invoice else None,
        "pricingBreakdown": pricing_breakdown(view.quote) if view.quote else None,
        "reason": view.reason,
        "waiting": view.waiting,
        "result": view.result,
        "truncated": view.truncated,
        "costLedger": cost_ledger(view.cost, view.refund) if view.cost else None,
        "refund": refund_view(view.refund),
        "refundTo": view.refund_to,
        "free_tier": view.free,
        "absorbed_sats": view.absorbed.ceil_sats().value,
        "subsidyShortfallSats": view.shortfall.ceil_sats().value,
    }
