"""`build(settings)`: from settings to a running house, and back."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import aiohttp
import structlog
from starlette.types import ASGIApp

from timmy import __version__, generosity, sessions, tasks
from timmy.app import choose, visitors
from timmy.app.caution import cautions
from timmy.app.development import Development
from timmy.app.home import settle
from timmy.app.node_status import beside_a_server
from timmy.app.nodes import NodeShop, ended_payouts, open_cloud
from timmy.app.operator import Operator
from timmy.app.people import People
from timmy.app.pruning import PRUNE, Pruning, keep_of
from timmy.app.vitals import Vitals
from timmy.bootstrap import Bootstraps, Cloud
from timmy.bootstrap import flow as bootstrap_flow
from timmy.clock import Clock, SystemClock
from timmy.completions import Completions
from timmy.completions import Terms as ChatTerms
from timmy.db import Database, open_database
from timmy.generosity import pool
from timmy.identity import Identity, Tier, Tokens, kept_secret, trust
from timmy.identity.signing import SigningKey
from timmy.ids import RandomBytes, system_random
from timmy.jobs import Jobs, Rules, Terms, Workshop, machine, on_lapsed, on_paid
from timmy.jobs.estimate import Estimates
from timmy.jobs.work import quote_for
from timmy.lightning import payouts
from timmy.lightning.lnurl import LnurlClient
from timmy.lightning.paying import Paying
from timmy.lightning.receiving import SWEEP, Receiving
from timmy.lightning.wallets.protocol import PaysAmountless, Wallet, WalletDown
from timmy.metrics import Metrics
from timmy.models.chat import ChatProvider
from timmy.pricing import BtcOracle, RateBook, fetch_with
from timmy.sessions import Sessions
from timmy.settings import Settings
from timmy.tasks import Bell, Task, Worker
from timmy.tasks.worker import Handler
from timmy.web import WebHouse, create_app

WALLET_PATIENCE_SECONDS = 30  # at start: a node that is starting beside us gets its time, a wrong URL does not hang for ever
MODEL_WORK = frozenset({machine.EVALUATE, machine.OFFER, machine.EXECUTE})
MONEY_AT_ONCE = 16  # payouts, sweeps and reapers wait for the wallet and for nothing else, so many of them cost little

log = structlog.get_logger("timmy.app")


@dataclass(slots=True)
class App:
    """A house that runs."""

    settings: Settings
    db: Database
    clock: Clock
    wallet: Wallet
    provider: ChatProvider
    oracle: BtcOracle
    metrics: Metrics
    receiving: Receiving
    paying: Paying
    jobs: Jobs
    sessions: Sessions
    completions: Completions
    nodes: Bootstraps
    identity: Identity
    estimates: Estimates
    model_worker: Worker
    money_worker: Worker
    vitals: Vitals
    house: WebHouse
    web: ASGIApp
    cautions: tuple[str, ...]  # for the operator, at the start

    async def run_due(self) -> int:
        """Do, one after the other, all that is due now; how much that was. For whoever has the background work in hand."""
        count = 0
        while done := await self.model_worker.run_due() + await self.money_worker.run_due():
            count += done
        return count


@asynccontextmanager
async def build(
    settings: Settings,
    *,
    clock: Clock | None = None,
    random_bytes: RandomBytes = system_random,
    provider: ChatProvider | None = None,
    server: bool = True,
    background: bool = True,
) -> AsyncIterator[App]:
    """Open everything in order, run the background work, and on the way out close everything in the other order.

    `server=False` for tools beside a server: they do not lock it out, nor change its schema. `background=False` leaves the work to the
    caller. A clock, the randomness and a provider may be brought along. Raises NoHome, DatabaseDown, SchemaMismatch, SchemaOlder,
    SchemaEmpty, SecondServer, WalletDown."""
    clock = clock or SystemClock()
    if server:
        settle(settings)
    async with AsyncExitStack() as open_things:
        db = open_database(settings.database_url, server=server, migrate=server)
        open_things.push_async_callback(db.aclose)
        hook_secret = _hook_secret(settings)
        hook_url = f"{settings.public_url}/api/hooks/lnbits/{hook_secret}" if hook_secret else None
        wallet = await _patiently(lambda: choose.wallet(settings, db, clock, random_bytes, hook_url))
        open_things.push_async_callback(wallet.aclose)
        provider = provider or choose.provider(settings)
        open_things.push_async_callback(provider.aclose)
        session = await open_things.enter_async_context(aiohttp.ClientSession())
        lnurl = LnurlClient(allow_loopback_http=settings.lnurl_allow_loopback)
        open_things.push_async_callback(lnurl.aclose)
        cloud = await open_things.enter_async_context(open_cloud(settings, background=background))
        app = _furnish(settings, db, clock, random_bytes, wallet, provider, session, lnurl, hook_secret, cloud)
        open_things.push_async_callback(app.sessions.aclose)
        open_things.push_async_callback(app.completions.aclose)
        if app.house.world is not None:
            open_things.push_async_callback(app.house.world.aclose)
        if background:
            await open_things.enter_async_context(_at_work(app))
        yield app


def _furnish(
    settings: Settings,
    db: Database,
    clock: Clock,
    random_bytes: RandomBytes,
    wallet: Wallet,
    provider: ChatProvider,
    session: aiohttp.ClientSession,
    lnurl: LnurlClient,
    hook_secret: str | None,
    cloud: Cloud,
) -> App:
    bell, metrics, rules, paying_terms = Bell(), Metrics(), job_rules(settings), payout_terms(settings, wallet)
    oracle, book = _prices(settings, clock, session, metrics)
    receiving = _receiving(settings, db, clock, wallet, bell, rules)
    paying = Paying(db, clock, wallet, lnurl, bell, paying_terms, random_bytes, ended_payouts)
    jobs = Jobs(db, clock, bell, random_bytes, receiving, paying, eval_fee=settings.eval_fee.msats, trust_terms=rules.trust)
    workshop = Workshop(db, clock, bell, random_bytes, receiving, paying, provider, book, oracle, job_terms(settings), rules)
    prefunded = Sessions(
        db, clock, bell, random_bytes, receiving, lnurl, provider, book, oracle, session_terms(settings), paying_terms,
        location=settings.public_url,
    )  # fmt: skip
    completions = Completions(db, clock, bell, random_bytes, provider, book, oracle, chat_terms(settings))
    nodes = NodeShop(settings, db, clock, bell, random_bytes, wallet, receiving, paying, cloud)
    estimates = Estimates(db, clock, book, oracle, job_terms(settings), rules, eval_fee=settings.eval_fee)
    handlers = {**workshop.handlers, **prefunded.handlers, **completions.handlers, **nodes.handlers}
    handlers |= _of_the_house(paying, receiving, Pruning(db, clock, keep_of(settings)))
    model_worker, money_worker = _workers(settings, db, clock, bell, handlers, _counting_in(metrics))
    vitals = Vitals(settings, db, clock, wallet, provider, oracle, metrics)
    identity = Identity(db, clock, random_bytes, _tokens(settings, random_bytes), rules.trust, public_url=settings.public_url)
    people, dearest = People(db, clock, rules.giving), quote_for("?" * settings.max_request_chars, book, oracle, job_terms(settings)).price
    house = WebHouse(
        settings=settings,
        jobs=jobs,
        sessions=prefunded,
        identity=identity,
        profile=people.profile,
        giving=estimates,
        pool_frozen=people.pool_frozen,
        clock=clock,
        metrics=metrics,
        health=vitals.health,
        ready=vitals.ready,
        version=__version__,
        wallet_hint=receiving.hint,
        look=wallet.lookup_invoice,
        receipt_key=_receipt_key(settings, random_bytes),
        hook_secret=hook_secret,
        completions=completions,
        world=visitors.world(settings, db, clock, bell, random_bytes, provider, estimates, people),
        demo=visitors.demo(settings, db, clock, provider),
        bootstrap=nodes.desk,
        operator=Operator(db, clock, bell, vitals, oracle),
        node_status=beside_a_server(settings, db, clock, wallet, vitals, receiving, dearest).look,
        dev=Development(db, clock, random_bytes, wallet, receiving) if settings.dev_routes else None,
    )
    return App(
        settings, db, clock, wallet, provider, oracle, metrics, receiving, paying, jobs, prefunded, completions, nodes.desk,
        identity, estimates, model_worker, money_worker, vitals, house, create_app(house), cautions(settings, wallet, dearest),
    )  # fmt: skip


def _of_the_house(paying: Paying, receiving: Receiving, pruning: Pruning) -> dict[str, Handler]:
    """The work that is nobody's order."""
    return {payouts.PAY: paying.pay, payouts.ASK_FEE: paying.ask_fee, SWEEP: receiving.sweep, PRUNE: pruning.prune}


