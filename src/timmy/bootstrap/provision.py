"""Making a node, step by step. Each step finds what an earlier life of it has made, writes down what it will do before it does it, and may
be taken over by anybody at any point.

The machine is the one thing that must not be made twice: it costs money for as long as it stands. So the try is noted first, a machine is
looked for by its tag and its name before one is asked for, and after a try whose outcome nobody knows nothing is asked for until whatever
came of it would show. Who has stood still between noting a try and making it makes none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from timmy import events, tasks
from timmy.bootstrap import machine, store
from timmy.bootstrap.call_home import OrderTokens
from timmy.bootstrap.cloud import Cloud, CloudBusy, CloudDown, CloudRefused, Machine, MachineWanted, Status, name_of
from timmy.bootstrap.cloud_init import render
from timmy.bootstrap.flow import advance
from timmy.bootstrap.held import WORDS as HELD_WORDS
from timmy.bootstrap.held import is_held
from timmy.bootstrap.keys import KeyRoom, SealBroken, make_pair
from timmy.bootstrap.machine import Broke, IllegalTransition
from timmy.bootstrap.model import KeyKind, State
from timmy.bootstrap.node_plan import DISK_GB_MIN, Network, NodePlan
from timmy.clock import SECOND_MS, Clock
from timmy.db import Database, Row, Tx
from timmy.errors import Breach, Outage
from timmy.events import NewEvent
from timmy.tasks import AskAgainLater, Bell, Task
from timmy.tasks.book import holds
from timmy.tasks.worker import FAILURES_BEFORE_PARKING

DEATHS_MAX = 20  # a life that ends in each of its steps, and some more
OURS_BROKE = "Something of ours broke on this order, and would break again."
BUSY_PAUSE_SECONDS, HELD_PAUSE_SECONDS = 5.0, 15.0
VOLUME_DEVICE = "/dev/disk/by-id/scsi-0DO_Volume_{name}"  # docs.digitalocean.com, "How to Mount Volumes"

log = structlog.get_logger("timmy.bootstrap")


@dataclass(frozen=True, slots=True)
class Terms:
    """What is made, and how long anybody waits for it."""

    public_url: str  # where a machine calls home
    network: Network
    with_volume: bool
    patience_seconds: int  # from the payment on; then it fails, and everything is owed back
    poll_seconds: float = 5.0


class Provisioner:
    def __init__(
        self,
        db: Database,
        clock: Clock,
        bell: Bell,
        cloud: Cloud,
        keys: KeyRoom,
        tokens: OrderTokens,
        terms: Terms,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._clock = clock
        self._bell = bell
        self._cloud = cloud
        self._keys = keys
        self._tokens = tokens
        self._terms = terms
        self._monotonic = monotonic

    async def provision(self, task: Task) -> None:
        """Handler. Ends with the order ready (by its machine's call) or failed; until then it raises AskAgainLater, each time."""
        row = await self._db.read(store.find, task.subject)
        if row is None or State(row["state"]) is not State.PROVISIONING:
            await self._db.write(tasks.finish, [task])
            return
        if await self._db.read(is_held, row):
            await self._note(task, progress=HELD_WORDS)
            raise AskAgainLater("it is held after a restore", after_seconds=HELD_PAUSE_SECONDS)
        if task.failures >= DEATHS_MAX:
            return await self._break(task, f"The making of the node was begun {DEATHS_MAX} times and did not come to an end.")
        if row["cloud"] != self._cloud.name:
            return await self._break(task, "It was ordered at another cloud than the one that this server uses now.")
        try:
            await self._make(task, row)
        except CloudRefused as refused:
            await self._break(task, f"The machine could not be had: {refused.message}")
        except CloudDown as down:
            await self._wait(task, row, down)
        except (Breach, SealBroken) as broken:
            log.error("bootstrap.broke", order=task.subject, why=str(broken))
            await self._break(task, OURS_BROKE)
        except (AskAgainLater, Outage):
            raise
        except Exception:
            # The last time before the task would be laid aside, and the customer's sats with it, until an operator comes.
            if task.failures + 1 < FAILURES_BEFORE_PARKING:
                raise
            log.exception("bootstrap.broke", order=task.subject)
            await self._break(task, OURS_BROKE)

    async def _make(self, task: Task, row: Row) -> None:
        if row["tried_at_ms"] is None and row["machine"] is None and self._is_patience_over(row):
            # We were away for so long: a machine that is rented now would be taken away at once, and paid for.
            return await self._break(task, "The machine was not ordered in the time that was promised.")
        row = await self._with_keys(task, row)
        row = await self._with_join_key(task, row)
        if row["machine"] is None:
            row = await self._with_machine(task, row)
        found = await self._cloud.machine(row["machine"])
        if found is None:
            return await self._break(task, "The cloud has taken the machine away again.")
        if found.status is not Status.ACTIVE or found.address is None:
            await self._note(task, progress="The machine is starting.")
        elif found.address != row["address"]:
            words = "The machine is up. Bitcoin, Lightning and LNbits are being installed on it: this takes some minutes."
            await self._note(task, address=found.address, progress=words)
        if self._is_patience_over(row):
            return await self._break(task, "The machine did not call home in the time that it was given.")
        raise AskAgainLater("the machine has not called home yet", after_seconds=self._terms.poll_seconds)

    # the keys --------------------------------------------------------------------------------------------

    async def _with_keys(self, task: Task, row: Row) -> Row:
        kind = KeyKind(row["key_kind"])
        if kind is KeyKind.OWN or row["sealed_key"]:
            return row
        if row["public_key"] is not None:
            # A backup has no private keys. Made anew, the key would not open a machine that knows the other half of the old one.
            raise SealBroken(row["id"])
        pair = await asyncio.to_thread(make_pair, kind, name_of(row["id"]))
        sealed = self._keys.seal(row["id"], pair.private)
        return await self._note(task, public_key=pair.public, sealed_key=sealed, progress="The keys are made.")

    async def _with_join_key(self, task: Task, row: Row) -> Row:
        if row["join_key"] is not None:
            return row
        made = await self._cloud.make_join_key(row["id"])
        if made is None:
            return await self._note(task, join_key="")
        return await self._note(task, join_key=made.id, sealed_join_key=self._keys.seal(row["id"], made.secret))

    # the machine -----------------------------------------------------------------------------------------

    async def _with_machine(self, task: Task, row: Row) -> Row:
        key = await self._cloud.upload_key(row["id"], row["public_key"])
        volume = await self._cloud.make_volume(row["id"]) if self._terms.with_volume else None
        await self._note(task, cloud_key=key.id, **({"volume": volume.id} if volume else {}))
        there = await self._cloud.machines(row["id"])
        if there:
            return await self._adopt(task, there)
        tried_at_ms = row["tried_at_ms"]
        settled_at_ms = (tried_at_ms or 0) + self._cloud.settles_within_seconds * SECOND_MS
        if tried_at_ms is not None and self._is_patience_over(row):
            raise CloudDown("The cloud did not make the machine.")
        if tried_at_ms is not None and self._clock.now_ms() < settled_at_ms:
            raise AskAgainLater("a machine was asked for; whether it was made has to show", after_seconds=self._terms.poll_seconds)
        user_data = render(await self._plan(row, volume is not None))
        made = await self._try(task, MachineWanted(row["id"], user_data, key.id, volume.id if volume else None))
        return await self._note(task, machine=made.id, progress="A machine is ordered.")

    async def _adopt(self, task: Task, there: list[Machine]) -> Row:
        """The oldest is the one. Others are not left to stand: without the look at all of them, a second one would be paid for for ever."""
        for extra in there[1:]:
            log.error("bootstrap.second_machine", order=task.subject, machine=extra.id)
            await self._cloud.destroy_machine(extra.id)
        return await self._note(task, machine=there[0].id, progress="The machine is there.")

    async def _try(self, task: Task, wanted: MachineWanted) -> Machine:
        begun_seconds, now_ms = self._monotonic(), self._clock.now_ms()
        if not await self._db.write(_note_try, task, now_ms):
            raise AskAgainLater("another worker has taken this over")
        # A process that was stopped here and goes on an hour later would make what somebody else has looked for, not found, and made.
        passed_seconds = max(self._monotonic() - begun_seconds, (self._clock.now_ms() - now_ms) / SECOND_MS)
        if passed_seconds * 4 > self._cloud.settles_within_seconds:
            raise AskAgainLater("this process stood still between noting a try and making it", after_seconds=self._terms.poll_seconds)
        try:
            return await self._cloud.make_machine(wanted)
        except (CloudBusy, CloudRefused):
            await self._db.write(_note_try, task, None)  # it says that nothing was made: there is nothing to wait for
            raise
        except CloudDown as down:
            await self._note(task, progress="The cloud did not say whether it has made the machine. We look whether it shows.")
            raise AskAgainLater(down.message, after_seconds=self._terms.poll_seconds) from None

    async def _plan(self, row: Row, has_volume: bool) -> NodePlan:
        disk_gb = await self._cloud.disk_gb()
        least_gb = DISK_GB_MIN[self._terms.network]
        if disk_gb < least_gb:
            raise CloudRefused(f"A disk of {disk_gb} GB is too small for a node: it takes at least {least_gb}.")
        secret = self._keys.open(row["id"], row["sealed_join_key"]) if row["sealed_join_key"] else None
        return NodePlan(
            hostname=name_of(row["id"]),
            network=self._terms.network,
            disk_gb=disk_gb,
            ssh_public_keys=(row["public_key"],),
            call_home_url=f"{self._terms.public_url}/api/bootstrap/{row['id']}/call-home",
            call_home_token=self._tokens.call_home(row["id"]),
            tailscale_auth_key=secret,
            volume_device=VOLUME_DEVICE.format(name=name_of(row["id"])) if has_volume else None,
        )

    # all of them -----------------------------------------------------------------------------------------

    def _is_patience_over(self, row: Row) -> bool:
        waited_ms: int = self._clock.now_ms() - row["moved_at_ms"]
        return waited_ms >= self._terms.patience_seconds * SECOND_MS

    async def _wait(self, task: Task, row: Row, down: CloudDown) -> None:
        """What we depend on is down: the order says so and waits, but not for ever."""
        if self._is_patience_over(row):
            return await self._break(task, f"{down.message} Timmy waited as long as it promised to, and gave up.")
        await self._note(task, progress=f"{down.message} Timmy tries again.")
        after_seconds = down.after_seconds or BUSY_PAUSE_SECONDS if isinstance(down, CloudBusy) else None
        raise AskAgainLater(down.message, after_seconds=after_seconds)

    async def _note(self, task: Task, **learned: str) -> Row:
        """Write it down, if the task is still ours; the order as it is then."""
        row = await self._db.write(_note, task, self._clock.now_ms(), learned)
        if row is None:
            raise AskAgainLater("another worker has taken this over")
        self._bell.tell()
        return row

    async def _break(self, task: Task, reason: str) -> None:
        log.warning("bootstrap.failed", order=task.subject, why=reason)
        await self._db.write(_finish, task, Broke(reason), self._clock.now_ms())
        self._bell.ring()


def _note(tx: Tx, task: Task, at_ms: int, learned: dict[str, Any]) -> Row | None:
    """None: another worker has it, or the node is being made no longer."""
    if not holds(tx, task):
        return None
    before = store.lock(tx, [task.subject])[task.subject]
    if State(before["state"]) is not State.PROVISIONING:
        return None
    store.note(tx, task.subject, **learned)
    if learned.get("progress", before["progress"]) != before["progress"]:
        events.append(tx, at_ms, [NewEvent(task.subject, "progress", {"message": learned["progress"]})])
    return store.find(tx, task.subject)


def _note_try(tx: Tx, task: Task, at_ms: int | None) -> bool:
    return holds(tx, task) and store.note_try(tx, task.subject, at_ms)


def _finish(tx: Tx, task: Task, event: machine.Event, at_ms: int) -> None:
    """End the task and move the order, together or not at all. What a claimant brings whose lease has passed on is dropped."""
    if task.id not in tasks.finish(tx, [task]):
        return
    try:
        advance(tx, task.subject, event, at_ms)
    except IllegalTransition as illegal:
        log.warning("bootstrap.outcome_dropped", order=task.subject, why=illegal.message)
