"""Sessions walked at random: whatever their owners, the model and the clock do, and in whatever order, every sat is where it belongs."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.session_house import ALICE, PAYOUT_TERMS, RATES, TERMS, Agent, House

from timmy.clock import ManualClock
from timmy.db import open_database
from timmy.errors import Refusal
from timmy.identity.caveats import Grant
from timmy.ids import system_random
from timmy.models import Usage, work_prompt
from timmy.models.evaluate import eval_prompt
from timmy.money import Msats, Sats
from timmy.pricing import BtcOracle, most_input_tokens
from timmy.sessions import Permit, SessionState, SessionView
from timmy.sessions.begin import Beginning, Begun
from timmy.sessions.holding import Holding
from timmy.sessions.protocol import InvoiceView, ToInvoice
from timmy.sessions.work import Work

assert PAYOUT_TERMS.enabled, "walks that pay nothing out would prove nothing"
DAY_SECONDS = 86_400


@dataclass
class Walk:
    """A house, and what we know without asking it: what was paid in, what was answered for, what came back."""

    house: House
    views: list[SessionView] = field(default_factory=list)
    topups: list[tuple[SessionView, InvoiceView]] = field(default_factory=list)
    paid_in: dict[str, int] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)
    absorbed: int = 0

    async def pay(self, id: str, invoice: InvoiceView, tenths: int) -> None:
        """The customer sends what they like; an invoice is paid once."""
        before = await self.house.customer.balance()
        await self.house.customer.pay(invoice.payment_request, Msats(invoice.amount.msats.value * tenths // 10), late=True)
        sent = before - await self.house.customer.balance()
        self.paid_in[id] = self.paid_in.get(id, 0) + sent.value
        await self.house.receiving.look(invoice.payment_hash)

    def one(self, pick: int) -> SessionView | None:
        return self.views[pick % len(self.views)] if self.views else None


Op = tuple[str, int, int]  # what, which one, how much of it


async def open_one(walk: Walk, pick: int, much: int) -> None:
    walk.views.append(await walk.house.sessions.open(Sats(100 + 37 * much), pubkey=ALICE if pick % 2 else None))


async def pay_deposit(walk: Walk, pick: int, much: int) -> None:
    if view := walk.one(pick):
        await walk.pay(view.id, view.deposit, 1 + much)


async def ask(walk: Walk, pick: int, much: int) -> None:
    view = walk.one(pick)
    if view is None:
        return
    agent = walk.house.agent
    agent.judge = ("yes", "yes", "yes", "no", "down")[pick % 5]
    agent.work = ("done", "dear", "cut", "empty", "down", "refuses", "bug")[much % 7]
    caveats = ((), ("max_sats=45",), ("max_sats=90", "timmy_max_msat_per_request=30000"))[much % 3]
    text = "What is 6 * 7?" if much < 15 else "Write an essay about the sea."
    view = await walk.house.sessions.view(view.id)
    if view.macaroon is None:
        return
    answers = await asyncio.gather(*(walk.house.ask(view, text, *caveats) for _ in range(1 + pick % 4)), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            assert isinstance(answer, Refusal), answer
        else:
            walk.spent[view.id] = walk.spent.get(view.id, 0) + answer.debited.value
            walk.absorbed += answer.absorbed.value


async def top_up(walk: Walk, pick: int, much: int) -> None:
    if view := walk.one(pick):
        walk.topups.append((view, await walk.house.sessions.topup(view.id, Sats(100 + much))))


async def pay_topup(walk: Walk, pick: int, much: int) -> None:
    if walk.topups:
        view, invoice = walk.topups[pick % len(walk.topups)]
        await walk.pay(view.id, invoice, 1 + much)


async def close(walk: Walk, pick: int, much: int) -> None:
    view = walk.one(pick)
    if view is None:
        return
    view = await walk.house.sessions.view(view.id)
    if view.macaroon is None:
        return
    left = view.refund.owed if view.closed_at_ms else view.balance.floor_sats()
    wrong = Sats(1) if much % 4 == 3 else Sats(0)
    if left + wrong:
        invoice = await walk.house.customer.create_invoice((left + wrong).msats)
        await walk.house.sessions.close(await walk.house.permit(view), ToInvoice(invoice))


async def wait(walk: Walk, pick: int, much: int) -> None:
    walk.house.clock.advance(seconds=(10, 700, DAY_SECONDS, 31 * DAY_SECONDS)[much % 4])
    await walk.house.receiving.sweep_once()


async def work(walk: Walk, pick: int, much: int) -> None:
    await walk.house.worker.run_due()


OPS: dict[str, Callable[[Walk, int, int], Awaitable[None]]] = {
    op.__name__: op for op in (open_one, pay_deposit, ask, top_up, pay_topup, close, wait, work)
}
WALKS = st.lists(
    st.tuples(st.sampled_from(sorted([*OPS, "ask", "ask", "pay_deposit"])), st.integers(0, 9), st.integers(0, 19)), max_size=30
)


async def walked(ops: list[Op]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        db = open_database(f"sqlite://{Path(folder) / 'timmy.db'}")
        walk = Walk(House(db, ManualClock()))
        await walk.house.wallet.balance()
        await walk.house.pool_holds(Sats(60))
        await walk.house.known()
        try:
            for what, pick, much in [("open_one", 1, 19), ("pay_deposit", 0, 9), *ops]:
                try:
                    await OPS[what](walk, pick, much)
                except Refusal:
                    continue  # what it must leave alone is checked below, and in test_sessions.py to the row
                finally:
                    await all_adds_up(walk)
        finally:
            await walk.house.aclose()
            await db.aclose()


async def all_adds_up(walk: Walk) -> None:
    house = walk.house
    await house.check()
    await house.wallet_agrees()
    assert [account for account, (_, reserved) in (await house.books()).items() if reserved] == [], "nothing runs, so nothing is held"
    for view in [await house.sessions.view(view.id) for view in walk.views]:
        kept = view.balance.value + view.refund.owed.msats.value + view.refund.paid.msats.value
        assert kept == walk.paid_in.get(view.id, 0) - walk.spent.get(view.id, 0), "what was paid in was answered for, or is the customer's"
        assert (view.macaroon is not None) == (walk.paid_in.get(view.id, 0) > 0)
        assert view.state is not SessionState.AWAITING_PAYMENT or not view.deposit.settled


@pytest.mark.fault("A01", "A03", "A04", "A05", "A06", "A08", "A09", "A11", "A16")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(WALKS)
def test_every_sat_is_where_it_belongs_wherever_sessions_are_walked(ops: list[Op]) -> None:
    asyncio.run(walked(ops))


# the one rule ----------------------------------------------------------------------------------------


@pytest.mark.fault("A02", "D22", "E18")
@settings(max_examples=300, deadline=None)
@given(
    text=st.text(min_size=1, max_size=500),
    judging=st.tuples(st.integers(0, 10**4), st.integers(0, 3_000), st.integers(0, 10**4)),
    working=st.tuples(st.integers(0, 10**4), st.integers(0, 10**4), st.integers(0, 10**4)),
    given_msat=st.integers(0, 10**6),
)
def test_what_a_request_may_use_never_costs_more_than_what_is_held(
    text: str, judging: tuple[int, int, int], working: tuple[int, int, int], given_msat: int
) -> None:
    agent = Agent()
    oracle = BtcOracle((), fallback_cents=100_000_00, max_age_seconds=3_600, clock=ManualClock(), fetch=_no_fetch)
    bench = Work(ManualClock(), system_random, agent, RATES, oracle, TERMS)
    beginning = bench.priced(Permit("ses_1", None, "anonymous", Grant((), None)), text, None)
    questions, prompt = (eval_prompt(text), eval_prompt(text, again=True)), work_prompt(text)
    most_asked = sum(most_input_tokens(question.system, question.user) for question in questions)
    # Within what the model was told, half of it for each of the judge's two answers.
    agent.judge_usage = Usage(min(judging[0], most_asked), min(judging[1], 2 * TERMS.judgement_tokens), min(judging[2], most_asked))
    ending = asyncio.run(bench.carry_out(begun(beginning, given_msat)))
    limit = agent.limits[0]
    assert limit >= beginning.work_quote.estimated_output_tokens, "the answer that was estimated always has its room"
    most_read = most_input_tokens(prompt.system, prompt.user)
    used = Usage(min(working[0], most_read), min(working[1], limit), 0)
    judged = beginning.eval_quote.charge(agent.judge_usage.input, agent.judge_usage.output, agent.judge_usage.cached)
    worked = beginning.work_quote.charge(used.input, used.output, used.cached)
    assert judged + worked <= beginning.most, "no min() was needed: the house never paid"
    assert ending.charged <= beginning.most


def begun(beginning: Beginning, given_msat: int) -> Begun:
    given = min(beginning.most, Msats(given_msat))
    return Begun(beginning, Holding(beginning.request_id, beginning.session_id, beginning.most - given, None, given, 0))


@settings(max_examples=200, deadline=None)
@given(held=st.integers(0, 10**9), gift=st.integers(0, 10**9), charged=st.integers(0, 10**10))
def test_pool_and_customer_share_a_charge_to_the_millisat(held: int, gift: int, charged: int) -> None:
    absorbed, debited = Holding("req_1", "ses_1", Msats(held), None, Msats(gift), 0).split(Msats(charged))
    assert (absorbed + debited).value == min(charged, held + gift)
    assert absorbed.value <= gift
    assert debited.value <= held
    assert not debited or absorbed.value == gift, "the customer pays only when the gift is used up"


async def _no_fetch(_: str) -> bytes:
    raise AssertionError("there are no price sources")
