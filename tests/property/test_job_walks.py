"""Any sequence of events whatever: a job goes where the table says or stays, conserves every msat, and its ends are fair."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.unit.paper_books import PaperBooks

from timmy.generosity import Gift
from timmy.jobs import machine
from timmy.jobs.machine import TABLE, Event, IllegalTransition, Job
from timmy.jobs.model import State
from timmy.ledger import Code, Move, MoveAll, chart
from timmy.models import Usage
from timmy.money import Msats, NanoUsd
from timmy.pricing import BtcPrice, Quote, Rate, make_quote

HEAVY = os.environ.get("TIMMY_HEAVY") == "1"
GIFT = Gift("job/job_1/gift", "job_1", "ab" * 32, "new", "2026-01-01")
POOL = 50_000
SETTINGS = settings(max_examples=2_000 if HEAVY else 120, stateful_step_count=40 if HEAVY else 20, deadline=None)

amounts = st.integers(0, 60_000).map(Msats)
rates = st.builds(
    lambda inside, outside, cached: Rate(inside, outside, min(inside, cached)),
    *(st.integers(0, 10**11) for _ in range(3)),
)
quotes = st.builds(
    make_quote,
    model=st.just("m"),
    rate=rates,
    btc=st.integers(1, 10**9).map(lambda cents: BtcPrice(cents, "test", 0)),
    margin_bp=st.integers(0, 100_000),
    infra=st.integers(0, 10**9).map(NanoUsd),
    input_tokens=st.integers(0, 100_000),
    output_tokens=st.integers(0, 100_000),
)
small_quotes = st.integers(1, 40).map(
    lambda sats: make_quote(
        model="m",
        rate=Rate(0, 10**10, 0),
        btc=BtcPrice(10_000_000, "test", 0),
        margin_bp=0,
        infra=NanoUsd(1_000_000 * sats),
        input_tokens=0,
        output_tokens=0,
    )
)


class JobWalk(RuleBasedStateMachine):
    """One job, its account, the pool, and a customer who pays anything at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.sheet = PaperBooks()
        self.job = Job("job_1", State.AWAITING_EVAL_PAYMENT, Msats(10_000), None, False)
        self.paid, self.offered, self.count = 0, Msats(0), 0
        self.kept: int | None = None  # what the ended job has cost the customer
        self.sheet.apply([Move("seed", chart.OPERATOR, chart.POOL, Msats(POOL), Code.OPERATOR_CORRECTION)])
        self.sheet.apply([Move("day", chart.OPERATOR, GIFT.allowance, Msats(POOL), Code.OPERATOR_CORRECTION)])

    @initialize(fee=st.integers(1, 30_000).map(Msats), refund_to=st.booleans())
    def begin(self, fee: Msats, refund_to: bool) -> None:
        self.job = replace(self.job, eval_fee=fee, has_refund_to=refund_to)

    @rule(surplus=amounts)
    def pays_the_fee(self, surplus: Msats) -> None:
        self._paid(machine.EvalPaid(), self.job.eval_fee + surplus, State.AWAITING_EVAL_PAYMENT)

    @rule(surplus=amounts, part=st.integers(0, 10))
    def pays_the_price(self, surplus: Msats, part: int) -> None:
        given = Msats(min(self.offered.value * part // 10, self.sheet.available(chart.POOL)) // 1_000 * 1_000)
        if self.job.state is State.AWAITING_WORK_PAYMENT and given:
            self.sheet.apply(GIFT.reserve(given))
        else:
            given = Msats(0)
        self._paid(machine.WorkPaid(given, GIFT.day), (self.job.charge or Msats(0)) + surplus, State.AWAITING_WORK_PAYMENT)

    @rule(received=amounts)
    def pays_too_little(self, received: Msats) -> None:
        self._paid(machine.PaidShort(), received, self.job.state)

    @rule()
    def does_not_pay(self) -> None:
        self._happens(machine.Unpaid())

    @rule(quote=small_quotes, helped=st.integers(0, 9))
    def is_offered(self, quote: Quote, helped: int) -> None:
        price = quote.price.msats
        absorb = Msats(price.value * helped // 10 // 1_000 * 1_000)
        if self._happens(machine.Offered(quote, "inv_2", GIFT if absorb else None, absorb)):
            self.offered = absorb

    @rule(quote=small_quotes)
    def is_given(self, quote: Quote) -> None:
        price = quote.price.msats
        if self.job.state is State.EVALUATING and self.sheet.available(chart.POOL) >= price.value:
            self.sheet.apply(GIFT.reserve(price))
            self._happens(machine.GivenFree(quote, GIFT))

    @rule(quote=small_quotes)
    def is_accepted(self, quote: Quote) -> None:
        self._happens(machine.Accepted(quote))

    @rule()
    def is_declined(self) -> None:
        self._happens(machine.Declined("no"))

    @rule(charge=amounts, pool_bp=st.integers(0, 10_000))
    def is_finished(self, charge: Msats, pool_bp: int) -> None:
        self._happens(machine.Finished("42", False, Usage(1, 1), NanoUsd(1), charge, pool_bp))

    @rule()
    def breaks(self) -> None:
        self._happens(machine.Broke("why"))

    def _paid(self, event: Event, received: Msats, awaited: State) -> None:
        """The sats arrive, whatever the job makes of them; only if it awaits them does anything happen to it."""
        self.count += 1
        self.paid += received.value
        self.sheet.apply([Move(f"in/{self.count}", chart.LIGHTNING, self.job.account, received, Code.PAYMENT_RECEIVED)])
        if self.job.state.is_final:
            late = MoveAll(f"late/{self.count}", self.job.account, chart.owed("job_1"), Code.OWED_BACK)
            self.sheet.apply([late])
        if self.job.state is awaited:
            self._happens(event)

    def _happens(self, event: Event) -> bool:
        legal = (self.job.state, type(event)) in TABLE
        try:
            state, decision = machine.decide(self.job, event)
        except IllegalTransition:
            assert not legal
            return False
        assert legal
        assert not self.job.state.is_final
        self.sheet.apply(decision.money)
        self._learn(state, decision.learned)
        return True

    def _learn(self, state: State, learned: Any) -> None:
        self.job = replace(
            self.job,
            state=state,
            charge=learned.get("charge", self.job.charge),
            gift=learned.get("gift", self.job.gift),
            gift_reserved=learned.get("gift_reserved", self.job.gift_reserved),
        )
        if state.is_final:
            self.kept = self.paid - self.sheet.balance[chart.owed("job_1")] - self.sheet.balance[self.job.account]
            allowed = {
                State.EXPIRED: {0, self.job.eval_fee.value},
                State.FAILED: {0, self.job.eval_fee.value},
                State.REJECTED: {self.job.eval_fee.value},
            }
            charged = learned.get("charged", Msats(0)).value
            assert self.kept in allowed.get(state, {self.job.eval_fee.value + charged}), (state, self.kept)
            assert charged <= (self.job.charge or Msats(0)).value, "charged more than the invoice had asked for"

    @invariant()
    def every_msat_is_somewhere(self) -> None:
        assert sum(self.sheet.balance.values()) == 0
        assert -self.sheet.balance[chart.LIGHTNING] == self.paid

    @invariant()
    def an_ended_job_holds_nothing_and_keeps_nothing_more(self) -> None:
        if self.job.state.is_final:
            assert self.sheet.balance[self.job.account] < 1_000
            assert not self.sheet.held
            late = self.paid - self.sheet.balance[chart.owed("job_1")] - self.sheet.balance[self.job.account]
            assert late == self.kept, "what came after the end is all owed back"

    @invariant()
    def work_is_done_only_with_its_price_reserved(self) -> None:
        if self.job.state is State.EXECUTING:
            charge = (self.job.charge or Msats(0)).value
            assert self.sheet.reserved[self.job.account] == charge
            assert self.sheet.reserved[chart.POOL] == self.job.gift_reserved.value


JobWalk.TestCase.settings = SETTINGS
test_any_walk_through_the_machine_is_fair = JobWalk.TestCase


@given(quote=quotes, input_tokens=st.integers(0, 100_000), output_tokens=st.integers(0, 200_000), cached=st.integers(0, 100_000))
@settings(max_examples=5_000 if HEAVY else 300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_work_within_its_limit_never_comes_to_more_than_its_price_and_never_below_its_cost(
    quote: Quote, input_tokens: int, output_tokens: int, cached: int
) -> None:
    most = quote.output_tokens_within(quote.price.msats, input_tokens)
    charge = quote.charge(input_tokens, min(output_tokens, most), min(cached, input_tokens))
    cost = quote.cost(input_tokens, min(output_tokens, most), min(cached, input_tokens)).at(cents_per_btc=quote.btc.cents_per_btc)
    assert charge >= cost, "sold below cost"
    if most:
        assert charge <= quote.price.msats, "the limit let the work cost more than was paid for it"
