"""An order's life, lived as often as the server has to be started: deterministic, in one process, without waiting. As lives.py for jobs."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from tests.chaos.endings import When
from tests.chaos.lives import ADDRESS, PAYOUT_TERMS, SUBMIT_KEY, TTL_SECONDS, _balance, _reserved
from tests.chaos.node_cloud import PlayedCloud, Sky
from tests.chaos.node_endings import NodeEnding
from tests.chaos.world import NODE_FLOAT, Crash, Node, Points, Street, World
from timmy.app.books import all_checks
from timmy.bootstrap import Bootstraps, BootstrapView, CleanUp, KeyRoom, OrderTokens, Provisioner, State, Terms, machine, store
from timmy.bootstrap import flow as bootstrap_flow
from timmy.bootstrap.call_home import Report
from timmy.bootstrap.clean_up import ERASE
from timmy.bootstrap.desk import AGAIN_WITHIN_MS, BootstrapOver, MachineNotKnownYet
from timmy.bootstrap.model import KeyState
from timmy.bootstrap.protocol import ToInvoice, Wanted
from timmy.clock import SECOND_MS
from timmy.db import Database, DatabaseDown, open_database
from timmy.db.postgres import PostgresDatabase
from timmy.ledger import chart
from timmy.lightning import payouts
from timmy.lightning import store as lightning_store
from timmy.lightning.lnurl import LnurlClient
from timmy.lightning.paying import Paying
from timmy.lightning.payouts import InvoiceUsed, PayoutInProgress
from timmy.lightning.receiving import LAPSE_GRACE_MS, Receiving
from timmy.money import Msats, Sats
from timmy.tasks import Bell, Worker
from timmy.tasks import store as task_store

FEE = Sats(10_000)
ROUNDS_MAX = 200
PATIENCE_SECONDS = 300
POLL_SECONDS = 15.0
OWN_KEY = (
    Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\x07").public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
)
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
SECRET = bytes(31) + b"\x09"


class CrashingKeys(KeyRoom):
    """A folder of seals whose server can die before and after it is touched."""

    def __init__(self, folder: Path, world: World) -> None:
        super().__init__(folder, world.random_bytes)
        self._world = world

    def seal(self, order_id: str, text: str) -> str:
        self._world.points("before seal")
        sealed = super().seal(order_id, text)
        self._world.points("after seal")
        return sealed

    def destroy(self, order_id: str) -> None:
        self._world.points("before destroy")
        super().destroy(order_id)
        self._world.points("after destroy")


@dataclass(frozen=True, slots=True)
class Server:
    db: Database
    desk: Bootstraps
    cloud: PlayedCloud
    receiving: Receiving
    worker: Worker
    kinds: list[str]


@dataclass(slots=True)
class Customer:
    """What whoever ordered has in their hands: it survives the server."""

    order_id: str = ""
    claim_token: str = ""
    private_key: str | None = None
    erased_seen: bool = False


@dataclass(frozen=True, slots=True)
class NodeLife:
    view: BootstrapView
    sky: Sky
    world: World
    customer: Customer
    points: list[list[str]]

    @property
    def cost_msat(self) -> int:
        return self.world.paid_in - self.world.paid_back - self.view.refund.credit.value

    @property
    def crashes(self) -> int:
        return len(self.points) - 1


@asynccontextmanager
async def server(url: str, world: World, sky: Sky, folder: Path) -> AsyncIterator[Server]:
    postgres = url.startswith("postgresql")
    db: Database = PostgresDatabase(url, writers=1, probe=world.points) if postgres else open_database(url, probe=world.points)
    clock, bell, node, cloud = world.clock, Bell(), Node(world), PlayedCloud(sky)
    keys, tokens = CrashingKeys(folder, world), OrderTokens(SECRET)
    terms = Terms("http://timmy.test", "regtest", sky.ending.volume, PATIENCE_SECONDS, POLL_SECONDS)
    try:
        receiving = Receiving(
            db, clock, node, bell, ttl_seconds=TTL_SECONDS, on_paid=bootstrap_flow.ON_PAID, on_lapsed=bootstrap_flow.ON_LAPSED
        )
        paying = Paying(
            db, clock, node, cast(LnurlClient, Street(world)), bell, PAYOUT_TERMS, world.random_bytes, bootstrap_flow.payout_ended
        )
        desk = Bootstraps(db, clock, bell, world.random_bytes, receiving, paying, keys, tokens, fee=FEE, cloud=cloud.name)
        made = Provisioner(db, clock, bell, cloud, keys, tokens, terms, monotonic=lambda: clock.now_ms() / SECOND_MS)
        ended = CleanUp(db, clock, bell, cloud, keys, paying, look_again_seconds=POLL_SECONDS)
        handlers = {
            machine.PROVISION: made.provision, machine.CLEAN_UP: ended.clean_up, machine.REFUND_TO: ended.refund_to, ERASE: ended.erase,
            payouts.PAY: paying.pay,
        }  # fmt: skip
        yield Server(db, desk, cloud, receiving, Worker(db, clock, bell, handlers, concurrency=1), list(handlers))
    finally:
        await db.aclose()


async def live_through(url: str, ending: NodeEnding, crash_at: Sequence[int] = ()) -> NodeLife:
    """From the order to the last sat and the erased key; every check that we know of is made at the end."""
    world = World(ending.of_the_world)
    sky, customer = Sky(ending, world), Customer()
    points: list[list[str]] = []
    random.seed(ending.name)
    folder = Path(tempfile.mkdtemp(prefix="timmy-seals-", dir=MEMORY))
    try:
        for at in (*crash_at, None):
            world.points = Points(at)
            try:
                async with server(url, world, sky, folder) as running:
                    view = await _live(running, world, sky, customer)
                    await _check(running, world, sky, view, folder)
                points.append(world.points.labels)
                break
            except Crash:
                points.append(world.points.labels)
            except DatabaseDown:  # whoever was told of the death was not awaited by us; the dead process's database answers nobody else
                if not world.points.is_dead:
                    raise
                points.append(world.points.labels)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    life = NodeLife(view, sky, world, customer, points)
    _check_fairness(life, ending)
    return life


async def _live(running: Server, world: World, sky: Sky, customer: Customer) -> BootstrapView:
    ending = sky.ending
    wanted = Wanted(public_key=OWN_KEY if ending.own_key else None, refund_to=ADDRESS if ending.refund_to else None)
    made = await running.desk.order(wanted, key=SUBMIT_KEY)
    customer.order_id, customer.claim_token = made.id, made.claim_token
    for _ in range(ROUNDS_MAX):
        view = await running.desk._load(made.id)
        if await _is_over(running, view, sky, customer):
            return view
        await _pay(running, view, world, ending)
        await running.receiving.sweep_once()
        done = await running.worker.run_due()
        done += await _call_home(running, view)
        view = await running.desk._load(made.id)
        done += await _collect(running, view, customer)
        if view.state.is_final and view.refund.owed.value and view.refund.destination is None and not ending.refund_to:
            await _claim(running, world, view)
            done += 1
        if not done:
            await _wait(running, world, view)
    raise AssertionError(f"{ending.name}: no end of it: {view}")


async def _pay(running: Server, view: BootstrapView, world: World, ending: NodeEnding) -> None:
    pays = ending.pays
    if view.invoice.settled or pays.when is When.NEVER or (pays.when is When.LATE and view.state is not State.EXPIRED):
        return
    hash = view.invoice.payment_hash
    world.pay(hash, Msats(view.invoice.amount.msats.value * pays.tenths // 10))
    await running.receiving.hint(hash)
    await running.receiving.report(hash, world.ours[hash].received or Msats(0))


async def _call_home(running: Server, view: BootstrapView) -> int:
    """The machines that are up say so, until they are heard."""
    heard = 0
    for order_id, token, _ in running.cloud.calling():
        if view.state is State.READY:
            continue
        try:
            await running.desk.called_home(order_id, token, Report("http://node:5000", "node.ts.net"))
            heard += 1
        except (MachineNotKnownYet, BootstrapOver):
            continue
    return heard


async def _collect(running: Server, view: BootstrapView, customer: Customer) -> int:
    """The customer asks for the key; if the answer was lost with the server, again, with what shows that it is they who ask."""
    if view.key.state not in (KeyState.WAITING, KeyState.DELIVERED) or customer.private_key is not None:
        return 0
    claim = customer.claim_token if view.key.state is KeyState.DELIVERED else None
    _, key = await running.desk.collect(view.id, claim)
    assert key is not None, "the customer may have it, and does not get it"
    customer.private_key = key
    _, again = await running.desk.collect(view.id)
    assert again is None, "whoever merely looks gets it a second time"
    return 1


async def _claim(running: Server, world: World, view: BootstrapView) -> None:
    """The customer asks for what is owed, twice."""
    claims = [claim for claim in world.theirs.values() if claim.amount == view.refund.owed.msats]
    try:
        request = claims[-1].request if claims else world.customer_invoice(view.refund.owed.msats)
        await running.desk.refund(view.id, ToInvoice(request))
        await running.desk.refund(view.id, ToInvoice(request))
    except InvoiceUsed:
        await running.desk.refund(view.id, ToInvoice(world.customer_invoice(view.refund.owed.msats)))
    except PayoutInProgress:
        return


async def _wait(running: Server, world: World, view: BootstrapView) -> None:
    """Nothing can be done now: on to the next moment at which something can."""
    now_ms = world.clock.now_ms()
    due_ms = await running.db.read(task_store.next_due, running.kinds)
    expiry_ms = view.invoice.expires_at_ms + LAPSE_GRACE_MS if view.state is State.AWAITING_PAYMENT else None
    looks_ms = await running.db.read(lightning_store.next_look) if due_ms is None else None
    moments = [at_ms for at_ms in (due_ms, expiry_ms or looks_ms) if at_ms is not None]
    world.clock.advance(ms=max(SECOND_MS, min(moments, default=now_ms) - now_ms))


async def _is_over(running: Server, view: BootstrapView, sky: Sky, customer: Customer) -> bool:
    if not view.state.is_final or view.refund.owed.value or await running.db.read(task_store.next_due, running.kinds) is not None:
        return False
    if view.state is State.READY and not sky.ending.own_key and customer.private_key is None:
        return False
    return sky.ending.pays.when is not When.LATE or view.invoice.settled


# what must be true at the end ------------------------------------------------------------------------


async def _check(running: Server, world: World, sky: Sky, view: BootstrapView, folder: Path) -> None:
    db = running.db
    broken = [check for check in await db.read(all_checks) if not check.holds]
    assert not broken, broken
    assert await db.read(task_store.waiting) == []
    assert await db.read(lightning_store.obligations_open, None, 10) == []
    assert await db.read(_reserved) == 0
    assert -await db.read(_balance, chart.LIGHTNING) == world.node - NODE_FLOAT.value, "the node and the books disagree"
    assert await db.read(_balance, chart.POOL) == 0, "the pool has no share of a node's fee"
    earned = await db.read(_balance, chart.REVENUE)
    assert earned == (FEE.msats.value if view.state is State.READY else 0)
    credit = await db.read(_balance, chart.bootstrap(view.id))
    assert credit == view.refund.credit.value < 1_000
    assert earned + credit == world.paid_in - world.paid_back, "the customer lost exactly what was earned, and part of a sat"
    row = await db.read(store.find, view.id)
    assert row is not None
    assert row["sealed_key"] is None
    assert row["sealed_join_key"] is None
    assert not any(name.startswith("bst_") for name in os.listdir(folder)), "a seal was left"
    if view.state is State.READY and not sky.ending.own_key:
        assert view.key.state is KeyState.ERASED
        assert row["erased_at_ms"] >= row["delivered_at_ms"] + AGAIN_WITHIN_MS
        assert (await running.desk.collect(view.id, running.desk._tokens.claim(view.id)))[1] is None


def _check_fairness(life: NodeLife, ending: NodeEnding) -> None:
    view, sky = life.view, life.sky
    assert view.state is ending.state, (view.state, view.reason)
    assert life.cost_msat == (FEE.msats.value if ending.costs_fee else 0)
    assert sky.made <= 1, "two machines were made"
    ready = view.state is State.READY
    assert len(sky.machines) == ready, "a machine is left that nobody wants, or one is missing"
    assert len(sky.volumes) == (ready and ending.volume)
    assert sky.keys == {}
    assert sky.join_keys == {}
    if ready and not ending.own_key:
        assert life.customer.private_key is not None
        private = load_ssh_private_key(life.customer.private_key.encode(), None)
        public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        (only,) = sky.machines.values()
        assert public in only.wanted.user_data, "the key that was handed over opens the machine that stands"
    assert all(theirs.arrivals <= 1 for theirs in life.world.theirs.values()), "one invoice was paid twice"
    assert sum(theirs.arrivals for theirs in life.world.theirs.values()) <= 1, "one obligation was paid twice"
