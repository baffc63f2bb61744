"""A house that sells sessions, with its wallet, its worker and its language model in our hands, for the tests of sessions."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

from timmy import generosity
from timmy.clock import ManualClock
from timmy.db import Database, Row, Tx
from timmy.errors import Refusal
from timmy.generosity import pool
from timmy.generosity.status import audit as pool_audit
from timmy.identity import store as identity_store
from timmy.identity import trust
from timmy.identity.caveats import Use
from timmy.identity.macaroons import decode
from timmy.ids import system_random
from timmy.ledger import audit as ledger_audit
from timmy.ledger import chart
from timmy.ledger.commit import available
from timmy.lightning import payouts
from timmy.lightning import store as lightning_store
from timmy.lightning.lnurl import LnurlClient
from timmy.lightning.paying import Paying
from timmy.lightning.receiving import Receiving
from timmy.lightning.wallets.builtin import BuiltinCustomer, BuiltinWallet
from timmy.lightning.wallets.protocol import Network
from timmy.models import Completion, Delta, Finish, Prompt, ProviderDown, ProviderRefused, Usage, trouble
from timmy.models.evaluate import request_judged_by
from timmy.money import Msats, NanoUsd, Sats
from timmy.pricing import BtcOracle, RateBook, most_input_tokens
from timmy.sessions import ON_LAPSED, ON_PAID, Permit, RequestView, Sessions, SessionView, Terms
from timmy.sessions import audit as session_audit
from timmy.tasks import Bell, Worker

RATES = RateBook()
ALICE = "a1" * 32
DEPOSIT = Sats(1_000)
PATH = "/api/sessions/any/request"

TERMS = Terms(
    min_deposit=Sats(100),
    max_deposit=Sats(100_000),
    minimum_balance=Sats(20),
    ttl_days=30,
    eval_model="timmy-demo-small",
    work_model="timmy-demo",
    max_output_tokens=4_096,
    margin_bp=4_000,
    infra=NanoUsd.parse("0.001"),
    pool_credit_bp=1_000,
    gifts=generosity.Terms({"established": Sats(50).msats, "trusted": Sats(200).msats, "elite": Sats(1_000).msats}),
    trust=trust.Terms(established=10, trusted=50, elite=200, success=2, setback=1, decay_after_days=30, decay_per_day=1),
)
PAYOUT_TERMS = payouts.Terms(
    network=Network.REGTEST,
    enabled=True,
    caps_fees=True,
    fee_limit_bp=100,
    fee_limit_min=Sats(5),
    uncapped_max=Sats(1_000),
    per_hour_max=Sats(1_000_000),
    per_day_max=Sats(1_000_000),
)


class Agent:
    """A language model that does as it is told: `judge` and `work` say how the next calls end."""

    name = "agent"

    def __init__(self) -> None:
        self.judge = "yes"  # "no", "unclear", "down", "refuses"
        self.work = "done"  # "dear", "cut" (uses all that it may), "empty", "down", "refuses", "bug"
        self.calls: Counter[str] = Counter()
        self.limits: list[int] = []
        self.gate: asyncio.Event | None = None  # work waits until it is set
        self.judge_usage, self.work_usage = Usage(400, 20), Usage(150, 40)

    async def complete(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> Completion:
        kind = "judge" if request_judged_by(prompt) is not None else "work"
        self.calls[kind] += 1
        self._trouble(self.judge if kind == "judge" else self.work)
        if kind == "judge":
            said = "Perhaps." if self.judge == "unclear" else json.dumps({"accept": self.judge == "yes", "reason": "because"})
            return Completion(said, self.judge_usage, Finish.STOP)
        if self.gate is not None:
            await self.gate.wait()
        self.limits.append(max_output_tokens)
        if self.work == "empty":
            return Completion(" ", Usage(150, 1), Finish.STOP)
        if self.work == "dear":
            return Completion("forty-two", Usage(10**9, 10**9), Finish.STOP)
        if self.work == "cut":
            return Completion("forty-", Usage(most_input_tokens(prompt.system, prompt.user), max_output_tokens), Finish.LENGTH)
        return Completion("forty-two", self.work_usage, Finish.STOP)

    @staticmethod
    def _trouble(how: str) -> None:
        if how == "down":
            raise ProviderDown
        if how == "refuses":
            raise ProviderRefused
        if how == "locked_out":  # the provider does not accept the operator's key
            raise trouble.refused(trouble.Refused.BAD_KEY)
        if how == "bug":
            raise ZeroDivisionError

    async def stream(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> AsyncGenerator[Delta | Completion, None]:
        yield await self.complete(prompt, model=model, max_output_tokens=max_output_tokens)

    async def check(self) -> None: ...

    async def aclose(self) -> None: ...


class Address:
    """Stands for the internet, on which the customer's Lightning address lives."""

    def __init__(self, customer: BuiltinCustomer) -> None:
        self._customer = customer
        self.asked: list[tuple[str, Msats]] = []

    async def fetch_invoice(self, destination: str, amount: Msats, comment: str | None = None) -> str:
        self.asked.append((destination, amount))
        return await self._customer.create_invoice(amount)


