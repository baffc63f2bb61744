"""The server dies at each point of a session's life, and is started again: the books are right, nobody pays for what they did not get, and
what was paid in is there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psycopg
import pytest
from tests.chaos.grid import HEAVY, Shop, SqliteShop
from tests.chaos.world import Crash, Points
from tests.contract.session_house import ALICE, PATH, Agent, House

from timmy.clock import ManualClock
from timmy.db import Database, open_database
from timmy.db.postgres import PostgresDatabase
from timmy.idempotency import Key
from timmy.ledger import chart
from timmy.lightning.wallets.protocol import WalletDown
from timmy.models import Completion, Prompt
from timmy.money import Sats
from timmy.sessions import RequestState, RequestView, SessionState, SessionView
from timmy.sessions.begin import REAP_AFTER_MS
from timmy.sessions.protocol import Offer, RefundState, ToInvoice, Use
from timmy.sessions.refusals import RequestInProgress
from timmy.tasks import store as task_store

DEPOSIT, TOPUP, POOL = Sats(1_000), Sats(200), Sats(2)
COST, LIMIT = 3_570, "max_sats=100"
BODY = "0" * 64


class MortalAgent(Agent):
    """The points at which the server can die include those around its calls of the model."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    async def complete(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> Completion:
        self.world.points("before complete")
        completion = await super().complete(prompt, model=model, max_output_tokens=max_output_tokens)
        self.world.points("after complete")
        return completion


@dataclass
class World:
    """What lives on when the server dies: its clock, the model and what it was asked, the customer and what they know."""

    clock: ManualClock = field(default_factory=ManualClock)
    points: Points = field(default_factory=Points)
    claims: dict[int, str] = field(default_factory=dict)
    answer: RequestView | None = None
    offer: Offer | None = None

    def __post_init__(self) -> None:
        self.agent = MortalAgent(self)


@asynccontextmanager
async def started(url: str, world: World) -> AsyncIterator[House]:
    def probe(label: str) -> None:
        world.points(label)

    postgres = url.startswith("postgresql")
    db: Database = PostgresDatabase(url, writers=1, probe=probe) if postgres else open_database(url, probe=probe)
    street = open_database(url)  # the wallet and the customer are other processes: they do not die with ours
    try:
        yield House(db, world.clock, agent=world.agent, street=street)
    finally:
        await db.aclose()
        await street.aclose()


# what the customer does, again and again until it is done ---------------------------------------------


async def opened(house: House, world: World) -> SessionView:
    return await house.sessions.open(DEPOSIT, pubkey=ALICE, key=Key("open", BODY))


async def deposited(house: House, world: World) -> SessionView:
    return await house.paid(await opened(house, world))


async def asked(house: House, world: World) -> SessionView:
    view = await house.sessions.view((await opened(house, world)).id)
    try:
        world.answer = await house.ask(view, "What is 6 * 7?", LIMIT, key=Key("ask", BODY))
    except RequestInProgress:  # its owner is dead, but nobody can know that yet
        world.clock.advance(ms=REAP_AFTER_MS)
        await house.worker.run_due()
        world.answer = await house.ask(view, "What is 6 * 7?", LIMIT, key=Key("ask", BODY))
    return view


async def topped_up(house: House, world: World) -> SessionView:
    view = await opened(house, world)
    invoice = await house.sessions.topup(view.id, TOPUP, key=Key("topup", BODY))
    await house.customer.pay(invoice.payment_request)
    await house.receiving.look(invoice.payment_hash)
    return view


async def offered(house: House, world: World) -> SessionView:
    """As a client of L402 does: it pays what a 402 offers, once, and comes back with the key of that."""
    view = await opened(house, world)
    offer = world.offer = world.offer or await house.sessions.offer_into(view.id, TOPUP)
    await house.customer.pay(offer.invoice.payment_request)
    await house.receiving.look(offer.invoice.payment_hash)
    await house.sessions.authorize(offer.macaroon, Use("session", PATH, world.clock.now_ms()), session_id=view.id)
    return view


async def closed(house: House, world: World) -> SessionView:
    view = await house.sessions.view((await opened(house, world)).id)
    left = view.balance.floor_sats() if view.closed_at_ms is None else view.refund.owed + view.refund.paid
    if left.value not in world.claims:
        world.claims[left.value] = await house.customer.create_invoice(left.msats)
    return await house.sessions.close(await house.permit(view), ToInvoice(world.claims[left.value]))


