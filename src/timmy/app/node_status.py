"""How the node behind the wallet is: asked when somebody looks, within a time limit, and not again for some seconds.

It reads and changes nothing: no difference is booked, nothing is stopped, no invoice is made. A wallet that hangs, fails or talks nonsense
makes a row. Whatever words come from outside lose the house's secrets, and whatever looks like one, before anybody sees them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import structlog

from timmy import tasks
from timmy.app import node_store, operator_store
from timmy.app.vitals import Vitals
from timmy.clock import SECOND_MS, Clock
from timmy.db import Database, Tx
from timmy.errors import TimmyError
from timmy.jobs import machine
from timmy.ledger import Code
from timmy.ledger import store as ledger_store
from timmy.ledger.audit import quick_audit
from timmy.lightning import payouts
from timmy.lightning import store as lightning_store
from timmy.lightning.diagnosis import Books, Row, Situation, Wants, diagnosed
from timmy.lightning.diagnosis.purse import FEES_DAYS
from timmy.lightning.diagnosis.rows import Asked, Audit, Push
from timmy.lightning.receiving import Receiving
from timmy.lightning.reconcile import standing
from timmy.lightning.wallets.facts import Diagnosable, NodeFacts, printable
from timmy.lightning.wallets.protocol import Wallet
from timmy.logs import Redactor
from timmy.money import Msats, Sats
from timmy.settings import Settings
from timmy.web.operator.protocol import NodeStatus

ANSWER_WITHIN_SECONDS = 5.0
FRESH_MS = 10 * SECOND_MS
LATE_MS = 10 * 60 * SECOND_MS  # a payout that is on its way for longer than this does not get on by itself
DAY_MS = 86_400 * SECOND_MS
COUNTED_MAX = 1_000
VALUE_CHARS_MAX = 400
FOR_A_MODEL = frozenset({machine.EVALUATE, machine.OFFER, machine.EXECUTE})  # all other tasks move money, or find it
NOTHING = Sats(0)
T = TypeVar("T")

log = structlog.get_logger("timmy.app")


@dataclass(frozen=True, slots=True)
class Absent:
    """A wallet that could not even be opened, and why."""

    kind: str
    why: str


@dataclass(frozen=True, slots=True)
class _Heard(Generic[T]):
    """An answer, or why there is none; and how long that took."""

    answer: T | None
    trouble: str | None
    latency_ms: int


class NodeWatch:
    """`audited` and `pushed` are asked for what the server knows; without a server around they know nothing. `hide` takes secrets out."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        wallet: Wallet | Absent,
        wants: Wants,
        *,
        hide: Callable[[str], str],
        audited: Callable[[], Audit | None] | None = None,
        pushed: Callable[[], Push | None] = lambda: None,
    ) -> None:
        self._db = db
        self._clock = clock
        self._wallet = wallet
        self._wants = wants
        self._hide = hide
        self._audited = audited
        self._pushed = pushed
        self._looking = asyncio.Lock()
        self._last: NodeStatus | None = None
        self._good_ms: dict[str, int] = {}

    async def look(self) -> NodeStatus:
        """As it stands, or stood some seconds ago: many who look at once cost the wallet one look."""
        async with self._looking:
            if self._last is None or not 0 <= self._clock.now_ms() - self._last.at_ms < FRESH_MS:
                self._last = await self._look()
            return self._last

    async def _look(self) -> NodeStatus:
        before = await _heard(self._db.read_slowly(_books, self._clock.now_ms(), self._audited is None), "the database")
        asked = await self._ask(self._wallet) if not isinstance(self._wallet, Absent) else _absent(self._wallet)
        after = await _heard(self._db.read(standing), "the database")
        books, audit = before.answer or (None, None)
        if books is not None:
            books = replace(books, still=books.standing == after.answer)
        now_ms = self._clock.now_ms()
        here = Situation(
            at_ms=now_ms,
            asked=asked,
            wants=self._wants,
            books=books,
            books_trouble=before.trouble,
            books_busy=books is None and after.answer is not None,
            books_latency_ms=before.latency_ms,
            audit=audit if self._audited is None else self._audited(),
            push=self._pushed(),
        )
        return NodeStatus(now_ms, asked.kind, asked.network, tuple(self._kept(row, now_ms) for row in diagnosed(here)), books)

    async def _ask(self, wallet: Wallet) -> Asked:
        balance, facts = await asyncio.gather(_heard(wallet.balance(), "the wallet"), self._facts(wallet))
        return Asked(
            kind=wallet.name,
            network=wallet.network.name.lower(),
            caps_fees=wallet.caps_fees,
            down=balance.trouble,
            balance=balance.answer,
            latency_ms=balance.latency_ms,
            facts=facts.answer if facts is not None else None,
            untold=facts.trouble if facts is not None else None,
            facts_latency_ms=facts.latency_ms if facts is not None else None,
        )

    async def _facts(self, wallet: Wallet) -> _Heard[NodeFacts] | None:
        return await _heard(wallet.diagnose(), "the wallet") if isinstance(wallet, Diagnosable) else None

    def _kept(self, row: Row, now_ms: int) -> Row:
        if row.word == "ok":
            self._good_ms[row.name] = now_ms
        return replace(row, value=printable(self._hide(row.value), VALUE_CHARS_MAX), last_good_ms=self._good_ms.get(row.name))


