"""Every way in which a job can end, what makes it end so, and what that costs the customer.

The table of docs/explanation/what-each-ending-costs.md is made from here; the lives in test_crash_*.py are lived by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from timmy.jobs import State
from timmy.money import Sats

NOTHING = Sats(0)


class Judge(Enum):
    YES = auto()
    NO = auto()
    REFUSES = auto()
    LOCKED_OUT = auto()  # the provider does not accept the operator's key
    DOWN = auto()


class Work(Enum):
    DONE = auto()
    DEAR = auto()  # uses, or claims to have used, far more than was paid for
    CUT = auto()  # ends at the token limit
    EMPTY = auto()
    REFUSES = auto()
    LOCKED_OUT = auto()
    DOWN = auto()
    DOWN_LONG = auto()  # for more attempts than a dying worker would get, and then it answers


class When(Enum):
    AT_ONCE = auto()
    LATE = auto()  # when the job has ended as expired
    NEVER = auto()


@dataclass(frozen=True, slots=True)
class Pays:
    """How the customer pays an invoice: when, and which part of what it asks for."""

    when: When = When.AT_ONCE
    tenths: int = 10


@dataclass(frozen=True, slots=True)
class Pay:
    """What the node does with a payment of ours, and what it says about it."""

    says: str = "truth"  # "unknown", "failed", "no preimage": the answer to the attempt, whatever became of it
    fails: bool = False
    held_looks: int = 0  # in flight until it was asked about so often
    hidden_looks: int = 0  # denied for so many look-ups, although it was tried
    wrong_looks: int = -1  # the preimage is wrong in the answer to the attempt (0), and in so many look-ups after it
    lost_tries: int = 0  # so many attempts break off before anything is sent
    forgotten: bool = False  # when it has failed, the node says that it never tried
    greedy: bool = False  # takes more fee than it may


@dataclass(frozen=True, slots=True)
class Bill:
    """What was asked and what was charged, in millisats."""

    fee: int
    price: int
    charge: int


Cost = Callable[[Bill], int]


def nothing(_: Bill) -> int:
    return 0


def the_fee(bill: Bill) -> int:
    return bill.fee


def fee_and_charge(bill: Bill) -> int:
    return bill.fee + bill.charge


def fee_and_rest(bill: Bill) -> int:
    """As above: the bill's charge is the customer's own part."""
    return bill.fee + bill.charge


def fee_and_price(bill: Bill) -> int:
    return bill.fee + bill.price


@dataclass(frozen=True, slots=True)
class Ending:
    name: str
    state: State
    because: str
    cost: Cost
    owed: str  # what is owed back, in words
    judge: Judge = Judge.YES
    work: Work = Work.DONE
    eval_pays: Pays = Pays()
    work_pays: Pays = Pays()
    refund_to: bool = False
    payouts: tuple[Pay, ...] = (Pay(),)
    address_down: int = 0  # so many times
    offer_down: bool = False
    stray: bool = False
    pool: Sats = NOTHING  # what the generosity pool holds; the customer has a key then
    patience_seconds: int = 20
    drained: bool = False  # and it is used up by others between the offer and its payment
    main: bool = False  # crashed everywhere on both databases even in the short run


NAMES = {
    nothing: "nothing",
    the_fee: "the fee",
    fee_and_charge: "the fee, and what the work really cost with its margin, at most what was asked",
    fee_and_rest: "the fee, and what the work cost beyond the pool's part, at most what was asked",
    fee_and_price: "the fee and the price",
}

DONE, NOT_DONE = "the work was done", "it was judged, paid for, and could not be done"
GIVEN = "the work was done, and the pool took the price over"
SURPLUS = "the work was done, and too much was paid"
REST = "the price less what the work cost"


def helped(name: str, because: str, **more: object) -> Ending:
    return Ending(name, State.COMPLETE, because, fee_and_rest, "what was paid for it, less that", **more)  # type: ignore[arg-type]


def done(name: str, because: str = DONE, *, owed: str = REST, **more: object) -> Ending:
    return Ending(name, State.COMPLETE, because, fee_and_charge, owed, **more)  # type: ignore[arg-type]


ENDINGS = (
    done("complete", main=True),
    Ending("dear", State.COMPLETE, "the work cost more than was quoted", fee_and_price, "nothing", work=Work.DEAR),
    done("cut", "the answer was cut, because what was paid is used up", work=Work.CUT),
    Ending("rejected", State.REJECTED, "it was judged, and should not be done", the_fee, "nothing", judge=Judge.NO, main=True),
    Ending("judge_refuses", State.FAILED, "it could not be judged", nothing, "the fee", judge=Judge.REFUSES, main=True),
    Ending("judge_down", State.FAILED, "the model that judges was down for too long", nothing, "the fee", judge=Judge.DOWN),
    Ending("offer_down", State.FAILED, "the wallet was down for too long to offer the work", nothing, "the fee", offer_down=True),
    Ending("work_refused", State.FAILED, NOT_DONE, the_fee, "the price", work=Work.REFUSES, main=True),
    Ending("work_empty", State.FAILED, "the model gave no answer", the_fee, "the price", work=Work.EMPTY),
    Ending("work_down", State.FAILED, "the model that works was down for too long", the_fee, "the price", work=Work.DOWN),
    Ending("eval_unpaid", State.EXPIRED, "nobody paid to have it judged", nothing, "nothing", eval_pays=Pays(When.NEVER)),
    Ending("work_unpaid", State.EXPIRED, "it was judged, and nobody paid for the work", the_fee, "nothing", work_pays=Pays(When.NEVER)),
    Ending("eval_late", State.EXPIRED, "the fee was paid after it had expired", nothing, "the fee", eval_pays=Pays(When.LATE), main=True),
    Ending(
        "work_late", State.EXPIRED, "the price was paid after it had expired", the_fee, "the price", work_pays=Pays(When.LATE), main=True
    ),
    Ending(
        "work_late_to_address",
        State.EXPIRED,
        "the price was paid after it had expired",
        the_fee,
        "the price",
        work_pays=Pays(When.LATE),
        refund_to=True,
    ),
    Ending("eval_short", State.EXPIRED, "too little was paid for judging", nothing, "what was paid", eval_pays=Pays(tenths=5)),
    Ending("work_short", State.EXPIRED, "too little was paid for the work", the_fee, "what was paid", work_pays=Pays(tenths=9)),
    done("eval_surplus", SURPLUS, owed="the price and the surplus, less what the work cost", eval_pays=Pays(tenths=20)),
    done("work_surplus", SURPLUS, owed="the price and the surplus, less what the work cost", work_pays=Pays(tenths=100)),
    Ending(
        "surplus_refused",
        State.FAILED,
        NOT_DONE,
        the_fee,
        "the price",
        work=Work.REFUSES,
        eval_pays=Pays(tenths=100),
        work_pays=Pays(tenths=30),
    ),
    done("work_down_long", "the model was down, and came back in time", work=Work.DOWN_LONG, patience_seconds=7_200),
    done("to_address", refund_to=True, main=True),
    done("to_address_down", refund_to=True, address_down=2),
    done("payout_fails", payouts=(Pay(fails=True), Pay()), main=True),
    done("payout_fails_forgotten", payouts=(Pay(fails=True, forgotten=True), Pay())),
    done("payout_unknown_arrives", payouts=(Pay(says="unknown"),), main=True),
    done("payout_unknown_fails", payouts=(Pay(says="unknown", fails=True, held_looks=3), Pay())),
    done("payout_held", payouts=(Pay(held_looks=4),)),
    done("payout_lost", payouts=(Pay(lost_tries=2),)),
    done("payout_written_late", payouts=(Pay(says="unknown", hidden_looks=2),)),
    done("payout_written_late_done", payouts=(Pay(says="no preimage", hidden_looks=3),)),
    done("payout_said_failed_arrives", payouts=(Pay(says="failed", held_looks=2),)),
    done("payout_no_preimage", payouts=(Pay(says="no preimage"),)),
    done("payout_wrong_preimage", payouts=(Pay(wrong_looks=2),)),
    done("payout_greedy", payouts=(Pay(greedy=True),)),
    done("stray", stray=True),
    Ending("free", State.COMPLETE, GIVEN, the_fee, "nothing", pool=Sats(500), main=True),
    Ending(
        "free_refused",
        State.FAILED,
        "the pool took the price over, and the work could not be done",
        the_fee,
        "nothing",
        pool=Sats(500),
        work=Work.REFUSES,
    ),
    helped("helped", "the pool took a part of the price over", pool=Sats(4)),
    helped("helped_dear", "the pool took a part of the price over", pool=Sats(4), work=Work.DEAR),
    done(
        "helped_drained",
        "the pool was used up since its offer, and what was paid was enough",
        owed="what was paid for it, less that",
        pool=Sats(4),
        drained=True,
    ),
    Ending(
        "helped_too_little",
        State.FAILED,
        "the pool was used up since its offer, and what was paid was too little to begin",
        the_fee,
        "what was paid",
        pool=Sats(8),
        drained=True,
    ),
)

BY_NAME = {ending.name: ending for ending in ENDINGS}
