"""Requests begun: decided, reserved and written down in one transaction, for many at once.

The accounts are held still first. So the decisions can be made in memory, one request after the other, each from what those before it have
left; and what was decided cannot fail any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from timmy import idempotency, tasks
from timmy.db import Row, Tx
from timmy.errors import Breach, Refusal
from timmy.generosity import Gift, day_of
from timmy.generosity import store as generosity_store
from timmy.idempotency import Key
from timmy.identity.caveats import Budget
from timmy.ledger import chart, commit_all
from timmy.ledger import store as ledger_store
from timmy.ledger.commit import Still
from timmy.money import Msats
from timmy.pricing import Quote
from timmy.sessions import store
from timmy.sessions.flow import balances
from timmy.sessions.holding import NOTHING, Holding, grant_id, purse_of
from timmy.sessions.protocol import Permit
from timmy.sessions.refusals import InsufficientBalance, KeyLimitReached, NotOpenYet, RequestInProgress, SessionEnded
from timmy.sessions.terms import Terms
from timmy.tasks import NewTask

REAP = "reap_request"
REAP_AFTER_MS = 120_000  # without a word of its owner


@dataclass(frozen=True, slots=True)
class Beginning:
    """Somebody would have `most` of work, which is what the two quotes together can come to at the most."""

    request_id: str
    permit: Permit
    text: str
    eval_quote: Quote
    work_quote: Quote
    most: Msats
    gift: Gift | None  # None: the pool has nothing for whoever asks
    key: Key | None
    at_ms: int

    @property
    def session_id(self) -> str:
        return self.permit.session_id

    @property
    def budgets(self) -> Sequence[Budget]:
        return self.permit.grant.budgets


@dataclass(frozen=True, slots=True)
class Begun:
    """It may be worked on, within `holding`."""

    beginning: Beginning
    holding: Holding


@dataclass(frozen=True, slots=True)
class Replayed:
    """The Idempotency-Key has an answer already: this request's."""

    request_id: str


class KeyTaken(Exception):
    """Another process bound this Idempotency-Key a moment ago. Nothing was changed; asked again, its request is found."""


Outcome = Begun | Replayed | Refusal


def begin_all(tx: Tx, beginnings: Sequence[Beginning], terms: Terms) -> list[Outcome]:
    """Decide and reserve: first the pool's gift, then the session for the rest, within the limits of the key that was brought. A request
    that cannot be held in full is refused, and leaves nothing behind."""
    purses = _Purses(tx, beginnings, terms)
    outcomes: list[Outcome] = []
    keyed: set[tuple[str, Key]] = set()
    for beginning in beginnings:
        try:
            earlier = _earlier(tx, beginning, keyed)
            outcomes.append(earlier or Begun(beginning, purses.take(beginning)))
        except Refusal as refusal:
            outcomes.append(refusal)
        else:
            if beginning.key is not None:
                keyed.add((beginning.session_id, beginning.key))
    _write(tx, [outcome for outcome in outcomes if isinstance(outcome, Begun)], purses.still)
    return outcomes


def verb_of(session_id: str) -> str:
    """An Idempotency-Key of one session says nothing about another's."""
    return f"sessions.request {session_id}"


def _earlier(tx: Tx, beginning: Beginning, keyed: set[tuple[str, Key]]) -> Replayed | None:
    """What the Idempotency-Key stands for already, be it for a neighbour in this very group."""
    if beginning.key is None:
        return None
    for session_id, key in keyed:
        if session_id == beginning.session_id and (key.principal, key.key) == (beginning.key.principal, beginning.key.key):
            if key.body_sha256 != beginning.key.body_sha256:
                raise idempotency.KeyReused("This Idempotency-Key came with another body a moment ago. Use a new key for a new request.")
            raise RequestInProgress("The request with this Idempotency-Key has begun. Ask again in a moment.")
    earlier = idempotency.subject_of(tx, verb_of(beginning.session_id), beginning.key)
    return Replayed(earlier) if earlier is not None else None


class _Purses:
    """What everybody in the group can spend, while it is being shared out."""

    def __init__(self, tx: Tx, beginnings: Sequence[Beginning], terms: Terms) -> None:
        self._terms = terms
        self.still = Still()
        self._left = self.still.hold(tx, {account for beginning in beginnings for account in _accounts(beginning)})
        self._sessions = store.find_all(tx, {beginning.session_id for beginning in beginnings})
        self._balances = balances(tx, self._sessions, self.still)
        self._left |= new_limits(tx, [budget for beginning in beginnings for budget in beginning.budgets])
        if chart.POOL in self._left and generosity_store.is_frozen(tx):
            self._left[chart.POOL] = NOTHING

    def take(self, beginning: Beginning) -> Holding:
        """All that the request needs, or a refusal and nothing."""
        session = self._sessions[beginning.session_id]
        check_open(session, Msats(self._balances[session["id"]][0]), beginning.at_ms, self._terms)
        gift, given = beginning.gift, NOTHING
        if gift is not None:
            given = min(beginning.most, self._left[chart.POOL], self._left[gift.allowance])
        held = beginning.most - given
        own = chart.session(beginning.session_id)
        limits = [purse_of(budget) for budget in beginning.budgets] if held else []
        allowed = [self._left[purse] for purse in limits]
        if beginning.permit.grant.per_request is not None:
            allowed.append(beginning.permit.grant.per_request)
        if any(held > limit for limit in allowed):
            raise over_limit(held, min(allowed))
        if held > self._left[own]:
            raise too_little(held, self._left[own], self._terms)
        for account, amount in ((own, held), *((purse, held) for purse in limits)):
            self._left[account] -= amount
        if gift is not None:
            self._left[chart.POOL] -= given
            self._left[gift.allowance] -= given
        return Holding(beginning.request_id, beginning.session_id, held, gift if given else None, given, len(limits))