async def _heard(answer: Awaitable[T], whose: str) -> _Heard[T]:
    began_at = time.perf_counter()
    try:
        async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
            found, trouble = await answer, None
    except TimeoutError:
        found, trouble = None, f"{whose} did not answer within {ANSWER_WITHIN_SECONDS:g} s"
    except TimmyError as problem:
        found, trouble = None, problem.message
    except Exception as bug:  # what answers here may be anybody's: whatever it breaks, the operator is to see the other rows
        log.exception("node_status.look_broke", whose=whose)
        found, trouble = None, f"{whose} answered with something that broke the look ({type(bug).__name__}); this server's log says more"
    return _Heard(found, trouble, round((time.perf_counter() - began_at) * SECOND_MS))


def _absent(wallet: Absent) -> Asked:
    return Asked(kind=wallet.kind, down=wallet.why)


def _books(tx: Tx, now_ms: int, with_audit: bool) -> tuple[Books, Audit | None]:
    """All that the books say of it, in one snapshot. `with_audit`: nobody else looks after them, so their balances are looked at here."""
    late = lightning_store.payouts_for_attention(tx, now_ms - LATE_MS, None, COUNTED_MAX)
    parked = tasks.parked(tx)
    moved = operator_store.moved(tx, now_ms - FEES_DAYS * DAY_MS, now_ms + 1)
    breaker = lightning_store.breaker(tx, payouts.BREAKER)
    books = Books(
        standing=standing(tx),
        kinds=ledger_store.balances_by_kind(tx),
        still=True,
        stopped=breaker["reason"] if breaker is not None else None,
        late=len(late),
        late_since_ms=min((row["planned_at_ms"] for row in late), default=None),
        late_sum=Msats(sum(row["amount_msat"] for row in late)),
        parked=[task.id for task in parked],
        parked_money=[task.id for task in parked if task.kind not in FOR_A_MODEL],
        settled_at_ms=node_store.last_credited(tx),
        paid_out=Msats(moved.get(Code.PAYOUT_SENT, 0)),
        fees=Msats(moved.get(Code.ROUTING_FEE, 0)),
    )
    if not with_audit:
        return books, None
    return books, Audit(at_ms=now_ms, broken=[f"{check.name}: {check.found}" for check in quick_audit(tx) if not check.holds])


def wants_of(settings: Settings, dearest_job: Sats = NOTHING) -> Wants:
    """What this house sells, and so must be able to take and give back. `dearest_job`: about the most that a job's work may cost, where
    that is known."""
    sells_nodes = settings.do_api_token is not None or settings.dev_routes
    return Wants(
        smallest=settings.eval_fee,
        largest={"SESSION_MAX_SATS": settings.session_max, **({"BOOTSTRAP_FEE_SATS": settings.bootstrap_fee} if sells_nodes else {})},
        dearest_refund=Sats(max(settings.session_max.value, dearest_job.value)),
        uncapped_max=settings.payout_max_uncapped,
        payouts_enabled=settings.payouts_enabled,
    )


def beside_a_server(
    settings: Settings, db: Database, clock: Clock, wallet: Wallet, vitals: Vitals, receiving: Receiving, dearest_job: Sats
) -> NodeWatch:
    """With what the server knows without asking."""

    def audited() -> Audit | None:
        if vitals.audited is None:
            return None
        at_ms, _, checks = vitals.audited
        broken = [f"{check.name}: {check.found}" for check in checks if not check.holds]
        return Audit(at_ms=at_ms, broken=broken or ([] if vitals.books_close else ["what the last whole audit found"]))

    def pushed() -> Push | None:
        since_ms = receiving.listening_since_ms
        return None if since_ms is None else Push(since_ms=since_ms, heard_at_ms=receiving.heard_at_ms, trouble=receiving.push_trouble)

    wants = wants_of(settings, dearest_job)
    return NodeWatch(db, clock, wallet, wants, hide=without_secrets(settings), audited=audited, pushed=pushed)


def without_secrets(settings: Settings) -> Callable[[str], str]:
    return Redactor(settings.secrets()).text
