"""The life of a job, on one page. Pure: no clock, no database, no network.

    awaiting_eval_payment ──paid──▶ evaluating ──declined──▶ rejected
            │                         │   ├──offered──────────────────▶ awaiting_work_payment
            │                         │   └──given free─────────▶ executing    │
       expired, short               broke                                        │ paid      │ expired, short
            ▼                         ▼                                          ▼           ▼
         expired                   failed ◀───────────── broke ──────────── executing     expired
                                                                                └─finished─▶ complete

Whatever happens, what is left in the job's account at its end is owed back to the customer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from timmy.errors import Breach
from timmy.generosity import Gift
from timmy.jobs.model import State
from timmy.ledger import Code, Entry, Move, MoveAll, Post, Reserve, Void, chart
from timmy.models import Usage
from timmy.money import Msats, NanoUsd
from timmy.pricing import Quote

WHOLE_BP = 10_000
NOTHING = Msats(0)
EVALUATE, OFFER, EXECUTE, REFUND_TO = "evaluate", "offer", "execute", "refund_to"


# What can happen to a job, in the past tense ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EvalPaid:
    """The evaluation fee arrived, in full or more."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Judged worth doing, at this price; but the wallet gave no invoice yet."""

    quote: Quote


@dataclass(frozen=True, slots=True)
class Declined:
    reason: str


@dataclass(frozen=True, slots=True)
class Offered:
    """Judged worth doing, at this price, and there is an invoice for it that may be shown. `gift`: what the pool would take over of
    the price, so that the invoice asks for the rest; nothing of it is reserved yet."""

    quote: Quote
    invoice_id: str
    gift: Gift | None = None
    absorb: Msats = NOTHING


@dataclass(frozen=True, slots=True)
class GivenFree:
    """Judged worth doing, and the pool takes all of the price over: it has been reserved in this transaction."""

    quote: Quote
    gift: Gift


@dataclass(frozen=True, slots=True)
class WorkPaid:
    """What the work invoice asks for arrived, in full or more. `gift`: what the pool has reserved on top of it, just
    now, out of the budget of `day`."""

    gift: Msats = NOTHING
    day: str | None = None


@dataclass(frozen=True, slots=True)
class PaidShort:
    """Less arrived than was asked, and the invoice is used up: there is no way to pay the rest."""


@dataclass(frozen=True, slots=True)
class Unpaid:
    """The invoice expired, and the wallet says that nothing arrived."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The work is done. `charge` is what it came to, whoever pays it; the pool gets its share of what the customer pays."""

    result: str
    truncated: bool
    usage: Usage
    cost: NanoUsd
    charge: Msats
    pool_credit_bp: int


@dataclass(frozen=True, slots=True)
class Broke:
    """It will not be done: the model refused, or was down for longer than anyone should wait. `blames`: the request itself brought it
    about, and the customer's key learns from it; it does not when our server or our model broke down."""

    reason: str
    blames: bool = False


Event = EvalPaid | Accepted | Declined | Offered | GivenFree | WorkPaid | PaidShort | Unpaid | Finished | Broke


