"""The life of an order, on one page. Pure: no clock, no database, no network.

    awaiting_payment ──paid──▶ provisioning ──the node called home──▶ ready
          │                         └──broke──▶ failed
          └──expired, short──▶ expired

Whatever happens, what is left in the order's account at its end is owed back to the customer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from timmy.bootstrap.model import State
from timmy.errors import Breach
from timmy.ledger import Code, Entry, MoveAll, Post, Reserve, Void, chart
from timmy.money import Msats

PROVISION, CLEAN_UP, REFUND_TO = "bootstrap_provision", "bootstrap_clean_up", "bootstrap_refund_to"


# What can happen to an order, in the past tense ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Paid:
    """The fee arrived, in full or more."""


@dataclass(frozen=True, slots=True)
class PaidShort:
    """Less arrived than was asked, and the invoice is used up: there is no way to pay the rest."""


@dataclass(frozen=True, slots=True)
class Unpaid:
    """The invoice expired, and the wallet says that nothing arrived."""


@dataclass(frozen=True, slots=True)
class CameUp:
    """The machine called home: Bitcoin, Lightning and LNbits answer on it."""


@dataclass(frozen=True, slots=True)
class Broke:
    """There will be no node: the cloud refused, was down for too long, or the machine never called home."""

    reason: str


Event = Paid | PaidShort | Unpaid | CameUp | Broke


@dataclass(frozen=True, slots=True)
class Order:
    """What the machine needs to know of an order."""

    id: str
    state: State
    fee: Msats
    has_refund_to: bool

    @property
    def account(self) -> str:
        return chart.bootstrap(self.id)

    @property
    def reservation(self) -> str:
        return f"bootstrap/{self.id}/fee"

    @property
    def owed_back(self) -> MoveAll:
        return MoveAll(f"bootstrap/{self.id}/owed", self.account, chart.owed(self.id), Code.OWED_BACK)


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from an event: what the money does, what to do next, why it ended so."""

    money: tuple[Entry, ...] = ()
    tasks: tuple[str, ...] = ()
    reason: str | None = None


# What follows -------------------------------------------------------------------------------------------


def begin(order: Order, _: Paid) -> Decision:
    fee = Reserve(order.reservation, order.account, chart.REVENUE, order.fee, Code.BOOTSTRAP_FEE)
    return Decision(money=(fee,), tasks=(PROVISION,))


def earn(order: Order, _: CameUp) -> Decision:
    """All of it is the house's: a fee like that for judging, of which the pool has no share. It is not the agent's work that was sold, and
    most of it goes on to whoever owns the machine."""
    return _end(order, Post(order.reservation), also=(CLEAN_UP,))


def return_fee(order: Order, event: Broke) -> Decision:
    return _end(order, Void(order.reservation), also=(CLEAN_UP,), reason=event.reason)


def let_go(order: Order, _: Unpaid) -> Decision:
    return _end(order, reason="The invoice expired before it was paid.")


def give_up_short(order: Order, _: PaidShort) -> Decision:
    return _end(order, reason="Less was paid than the invoice asked for. All of it is owed back.")


def _end(order: Order, *money: Entry, also: tuple[str, ...] = (), reason: str | None = None) -> Decision:
    """However an order ends, the rest of what was paid is owed back, in the transaction that ends it."""
    refund = (REFUND_TO,) if order.has_refund_to else ()
    return Decision(money=(*money, order.owed_back), tasks=(*also, *refund), reason=reason)


S = State
TABLE: dict[tuple[State, type[Event]], tuple[State, Callable[[Order, Any], Decision]]] = {
    # when an order is     and this happens  it becomes       and this follows
    (S.AWAITING_PAYMENT, Paid): (S.PROVISIONING, begin),
    (S.AWAITING_PAYMENT, PaidShort): (S.EXPIRED, give_up_short),
    (S.AWAITING_PAYMENT, Unpaid): (S.EXPIRED, let_go),
    (S.PROVISIONING, CameUp): (S.READY, earn),
    (S.PROVISIONING, Broke): (S.FAILED, return_fee),
}


class IllegalTransition(Breach):
    """The table has no such row: the order moved meanwhile, or the code is wrong. Nothing was changed."""

    code = "illegal_transition"


def decide(order: Order, event: Event) -> tuple[State, Decision]:
    """Where the order goes and what follows. Raises IllegalTransition."""
    try:
        state, then = TABLE[order.state, type(event)]
    except KeyError:
        raise IllegalTransition(f"an order that is {order.state} cannot meet {type(event).__name__}") from None
    return state, then(order, event)