def _receiving(settings: Settings, db: Database, clock: Clock, wallet: Wallet, bell: Bell, rules: Rules) -> Receiving:
    return Receiving(
        db,
        clock,
        wallet,
        bell,
        ttl_seconds=settings.invoice_ttl_seconds,
        on_paid={**on_paid(rules), **sessions.ON_PAID, **bootstrap_flow.ON_PAID},
        on_lapsed={**on_lapsed(rules), **sessions.ON_LAPSED, **bootstrap_flow.ON_LAPSED},
    )


def _prices(settings: Settings, clock: Clock, session: aiohttp.ClientSession, metrics: Metrics) -> tuple[BtcOracle, RateBook]:
    oracle = BtcOracle(
        settings.btc_price_sources,
        fallback_cents=settings.btc_price_fallback_cents,
        max_age_seconds=settings.btc_price_max_age_seconds,
        clock=clock,
        fetch=fetch_with(session),
        on_silence=metrics.price_source_silent,
    )
    book = RateBook(settings.model_rates)
    for model in (settings.eval_model, settings.work_model, *settings.v1_models):
        book.rate(model)  # a model without a price stops the start, not the first customer
    return oracle, book


def _workers(
    settings: Settings, db: Database, clock: Clock, bell: Bell, handlers: Mapping[str, Handler], on_parked: Callable[[Task, str], None]
) -> tuple[Worker, Worker]:
    """One for what waits for a language model, one for all else. With one for both, a few models that hang leave no hand for a payment."""
    slow = {kind: handler for kind, handler in handlers.items() if kind in MODEL_WORK}
    money = {kind: handler for kind, handler in handlers.items() if kind not in MODEL_WORK}
    return (
        Worker(db, clock, bell, slow, concurrency=settings.workers, on_parked=on_parked),
        Worker(db, clock, bell, money, concurrency=MONEY_AT_ONCE, on_parked=on_parked),
    )


