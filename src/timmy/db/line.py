"""A thread that owns a connection and works through what waits: the only place where a transaction begins and ends."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from timmy.db.protocol import Answer, DatabaseDown, Row, Tx
from timmy.db.waiting import Group, Single, Unit, Waiting
from timmy.errors import Breach

ATTEMPTS_MAX = 8
BACKOFF_SECONDS = 0.005

Probe = Callable[[str], None]
"""Called at every point where a process can die: `before …` and `after …` each statement and commit. Tests raise from it."""


def no_probe(point: str) -> None:
    return None


class TryAgain(Exception):
    """The transaction was rolled back by no fault of its own (a deadlock, a lost race, a lost connection): run it again."""


class RefusedAtCommit(Exception):
    """COMMIT itself was refused, by something that all the units did together. Nothing was applied; the cause says why."""


class _Watched:
    """A unit's `Tx`. It remembers a statement that failed, for a unit that goes on all the same.

    The same `except` four times, because a context manager around every statement is felt: a call has a dozen of them."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._failed: Exception | None = None

    def ask(self, sql: str, **params: object) -> Answer:
        try:
            return self._tx.ask(sql, **params)
        except Exception as failed:
            self._failed = failed
            raise

    def run(self, sql: str, **params: object) -> int:
        try:
            return self._tx.run(sql, **params)
        except Exception as failed:
            self._failed = failed
            raise

    def one(self, sql: str, **params: object) -> Row | None:
        try:
            return self._tx.one(sql, **params)
        except Exception as failed:
            self._failed = failed
            raise

    def all(self, sql: str, **params: object) -> list[Row]:
        try:
            return self._tx.all(sql, **params)
        except Exception as failed:
            self._failed = failed
            raise

    def close(self) -> None:
        """PostgreSQL answers a COMMIT after a failed statement with a silent ROLLBACK, SQLite commits the other half:
        without this, a caller could be told of a success that is not there."""
        if isinstance(self._failed, TryAgain | DatabaseDown):
            raise self._failed
        if self._failed is not None:
            raise Breach("a statement failed and the transaction went on as if it had not: none of it was kept") from self._failed


class Connection(Protocol):
    """What an engine provides. Every method may raise TryAgain (rolled back) or DatabaseDown (given up)."""

    def begin(self) -> Tx: ...
    def savepoint(self, name: str) -> None: ...
    def release(self, name: str) -> None: ...
    def rollback_to(self, name: str) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def close(self) -> None: ...


class Line:
    """One thread, one connection. Units that are taken together share a transaction; each is rolled back alone."""

    def __init__(self, name: str, waiting: Waiting, connect: Callable[[], Connection]) -> None:
        self._waiting = waiting
        self._connect = connect
        self._thread = threading.Thread(target=self._run, name=f"timmy-{name}", daemon=True)
        self._thread.start()

    def join(self, timeout_seconds: float) -> None:
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        connection: Connection | None = None
        units: list[Unit] | None = None
        try:
            while units := self._waiting.take():
                try:
                    connection = connection or self._connect()
                    self._commit_together(connection, units)
                except DatabaseDown as down:
                    _tell(units, down)
                    if connection is not None:
                        connection.close()
                        connection = None
                self._waiting.done(units)
        except BaseException as death:  # noqa: BLE001 - the thread dies here (a probe's crash, a bug): nobody may wait for it for ever
            if units:
                _tell(units, death)
                self._waiting.done(units)
            self._waiting.fail(death)
        finally:
            if connection is not None:
                connection.close()

    def _commit_together(self, connection: Connection, units: Sequence[Unit]) -> None:
        try:
            broken = self._attempt(connection, units)
        except (TryAgain, RefusedAtCommit):
            # Together they lost; alone each may win, and a unit that loses for ever takes nobody with it.
            for unit in units:
                self._attempt_alone(connection, unit)
            return
        for group in broken:
            self._part(connection, group)

    def _part(self, connection: Connection, group: Group) -> None:
        """One of the group raised, we cannot know which: each in a transaction of its own, so that the others lose nothing."""
        for item, caller in zip(group.items, group.callers, strict=True):
            self._attempt_alone(connection, Group(group.fn, [item], [caller]))

    def _attempt_alone(self, connection: Connection, unit: Unit) -> None:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                broken = self._attempt(connection, [unit])
            except TryAgain as lost:
                if attempt == ATTEMPTS_MAX:
                    _tell([unit], DatabaseDown(f"gave up after {ATTEMPTS_MAX} tries: {lost}"))
                    return
                time.sleep(BACKOFF_SECONDS * 2**attempt * random.random())
                continue
            except RefusedAtCommit as refused:
                if isinstance(unit, Group) and len(unit.items) > 1:
                    self._part(connection, unit)
                else:
                    _tell([unit], refused.__cause__ or refused)
                return
            for group in broken:
                self._part(connection, group)
            return

    def _attempt(self, connection: Connection, units: Sequence[Unit]) -> list[Group]:
        """One transaction. Answers the groups that left no trace because one of their members raised."""
        tx = connection.begin()
        try:
            broken = [unit for number, unit in enumerate(units) if not self._run_unit(connection, tx, unit, f"u{number}")]
            try:
                connection.commit()
            except (TryAgain, DatabaseDown):
                raise
            except Exception as refused:  # a constraint that speaks up at COMMIT: an answer to the unit, not the end of the thread
                raise RefusedAtCommit from refused
        except BaseException:
            connection.rollback()
            raise
        for unit in units:
            if unit not in broken:
                for caller in unit.callers:
                    caller.settled = True
        return [unit for unit in broken if isinstance(unit, Group)]

    def _run_unit(self, connection: Connection, tx: Tx, unit: Unit, name: str) -> bool:
        """False: the unit is a group that must be run member by member."""
        connection.savepoint(name)
        watched = _Watched(tx)
        try:
            if isinstance(unit, Single):
                unit.caller.outcome = unit.call(watched)
            else:
                _spread(unit, unit.fn(watched, unit.items))
            watched.close()
        except (TryAgain, DatabaseDown):
            raise
        except Exception as refusal:  # noqa: BLE001 - whatever it raises belongs to its caller, and to nobody else
            connection.rollback_to(name)
            if isinstance(unit, Group) and len(unit.items) > 1:
                connection.release(name)
                return False
            _tell([unit], refusal)
        connection.release(name)
        return True


def _spread(group: Group, outcomes: Sequence[object]) -> None:
    if len(outcomes) != len(group.items):
        raise Breach(f"{group.fn.__name__} answered {len(outcomes)} outcomes for {len(group.items)} items")
    for caller, outcome in zip(group.callers, outcomes, strict=True):
        caller.outcome = outcome


def _tell(units: Sequence[Unit], outcome: BaseException) -> None:
    """Everyone whose outcome is still open: what was committed before the trouble began stays a success."""
    for unit in units:
        for caller in unit.callers:
            if not caller.settled:
                caller.outcome = outcome
