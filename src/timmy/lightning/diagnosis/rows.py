"""What a diagnosis is made from, and the rows that it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from timmy.lightning.reconcile import Standing
from timmy.lightning.wallets.facts import NodeFacts
from timmy.money import Msats, Sats


class Word(StrEnum):
    """UNKNOWN is nobody's fault and no trouble: the backend does not tell, or it cannot be known from here."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Row:
    """`hint` says what to do; None where there is nothing to do. `last_good_ms`: when it was last seen to be ok, by who keeps count."""

    name: str
    word: Word
    value: str
    hint: str | None = None
    latency_ms: int | None = None
    last_good_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What became of asking the wallet. `down`, `untold`: why it did not answer for its balance, for its node. `facts` None without
    `untold`: this wallet has nothing to tell."""

    kind: str
    network: str | None = None
    caps_fees: bool | None = None
    down: str | None = None
    balance: Msats | None = None
    latency_ms: int | None = None
    facts: NodeFacts | None = None
    untold: str | None = None
    facts_latency_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the books say. `kinds`: what each kind of account holds, in millisats. `still`: nothing moved while the wallet was asked."""

    standing: Standing
    kinds: Mapping[str, int]
    still: bool
    stopped: str | None  # why payouts are stopped
    late: int  # payouts that are on their way for too long
    late_since_ms: int | None
    late_sum: Msats
    parked: Sequence[str]  # tasks
    parked_money: Sequence[str]  # those of them that move money
    settled_at_ms: int | None  # when a payment was last credited
    paid_out: Msats  # in the last FEES_DAYS
    fees: Msats

    def of(self, *kinds: str) -> Msats:
        return Msats(sum(max(0, self.kinds.get(kind, 0)) for kind in kinds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    at_ms: int
    broken: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """What the server has heard from the wallet. `heard_at_ms`: the last word of a payment."""

    since_ms: int
    heard_at_ms: int | None
    trouble: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wants:
    """What the operator has decided to sell, and so must be able to take and give back. `largest`: setting → the largest invoice that it
    makes us offer."""

    smallest: Sats
    largest: Mapping[str, Sats]
    dearest_refund: Sats
    uncapped_max: Sats
    payouts_enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """`books` None: the database did not answer, and `books_trouble` says why; `books_busy`: it only has not come to it yet. `push` None:
    this process does not listen."""

    at_ms: int
    asked: Asked
    wants: Wants
    books: Books | None = None
    books_trouble: str | None = None
    books_busy: bool = False
    books_latency_ms: int | None = None
    audit: Audit | None = None
    push: Push | None = None


def worst(rows: Iterable[Row]) -> Word:
    """What is unknown does not make it worse."""
    words = {row.word for row in rows}
    return next((word for word in (Word.FAIL, Word.WARN) if word in words), Word.OK)


def told(amount: Msats) -> str:
    """Whole sats, rounded up: for looking at."""
    return f"{amount.ceil_sats().value:,}"


def ago(from_ms: int, now_ms: int) -> str:
    """A span of time for people: `12 s`, `5 min`, `3 h`, `2 d`."""
    seconds = max(0, now_ms - from_ms) // 1_000
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {name}"
    return f"{seconds} s"
