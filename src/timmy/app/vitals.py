"""How the house is: each part asked now and then, the last answer kept, the figures for Prometheus brought up to date."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from timmy import events, tasks
from timmy.app.books import all_checks
from timmy.clock import SECOND_MS, Clock
from timmy.db import Database, DatabaseDown, Tx
from timmy.errors import Outage
from timmy.ledger import Check
from timmy.ledger.audit import balances_by_kind, quick_audit
from timmy.lightning import payouts
from timmy.lightning import store as lightning_store
from timmy.lightning.reconcile import Reconciler
from timmy.lightning.wallets.protocol import Wallet, WalletDown
from timmy.metrics import Metrics
from timmy.models import Provider
from timmy.pricing import BtcOracle
from timmy.settings import Settings
from timmy.web import Condition, Health, Part

FIGURES_EVERY_SECONDS = 5.0
ASK_EVERY_SECONDS = 15.0
AUDIT_EVERY_SECONDS = 60.0
WHOLE_AUDIT_EVERY_SECONDS = 3_600.0
ANSWER_WITHIN_SECONDS = 5.0
NO_PRICE = "no source of the price of a bitcoin answers, so BTC_PRICE_USD_FALLBACK counts; set it, or look at BTC_PRICE_SOURCES"

log = structlog.get_logger("timmy.vitals")


class Vitals:
    """What is known about each part. `watch` keeps it fresh; `health` tells it; `ready` looks anew."""

    def __init__(
        self, settings: Settings, db: Database, clock: Clock, wallet: Wallet, provider: Provider, oracle: BtcOracle, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._db = db
        self._clock = clock
        self._wallet = wallet
        self._provider = provider
        self._oracle = oracle
        self._metrics = metrics
        self._trouble: dict[str, str | None] = {"database": None, "wallet": None, "provider": None, "cloud": None}
        self._cloud = "digitalocean" if settings.do_api_token else "rehearsal" if settings.dev_routes else None  # None: no nodes are sold
        self._seq = 0
        self._dead: list[str] = []
        self.books_close = True
        self.wallet_holds_enough = True
        self.audited: tuple[int, bool, Sequence[Check]] | None = None  # when, whether every transfer was read, and what was found
        self.latency_ms: dict[str, int] = {}  # of each part's last answer
        self._reconciler = Reconciler(db, clock, wallet)

    async def watch(self) -> None:
        """Until cancelled. The books are watched beside the rest: an audit of an hour's length must not make a dead wallet look alive."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._watch_parts(), name="parts")
            both.create_task(self._watch_books(), name="books")

    async def _watch_parts(self) -> None:
        asked_ms = 0
        with contextlib.suppress(DatabaseDown):
            self._seq = await self._db.read(events.last)
        while True:
            now_ms = self._clock.now_ms()
            if now_ms - asked_ms >= ASK_EVERY_SECONDS * SECOND_MS:
                asked_ms = now_ms
                await self._ask_all()
            await self._unbroken(self._figures_and_news)
            await asyncio.sleep(FIGURES_EVERY_SECONDS)

    async def _watch_books(self) -> None:
        whole_ms = self._clock.now_ms()  # the first whole audit comes after an hour: a start is no time to read every transfer
        while True:
            await self._unbroken(self._quick_look)
            now_ms = self._clock.now_ms()
            if now_ms - whole_ms >= WHOLE_AUDIT_EVERY_SECONDS * SECOND_MS:
                whole_ms = now_ms
                await self._unbroken(self.whole_audit)
            await asyncio.sleep(AUDIT_EVERY_SECONDS)

    async def _unbroken(self, look: Callable[[], Awaitable[None]]) -> None:
        try:
            await look()
        except DatabaseDown as down:
            self._note("database", down.message)
        except Exception:  # whoever watches over the money must not stop watching because one figure could not be made
            log.exception("vitals.round_broke")

    async def _figures_and_news(self) -> None:
        await self._db.read(self._figures)
        await self._count()

    async def _quick_look(self) -> None:
        """The figures that need every account come with the audit that does, and no oftener."""
        balances, checks = await self._db.read_slowly(_balances_and_checks)
        for kind, balance_msat in balances.items():
            self._metrics.balance(kind, balance_msat)
        await self._judge(checks, whole=False)
        await self._reconcile()

    async def whole_audit(self) -> None:
        """Now, because somebody wants to know; what is found counts as if it had been looked for by itself."""
        await self._judge(await self._db.read_slowly(all_checks), whole=True)

    def loop_died(self, name: str) -> None:
        """A part of the house that should always run does not run any more: only a restart brings it back."""
        self._dead.append(name)

    async def health(self) -> Health:
        """What is known, without asking."""
        price = self._oracle.price()
        fallback = bool(self._settings.btc_price_sources) and price.source == "fallback"
        self._metrics.btc_price(price.cents_per_btc)
        return Health(
            (
                self._part("database", self._db.engine),
                self._part("wallet", self._wallet.name),
                self._part("provider", self._provider.name),
                *((self._part("cloud", self._cloud),) if self._cloud else ()),
                Part("price", Condition.DEGRADED if fallback else Condition.OK, price.source, NO_PRICE if fallback else None),
                Part(
                    "books",
                    Condition.OK if self.books_close and self.wallet_holds_enough else Condition.DOWN,
                    "ledger",
                    self._books_trouble(),
                ),
                Part(
                    "background",
                    Condition.DOWN if self._dead else Condition.OK,
                    "tasks",
                    f"{', '.join(self._dead)} ended: restart this server, and see its log" if self._dead else None,
                ),
            )
        )

    def _books_trouble(self) -> str | None:
        if not self.books_close:
            return "the books do not close: run `timmy ledger verify`; payouts are stopped"
        if not self.wallet_holds_enough:
            return "the wallet holds less than the books say: run `timmy reconcile`; payouts stop"
        return None

    async def ready(self) -> Health:
        await self._ask_all()
        return await self.health()

    def _part(self, name: str, kind: str) -> Part:
        trouble = self._trouble[name]
        stand_in = next((sentence for sentence in self._settings.stand_ins if _speaks_of(sentence, name)), None)
        return Part(name, Condition.DOWN if trouble else Condition.OK, kind, trouble, stand_in)

    async def _ask_all(self) -> None:
        await asyncio.gather(
            self._timed("database", self._ask_database),
            self._timed("wallet", self._ask_wallet),
            self._timed("provider", self._ask_provider),
        )

    async def _timed(self, name: str, ask: Callable[[], Awaitable[None]]) -> None:
        began_at = time.perf_counter()
        await ask()
        self.latency_ms[name] = round((time.perf_counter() - began_at) * SECOND_MS)

    async def _ask_database(self) -> None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                await self._db.write(_nothing)  # the writer may be gone while the readers still answer
        except (Outage, TimeoutError) as trouble:
            self._note("database", _words(trouble))
        else:
            self._note("database", None)

    async def _ask_wallet(self) -> None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                await self._wallet.balance()
        except (Outage, TimeoutError) as trouble:
            self._note("wallet", _words(trouble))
        else:
            self._note("wallet", None)

    async def _ask_provider(self) -> None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                await self._provider.check()
        except (Outage, TimeoutError) as trouble:
            self._note("provider", _words(trouble))
        else:
            self._note("provider", None)

    def _note(self, name: str, trouble: str | None) -> None:
        if trouble != self._trouble[name]:
            log.warning("vitals.changed", part=name, trouble=trouble or "none: it answers again")
        self._trouble[name] = trouble
        self._metrics.part(name, up=trouble is None)

    def _figures(self, tx: Tx) -> None:
        counts = {0: 0, 1: 0}
        for row in tasks.waiting(tx):
            counts[row["parked"]] += row["n"]
        self._metrics.tasks(parked=counts[1], waiting=counts[0])
        self._metrics.payouts_stopped(lightning_store.breaker(tx, payouts.BREAKER) is not None)

    async def _count(self) -> None:
        """What happened since the last round, on whichever process. Each process counts all of it: take their maximum, not their sum."""
        while news := await self._db.read(events.after, self._seq):
            self._seq = news[-1].seq
            for event in news:
                match event.kind:
                    case "state" if "state" in event.body:
                        self._metrics.job_moved(event.body["state"])
                    case "stray":
                        self._metrics.payment_unmatched()
                    case "payment":
                        self._metrics.invoice_settled(event.body["purpose"], event.body["receivedMsat"])
                    case "refund" if event.body.get("state") == "paid":
                        self._metrics.payout("sent")
                        self._metrics.paid_out(amount_msat=event.body["amountMsat"], fee_msat=event.body["feeMsat"])
                    case "refund" if "trouble" in event.body:
                        self._metrics.payout("failed")

    async def _reconcile(self) -> None:
        try:
            found = await self._reconciler.watch_once()
        except WalletDown as down:
            log.info("vitals.not_reconciled", why=down.message)
            return
        if found is not None:  # money moved while we looked: what was found last time stands
            self.wallet_holds_enough = not found.missing
        if found is not None and found.missing:
            self._metrics.breach()
            log.critical("vitals.wallet_holds_too_little", missing_msat=found.missing.value)

    async def _judge(self, checks: Sequence[Check], *, whole: bool) -> None:
        """If the books do not close, nothing more leaves the house until a person has looked."""
        broken = [check for check in checks if not check.holds]
        self.audited = (self._clock.now_ms(), whole, checks)
        # Only the whole audit can give the all-clear: a quick one that finds nothing does not unsay what the whole one found.
        self.books_close = not broken and (self.books_close or whole)
        for check in broken:
            self._metrics.breach()
            log.critical("vitals.books_do_not_close", check=check.name, found=check.found)
        if broken:
            reason = f"the books do not close: {broken[0].name}"
            await self._db.write(lightning_store.trip, payouts.BREAKER, reason, self._clock.now_ms())


def _balances_and_checks(tx: Tx) -> tuple[dict[str, int], list[Check]]:
    return balances_by_kind(tx), quick_audit(tx)


def _nothing(tx: Tx) -> None:
    tx.one("SELECT 1 AS one")


def _speaks_of(sentence: str, part: str) -> bool:
    words = {
        "database": ("SQLite", "database"),
        "wallet": ("wallet", "WALLET"),
        "provider": ("agent", "PROVIDER", "model"),
        "cloud": ("cloud",),
    }
    return any(word in sentence for word in words[part])


def _words(trouble: Outage | TimeoutError) -> str:
    return trouble.message if isinstance(trouble, Outage) else f"no answer within {ANSWER_WITHIN_SECONDS:g} s"
