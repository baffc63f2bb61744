"""PostgreSQL: a writer thread that groups what waits, a few readers, and any number of server processes beside this one.

READ COMMITTED, with guarded UPDATEs, CHECK and UNIQUE as the last line. One unit is one transaction: a unit takes its locks in
one order (invoice, job, payout, accounts, event counter), and two units in one transaction would break that order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Concatenate

import psycopg
from psycopg.rows import dict_row

from timmy.db.dialect import for_postgres
from timmy.db.line import Line, Probe, TryAgain, no_probe
from timmy.db.migrate import migrate_postgres
from timmy.db.protocol import DatabaseDown, GroupedFn, P, R, Row, T, Tx
from timmy.db.waiting import Waiting

WRITERS = 1  # measured: one writer that groups what waits beats several that share it out, and fight for the same hot rows
READERS = 2
CONNECT_TIMEOUT_SECONDS = 5
LOCK_TIMEOUT_MS = 10_000
STATEMENT_TIMEOUT_MS = 30_000
CLOSE_SECONDS = 30.0

Raw = psycopg.Connection[dict[str, Any]]


class PostgresTx:
    def __init__(self, connection: Raw, probe: Probe) -> None:
        self._cursor = connection.cursor()
        self._probe = probe

    def run(self, sql: str, **params: object) -> int:
        return self._execute(sql, params).rowcount

    def one(self, sql: str, **params: object) -> Row | None:
        return self._execute(sql, params).fetchone()

    def all(self, sql: str, **params: object) -> list[Row]:
        return list(self._execute(sql, params).fetchall())

    def _execute(self, sql: str, params: dict[str, object]) -> psycopg.Cursor[dict[str, Any]]:
        translated = for_postgres(sql)
        self._probe("before statement")
        try:
            self._cursor.execute(translated.sql.encode(), translated.bind(params))
        except psycopg.Error as trouble:
            raise _translated(trouble) from trouble
        self._probe("after statement")
        return self._cursor


class PostgresConnection:
    def __init__(self, url: str, probe: Probe, *, read_only: bool) -> None:
        self._url = url
        self._probe = probe
        self._read_only = read_only
        self._raw = connect(url, read_only=read_only)

    def begin(self) -> Tx:
        try:
            if self._raw.closed:
                self._raw = connect(self._url, read_only=self._read_only)
            # psycopg opens the transaction with the first statement, so a unit costs no round trip for BEGIN
            return PostgresTx(self._raw, self._probe)
        except psycopg.Error as trouble:
            raise _translated(trouble) from trouble

    def savepoint(self, name: str) -> None:
        """One unit is one transaction here, so rolling back to its beginning is rolling back all of it."""

    def release(self, name: str) -> None: ...

    def rollback_to(self, name: str) -> None:
        self.rollback()

    def commit(self) -> None:
        self._probe("before commit")
        try:
            self._raw.commit()
        except psycopg.OperationalError as lost:
            # The connection died while COMMIT was on its way: it may have happened. Running the unit again could do it twice,
            # so the caller is told, and finds out by the idempotency key, the payment hash or the task's lease.
            raise DatabaseDown("the connection to PostgreSQL was lost during a commit; ask again what happened") from lost
        except psycopg.Error as trouble:
            raise _translated(trouble) from trouble
        self._probe("after commit")

    def rollback(self) -> None:
        try:
            self._raw.rollback()
        except psycopg.OperationalError:
            self._raw.close()  # the server rolled it back when the connection went

    def close(self) -> None:
        self._raw.close()


def connect(url: str, *, read_only: bool = False) -> Raw:
    """Raises DatabaseDown. Reads see one snapshot for as long as their transaction lasts."""
    try:
        raw = psycopg.connect(
            url,
            row_factory=dict_row,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            options=" ".join(
                f"-c {option}"
                for option in (
                    f"lock_timeout={LOCK_TIMEOUT_MS}",
                    f"statement_timeout={STATEMENT_TIMEOUT_MS}",
                    "TimeZone=UTC",
                    # A plan that was made while a table was empty scans all of it for ever; planning anew costs microseconds.
                    "plan_cache_mode=force_custom_plan",
                )
            ),
            application_name="timmy",
        )
    except psycopg.OperationalError as trouble:
        raise DatabaseDown("PostgreSQL does not accept connections; check DATABASE_URL and that the server runs") from trouble
    raw.read_only = read_only
    raw.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ if read_only else psycopg.IsolationLevel.READ_COMMITTED
    return raw


_LOST_RACE = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure, psycopg.errors.LockNotAvailable)
_GONE = (psycopg.OperationalError, psycopg.InterfaceError)
_FULL = (psycopg.errors.DiskFull, psycopg.errors.OutOfMemory, psycopg.errors.TooManyConnections, psycopg.errors.QueryCanceled)


def _translated(trouble: psycopg.Error) -> Exception:
    if isinstance(trouble, psycopg.errors.ReadOnlySqlTransaction):
        return trouble
    if isinstance(trouble, _FULL):
        return DatabaseDown(f"PostgreSQL says: {type(trouble).__name__}. Nothing was changed.")
    if isinstance(trouble, (*_LOST_RACE, *_GONE)):  # rolled back, or never reached the server: nothing was committed
        return TryAgain(type(trouble).__name__)
    return trouble


class PostgresDatabase:
    """`Database` on a PostgreSQL that any number of processes share."""

    engine = "postgres"

    def __init__(self, url: str, *, writers: int = WRITERS, probe: Probe = no_probe) -> None:
        setup = connect(url)
        try:
            migrate_postgres(setup)
            setup.commit()
        finally:
            setup.close()
        self._writing = Waiting(take_all=False)
        self._reading = Waiting(take_all=True)
        self._lines = [
            Line(f"writer-{number}", self._writing, partial(PostgresConnection, url, probe, read_only=False)) for number in range(writers)
        ]
        self._lines += [
            Line(f"reader-{number}", self._reading, partial(PostgresConnection, url, no_probe, read_only=True)) for number in range(READERS)
        ]

    async def write(self, fn: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._writing.add(lambda tx: fn(tx, *args, **kwargs))  # type: ignore[no-any-return]

    async def write_grouped(self, fn: GroupedFn[T, R], item: T) -> R:
        return await self._writing.add_grouped(fn, item)  # type: ignore[no-any-return]

    async def read(self, fn: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._reading.add(lambda tx: fn(tx, *args, **kwargs))  # type: ignore[no-any-return]

    async def read_grouped(self, fn: GroupedFn[T, R], item: T) -> R:
        return await self._reading.add_grouped(fn, item)  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        for waiting in (self._writing, self._reading):
            waiting.close(DatabaseDown("closed"))
        for line in self._lines:
            line.join(CLOSE_SECONDS)