class House:
    """`street`: another way to the same database, for the wallet and the customer, who do not share our process's fate."""

    def __init__(
        self, db: Database, clock: ManualClock, terms: Terms = TERMS, agent: Agent | None = None, street: Database | None = None
    ) -> None:
        self.db, self.clock, self.terms, self.agent = db, clock, terms, agent or Agent()
        self.bell = Bell()
        self.wallet = BuiltinWallet(street or db, clock, system_random, starting_balance=Sats(100_000).msats)
        self.customer = BuiltinCustomer(street or db, clock, system_random, wallet=self.wallet)
        self.address = Address(self.customer)
        self.receiving = Receiving(db, clock, self.wallet, self.bell, ttl_seconds=600, on_paid=ON_PAID, on_lapsed=ON_LAPSED)
        oracle = BtcOracle((), fallback_cents=100_000_00, max_age_seconds=3_600, clock=clock, fetch=_no_fetch)
        lnurl = cast(LnurlClient, self.address)
        self.sessions = Sessions(
            db, clock, self.bell, system_random, self.receiving, lnurl, self.agent, RATES, oracle, terms, PAYOUT_TERMS,
            location="http://127.0.0.1",
        )  # fmt: skip
        paying = Paying(db, clock, self.wallet, lnurl, self.bell, PAYOUT_TERMS, system_random)
        self.worker = Worker(db, clock, self.bell, {**self.sessions.handlers, payouts.PAY: paying.pay}, concurrency=1)

    async def aclose(self) -> None:
        await self.sessions.aclose(5.0)
        await self.wallet.aclose()

    async def opened(self, amount: Sats = DEPOSIT, pubkey: str | None = None) -> SessionView:
        view = await self.sessions.open(amount, pubkey=pubkey)
        return await self.paid(view)

    async def paid(self, view: SessionView, received: Sats | None = None) -> SessionView:
        """The deposit arrives, and we are told."""
        await self.customer.pay(view.deposit.payment_request, received.msats if received else None, late=True)
        await self.receiving.look(view.deposit.payment_hash)
        return await self.sessions.view(view.id)

    async def permit(self, view: SessionView, *caveats: str, path: str = PATH, capability: str = "session") -> Permit:
        """The session's own macaroon, or a narrowed one, brought and checked."""
        assert view.macaroon is not None
        macaroon = decode(view.macaroon)
        for caveat in caveats:
            macaroon = macaroon.with_caveat(caveat)
        return await self.sessions.authorize(macaroon.encode(), Use(capability, path, self.clock.now_ms()), session_id=view.id)

    async def ask(self, view: SessionView, text: str = "What is 6 * 7?", *caveats: str, key: Any = None) -> RequestView:
        return await self.sessions.request(await self.permit(view, *caveats), text, key=key)

    async def known(self, pubkey: str = ALICE, score: int = 60) -> str:
        """Somebody with a past."""
        await self.db.write(_set_score, pubkey, score, self.clock.now_ms())
        return pubkey

    async def pool_holds(self, amount: Sats) -> None:
        await self.db.write(pool.seed, amount.msats, self.clock.now_ms())

    async def balance(self, account: str) -> Msats:
        return await self.db.read(available, account)

    async def books(self) -> dict[str, tuple[int, int]]:
        """Every account that holds something, and what of it is reserved."""
        rows = await self.db.read(_accounts)
        return {row["id"]: (row["balance_msat"], row["reserved_msat"]) for row in rows if row["balance_msat"] or row["reserved_msat"]}

    async def everything(self) -> dict[str, list[Row]]:
        """What a refusal must leave as it is."""
        return await self.db.read(_everything)

    async def refused(self, asking: Any, kind: type[Refusal]) -> Refusal:
        """It is refused, and nothing has changed."""
        before = await self.everything()
        try:
            await asking
        except kind as refusal:
            assert await self.everything() == before, "a refusal changed something"
            return refusal
        raise AssertionError(f"not refused with {kind.__name__}")

    async def check(self) -> None:
        """Every promise about money that we know of."""
        checks = [check for audit in (ledger_audit, pool_audit, session_audit) for check in await self.db.read(audit)]
        assert [check for check in checks if not check.holds] == []
        for rows in (lightning_store.live_and_owed, lightning_store.uncredited):
            assert await self.db.read(rows) == []

    async def wallet_agrees(self) -> None:
        held = -(await self.books()).get(chart.LIGHTNING, (0, 0))[0]
        assert held == (await self.wallet.balance()).value - Sats(100_000).msats.value


async def at_home(db: Database, clock: ManualClock) -> AsyncIterator[House]:
    """For a fixture: whatever a test does, the books must be right after it."""
    house = House(db, clock)
    await house.wallet.balance()
    yield house
    await house.aclose()
    await house.check()


async def _no_fetch(_: str) -> bytes:
    raise AssertionError("there are no price sources")


def _set_score(tx: Tx, pubkey: str, score: int, at_ms: int) -> None:
    identity_store.open_identities(tx, [pubkey], at_ms)
    tx.run("UPDATE identities SET score = :score, scored_at_ms = :at_ms WHERE pubkey = :pubkey", pubkey=pubkey, score=score, at_ms=at_ms)


def _accounts(tx: Tx) -> list[Row]:
    return tx.all("SELECT id, balance_msat, reserved_msat FROM accounts ORDER BY id")


def _everything(tx: Tx) -> dict[str, list[Row]]:
    tables = ("transfers", "sessions", "session_requests", "tasks", "events", "idempotency", "payouts", "grants", "score_changes")
    held = "SELECT * FROM accounts WHERE balance_msat <> 0 OR reserved_msat <> 0 ORDER BY id"
    return {"accounts": tx.all(held), **{table: tx.all(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables}}