def _counting_in(metrics: Metrics) -> Callable[[Task, str], None]:
    def parked(task: Task, trouble: str) -> None:
        metrics.task(task.kind, "parked")

    return parked


def _tokens(settings: Settings, random_bytes: RandomBytes) -> Tokens:
    """Several machines that share a database must share TIMMY_TOKEN_SECRET; one machine may keep its own."""
    if settings.token_secret is not None:
        return Tokens(settings.token_secret.reveal().encode())
    return Tokens(kept_secret(settings.data_dir / "token_secret", random_bytes))


def _receipt_key(settings: Settings, random_bytes: RandomBytes) -> SigningKey:
    """As with tokens: machines that share TIMMY_TOKEN_SECRET sign with one key, derived from it; one machine may keep its own."""
    if settings.token_secret is not None:
        return SigningKey(hmac.digest(settings.token_secret.reveal().encode(), b"timmy receipts", hashlib.sha256), random_bytes)
    return SigningKey(kept_secret(settings.data_dir / "receipt_key", random_bytes), random_bytes)


def payout_terms(settings: Settings, wallet: Wallet) -> payouts.Terms:
    return payouts.Terms(
        network=wallet.network,
        caps_fees=wallet.caps_fees,
        enabled=settings.payouts_enabled,
        fee_limit_bp=settings.payout_fee_limit_bp,
        fee_limit_min=settings.payout_fee_limit_min,
        uncapped_max=settings.payout_max_uncapped,
        per_hour_max=settings.payouts_max_per_hour,
        per_day_max=settings.payouts_max_per_day,
        pays_amountless=isinstance(wallet, PaysAmountless) and wallet.pays_amountless,
    )


