"""Statements on one connection to PostgreSQL: each is prepared once, and those whose answers nobody looks at yet are sent together.

It speaks to libpq by `psycopg.pq`, as psycopg documents it ("pq – libpq wrapper module"), because a cursor waits for each statement by
itself, and has work of its own with every one. What is sent together goes in libpq's pipeline mode ("Pipeline Mode", PostgreSQL
documentation, chapter "libpq"): in order, one after the other, without a round trip for each.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from typing import Any

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
    """A statement that was sent, or will be with the next one whose answer is looked at, or with the commit. An error of it is raised where
    the first answer after it is looked at, and at the latest by the commit."""

    __slots__ = ("_count", "_must", "_rows", "_statement", "_wire", "done", "sql", "types", "values")

    def __init__(self, wire: Wire, statement: Numbered, types: tuple[int, ...], values: list[bytes | None]) -> None:
        self._wire = wire
        self._statement = statement
        self.sql = statement.sql
        self.types = types
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
        if self.done:
            if self._count != count:
                raise otherwise
            return
        self._must = (count, otherwise)
        self.sql = self._statement.counted
        self.types = (*self.types, INT8)
        self.values = [*self.values, b"%d" % count]

    def take(self, result: pq.abc.PGresult, transformer: abc.Transformer) -> None:
        self.done = True
        if self._must is not None:
            self._count = self._must[0]
        elif result.status != pq.ExecStatus.TUPLES_OK:
            self._count = result.command_tuples or 0
        elif count := result.ntuples:
            names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
            transformer.set_pgresult(result)
            self._count = count
            self._rows = transformer.load_rows(0, count, lambda values: dict(zip(names, values, strict=True)))

    @property
    def otherwise(self) -> Exception | None:
        """What it means that it touched another number of rows than it must."""
        return self._must[1] if self._must is not None else None


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
            asked = Asked(self, statement, *_bound(statement.bind(params)))
        except psycopg.Error as trouble:
            raise self._broke(trouble) from trouble
        self._waiting.append(asked)
        return asked

    def settle(self) -> None:
        """Fetch the answers to all that was asked. Of several that would fail, the first is told; those after it were not tried."""
        waiting, names = self._ready()
        if not waiting:
            return
        try:
            results = self._together(waiting, names)
        except psycopg.Error as trouble:
            raise self._broke(trouble) from trouble
        self._take(waiting, results)

    def forget(self) -> None:
        """The transaction is over, however it ended."""
        self._waiting.clear()
        self._broken = None

    def commit(self) -> None:
        """Together with all that was asked and not looked at: PostgreSQL comes to the COMMIT only if every one of them has gone well.

        Raises what `settle` does where that is known to have been in the way, and else psycopg.Error as it is. OperationalError: the
        connection went while the COMMIT was on its way."""
        waiting, names = self._ready()
        if not waiting and not self._is_in_transaction:
            return
        *results, done = self._together(waiting, names, b"COMMIT") if waiting else [self._pg.exec_(b"COMMIT")]
        if done.status not in OK and self._pg.status != pq.ConnStatus.BAD:
            self._take(waiting, results)
        if self._checked(done).command_status != b"COMMIT":  # PostgreSQL says ROLLBACK, and no error, where a statement has failed before
            raise psycopg.errors.InFailedSqlTransaction("the transaction had failed, and was rolled back")

    @property
    def _is_in_transaction(self) -> bool:
        return self._pg.transaction_status != pq.TransactionStatus.IDLE

    def _ready(self) -> tuple[list[Asked], list[bytes]]:
        """What waits, and as what each of it was prepared."""
        if self._broken is not None:
            raise self._broken
        waiting, self._waiting = self._waiting, []
        try:
            return waiting, [self._prepared(asked) for asked in waiting]
        except psycopg.Error as trouble:
            raise self._broke(trouble) from trouble

    def _prepared(self, asked: Asked) -> bytes:
        name = self._names.get((asked.sql, asked.types))
        if name is None:
            self._numbered += 1
            name = b"s%d" % self._numbered
            self._checked(self._pg.prepare(name, asked.sql, asked.types))
            self._names[asked.sql, asked.types] = name
        return name

    def _together(self, waiting: Sequence[Asked], names: Sequence[bytes], then: bytes | None = None) -> list[pq.abc.PGresult]:
        """One result for each, and for `then`."""
        pg = self._pg
        begins = not self._is_in_transaction
        pg.enter_pipeline_mode()
        if begins:
            pg.send_query_params(self._begin, None)
        for asked, name in zip(waiting, names, strict=True):
            pg.send_query_prepared(name, asked.values)
        if then is not None:
            pg.send_query_params(then, None)
        pg.pipeline_sync()
        results = self._results(begins + len(waiting) + (then is not None))
        pg.exit_pipeline_mode()
        if begins:
            self._checked(results.pop(0))
        return results

    def _take(self, waiting: Sequence[Asked], results: Sequence[pq.abc.PGresult]) -> None:
        for asked, result in zip(waiting, results, strict=True):
            try:
                self._checked(result)
            except psycopg.errors.DivisionByZero as trouble:
                self._broken = asked.otherwise or trouble
                raise self._broken from trouble
            except psycopg.Error as trouble:
                raise self._broke(trouble) from trouble
            asked.take(result, self._transformer)

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
    told = [_TOLD.get(type(param)) or _told_like(param) for param in params]
    return tuple([type for type, _ in told]), [encoded(param) for (_, encoded), param in zip(told, params, strict=True)]


def _text(param: str) -> bytes:
    text = param.encode()
    if b"\0" in text:  # libpq would take it for the end
        raise psycopg.DataError("PostgreSQL's texts cannot hold a NUL")
    return text


# How each is told to PostgreSQL, as text. Bytes are text that is encoded already.
_TOLD: dict[type, tuple[int, Callable[[Any], bytes | None]]] = {
    bytes: (UNTOLD, lambda param: param),
    str: (UNTOLD, _text),
    type(None): (UNTOLD, lambda _: None),
    bool: (BOOL, lambda param: b"t" if param else b"f"),
    int: (INT8, lambda param: b"%d" % param),
    float: (FLOAT8, lambda param: repr(param).encode()),
}


def _told_like(param: object) -> tuple[int, Callable[[Any], bytes | None]]:
    """As what it is a kind of."""
    for known, told in _TOLD.items():
        if isinstance(param, known):
            return told
    raise TypeError(f"a {type(param).__name__} cannot be a parameter")
