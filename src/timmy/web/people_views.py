"""Keys, the pool and estimates, as they are shown on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from timmy.clock import iso
from timmy.generosity import Decision, Free, Gate, Partial
from timmy.generosity.pool import ANONYMOUS, EMPTY, FROZEN, NO_BUDGET, USED_UP
from timmy.generosity.status import Given, PoolStatus
from timmy.identity import Standing
from timmy.identity.login import Challenge, Login
from timmy.identity.nostr import npub
from timmy.identity.trust import Terms
from timmy.jobs.estimate import Estimate
from timmy.money import Msats, Sats
from timmy.web import views
from timmy.web.house import Profile

Document = dict[str, object]


def challenge(given: Challenge) -> Document:
    return {"nonce": given.nonce, "expiresAt": iso(given.expires_at_ms)}


def login(done: Login) -> Document:
    return {
        "nostr_token": done.token,
        "pubkey": done.standing.pubkey,
        "npub": npub(done.standing.pubkey),
        "trust_tier": done.standing.tier.value,
        "expiresAt": iso(done.expires_at_ms),
    }


def me(standing: Standing, profile: Profile, terms: Terms) -> Document:
    return {
        "pubkey": standing.pubkey,
        "npub": npub(standing.pubkey),
        "trust_tier": standing.tier.value,
        "score": standing.score,
        "why": [{"why": row["why"], "change": row["change"], "score": row["score"], "at": iso(row["at_ms"])} for row in profile.reasons],
        "decay": decay(standing, terms),
        "nextTier": next_tier(standing.score, terms),
        "today": {"day": profile.day, "budgetSats": sats(profile.budget), "leftSats": sats(profile.left)},
        "successes": standing.successes,
        "setbacks": standing.setbacks,
        "paidSats": sats(standing.paid),
        "firstSeenAt": None if standing.first_seen_ms is None else iso(standing.first_seen_ms),
    }


def decay(standing: Standing, terms: Terms) -> Document:
    lost = standing.kept_score - standing.score
    rule = f"After {terms.decay_after_days} days without work a score loses {terms.decay_per_day} a day, until there is work again."
    return {
        "afterDays": terms.decay_after_days,
        "perDay": terms.decay_per_day,
        "lost": lost,
        "explained": f"{rule} Yours was {standing.kept_score} and has lost {lost}." if lost else f"{rule} Yours has lost nothing.",
    }


def next_tier(score: int, terms: Terms) -> Document | None:
    above = terms.next_tier(score)
    if above is None:
        return None
    tier, least = above
    return {"tier": tier.value, "score": least, "missing": least - score}


def pool(status: PoolStatus, daily: Mapping[str, Msats], *, frozen: bool) -> Document:
    return {
        "balanceSats": sats(status.available + status.reserved),
        "availableSats": sats(status.available),
        "reservedSats": sats(status.reserved),
        "earnedSats": sats(status.earned),
        "givenSats": sats(total(status.given)),
        "dailyBudgets": budgets(daily),
        "byTier": by_tier(status.given),
        "today": {"givenSats": sats(total(status.given_today)), "byTier": by_tier(status.given_today)},
        "whyNot": why_not(status, frozen=frozen),
    }


def why_not(status: PoolStatus, *, frozen: bool) -> list[Document]:
    """Why somebody would be asked the full price right now. `frozen` and `empty` are there while they hold, and hold for everybody."""
    reasons = {
        **({"frozen": FROZEN} if frozen else {}),
        **({} if status.available.floor_sats() else {"empty": EMPTY}),
        "anonymous": ANONYMOUS,
        "no_budget": NO_BUDGET,
        "used_up": USED_UP,
    }
    return [{"code": code, "why": why} for code, why in reasons.items()]


def estimate(made: Estimate) -> Document:
    quote = made.quote
    return {
        "estimatedSats": quote.price.value,
        "evalFeeSats": made.eval_fee.value,
        "estimatedCostUsd": views.dollars(quote.estimated_cost),
        "btcPriceUsd": views.hundredths(quote.btc.cents_per_btc),
        "btcPriceSource": quote.btc.source,
        "tokenEstimate": {"input": quote.estimated_input_tokens, "output": quote.estimated_output_tokens},
        "pricingBreakdown": views.pricing_breakdown(quote),
        "identity": {"trust_tier": made.tier, "free_tier": served(made.decision, quote.price)},
        "pool": {
            "balanceSats": sats(made.pool.available + made.pool.reserved),
            "availableSats": sats(made.pool.available),
            "dailyBudgets": budgets(made.daily_budgets),
        },
    }


def served(decision: Decision, price: Sats) -> Document:
    """`absorbSats` and `chargeSats` are the price together."""
    match decision:
        case Free():
            return {"serve": "free", "absorbSats": price.value, "chargeSats": 0, "why": None}
        case Partial(charge=charge):
            asked = min(charge.ceil_sats(), price)
            return {"serve": "partial", "absorbSats": (price - asked).value, "chargeSats": asked.value, "why": None}
        case Gate(why=why):
            return {"serve": "gate", "absorbSats": 0, "chargeSats": price.value, "why": why}
        case _:
            assert_never(decision)


def budgets(daily: Mapping[str, Msats]) -> Document:
    return {tier: sats(budget) for tier, budget in daily.items()}


def by_tier(given: Mapping[str, Given]) -> Document:
    return {tier: {"times": each.times, "givenSats": sats(each.absorbed)} for tier, each in given.items()}


def total(given: Mapping[str, Given]) -> Msats:
    return Msats(sum(each.absorbed.value for each in given.values()))


def sats(amount: Msats) -> int:
    """Rounded down: a part of a sat can be neither given nor used."""
    return amount.floor_sats().value
