"""Statements on one connection to PostgreSQL: each is prepared once, and those whose answers nobody looks at yet are sent together.

It speaks to libpq by `psycopg.pq`, as psycopg documents it ("pq – libpq wrapper module"), because a cursor waits for each statement by
itself, and has work of its own with every one. What is sent together goes in libpq's pipeline mode ("Pipeline Mode", PostgreSQL
documentation, chapter "libpq"): in order, one after the other, without a round trip for each.
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from typing import Any, cast

import psycopg
from psycopg import abc, pq
from psycopg.adapt import Transformer

from timmy.db.dialect import Numbered
from timmy.db.line import TryAgain
from timmy.db.protocol import DatabaseDown, Row

Raw = psycopg.Connection[dict[str, Any]]

# The types of what a parameter can be. All else is left to PostgreSQL, which finds it out from the statement.
UNTOLD, BOOL, INT8, FLOAT8 = 0, 16, 20, 701
_READING = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_WRITING = b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
STALE = "RevalidateCachedQuery"  # where in PostgreSQL that is noticed: its words are in the server's language
WAKE_MS = 1_000  # TLS may hold what the socket no longer shows: it is looked at without being woken, too
OK = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)


_LOST_RACE = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure, psycopg.errors.LockNotAvailable)
_GONE = (psycopg.OperationalError, psycopg.InterfaceError)
_FULL = (psycopg.errors.DiskFull, psycopg.errors.OutOfMemory, psycopg.errors.TooManyConnections, psycopg.errors.QueryCanceled)


def translated(trouble: psycopg.Error) -> Exception:
    if isinstance(trouble, psycopg.errors.ReadOnlySqlTransaction):
        return trouble
    if isinstance(trouble, _FULL):
        return DatabaseDown(f"PostgreSQL says: {type(trouble).__name__}. Nothing was changed.")
    if isinstance(trouble, (*_LOST_RACE, *_GONE)):  # rolled back, or never reached the server: nothing was committed
        return TryAgain(type(trouble).__name__)
    return trouble


class Asked:
    """A statement that was sent, or will be with the next one whose answer is looked at. An error of it is raised where the first answer
    after it is looked at, and at the latest before the commit."""

    __slots__ = ("_count", "_must", "_rows", "_wire", "done", "name", "values")

    def __init__(self, wire: Wire, name: bytes, values: Sequence[bytes | None]) -> None:
        self._wire = wire
        self.name = name
        self.values = values
        self.done = False
        self._count = 0
        self._rows: list[Row] = []
        self._must: tuple[int, Exception] | None = None

    @property
    def count(self) -> int:
        """How many rows it touched."""
        if not self.done:
            self._wire.settle()
        return self._count

    @property
    def rows(self) -> list[Row]:
        if not self.done:
            self._wire.settle()
        return self._rows

    def must_touch(self, count: int, otherwise: Exception) -> None:
        self._must = (count, otherwise)
        self._check()

    def _check(self) -> None:
        if self.done and self._must is not None and self._count != self._must[0]:
            raise self._must[1]

    def take(self, result: pq.abc.PGresult, transformer: abc.Transformer) -> None:
        self.done = True
        self._count = result.command_tuples or 0
        if result.status == pq.ExecStatus.TUPLES_OK:
            names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
            transformer.set_pgresult(result)
            self._count = result.ntuples
            self._rows = transformer.load_rows(0, result.ntuples, lambda values: dict(zip(names, values, strict=True)))
        self._check()


class Wire:
    """What it raises is DatabaseDown, TryAgain, or psycopg's own of a statement that is wrong or against a constraint. Once something has
    gone wrong, the same is raised until the transaction is over."""

    def __init__(self, raw: Raw) -> None:
        self._pg = raw.pgconn
        # Sent with the first statement of a transaction, so it costs no round trip.
        self._begin = _READING if raw.read_only else _WRITING
        self._transformer = Transformer(raw)
        self._names: dict[tuple[bytes, tuple[int, ...]], bytes] = {}
        self._numbered = 0
        self._waiting: list[Asked] = []
        self._broken: Exception | None = None
        self._poll = select.poll()
        self._poll.register(self._pg.socket, select.POLLIN)

    def ask(self, statement: Numbered, params: dict[str, object]) -> Asked:
        if self._broken is not None:
            raise self._broken
        try:
            types, values = _bound(statement.bind(params))
            asked = Asked(self, self._names.get((statement.sql, types)) or self._prepared(statement.sql, types), values)
        except psycopg.Error as trouble:
            raise self._broke(trouble) from trouble
        self._waiting.append(asked)
        return asked

    def settle(self) -> None:
        """Fetch the answers to all that was asked. Of several that would fail, the first is told; those after it were not tried."""
        if self._broken is not None:
            raise self._broken
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        try:
            if len(waiting) == 1 and self._is_in_transaction:
                asked = waiting[0]
                result = self._pg.exec_prepared(asked.name, cast(Any, asked.values))  # its type forgets NULL
                asked.take(self._checked(result), self._transformer)
            else:
                self._settle_together(waiting)
        except psycopg.Error as trouble:
            raise self._broke(trouble) from trouble
        except Exception as unmet:
            self._broken = unmet
            raise

    def forget(self) -> None:
        """The transaction is over, however it ended."""
        self._waiting.clear()
        self._broken = None

    def commit(self) -> None:
        """Raises psycopg.Error as it is. OperationalError: the connection went while it was on its way."""
        self.settle()
        if self._is_in_transaction:
            done = self._checked(self._pg.exec_(b"COMMIT"))
            if done.command_status != b"COMMIT":  # PostgreSQL says ROLLBACK, and no error, where a statement has failed before
                raise psycopg.errors.InFailedSqlTransaction("the transaction had failed, and was rolled back")

    @property
    def _is_in_transaction(self) -> bool:
        return self._pg.transaction_status != pq.TransactionStatus.IDLE

    def _prepared(self, sql: bytes, types: tuple[int, ...]) -> bytes:
        self._numbered += 1
        name = b"s%d" % self._numbered
        self._checked(self._pg.prepare(name, sql, types))
        self._names[sql, types] = name
        return name

    def _settle_together(self, waiting: Sequence[Asked]) -> None:
        pg = self._pg
        sent: list[Asked | None] = []
        pg.enter_pipeline_mode()
        if not self._is_in_transaction:
            pg.send_query_params(self._begin, None)
            sent.append(None)
        for asked in waiting:
            pg.send_query_prepared(asked.name, asked.values)
            sent.append(asked)
        pg.pipeline_sync()
        results = self._results(len(sent))
        pg.exit_pipeline_mode()
        for asked_or_begin, result in zip(sent, results, strict=True):
            self._checked(result)
            if asked_or_begin is not None:
                asked_or_begin.take(result, self._transformer)

    def _results(self, count: int) -> list[pq.abc.PGresult]:
        """One for each that was sent; the end of the pipeline is read, too. Waits without holding Python's lock, unlike `get_result`."""
        pg, found = self._pg, list[pq.abc.PGresult]()
        while pg.flush():  # more than the socket takes: what comes back is read meanwhile, or both sides would wait for each other
            self._poll.modify(pg.socket, select.POLLIN | select.POLLOUT)
            self._poll.poll(WAKE_MS)
            pg.consume_input()
            self._poll.modify(pg.socket, select.POLLIN)
        while len(found) <= count:
            while pg.is_busy():
                self._poll.poll(WAKE_MS)
                pg.consume_input()
            result = pg.get_result()
            if result is not None:
                found.append(result)
        return found[:count]

    def _broke(self, trouble: psycopg.Error) -> Exception:
        self._broken = translated(trouble)
        if trouble.diag.source_function == STALE or isinstance(trouble, psycopg.errors.InvalidSqlStatementName):
            # A table has another column than when this was prepared, or a pooler has forgotten for us: prepared anew, it is well again.
            self._names.clear()
            self._broken = TryAgain("what was prepared is no longer good")
        return self._broken

    def _checked(self, result: pq.abc.PGresult) -> pq.abc.PGresult:
        if result.status in OK:
            return result
        if self._pg.status == pq.ConnStatus.BAD:
            raise psycopg.OperationalError(result.error_message.decode(errors="replace"))
        raise psycopg.errors.error_from_result(result, encoding="utf-8")


def _bound(params: Sequence[object]) -> tuple[tuple[int, ...], list[bytes | None]]:
    types, values = list[int](), list[bytes | None]()
    for param in params:
        kind, value = _typed(param)
        types.append(kind)
        values.append(value)
    return tuple(types), values


def _typed(param: object) -> tuple[int, bytes | None]:
    """How it is told to PostgreSQL, as text. Bytes are text that is encoded already."""
    if isinstance(param, bytes):
        return UNTOLD, param
    if isinstance(param, str):
        text = param.encode()
        if b"\0" in text:  # libpq would take it for the end
            raise psycopg.DataError("PostgreSQL's texts cannot hold a NUL")
        return UNTOLD, text
    if param is None:
        return UNTOLD, None
    if isinstance(param, bool):
        return BOOL, b"t" if param else b"f"
    if isinstance(param, int):
        return INT8, b"%d" % param
    if isinstance(param, float):
        return FLOAT8, repr(param).encode()
    raise TypeError(f"a {type(param).__name__} cannot be a parameter")
