"""What the operator's desk shows, and what can be done there. `timmy.app.operator.Operator` is the one that knows.

No secret, no preimage, no macaroon is in any of it, nor what customers have asked or were answered: a desk is seen over shoulders, and its
pages are pasted into mails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from timmy.lightning.diagnosis import Books, Row
from timmy.money import Msats, NanoUsd


@dataclass(frozen=True, slots=True)
class Sums:
    """Money that moved in some time. The four in the middle are never added up: they are paid by different people."""

    received: Msats  # came in over Lightning, for whatever
    paid: Msats  # earned from customers
    free: Msats  # earned from the pool, which paid in customers' stead
    absorbed: Msats  # paid by the house: what the network took for payouts
    refunded: Msats  # arrived back with customers
    cost: NanoUsd  # of the models, before the margin

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.received + other.received,
            self.paid + other.paid,
            self.free + other.free,
            self.absorbed + other.absorbed,
            self.refunded + other.refunded,
            NanoUsd(self.cost.value + other.cost.value),
        )


@dataclass(frozen=True, slots=True)
class Day:
    day: str  # UTC, `2026-01-31`
    sums: Sums


@dataclass(frozen=True, slots=True)
class Upstream:
    """`latency_ms` of the last answer, None before the first; `trouble` is for the operator, without secrets."""

    name: str
    kind: str
    condition: str  # ok, degraded, down
    latency_ms: int | None
    trouble: str | None


@dataclass(frozen=True, slots=True)
class Audit:
    """The last time that the books were read through."""

    at_ms: int | None  # None: not since this server was started
    whole: bool  # every transfer, or the balances only
    broken: Sequence[str]
    checks: int
    running: bool


@dataclass(frozen=True, slots=True)
class Breaker:
    """Something that is stopped until somebody says otherwise. `name`: "payouts", "pool"."""

    name: str
    reason: str
    since_ms: int
    can_reset: bool
    amount: Msats  # what may move again when it is reset


@dataclass(frozen=True, slots=True)
class Standing:
    """What is there now, by whose it is."""

    revenue: Msats
    pool: Msats
    pool_reserved: Msats
    owed: Msats  # to customers, not yet on its way
    in_flight: Msats
    sessions: Msats
    sessions_open: int
    jobs: Msats  # paid in by customers of jobs, not yet earned or owed
    bootstrap: Msats  # the same, of nodes that are being made
    unallocated: Msats


@dataclass(frozen=True, slots=True)
class Alert:
    grave: bool
    words: str
    at: str  # where on the desk to look


@dataclass(frozen=True, slots=True)
class Summary:
    at_ms: int
    today: Sums
    week: Sums
    month: Sums
    cents_per_btc: int
    standing: Standing
    upstreams: Sequence[Upstream]
    audit: Audit
    breakers: Sequence[Breaker]
    alerts: Sequence[Alert]
    stand_ins: Sequence[str]


@dataclass(frozen=True, slots=True)
class JobLine:
    """`quoted`: the whole price of the work; `paid`: the customer's and the pool's part of what it came to; `real`: what the model cost, at
    the quote's price of a bitcoin. The judging of a request is not in `real`."""

    id: str
    state: str
    at_ms: int
    eval_fee: Msats
    quoted: Msats | None
    paid: Msats | None
    absorbed: Msats
    real: Msats | None

    @property
    def margin_msat(self) -> int | None:
        """Below zero, the house has paid."""
        if self.paid is None or self.real is None:
            return None
        return self.paid.value + self.absorbed.value - self.real.value


@dataclass(frozen=True, slots=True)
class Moved:
    """One transfer."""

    id: str
    kind: str
    debit: str
    credit: str
    amount: Msats
    code: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Payout:
    id: str
    subject: str
    amount: Msats
    state: str  # planned, sent, failed
    tries: int
    since_ms: int
    needs_you: bool
    laid_aside: bool
    says: str


@dataclass(frozen=True, slots=True)
class Owed:
    to: str
    amount: Msats


@dataclass(frozen=True, slots=True)
class Refunds:
    owed: Sequence[Owed]
    payouts: Sequence[Payout]  # first those that do not get on by themselves
    laid_aside: Msats  # the sum of those that wait for somebody to try again


@dataclass(frozen=True, slots=True)
class Task:
    id: str
    attempts: int
    trouble: str


@dataclass(frozen=True, slots=True)
class Tasks:
    parked: Sequence[Task]
    waiting: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Stray:
    payment_hash: str
    amount: Msats
    at_ms: int
    state: str  # unallocated, owed, allocated


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """How the node behind the wallet is. `books` None: the database did not answer."""

    at_ms: int
    kind: str
    network: str | None
    rows: Sequence[Row]
    books: Books | None


class OperatorsDesk(Protocol):
    async def summary(self) -> Summary: ...

    async def days(self, count: int) -> Sequence[Day]:
        """The last so many UTC days, the oldest first; today is not over yet."""
        ...

    async def jobs(self, limit: int) -> Sequence[JobLine]:
        """The newest first."""
        ...

    async def job(self, job_id: str) -> tuple[JobLine, Sequence[Moved]]:
        """JobNotFound."""
        ...

    async def refunds(self, limit: int) -> Refunds: ...

    async def tasks(self, limit: int) -> Tasks: ...

    async def strays(self, limit: int) -> Sequence[Stray]: ...

    async def retry_task(self, task_id: str) -> bool:
        """False: no such parked task."""
        ...

    async def retry_refunds(self) -> int:
        """Try again what was laid aside; each is looked for in the wallet first. How many."""
        ...

    async def stop(self, name: str, reason: str) -> None:
        """Trip a breaker."""
        ...

    async def go_on(self, name: str) -> bool:
        """Reset a breaker. False: it was not tripped, or is none that a desk may reset."""
        ...

    def begin_audit(self) -> None:
        """Read the books through, in the background. One at a time."""
        ...