@dataclass(frozen=True, slots=True)
class Job:
    """What the machine needs to know of a job."""

    id: str
    state: State
    eval_fee: Msats
    charge: Msats | None  # what the work invoice asks for, once offered; nothing, if the work is free
    has_refund_to: bool
    gift: Gift | None = None  # the pool's part, once offered
    gift_reserved: Msats = NOTHING  # how much of it is reserved

    @property
    def account(self) -> str:
        return chart.job(self.id)

    @property
    def eval_reservation(self) -> str:
        return f"job/{self.id}/eval"

    @property
    def work_reservation(self) -> str:
        return f"job/{self.id}/work"

    @property
    def owed_back(self) -> MoveAll:
        return MoveAll(f"job/{self.id}/owed", self.account, chart.owed(self.id), Code.OWED_BACK)


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from an event: what the money does, what to do next, what was learned (columns of the job)."""

    money: tuple[Entry, ...] = ()
    tasks: tuple[str, ...] = ()
    learned: Mapping[str, Any] = field(default_factory=dict)


# What follows --------------------------------------------------------------------------------------------


def begin_evaluation(job: Job, _: EvalPaid) -> Decision:
    fee = Reserve(job.eval_reservation, job.account, chart.REVENUE, job.eval_fee, Code.EVAL_FEE)
    return Decision(money=(fee,), tasks=(EVALUATE,))


def note_quote(job: Job, event: Accepted) -> Decision:
    return Decision(tasks=(OFFER,), learned={"quote": event.quote})


def make_offer(job: Job, event: Offered) -> Decision:
    return Decision(
        money=(Post(job.eval_reservation),),
        learned={
            "quote": event.quote,
            "charge": event.quote.price.msats - event.absorb,
            "work_invoice": event.invoice_id,
            "gift": event.gift,
            "gift_offered": event.absorb,
        },
    )


def begin_free_work(job: Job, event: GivenFree) -> Decision:
    price = event.quote.price.msats
    learned = {"quote": event.quote, "charge": Msats(0), "gift": event.gift, "gift_offered": price, "gift_reserved": price}
    return Decision(money=(Post(job.eval_reservation),), tasks=(EXECUTE,), learned=learned)


def keep_eval_fee(job: Job, event: Declined) -> Decision:
    return _end(job, Post(job.eval_reservation), learned={"reason": event.reason})


def return_eval_fee(job: Job, event: Broke) -> Decision:
    return _end(job, Void(job.eval_reservation), learned={"reason": event.reason})


def begin_work(job: Job, event: WorkPaid) -> Decision:
    fee = Reserve(job.work_reservation, job.account, chart.REVENUE, _charge(job), Code.WORK_CHARGE)
    learned: dict[str, Any] = {"gift_reserved": event.gift}
    if job.gift is not None and event.day is not None:
        learned["gift"] = replace(job.gift, day=event.day)
    return Decision(money=(fee,), tasks=(EXECUTE,), learned=learned)


def earn(job: Job, event: Finished) -> Decision:
    """The pool pays first, as far as it has reserved; the customer pays the rest, at most what they have paid already."""
    absorbed = min(event.charge, job.gift_reserved)
    # The smaller of the two: without it, work that cost more than was paid would be charged to what the customer overpaid elsewhere.
    charged = min(event.charge - absorbed, _charge(job))
    share = Msats(charged.value * event.pool_credit_bp // WHOLE_BP)
    money = (
        *((Post(job.work_reservation, charged),) if job.charge else ()),
        *(job.gift.post(absorbed) if job.gift and job.gift_reserved else ()),
        *((Move(f"job/{job.id}/pool", chart.REVENUE, chart.POOL, share, Code.POOL_CREDIT),) if share else ()),
    )
    learned = {
        "result": event.result,
        "truncated": event.truncated,
        "usage": event.usage,
        "cost": event.cost,
        "charged": charged,
        "absorbed": absorbed,
    }
    return _end(job, *money, learned=learned)


def return_work_fee(job: Job, event: Broke) -> Decision:
    """Everything returns: to the customer, to the pool, and to the day's budget."""
    money = (
        *((Void(job.work_reservation),) if job.charge else ()),
        *(job.gift.void() if job.gift and job.gift_reserved else ()),
    )
    return _end(job, *money, learned={"reason": event.reason})


def let_go(job: Job, _: Unpaid) -> Decision:
    return _end(job, learned={"reason": "The invoice expired before it was paid."})


def give_up_short(job: Job, _: PaidShort) -> Decision:
    return _end(job, learned={"reason": "Less was paid than the invoice asked for. All of it is owed back."})


def _end(job: Job, *money: Entry, learned: Mapping[str, Any]) -> Decision:
    """However a job ends, the rest of what was paid is owed back, in the transaction that ends it."""
    return Decision(money=(*money, job.owed_back), tasks=(REFUND_TO,) if job.has_refund_to else (), learned=learned)


def _charge(job: Job) -> Msats:
    if job.charge is None:
        raise Breach(f"job {job.id} is to be worked on without a price")
    return job.charge


S = State
TABLE: dict[tuple[State, type[Event]], tuple[State, Callable[[Job, Any], Decision]]] = {
    # when a job is              and this happens  it becomes                 and this follows
    (S.AWAITING_EVAL_PAYMENT, EvalPaid): (S.EVALUATING, begin_evaluation),
    (S.AWAITING_EVAL_PAYMENT, PaidShort): (S.EXPIRED, give_up_short),
    (S.AWAITING_EVAL_PAYMENT, Unpaid): (S.EXPIRED, let_go),
    (S.EVALUATING, Accepted): (S.EVALUATING, note_quote),
    (S.EVALUATING, Offered): (S.AWAITING_WORK_PAYMENT, make_offer),
    (S.EVALUATING, GivenFree): (S.EXECUTING, begin_free_work),
    (S.EVALUATING, Declined): (S.REJECTED, keep_eval_fee),
    (S.EVALUATING, Broke): (S.FAILED, return_eval_fee),
    (S.AWAITING_WORK_PAYMENT, WorkPaid): (S.EXECUTING, begin_work),
    (S.AWAITING_WORK_PAYMENT, PaidShort): (S.EXPIRED, give_up_short),
    (S.AWAITING_WORK_PAYMENT, Unpaid): (S.EXPIRED, let_go),
    (S.EXECUTING, Finished): (S.COMPLETE, earn),
    (S.EXECUTING, Broke): (S.FAILED, return_work_fee),
}


class IllegalTransition(Breach):
    """The table has no such row: the job moved meanwhile, or the code is wrong. Nothing was changed."""

    code = "illegal_transition"


def decide(job: Job, event: Event) -> tuple[State, Decision]:
    """Where the job goes and what follows. Raises IllegalTransition."""
    try:
        state, then = TABLE[job.state, type(event)]
    except KeyError:
        raise IllegalTransition(f"a job that is {job.state} cannot meet {type(event).__name__}") from None
    return state, then(job, event)
