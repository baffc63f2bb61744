"""PostgreSQL: a writer thread that groups what waits, a few readers, and any number of server processes beside this one.

READ COMMITTED, with guarded UPDATEs, CHECK and UNIQUE as the last line. One unit is one transaction: a unit takes its locks in
one order (invoice, job, payout, accounts, event counter), and two units in one transaction would break that order.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import psycopg
from psycopg.rows import dict_row

from timmy.db.dialect import for_postgres
from timmy.db.line import Probe, TryAgain, no_probe
from timmy.db.lines import Lines
from timmy.db.migrate import look_at_postgres, migrate_postgres
from timmy.db.protocol import DatabaseDown, Row, Tx

WRITERS = 1  # measured: one writer that groups what waits beats several that share it out, and fight for the same hot rows
CONNECT_TIMEOUT_SECONDS = 5
LOCK_TIMEOUT_MS = 10_000
STATEMENT_TIMEOUT_MS = 30_000
NO_TIMEOUT = 0
# How statements are planned. Planned anew, each is planned for the tables as they are: right for whatever reads much.
ANEW = ("plan_cache_mode=force_custom_plan",)
# What is written touches a few rows by their ids, the same way whatever the tables hold, and planning it costs more than doing it: it is
# planned once. Without the rest, a plan that was made while a table was empty would scan all of it for ever.
ONCE = ("plan_cache_mode=force_generic_plan", "enable_seqscan=off", "enable_hashjoin=off", "enable_mergejoin=off")

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
    def __init__(self, url: str, probe: Probe, *, read_only: bool, statement_timeout_ms: int | None = None) -> None:
        self._probe = probe
        self._connect = partial(connect, url, read_only=read_only, statement_timeout_ms=statement_timeout_ms)
        self._raw = self._connect()

    def begin(self) -> Tx:
        try:
            if self._raw.closed:
                self._raw = self._connect()
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


def connect(url: str, *, read_only: bool = False, statement_timeout_ms: int | None = None) -> Raw:
    """Raises DatabaseDown. Reads see one snapshot for as long as their transaction lasts. `statement_timeout_ms`: not the usual one."""
    try:
        raw = psycopg.connect(
            url,
            row_factory=dict_row,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            options=" ".join(
                f"-c {option}"
                for option in (
                    f"lock_timeout={LOCK_TIMEOUT_MS}",
                    f"statement_timeout={STATEMENT_TIMEOUT_MS if statement_timeout_ms is None else statement_timeout_ms}",
                    "TimeZone=UTC",
                    *(ANEW if read_only else ONCE),
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


class PostgresDatabase(Lines):
    """`Database` on a PostgreSQL that any number of processes share."""

    engine = "postgres"

    def __init__(self, url: str, *, writers: int = WRITERS, migrate: bool = True, probe: Probe = no_probe) -> None:
        setup = connect(url)
        try:
            (migrate_postgres if migrate else look_at_postgres)(setup)
            setup.commit()
        finally:
            setup.close()
        one = partial(PostgresConnection, url)
        super().__init__(
            write=partial(one, probe, read_only=False),
            read=partial(one, no_probe, read_only=True),
            read_slowly=partial(one, no_probe, read_only=True, statement_timeout_ms=NO_TIMEOUT),
            writers=writers,
            share_commit=False,
        )
