"""Calls begun, and steps further reserved: decided and written down in one transaction, for many at once.

The key is checked where the money is: one look at the books for everything, however many ask at once. The accounts are held still first, so
the decisions can be made in memory, each from what those before it have left; and what was decided cannot fail any more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from timmy import idempotency
from timmy.completions import store
from timmy.completions.holding import Holding, accounts_of, holding_of
from timmy.completions.protocol import Use, Wanted
from timmy.completions.refusals import CompletionInProgress, MaxCostTooLow
from timmy.completions.terms import LEAST_TOKENS, STEP_TOKENS, Terms
from timmy.db import Row, Tx
from timmy.errors import Breach, Refusal
from timmy.identity.caveats import Budget
from timmy.identity.macaroons import Macaroon
from timmy.ledger import chart, commit_all
from timmy.ledger.commit import Still
from timmy.models.thinking import Thinking
from timmy.money import Msats
from timmy.pricing import Quote
from timmy.sessions import Permit
from timmy.sessions import store as sessions_store
from timmy.sessions.begin import check_open, new_limits, over_limit, too_little
from timmy.sessions.flow import balances
from timmy.sessions.holding import purse_of
from timmy.sessions.permits import Brought, permits
from timmy.sessions.refusals import PaymentUsed

ONE_CALL = "This payment has bought its call. What was not used of it is still its payer's; for another call, pay a new challenge."
USED_WITHIN_MS = 60_000
RETRY_WITHIN_MS = 1_800_000  # an SDK waits ten minutes for an answer, and asks three times


@dataclass(frozen=True, slots=True)
class Funds:
    """What a key was found to spend from when it was brought before. It is so for ever: a key is made for one session, with its limits."""

    session_id: str
    accounts: frozenset[str]


@dataclass(frozen=True, slots=True)
class Beginning:
    """Somebody would have a call. `most_input` bounds its prompt, `input_tokens` is our own count of it; `cap` bounds its answer.
    `thinking`: whether the model may think unseen. `funds`: where the key is known, so that all it needs is asked for at once."""

    completion_id: str
    macaroon: Macaroon
    use: Use
    wanted: Wanted
    quote: Quote
    most_input: int
    input_tokens: int
    cap: int
    thinking: Thinking
    at_ms: int
    funds: Funds | None = None

    @property
    def grows(self) -> bool:
        """What is held grows with the answer. It cannot where some of the answer is not seen as it is made: then all of it is held from
        the beginning, and the model is given no more than that."""
        return self.wanted.stream and self.thinking is Thinking.NEVER

    @property
    def caller(self) -> str:
        """Which key of a session this is: an answer is told again to whoever has paid for it, and not to the holders of its other keys."""
        return caller_of(self.macaroon)


def caller_of(macaroon: Macaroon) -> str:
    return hashlib.sha256(macaroon.signature).hexdigest()


@dataclass(frozen=True, slots=True)
class Begun:
    """It may be worked on, within `holding`. `limit`: the most output tokens that there is money for, as far as can be known now."""

    beginning: Beginning
    permit: Permit
    holding: Holding
    limit: int
    balance: Msats

    @property
    def room(self) -> Msats | None:
        """How much the key and the caller's own guard allow for this call, all steps together."""
        bounds = [most for most in (self.permit.grant.per_request, self.beginning.wanted.max_cost) if most is not None]
        return min(bounds) if bounds else None


@dataclass(frozen=True, slots=True)
class Replayed:
    """It repeats this call."""

    completion_id: str
    permit: Permit


def funds_of(permit: Permit) -> Funds:
    return Funds(permit.session_id, frozenset(accounts_of(permit.session_id, permit.grant.budgets)))


class KeyTaken(Exception):
    """Another process bound this Idempotency-Key a moment ago. Nothing was changed; asked again, its call is found."""


Outcome = Begun | Replayed | Refusal


def begin_all(tx: Tx, beginnings: Sequence[Beginning], terms: Terms) -> list[Outcome]:
    """Authorize, decide and reserve. A call that cannot be held is refused, and leaves nothing behind."""
    held = _Held(tx, [each.funds for each in beginnings])
    outcomes: list[Outcome | Permit] = list(permits(tx, [Brought(each.macaroon, each.use) for each in beginnings], terms.sessions))
    repeated = _repeated(tx, [each for each in beginnings if each.wanted.is_retry and each.wanted.key is None])
    keyed: dict[tuple[str, str, str], str] = {}  # the Idempotency-Keys of this group: its owner → the body's hash
    allowed = {id(each): permit for each, permit in zip(beginnings, outcomes, strict=True) if isinstance(permit, Permit)}
    purses = _Purses(tx, [(each, allowed[id(each)]) for each in beginnings if id(each) in allowed], held, terms)
    for place, (each, permit) in enumerate(zip(beginnings, outcomes, strict=True)):
        if not isinstance(permit, Permit):
            continue
        try:
            earlier = _earlier(tx, each, permit, repeated, keyed)
            outcomes[place] = earlier or purses.take(each, permit)
        except Refusal as refusal:
            outcomes[place] = refusal
    _write(tx, [outcome for outcome in outcomes if isinstance(outcome, Begun)], purses)
    return [outcome for outcome in outcomes if not isinstance(outcome, Permit)]