def job_rules(settings: Settings) -> Rules:
    daily = {
        Tier.NEW.value: settings.free_budget_new.msats,
        Tier.ESTABLISHED.value: settings.free_budget_established.msats,
        Tier.TRUSTED.value: settings.free_budget_trusted.msats,
        Tier.ELITE.value: settings.free_budget_elite.msats,
    }
    earned = trust.Terms(
        established=settings.trust_established,
        trusted=settings.trust_trusted,
        elite=settings.trust_elite,
        success=settings.trust_success,
        setback=settings.trust_failure,
        decay_after_days=settings.trust_decay_after_days,
        decay_per_day=settings.trust_decay_per_day,
        whole_at=settings.trust_success_at.msats,
    )
    return Rules(giving=generosity.Terms(daily), trust=earned)


def job_terms(settings: Settings) -> Terms:
    return Terms(
        eval_model=settings.eval_model,
        work_model=settings.work_model,
        max_output_tokens=settings.work_max_output_tokens,
        margin_bp=settings.margin_bp,
        infra=settings.infra_per_request,
        pool_credit_bp=settings.pool_credit_bp,
        patience_seconds=settings.job_model_patience_seconds,
    )


def session_terms(settings: Settings) -> sessions.Terms:
    rules = job_rules(settings)
    return sessions.Terms(
        min_deposit=settings.session_min,
        max_deposit=settings.session_max,
        minimum_balance=settings.session_min_balance,
        ttl_days=settings.session_ttl_days,
        eval_model=settings.eval_model,
        work_model=settings.work_model,
        max_output_tokens=settings.work_max_output_tokens,
        margin_bp=settings.margin_bp,
        infra=settings.infra_per_request,
        pool_credit_bp=settings.pool_credit_bp,
        gifts=rules.giving,
        trust=rules.trust,
    )


def chat_terms(settings: Settings) -> ChatTerms:
    return ChatTerms(session_terms(settings), settings.v1_models)


@asynccontextmanager
async def _at_work(app: App) -> AsyncIterator[None]:
    now_ms = app.clock.now_ms()
    first = [
        Receiving.first_sweep(now_ms),
        app.completions.running.first_sweep(now_ms),
        Pruning.first(now_ms),
        NodeShop.first_sweep(now_ms),
    ]
    await app.db.write(tasks.add, first)
    await app.db.write(pool.seed, app.settings.pool_seed.msats, app.clock.now_ms())
    app.oracle.start()
    loops = [
        asyncio.create_task(app.model_worker.run(), name="model worker"),
        asyncio.create_task(app.money_worker.run(), name="money worker"),
        asyncio.create_task(app.receiving.listen(), name="listen"),
        asyncio.create_task(app.vitals.watch(), name="vitals"),
    ]
    for loop in loops:
        loop.add_done_callback(partial(_died, app))
    try:
        yield
    finally:
        await app.oracle.stop()
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


def _died(app: App, loop: asyncio.Task[None]) -> None:
    """A background loop ends only by being cancelled. Anything else is a bug, and a server that only looks alive helps nobody."""
    if not loop.cancelled() and loop.exception() is not None:
        log.critical("app.loop_died", loop=loop.get_name(), exc_info=loop.exception())
        app.vitals.loop_died(loop.get_name())  # /api/readyz says so from now on


async def _patiently(connect: Callable[[], Awaitable[Wallet]]) -> Wallet:
    deadline = asyncio.get_running_loop().time() + WALLET_PATIENCE_SECONDS
    while True:
        try:
            return await connect()
        except WalletDown as down:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            log.warning("app.wallet_not_there_yet", why=down.message)
            await asyncio.sleep(1)


def _hook_secret(settings: Settings) -> str | None:
    """The last segment of the webhook's address, the same after every restart and on every process: derived, not drawn."""
    if settings.lnbits_api_key is None:
        return None
    return hmac.new(settings.lnbits_api_key.reveal().encode(), b"timmy webhook", hashlib.sha256).hexdigest()[:32]
