"""Whatever happens to an order of a node, in whatever order: no sat is made or lost, and an end is an end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.paper_books import PaperBooks

from timmy.bootstrap import State
from timmy.bootstrap.machine import (
    CLEAN_UP,
    PROVISION,
    REFUND_TO,
    TABLE,
    Broke,
    CameUp,
    IllegalTransition,
    Order,
    Paid,
    PaidShort,
    Unpaid,
    decide,
)
from timmy.bootstrap.machine import Event as Happening
from timmy.ledger import Code, Move, chart
from timmy.money import Msats, Sats

FEE = Sats(10_000).msats
EVENTS: tuple[Happening, ...] = (Paid(), PaidShort(), Unpaid(), CameUp(), Broke("because"))


@given(st.lists(st.sampled_from(EVENTS), max_size=12), st.integers(0, 3 * FEE.value), st.integers(0, FEE.value - 1), st.booleans())
def test_no_sat_is_made_or_lost_whatever_happens(events: list[Happening], surplus: int, short: int, has_refund_to: bool) -> None:
    books, order, paid = PaperBooks(), Order("bst_x", State.AWAITING_PAYMENT, FEE, has_refund_to), 0
    for event in events:
        try:
            state, decision = decide(order, event)
        except IllegalTransition:
            continue
        credit: tuple[Move, ...] = ()
        if isinstance(event, Paid | PaidShort):
            paid = FEE.value + surplus if isinstance(event, Paid) else short
            credit = (Move("received", chart.LIGHTNING, order.account, Msats(paid), Code.PAYMENT_RECEIVED),)
        books.apply((*credit, *decision.money))
        order = replace(order, state=state)
        assert (REFUND_TO in decision.tasks) == (state.is_final and has_refund_to)
        assert (CLEAN_UP in decision.tasks) == (state in (State.READY, State.FAILED)), "nothing is left at the cloud that nobody wants"
        assert (PROVISION in decision.tasks) == (state is State.PROVISIONING)
    earned, owed, rest = (books.balance[account] for account in (chart.REVENUE, chart.owed(order.id), order.account))
    assert earned + owed + rest == paid
    assert earned == (FEE.value if order.state is State.READY else 0), "a node is earned whole, and nothing else is"
    assert books.balance[chart.POOL] == 0
    if order.state.is_final:
        assert rest < 1_000
        assert books.held == {}
    else:
        assert books.reserved[order.account] == (FEE.value if order.state is State.PROVISIONING else 0)


@pytest.mark.parametrize("state", [state for state in State if state.is_final])
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_there_is_no_way_out_of_an_end(state: State, event: Happening) -> None:
    with pytest.raises(IllegalTransition):
        decide(Order("bst_x", state, FEE, False), event)


def test_every_state_can_be_reached_and_only_a_call_home_makes_ready() -> None:
    assert {to for to, _ in TABLE.values()} | {State.AWAITING_PAYMENT} == set(State)
    assert [event for (_, event), (to, _) in TABLE.items() if to is State.READY] == [CameUp]