def verb_of(session_id: str, caller: str) -> str:
    """An Idempotency-Key of one session says nothing about another's, nor about those of its other keys."""
    return f"completions {session_id} {caller}"


def _repeated(tx: Tx, retries: Sequence[Beginning]) -> dict[tuple[str, str], str]:
    if not retries:
        return {}
    rows = [{"caller": each.caller, "body_sha256": each.wanted.body_sha256, "since_ms": each.at_ms - RETRY_WITHIN_MS} for each in retries]
    return store.repeated(tx, rows)


def _earlier(
    tx: Tx, each: Beginning, permit: Permit, repeated: Mapping[tuple[str, str], str], keyed: dict[tuple[str, str, str], str]
) -> Replayed | None:
    """The call that this one repeats: by its Idempotency-Key; where there is none, because an SDK says so. One that failed does not
    count: it cost nothing."""
    key = each.wanted.key
    if key is None:
        found = repeated.get((each.caller, each.wanted.body_sha256)) if each.wanted.is_retry else None
        return Replayed(found, permit) if found else None
    slot = (permit.session_id, each.caller, key.key)
    if slot in keyed and each.wanted.once:
        raise PaymentUsed(ONE_CALL)
    if slot in keyed:
        if keyed[slot] != key.body_sha256:
            raise idempotency.KeyReused("This Idempotency-Key came with another body a moment ago. Use a new key for a new request.")
        raise CompletionInProgress("The call with this Idempotency-Key has begun. Ask again in a moment.")
    earlier = idempotency.subject_of(tx, verb_of(permit.session_id, each.caller), key)
    if earlier is None:
        keyed[slot] = key.body_sha256
        return None
    row = store.find(tx, earlier)
    if row is not None and row["ending"] == "failed":
        keyed[slot] = key.body_sha256
        return None  # `_write` gives the key to the new call
    if each.wanted.once and not (each.wanted.is_retry and row is not None and row["body_sha256"] == each.wanted.body_sha256):
        raise PaymentUsed(ONE_CALL)
    return Replayed(earlier, permit)


class _Held:
    """The accounts of a group, and its sessions as they are once those are held: a session is read as whoever had its account before has
    left it. Where all the keys are known, that is asked for on the way that they are looked at on. All or nothing: accounts are locked in
    one order by everybody."""

    def __init__(self, tx: Tx, known: Sequence[Funds | None]) -> None:
        self.still = Still()
        self._asked_for: set[str] = set()
        funds = [each for each in known if each is not None]
        if len(funds) == len(known):
            self._ask(tx, funds)

    def _ask(self, tx: Tx, funds: Sequence[Funds]) -> None:
        self.still.ask(tx, {account for each in funds for account in each.accounts})
        self._asked_for = {each.session_id for each in funds}
        self._sessions = sessions_store.ask_all(tx, self._asked_for)

    def sessions(self, tx: Tx, funds: Sequence[Funds]) -> dict[str, Row]:
        if not self._asked_for.issuperset(each.session_id for each in funds):
            self._ask(tx, funds)
        return {row["id"]: row for row in self._sessions.rows} if funds else {}


class _Purses:
    """What everybody in the group can spend, while it is being shared out."""

    def __init__(self, tx: Tx, calls: Sequence[tuple[Beginning, Permit]], held: _Held, terms: Terms) -> None:
        self._terms = terms.sessions
        budgets = [budget for _, permit in calls for budget in permit.grant.budgets]
        funds = [funds_of(permit) for _, permit in calls]
        ids = {each.session_id for each in funds}
        self.still = held.still
        self._sessions = held.sessions(tx, funds)
        self._left = self.still.hold(tx, {account for each in funds for account in each.accounts}) | new_limits(tx, budgets)
        self._balances = {id: Msats(balance) for id, (balance, _) in balances(tx, ids, self.still).items()} if ids else {}

    def used(self, session_ids: Collection[str], at_ms: int) -> list[str]:
        """Whose use is worth writing down: those that have been heard of within the minute live as long without it, less that minute."""
        return sorted(id for id in session_ids if self._sessions[id]["used_at_ms"] < at_ms - USED_WITHIN_MS)

    def take(self, each: Beginning, permit: Permit) -> Begun:
        """As much as the first step needs, or what there is, if that is enough to answer at all; or a refusal and nothing."""
        check_open(self._sessions[permit.session_id], self._balances[permit.session_id], each.at_ms, self._terms)
        allowed = self._allowed(each, permit)
        tokens = min(each.cap, STEP_TOKENS) if each.grows else each.cap
        held = min(each.quote.charge(each.most_input, tokens), allowed)
        for account in _spent(permit):
            self._left[account] -= held
        holding = Holding(each.completion_id, permit.session_id, (held,), len(permit.grant.budgets))
        limit = min(each.cap, each.quote.output_tokens_within(allowed if each.grows else held, each.most_input))
        return Begun(each, permit, holding, limit, self._balances[permit.session_id])

    def _allowed(self, each: Beginning, permit: Permit) -> Msats:
        least = each.quote.charge(each.most_input, min(each.cap, LEAST_TOKENS))
        guard, own = each.wanted.max_cost, self._left[chart.session(permit.session_id)]
        if guard is not None and guard < least:
            raise MaxCostTooLow(
                f"This call needs {least.value} millisats to be set aside to begin, and its max_cost_msat is {guard.value}.",
                neededMsat=least.value,
            )
        limits = [self._left[purse_of(budget)] for budget in permit.grant.budgets]
        limits += [permit.grant.per_request] if permit.grant.per_request is not None else []
        if limits and min(limits) < least:
            raise over_limit(least, min(limits))
        if own < least:
            raise too_little(least, own, self._terms)
        return min([own, *limits, *([guard] if guard is not None else [])])


