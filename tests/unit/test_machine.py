"""The table of a job's life: it has every row that it needs and none that it must not have, and every row moves the right sats."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import get_args

import pytest
from tests.unit.paper_books import PaperBooks

from timmy.errors import Breach
from timmy.generosity import Gift
from timmy.jobs import machine
from timmy.jobs.machine import (
    TABLE,
    Accepted,
    Broke,
    Declined,
    EvalPaid,
    Event,
    Finished,
    GivenFree,
    IllegalTransition,
    Job,
    Offered,
    PaidShort,
    Unpaid,
    WorkPaid,
)
from timmy.jobs.model import FINAL, State
from timmy.ledger import Code, Move, chart
from timmy.models import Usage
from timmy.money import Msats, NanoUsd, Sats
from timmy.pricing import BtcPrice, Quote, Rate, make_quote

FEE = Sats(10).msats
GIFT = Gift("job/job_1/gift", "job_1", "ab" * 32, "new", "2026-01-01")
OPEN = [state for state in State if not state.is_final]


def a_quote() -> Quote:
    return make_quote(
        model="m",
        rate=Rate(3_000_000_000, 15_000_000_000, 300_000_000),
        btc=BtcPrice(10_000_000, "test", 0),
        margin_bp=4_000,
        infra=NanoUsd(1_000_000),
        input_tokens=500,
        output_tokens=700,
    )


QUOTE = a_quote()
PRICE = QUOTE.price.msats


def finished(charge: Msats) -> Finished:
    return Finished("42", False, Usage(1, 1), NanoUsd(1), charge, 1_000)


EXAMPLES: dict[type[Event], Event] = {
    EvalPaid: EvalPaid(),
    Accepted: Accepted(QUOTE),
    Declined: Declined("no"),
    Offered: Offered(QUOTE, "inv_2"),
    GivenFree: GivenFree(QUOTE, GIFT),
    WorkPaid: WorkPaid(),
    PaidShort: PaidShort(),
    Unpaid: Unpaid(),
    Finished: finished(Msats(1_234)),
    Broke: Broke("why"),
}


def job(state: State, *, charge: Msats | None = None, refund_to: bool = False, gift: Gift | None = None, gift_reserved: int = 0) -> Job:
    return Job("job_1", state, FEE, charge, refund_to, gift, Msats(gift_reserved))


def books(paid: Msats, *, pool: int = 0) -> PaperBooks:
    sheet = PaperBooks()
    sheet.apply([Move("in", chart.LIGHTNING, chart.job("job_1"), paid, Code.PAYMENT_RECEIVED)])
    sheet.apply([Move("seed", chart.OPERATOR, chart.POOL, Msats(pool), Code.OPERATOR_CORRECTION)])
    sheet.apply([Move("day", chart.OPERATOR, GIFT.allowance, Msats(pool), Code.OPERATOR_CORRECTION)])
    return sheet


def test_the_table_answers_for_every_kind_of_event() -> None:
    assert set(EXAMPLES) == set(get_args(Event)) == {event for _, event in TABLE}


def test_every_state_can_be_reached_and_every_open_one_left() -> None:
    reached = {State.AWAITING_EVAL_PAYMENT}
    while True:
        more = {to for (state, _), (to, _) in TABLE.items() if state in reached} - reached
        if not more:
            break
        reached |= more
    assert reached == set(State)
    assert {state for state, _ in TABLE} == set(OPEN)


def test_from_every_open_state_an_end_can_be_reached_whatever_is_down() -> None:
    """Without the customer, without the model and without the wallet: a clock and a giving up are enough."""
    for state in OPEN:
        assert any(TABLE[state, event][0].is_final for event in (Unpaid, Broke) if (state, event) in TABLE), state


def test_there_is_no_way_out_of_an_end() -> None:
    for state, event in product(FINAL, EXAMPLES.values()):
        with pytest.raises(IllegalTransition):
            machine.decide(job(state), event)


def illegal() -> Iterator[tuple[State, Event]]:
    for state, event in product(State, EXAMPLES.values()):
        if (state, type(event)) not in TABLE:
            yield state, event


@pytest.mark.parametrize(("state", "event"), list(illegal()), ids=lambda case: str(getattr(case, "value", type(case).__name__)))
def test_what_is_not_in_the_table_cannot_happen(state: State, event: Event) -> None:
    with pytest.raises(IllegalTransition, match=f"{state}.*{type(event).__name__}"):
        machine.decide(job(state), event)


def test_a_paid_job_is_never_let_go_as_unpaid_and_work_is_never_begun_unpaid() -> None:
    assert (State.EVALUATING, Unpaid) not in TABLE
    assert (State.EXECUTING, Unpaid) not in TABLE
    assert {state for (state, event), (to, _) in TABLE.items() if to is State.EXECUTING} == {
        State.AWAITING_WORK_PAYMENT,
        State.EVALUATING,
    }
    assert TABLE[State.EVALUATING, GivenFree][0] is State.EXECUTING, "the only way past payment is a gift that was reserved"
    assert {event for (state, event), (to, _) in TABLE.items() if to is State.COMPLETE} == {Finished}


@pytest.mark.fault("A01", "A02")
@pytest.mark.parametrize("charge", [0, 1, 999, 1_000, 1_234, PRICE.value - 1, PRICE.value, PRICE.value + 1, 10 * PRICE.value])
@pytest.mark.parametrize("surplus", [0, 1, 999, 1_000, 10 * PRICE.value])
def test_finished_work_earns_what_it_came_to_and_at_most_the_price_whatever_else_was_paid(charge: int, surplus: int) -> None:
    sheet = books(PRICE + Msats(surplus))
    _, begun = machine.decide(job(State.AWAITING_WORK_PAYMENT, charge=PRICE), WorkPaid())
    sheet.apply(begun.money)
    state, decision = machine.decide(job(State.EXECUTING, charge=PRICE), finished(Msats(charge)))
    sheet.apply(decision.money)
    earned = min(charge, PRICE.value)
    assert state is State.COMPLETE
    assert sheet.balance[chart.REVENUE] + sheet.balance[chart.POOL] == earned
    assert sheet.balance[chart.POOL] == earned // 10
    left = PRICE.value + surplus - earned
    assert sheet.balance[chart.owed("job_1")] == left // 1_000 * 1_000
    assert sheet.balance[chart.job("job_1")] == left % 1_000


@pytest.mark.parametrize(
    ("state", "event", "kept"),
    [
        (State.EVALUATING, Declined("no"), FEE.value),
        (State.EVALUATING, Broke("down"), 0),
    ],
)
def test_the_fee_is_kept_for_a_judgement_and_for_nothing_else(state: State, event: Event, kept: int) -> None:
    sheet = books(FEE)
    _, begun = machine.decide(job(State.AWAITING_EVAL_PAYMENT), EvalPaid())
    sheet.apply(begun.money)
    assert sheet.available(chart.job("job_1")) == 0, "reserved at once"
    _, decision = machine.decide(job(state), event)
    sheet.apply(decision.money)
    assert sheet.balance[chart.REVENUE] == kept
    assert sheet.balance[chart.owed("job_1")] == FEE.value - kept


@pytest.mark.parametrize("given", [0, 1, 1_000, PRICE.value])
@pytest.mark.parametrize("charge", [1, 1_234, PRICE.value, 2 * PRICE.value])
@pytest.mark.parametrize("works", [True, False])
def test_the_pool_pays_first_and_gets_back_what_was_not_used(given: int, charge: int, works: bool) -> None:
    asked = PRICE - Msats(given)
    sheet = books(asked, pool=given)
    sheet.apply(GIFT.reserve(Msats(given)) if given else ())
    working = job(State.EXECUTING, charge=asked, gift=GIFT, gift_reserved=given)
    if asked:
        _, begun = machine.decide(job(State.AWAITING_WORK_PAYMENT, charge=asked, gift=GIFT), WorkPaid(Msats(given), GIFT.day))
        sheet.apply(begun.money)
    _, decision = machine.decide(working, finished(Msats(charge)) if works else Broke("refused"))
    sheet.apply(decision.money)
    absorbed = min(charge, given) if works else 0
    paid = min(charge - absorbed, asked.value) if works else 0
    assert sheet.balance[chart.POOL] == given - absorbed + paid // 10
    assert sheet.balance[GIFT.allowance] == given - absorbed
    assert sheet.balance[chart.owed("job_1")] == (asked.value - paid) // 1_000 * 1_000
    assert not sheet.held, "something is still reserved"


@pytest.mark.parametrize("refund_to", [True, False])
def test_every_end_owes_back_what_is_left_and_sends_it_where_an_address_is_known(refund_to: bool) -> None:
    ends = 0
    for (state, event), (to, _) in TABLE.items():
        if not to.is_final:
            continue
        ends += 1
        _, decision = machine.decide(job(state, charge=PRICE, refund_to=refund_to), EXAMPLES[event])
        assert decision.money[-1] == job(state).owed_back, "last, when everything else has been resolved"
        assert decision.tasks == ((machine.REFUND_TO,) if refund_to else ())
    assert ends == 8


def test_what_comes_next_is_written_down_with_every_step_that_needs_it() -> None:
    tasks = {(state, event): machine.decide(job(state, charge=PRICE, gift=GIFT), EXAMPLES[event])[1].tasks for state, event in TABLE}
    assert {key for key, then in tasks.items() if then == (machine.EVALUATE,)} == {(State.AWAITING_EVAL_PAYMENT, EvalPaid)}
    assert {key for key, then in tasks.items() if then == (machine.OFFER,)} == {(State.EVALUATING, Accepted)}
    assert {key for key, then in tasks.items() if then == (machine.EXECUTE,)} == {
        (State.EVALUATING, GivenFree),
        (State.AWAITING_WORK_PAYMENT, WorkPaid),
    }


def test_work_without_a_price_is_a_breach() -> None:
    with pytest.raises(Breach):
        machine.decide(job(State.AWAITING_WORK_PAYMENT), WorkPaid())
