"""Writing tasks down, and crossing them off: inside the transactions of whoever needs it."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from timmy.db import Row, Tx
from timmy.tasks import store

FENCE_BITS = 60  # with room to grow in a signed BIGINT


@dataclass(frozen=True, slots=True)
class NewTask:
    """`kind` names the handler, `subject` what it is about. Both together are its id: asked for twice, it is done once."""

    kind: str
    subject: str
    run_at_ms: int

    @property
    def id(self) -> str:
        return f"{self.kind}/{self.subject}"


@dataclass(frozen=True, slots=True)
class Task:
    """A task in the hands of its claimant. `attempts` counts this one, `failures` those before it that ended in a handler's bug or in
    the death of its worker; `fence` is the claimant's proof."""

    id: str
    kind: str
    subject: str
    attempts: int
    fence: int
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Parked:
    id: str
    kind: str
    subject: str
    attempts: int
    trouble: str


def add(tx: Tx, tasks: Sequence[NewTask]) -> None:
    if tasks:
        rows: list[Row] = [
            # Fences start anywhere: were it 0 each time, a claimant that slept while its task was done and asked for anew
            # would hold the proof of whoever is at the new one.
            {"id": task.id, "kind": task.kind, "subject": task.subject, "run_at_ms": task.run_at_ms, "fence": secrets.randbits(FENCE_BITS)}
            for task in tasks
        ]
        store.insert(tx, rows)


def finish(tx: Tx, tasks: Sequence[Task]) -> set[str]:
    """Cross the tasks off, in the transaction that records their outcome. Answers the ids that were still their claimants':
    a worker that was paused past its lease finds its id missing and must write nothing."""
    ours = held(tx, tasks)
    cross_off(tx, ours)
    return ours


def held(tx: Tx, tasks: Sequence[Task]) -> set[str]:
    """The ids of those that are still their claimants', and stay that until the transaction ends."""
    return store.lock_all_owned(tx, [{"id": task.id, "fence": task.fence} for task in tasks]) if tasks else set()


def cross_off(tx: Tx, ids: Collection[str]) -> None:
    """After `held`, in the same transaction: these are done."""
    if ids:
        store.delete(tx, ids)


def holds(tx: Tx, task: Task) -> bool:
    """Whether the task is still its claimant's; if so it stays that until the transaction ends."""
    return store.lock_owned(tx, task.id, task.fence)


def put_back(tx: Tx, task: Task, run_at_ms: int, trouble: str | None = None, *, failed: bool = False) -> bool:
    """Give the task back, to be tried again at `run_at_ms`; `failed`: it counts towards parking. False: it was no longer ours."""
    return store.put_back(tx, task.id, task.fence, run_at_ms, trouble, int(failed))


def park(tx: Tx, task: Task, trouble: str) -> bool:
    """Lay the task aside for the operator."""
    return store.park(tx, task.id, task.fence, trouble)


def parked(tx: Tx) -> list[Parked]:
    return [Parked(row["id"], row["kind"], row["subject"], row["attempts"], row["trouble"] or "") for row in store.parked(tx)]


def unpark(tx: Tx, id: str, run_at_ms: int) -> bool:
    """Try a parked task again, from the first attempt. False: no such parked task."""
    return store.unpark(tx, id, run_at_ms)


def hasten(tx: Tx, task: NewTask) -> None:
    """Bring a waiting task forward to `run_at_ms`."""
    store.hasten(tx, task.id, task.run_at_ms)


def waiting(tx: Tx) -> list[Row]:
    """How many tasks of each kind there are, parked and not: `kind`, `parked`, `n`."""
    return store.waiting(tx)