def _spent(permit: Permit) -> list[str]:
    return [chart.session(permit.session_id), *{purse_of(budget) for budget in permit.grant.budgets}]


def _write(tx: Tx, begun: Sequence[Begun], purses: _Purses) -> None:
    if not begun:
        return
    at_ms = begun[0].beginning.at_ms
    units = [tuple(each.holding.first(each.permit.grant.budgets)) for each in begun]
    # A caveat's purse is filled once for ever: that has to be looked for. A reservation has the name of a call that begins now.
    fresh = not any(each.permit.grant.budgets for each in begun)
    for refusal in commit_all(tx, at_ms, units, still=purses.still, fresh=fresh):
        if refusal is not None:
            raise Breach("an account was held still, and has less than it had") from refusal
    for each in begun:
        key = each.beginning.wanted.key
        if key is not None:
            _bind(tx, each, key, at_ms)
    store.insert(tx, [_row(each) for each in begun])
    if used := purses.used({each.permit.session_id for each in begun}, at_ms):
        sessions_store.mark_used(tx, [{"id": id, "at_ms": at_ms} for id in used])


def _bind(tx: Tx, each: Begun, key: idempotency.Key, at_ms: int) -> None:
    verb, id = verb_of(each.permit.session_id, each.beginning.caller), each.beginning.completion_id
    bound = idempotency.bind(tx, verb, key, id, at_ms)
    if bound == id:
        return
    row = store.find(tx, bound)
    if row is None or row["ending"] != "failed" or not idempotency.rebind(tx, verb, key, bound, id):
        raise KeyTaken  # the whole transaction is undone, and each is tried alone


def _row(begun: Begun) -> Row:
    beginning, holding = begun.beginning, begun.holding
    return {
        "id": beginning.completion_id,
        "session_id": holding.session_id,
        "caller": beginning.caller,
        "body_sha256": beginning.wanted.body_sha256,
        "model": beginning.wanted.model,
        "quote": beginning.quote.as_json(),
        "input_tokens": beginning.input_tokens,
        "held": holding.held,
        "held_msat": holding.in_all.value,
        "limits": holding.limits,
        "pubkey": begun.permit.pubkey,
        "left_msat": begun.balance.value,
        "at_ms": beginning.at_ms,
    }


# a further step --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Extension:
    """A call that runs would have `wanted` more, and at least `least`. `room`: what its key's limit per request leaves of it."""

    completion_id: str
    session_id: str
    budgets: tuple[Budget, ...]
    wanted: Msats
    least: Msats
    room: Msats | None
    at_ms: int


def extend_all(tx: Tx, extensions: Sequence[Extension]) -> list[Holding]:
    """Reserve a further step for each, as much of it as there is. Answers what each holds now: nothing more, where there was too little,
    or where it has been given up meanwhile."""
    rows = store.lock(tx, {each.completion_id for each in extensions})
    still = Still()
    left = still.hold(tx, {account for each in extensions for account in accounts_of(each.session_id, each.budgets)})
    holdings: list[Holding] = []
    units = []
    for each in extensions:
        row = rows[each.completion_id]
        before = holding_of(row)
        purses = [chart.session(each.session_id), *{purse_of(budget) for budget in each.budgets}]
        bounds = [each.wanted, *(left[purse] for purse in purses)] + ([each.room] if each.room is not None else [])
        amount = min(bounds)
        if amount < each.least or not amount or row["state"] != "running":
            holdings.append(before)
            continue
        for purse in purses:
            left[purse] -= amount
        units.append(tuple(before.further(amount, each.budgets)))
        holdings.append(before.extended(amount))
    for refusal in commit_all(tx, extensions[0].at_ms, units, still=still):
        if refusal is not None:
            raise Breach("an account was held still, and has less than it had") from refusal
    store.extend(
        tx,
        [
            {"id": holding.completion_id, "held": holding.held, "held_msat": holding.in_all.value, "at_ms": each.at_ms}
            for each, holding in zip(extensions, holdings, strict=True)
        ],
    )
    return holdings
