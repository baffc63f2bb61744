"""What some work would cost, and what the pool would do about it, if it were asked for now. Reads only: no debit, no budget used, no row
written, however often it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from timmy.clock import Clock
from timmy.db import Database, Tx
from timmy.generosity import Ask, Decision, day_of, preview
from timmy.generosity.status import PoolBalance, PoolStatus, balance, status
from timmy.identity import Standing
from timmy.jobs.flow import Rules, gift_of
from timmy.jobs.work import Terms, quote_for
from timmy.money import Msats, Sats
from timmy.pricing import BtcOracle, Quote, RateBook

POOL_TOLD_FOR_MS = 2_000


@dataclass(frozen=True, slots=True)
class Estimate:
    quote: Quote
    eval_fee: Sats  # asked for besides, before the work is offered
    tier: str
    decision: Decision  # what the pool would say
    pool: PoolBalance
    daily_budgets: Mapping[str, Msats]


class Estimates:
    def __init__(
        self, db: Database, clock: Clock, book: RateBook, oracle: BtcOracle, terms: Terms, rules: Rules, *, eval_fee: Sats
    ) -> None:
        self._db = db
        self._clock = clock
        self._book = book
        self._oracle = oracle
        self._terms = terms
        self._rules = rules
        self._eval_fee = eval_fee
        self._told: tuple[int, PoolStatus] | None = None

    async def estimate(self, request: str, *, model: str | None = None, who: Standing | None = None) -> Estimate:
        """The price that a job with this request would be quoted right now. Raises UnknownModel (400)."""
        terms = self._terms if model is None else replace(self._terms, work_model=model)
        quote = quote_for(request, self._book, self._oracle, terms)
        return await self._db.read(self._weigh, quote, who, self._clock.now_ms())

    async def pool(self) -> tuple[PoolStatus, Mapping[str, Msats]]:
        """How the pool stands, and what each tier may use of it per day."""
        now_ms = self._clock.now_ms()
        if self._told is None or now_ms - self._told[0] > POOL_TOLD_FOR_MS:  # it adds up all that was ever given
            self._told = now_ms, await self._db.read(status, day_of(now_ms))
        return self._told[1], self._rules.giving.daily

    def _weigh(self, tx: Tx, quote: Quote, who: Standing | None, now_ms: int) -> Estimate:
        day = day_of(now_ms)
        gift = gift_of("estimate", who.pubkey, who.tier.value, day) if who else None
        decision = preview(tx, Ask(gift, quote.price.msats, now_ms), self._rules.giving)
        tier = who.tier.value if who else "anonymous"
        return Estimate(quote, self._eval_fee, tier, decision, balance(tx), self._rules.giving.daily)
