"""What is done after an order has ended: nothing is left at the cloud that nobody wants, the refund goes where it was asked for, and a key
that was handed over is erased.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from timmy import events, tasks
from timmy.bootstrap import machine, store
from timmy.bootstrap.cloud import Cloud, CloudRefused, Machine, Status, order_of_tags
from timmy.bootstrap.flow import REFUND_ADDRESS
from timmy.bootstrap.keys import KeyRoom
from timmy.bootstrap.model import KeyKind, State
from timmy.bootstrap.stopping import is_stopped
from timmy.clock import SECOND_MS, Clock
from timmy.db import Database, Row, Tx
from timmy.errors import Refusal
from timmy.events import NewEvent
from timmy.ledger import chart
from timmy.lightning import payouts
from timmy.lightning.lnurl import DestinationDown, LnurlRefused
from timmy.lightning.paying import Paying
from timmy.lightning.payouts import NothingOwed, PayoutInProgress
from timmy.tasks import AskAgainLater, Bell, NewTask, Task
from timmy.tasks.book import holds, put_back

ERASE, SWEEP = "bootstrap_erase_key", "bootstrap_sweep"
SWEEP_EVERY_SECONDS = 600.0
REFUSED_PAUSE_SECONDS = 300.0
REFUND_TO_ATTEMPTS_MAX = 200  # more than a week, at an hour between them; then the sats stay claimable by hand
REFUND_TO_PAUSE_MAX_SECONDS = 3_600

log = structlog.get_logger("timmy.bootstrap")


class CleanUp:
    def __init__(
        self, db: Database, clock: Clock, bell: Bell, cloud: Cloud, keys: KeyRoom, paying: Paying, *, look_again_seconds: float = 5.0
    ) -> None:
        self._db = db
        self._clock = clock
        self._bell = bell
        self._cloud = cloud
        self._keys = keys
        self._paying = paying
        self._look_again_seconds = look_again_seconds

    @staticmethod
    def first_sweep(at_ms: int) -> NewTask:
        """The sweep is one task for all processes; it puts itself back for ever."""
        return NewTask(SWEEP, "cloud", at_ms)

    # after an order --------------------------------------------------------------------------------------

    async def clean_up(self, task: Task) -> None:
        """Handler. It ends when nothing that was made for the order is left but what belongs to its customer, and not before: what is
        forgotten at a cloud is paid for."""
        row = await self._db.read(store.find, task.subject)
        if row is None or not State(row["state"]).is_final:
            await self._db.write(tasks.finish, [task])
            return
        if row["cloud"] != self._cloud.name:
            raise AskAgainLater("it was made at another cloud than the one that this server uses now", after_seconds=SWEEP_EVERY_SECONDS)
        try:
            await self._take_away(row)
        except CloudRefused as refused:
            log.error("bootstrap.cannot_clean_up", order=row["id"], why=refused.message)
            raise AskAgainLater(refused.message, after_seconds=REFUSED_PAUSE_SECONDS) from None
        if State(row["state"]) is State.FAILED or KeyKind(row["key_kind"]) is KeyKind.OWN:
            self._keys.destroy(row["id"])
        await self._db.write(_cleaned, task, self._clock.now_ms(), State(row["state"]) is State.FAILED)
        self._bell.tell()

    async def _take_away(self, row: Row) -> None:
        keeps = row["machine"] if State(row["state"]) is State.READY else None
        unwanted = [one for one in await self._cloud.machines(row["id"]) if one.id != keeps]
        for one in unwanted:
            await self._cloud.destroy_machine(one.id)
        if unwanted:
            raise AskAgainLater("machines are being taken away", after_seconds=self._look_again_seconds)
        settled_at_ms = (row["tried_at_ms"] or 0) + self._cloud.settles_within_seconds * SECOND_MS
        if row["tried_at_ms"] is not None and self._clock.now_ms() < settled_at_ms:
            # One that was asked for a moment ago may show yet.
            raise AskAgainLater("a machine was asked for a moment ago, and may show yet", after_seconds=self._look_again_seconds)
        if keeps is None:
            for volume in await self._cloud.volumes(row["id"]):
                await self._cloud.destroy_volume(volume.id)
            try:
                await self._cloud.drop_devices(row["id"])
            except CloudRefused as refused:  # a token for keys alone: nothing is paid for a name that is left in a list
                log.warning("bootstrap.device_stays", order=row["id"], why=refused.message)
        if row["public_key"]:
            if await self._db.read(store.others_with_key, row["id"], row["public_key"]):
                # Its machine is ordered with the id that the key has at the cloud, and would be refused without it.
                raise AskAgainLater("another order is being made with the same public key", after_seconds=self._look_again_seconds)
            await self._cloud.drop_key(row["id"], row["public_key"])  # a machine that stands has its own copy
        await self._cloud.drop_join_keys(row["id"])

    async def erase(self, task: Task) -> None:
        """Handler, due when the time has passed in which the key could be had again."""
        self._keys.destroy(task.subject)
        await self._db.write(_erased, task, self._clock.now_ms())
        self._bell.tell()

    # now and then ----------------------------------------------------------------------------------------

    async def sweep(self, task: Task) -> None:
        """Handler: what the cloud says that it holds for us, beside what we know of."""
        try:
            await self.sweep_once()
        except CloudRefused as refused:
            log.error("bootstrap.cannot_sweep", why=refused.message)
        raise AskAgainLater("sweeping", after_seconds=SWEEP_EVERY_SECONDS)

    async def sweep_once(self) -> None:
        there = await self._cloud.machines()
        named = [(volume.id, volume.name) for volume in await self._cloud.volumes()]
        await self._db.write(self._compare, there, named)
        self._bell.ring()

    def _compare(self, tx: Tx, there: list[Machine], volumes: list[tuple[str, str]]) -> None:
        now_ms = self._clock.now_ms()
        wanted = {row["id"]: row for row in store.in_state(tx, State.READY.value)}
        orders = {order_of_tags(one.tags) for one in there} - {None}
        orders |= {name.removeprefix("timmy-").replace("-", "_") for _, name in volumes}
        known = {row["id"]: row for row in store.find_all(tx, sorted(filter(None, orders))) if row is not None}
        for one in there:
            row = known.get(order_of_tags(one.tags) or "")
            if row is None:  # of another house with this account, or of a database that was lost: only a person can know
                log.warning("bootstrap.unknown_machine", machine=one.id)
            elif _is_unwanted(row, one):
                tasks.add(tx, [NewTask(machine.CLEAN_UP, row["id"], now_ms)])
        for _, name in volumes:
            row = known.get(name.removeprefix("timmy-").replace("-", "_"))
            if row is not None and State(row["state"]) in (State.FAILED, State.EXPIRED):
                tasks.add(tx, [NewTask(machine.CLEAN_UP, row["id"], now_ms)])
        self._tell_of_stopped(tx, wanted, {one.id: one for one in there}, now_ms)

    def _tell_of_stopped(self, tx: Tx, ready: Mapping[str, Row], there: Mapping[str, Machine], now_ms: int) -> None:
        for row in ready.values():
            if row["cloud"] != self._cloud.name:
                continue
            one = there.get(row["machine"])
            trouble = None
            if one is None:
                trouble = "The cloud does not have this machine any more."
            elif one.status is Status.OFF:
                trouble = row["trouble"] if is_stopped(row) else "The cloud has stopped this machine."
            if store.note_trouble(tx, row["id"], trouble):
                log.warning("bootstrap.machine_stopped", order=row["id"], why=trouble or "it runs again")
                events.append(tx, now_ms, [NewEvent(row["id"], "trouble", {"trouble": trouble})])

    # the refund ------------------------------------------------------------------------------------------

    async def refund_to(self, task: Task) -> None:
        """Pay what is owed to the address that was given with the order. If that address cannot be paid, the sats stay claimable."""
        row = await self._db.read(store.find, task.subject)
        if row is not None and row["refund_to"]:
            try:
                await self._paying.to_address(chart.owed(row["id"]), row["id"], row["refund_to"], destination=REFUND_ADDRESS)
            except NothingOwed:
                log.debug("bootstrap.refund_not_needed", order=row["id"])
            except PayoutInProgress as busy:
                raise AskAgainLater(busy.message) from None
            except (LnurlRefused, DestinationDown, Refusal) as trouble:
                if task.attempts < REFUND_TO_ATTEMPTS_MAX:
                    pause_seconds = min(REFUND_TO_PAUSE_MAX_SECONDS, 5 * 2 ** min(task.attempts, 12))
                    raise AskAgainLater(trouble.message, after_seconds=pause_seconds) from None
                log.error("bootstrap.refund_address_given_up", order=row["id"], why=trouble.message)
                await self._db.write(tasks.finish, [task])
                return
        await self._db.write(_end_refund_to, task, self._clock.now_ms())
        self._bell.ring()


def _is_unwanted(row: Row, one: Machine) -> bool:
    match State(row["state"]):
        case State.FAILED | State.EXPIRED:
            return True
        case State.READY:
            return bool(row["machine"] != one.id)
        case State.AWAITING_PAYMENT | State.PROVISIONING:
            return False


def _cleaned(tx: Tx, task: Task, at_ms: int, is_failed: bool) -> None:
    if task.id not in tasks.finish(tx, [task]):
        return
    store.note_cleaned(tx, task.subject, at_ms)
    row = store.find(tx, task.subject)
    if is_failed or (row is not None and KeyKind(row["key_kind"]) is KeyKind.OWN):
        store.erase(tx, task.subject, at_ms)


def _erased(tx: Tx, task: Task, at_ms: int) -> None:
    if task.id in tasks.finish(tx, [task]) and store.erase(tx, task.subject, at_ms):
        events.append(tx, at_ms, [NewEvent(task.subject, "key", {"state": "erased"})])


def _end_refund_to(tx: Tx, task: Task, now_ms: int) -> None:
    """Cross it off, unless more has come to be owed since it looked: a late payment's task would have met this one, and been none."""
    if not holds(tx, task):
        return
    state = payouts.obligation(tx, chart.owed(task.subject))
    if state.claimable and state.live is None:
        put_back(tx, task, now_ms, "more is owed by now")
    else:
        tasks.cross_off(tx, [task.id])