def new_limits(tx: Tx, budgets: Sequence[Budget]) -> dict[str, Msats]:
    """A caveat that is used for the first time has all of its purse, which is not in the books yet."""
    if not budgets:
        return {}
    known = ledger_store.transfers(tx, {grant_id(budget) for budget in budgets})
    return {purse_of(budget): budget.most for budget in budgets if grant_id(budget) not in known}


def check_open(session: Row, balance: Msats, at_ms: int, terms: Terms) -> None:
    """That it can be spent from. NotOpenYet, SessionEnded, InsufficientBalance."""
    if session["opened_at_ms"] is None:
        raise NotOpenYet("The session waits for its deposit. Pay its invoice first.")
    if session["closed_at_ms"] is not None or at_ms >= session["used_at_ms"] + terms.ttl_ms:
        raise SessionEnded("The session has ended. What is left of it can be paid out; for new work, open another one.")
    if balance < terms.minimum_balance.msats:  # paused
        raise too_little(terms.minimum_balance.msats, balance, terms)


def _accounts(beginning: Beginning) -> set[str]:
    """All that a reservation for it can touch."""
    touched = {chart.session(beginning.session_id), chart.REVENUE}
    if beginning.gift is not None:
        touched |= {chart.POOL, beginning.gift.allowance, chart.ALLOWANCES_USED}
    if beginning.budgets:
        touched |= {chart.ALLOWANCES, chart.ALLOWANCES_USED, *map(purse_of, beginning.budgets)}
    return touched


def too_little(needed: Msats, balance: Msats, terms: Terms) -> InsufficientBalance:
    topup = max(terms.min_deposit, (needed - balance).ceil_sats())
    return InsufficientBalance(
        f"This needs {needed.ceil_sats().value} sats to be set aside, and the session has {balance.floor_sats().value} to give. Top it up "
        f"by {topup.value} sats or more (POST /api/sessions/{{sessionId}}/topup); what is not used stays yours.",
        neededMsat=needed.value,
        balanceMsat=balance.value,
        topupSats=topup.value,
    )


def over_limit(needed: Msats, limit: Msats) -> KeyLimitReached:
    return KeyLimitReached(
        f"This needs {needed.ceil_sats().value} sats to be set aside, and this key may spend {limit.floor_sats().value}. "
        "Ask whoever gave it to you for one that may spend more.",
        neededMsat=needed.value,
        limitMsat=limit.value,
    )


def _write(tx: Tx, begun: Sequence[Begun], still: Still) -> None:
    if not begun:
        return
    at_ms = begun[0].beginning.at_ms
    units = [tuple(each.holding.reserve(each.beginning.budgets)) for each in begun]
    for refusal in commit_all(tx, at_ms, units, still=still):
        if refusal is not None:
            raise Breach("an account was held still, and has less than it had") from refusal
    for each in begun:
        beginning = each.beginning
        if beginning.key is not None:
            bound = idempotency.bind(tx, verb_of(beginning.session_id), beginning.key, beginning.request_id, at_ms)
            if bound != beginning.request_id:
                raise KeyTaken  # the whole transaction is undone, and each is tried alone
    store.insert_requests(tx, [_row(each) for each in begun])
    store.mark_used(tx, [{"id": id, "at_ms": at_ms} for id in sorted({each.beginning.session_id for each in begun})])
    tasks.add(tx, [NewTask(REAP, each.beginning.request_id, at_ms + REAP_AFTER_MS) for each in begun])


def _row(begun: Begun) -> Mapping[str, object]:
    beginning, holding = begun.beginning, begun.holding
    return {
        "id": beginning.request_id,
        "session_id": beginning.session_id,
        "request": beginning.text,
        "held_msat": holding.held.value,
        "gift_msat": holding.given.value,
        "limits": holding.limits,
        "pubkey": beginning.permit.pubkey,
        "tier": beginning.permit.trust_tier,
        "day": day_of(beginning.at_ms),
        "eval_quote": beginning.eval_quote.as_json(),
        "work_quote": beginning.work_quote.as_json(),
        "at_ms": beginning.at_ms,
    }