async def paid_out(house: House, world: World) -> SessionView:
    for _ in range(20):
        await house.worker.run_due()
        view = await house.sessions.view((await opened(house, world)).id)
        if view.refund.state is RefundState.PAID:
            return view
        world.clock.advance(seconds=61)
    raise AssertionError(f"never paid out: {view.refund}")


Step = Callable[[House, World], Awaitable[SessionView]]
STEPS: tuple[Step, ...] = (opened, deposited, asked, topped_up, offered, closed, paid_out)


async def lived(url: str, mortal: Step, at: int | None) -> tuple[World, list[str]]:
    """A whole life, in which the server dies at one point of one step; answers the points of that step."""
    labels: list[str] = []
    world, died = World(), False
    async with started(url, world) as house:
        await house.pool_holds(POOL)
        await house.known()
        await house.wallet.balance()
        await house.customer.balance()
    for step in STEPS:
        while True:
            world.points = Points(at) if step is mortal and not died else Points()
            try:
                async with started(url, world) as house:
                    await step(house, world)
                labels = world.points.labels if step is mortal and not died else labels
                break
            except Crash:
                died = True
            except WalletDown:  # the node is there; our database was gone under it
                died = True
    world.points = Points()
    async with started(url, world) as house:
        await all_is_right(house, world)
    return world, labels


async def all_is_right(house: House, world: World) -> None:
    await house.check()
    await house.wallet_agrees()
    view = await house.sessions.view((await opened(house, world)).id)
    answer = world.answer
    assert answer is not None
    assert view.state is SessionState.EXPIRED
    assert answer.state in (RequestState.COMPLETE, RequestState.FAILED)
    cost = COST if answer.state is RequestState.COMPLETE else 0
    assert answer.debited.value + answer.absorbed.value == cost, "all of it was charged, or nothing"
    books = await house.books()
    in_all = (DEPOSIT + TOPUP + TOPUP).msats.value
    assert view.refund.paid.msats.value + view.balance.value == in_all - answer.debited.value
    assert [account for account, (_, reserved) in books.items() if reserved] == []
    assert books.get(chart.POOL, (0, 0))[0] == POOL.msats.value - answer.absorbed.value + answer.debited.value // 10
    assert await house.db.read(task_store.waiting) == []
    assert world.agent.calls["work"] <= 1, "a request is worked on once, and never again at anybody's expense"


async def dies_everywhere(shop: Shop, step: Step, stride: int) -> set[RequestState]:
    """How the request ended, in all those lives."""
    _, points = await lived(await shop.empty(), step, None)
    assert len(points) > 10, "a step of a session is more than that"
    ends = set()
    for at in range(1, len(points) + 1, stride):
        world, _ = await lived(await shop.empty(), step, at)
        assert world.answer is not None
        ends.add(world.answer.state)
    return ends


class Cleared:
    """One PostgreSQL database, emptied of everything before each life."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def empty(self) -> str:
        await open_database(self._url).aclose()
        with psycopg.connect(self._url, autocommit=True) as admin:
            admin.execute("SET session_replication_role = replica")  # transfers may not be deleted; here they may
            tables = admin.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            for table in {str(name) for (name,) in tables} - {"schema_migrations", "counters"}:
                admin.execute(f"DELETE FROM {table}".encode())
        return self._url


@pytest.mark.fault("C03", "C07", "C08", "C10", "C11", "C12", "C13", "C14", "C16")
@pytest.mark.parametrize("step", STEPS)
async def test_dead_at_any_point_of_a_sessions_life_on_sqlite(step: Step) -> None:
    shop = SqliteShop()
    try:
        ends = await dies_everywhere(shop, step, 1 if HEAVY else 5 if step is asked else 16)
    finally:
        shop.close()
    assert ends == ({RequestState.COMPLETE, RequestState.FAILED} if step is asked else {RequestState.COMPLETE})


@pytest.mark.fault("C07", "C10", "C16")
async def test_dead_at_any_point_of_a_request_on_postgres(postgres_url: str) -> None:
    ends = await dies_everywhere(Cleared(postgres_url), asked, 1 if HEAVY else 14)
    assert ends == {RequestState.COMPLETE, RequestState.FAILED}
