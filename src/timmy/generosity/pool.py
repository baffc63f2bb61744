"""The pool at work: decide, reserve, record. It never gives what it does not hold, nor more than an identity's day allows.

`decide_all` makes the decision and the reservation in one step. To look first and reserve later would let a thousand callers see the same
last sat.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from timmy.db import Row, Tx
from timmy.generosity import store
from timmy.generosity.model import Decision, Free, Gate, Gift, Partial, Terms
from timmy.ledger import Code, Move, chart, commit, commit_all
from timmy.ledger.commit import available_all, hold_still
from timmy.money import Msats

ANONYMOUS = "the pool helps people it knows: log in with a Nostr key"
NO_BUDGET = "a new key has no free budget yet: it is earned by work that was paid for"
USED_UP = "today's free budget is used up; there is a new one at midnight (UTC)"
EMPTY = "the pool is empty right now; every paid job puts something into it"
FROZEN = "the operator has frozen the pool"
ONE_SAT = "a single sat cannot be shared"
NOTHING = Msats(0)


@dataclass(frozen=True, slots=True)
class Ask:
    """Somebody would have `estimate` of work. `gift` is None for the anonymous."""

    gift: Gift | None
    estimate: Msats
    at_ms: int


def decide_all(tx: Tx, asks: Sequence[Ask], terms: Terms) -> list[Decision]:
    """What the pool does for each, in order; what is Free is reserved."""
    frozen, granted = store.budgets_if_given(tx, {ask.gift.allowance for ask in asks if ask.gift is not None})
    decisions: list[Decision | None] = [_refused(ask, terms, frozen) for ask in asks]
    hopeful = [(place, ask, ask.gift) for place, ask in enumerate(asks) if decisions[place] is None and ask.gift is not None]
    if hopeful:
        _ensure_budgets(tx, [gift for _, _, gift in hopeful], terms, asks[0].at_ms, granted)
        refusals = commit_all(tx, asks[0].at_ms, [gift.reserve(ask.estimate) for _, ask, gift in hopeful])
        for (place, ask, _), refusal in zip(hopeful, refusals, strict=True):
            if refusal is None:
                decisions[place] = Free(ask.estimate)
        short = [(place, ask, gift) for place, ask, gift in hopeful if decisions[place] is None]
        left = available_all(tx, {chart.POOL, *(gift.allowance for _, _, gift in short)}) if short else {}
        for place, ask, gift in short:
            decisions[place] = _offer(ask.estimate, left[chart.POOL], left[gift.allowance])
    return [decision for decision in decisions if decision is not None]


def preview(tx: Tx, ask: Ask, terms: Terms) -> Decision:
    """What `decide_all` would say right now. Changes nothing and reserves nothing, so it promises nothing either."""
    refused = _refused(ask, terms, store.is_frozen(tx))
    if refused is not None or ask.gift is None:
        return refused or Gate(ANONYMOUS)
    pool, left = budget_left(tx, ask.gift, terms)
    if ask.estimate <= pool and ask.estimate <= left:
        return Free(ask.estimate)
    return _offer(ask.estimate, pool, left)


def budget_left(tx: Tx, gift: Gift, terms: Terms) -> tuple[Msats, Msats]:
    """What the pool has, and what this identity may still use of it today, the part that was not handed out yet included."""
    have = available_all(tx, [chart.POOL, gift.allowance])
    granted = store.budgets(tx, [gift.allowance]).get(gift.allowance, 0)
    to_come = max(0, terms.budget(gift.tier).value - granted)
    return have[chart.POOL], have[gift.allowance] + Msats(to_come)


def reserve_up_to(tx: Tx, gift: Gift, most: Msats, terms: Terms, at_ms: int) -> Msats:
    """Reserve as much of `most` as pool and budget have now, perhaps nothing, in whole sats. For a partial offer that has been paid."""
    if store.is_frozen(tx):
        return NOTHING
    _ensure_budgets(tx, [gift], terms, at_ms, store.budgets(tx, [gift.allowance]))
    # All that the reservation touches, in one go and so in one order: locked later, revenue would be taken after the pool by us and before
    # it by somebody else.
    have = hold_still(tx, [chart.POOL, gift.allowance, chart.ALLOWANCES_USED, chart.REVENUE])
    amount = min(most, have[chart.POOL].floor_sats().msats, have[gift.allowance].floor_sats().msats)
    if amount:
        commit(tx, at_ms, *gift.reserve(amount))
    return amount


def record_grants(tx: Tx, given: Collection[tuple[Gift, Msats]], at_ms: int) -> None:
    """In the transaction that posts the gifts: what each of them came to."""
    rows: list[Row] = [
        {
            "id": gift.id,
            "subject": gift.subject,
            "pubkey": gift.pubkey,
            "tier": gift.tier,
            "day": gift.day,
            "absorbed_msat": absorbed.value,
            "at_ms": at_ms,
        }
        for gift, absorbed in given
        if absorbed
    ]
    if rows:
        store.insert_grants(tx, rows)


def seed(tx: Tx, amount: Msats, at_ms: int) -> bool:
    """What the operator starts the pool with, once in the life of a ledger: True if that was now. A changed setting adds nothing."""
    if not amount or store.was_seeded(tx):
        return False
    commit(tx, at_ms, Move(store.SEED, chart.OPERATOR, chart.POOL, amount, Code.POOL_SEED))
    return True


def top_up(tx: Tx, id: str, amount: Msats, at_ms: int) -> None:
    """The operator gives to the pool. `id` makes it happen once."""
    commit(tx, at_ms, Move(f"pool/top_up/{id}", chart.OPERATOR, chart.POOL, amount, Code.POOL_TOP_UP))


def _refused(ask: Ask, terms: Terms, frozen: bool) -> Gate | None:
    if frozen:
        return Gate(FROZEN)
    if ask.gift is None:
        return Gate(ANONYMOUS)
    if not terms.budget(ask.gift.tier):
        return Gate(NO_BUDGET)
    return None


def _offer(estimate: Msats, pool: Msats, left: Msats) -> Decision:
    """Whole sats only: a discount of less cannot be written on an invoice."""
    absorb = min(pool, left, estimate).floor_sats().msats
    if not absorb:
        return Gate(EMPTY if pool < left else USED_UP)
    if absorb == estimate:  # all of it could be given by now, but is not reserved: the customer's part is the least that an invoice can ask
        absorb -= Msats(1_000)
    return Partial(absorb, (estimate - absorb).ceil_sats().msats) if absorb else Gate(ONE_SAT)


def _ensure_budgets(tx: Tx, gifts: Sequence[Gift], terms: Terms, at_ms: int, granted: Mapping[str, int]) -> None:
    """Hand the day's allowance out: when it is first used, and what is missing when the tier has risen since. `granted`: what a look has
    found, in millisats."""
    wanted: dict[str, int] = {}
    for gift in gifts:
        wanted[gift.allowance] = max(wanted.get(gift.allowance, 0), terms.budget(gift.tier).value)
    missing = {account for account, msat in wanted.items() if granted.get(account, 0) < msat}
    if not missing:
        return
    store.open_budgets(tx, missing)
    granted = store.lock_budgets(tx, missing)
    moves, rows = [], []
    for account in sorted(missing):
        have, want = granted[account], wanted[account]
        if have < want:
            moves.append([Move(f"{account}/{want}", chart.ALLOWANCES, account, Msats(want - have), Code.ALLOWANCE_GRANTED)])
            rows.append({"account": account, "granted_msat": want})
    commit_all(tx, at_ms, moves)
    store.set_budgets(tx, rows)
