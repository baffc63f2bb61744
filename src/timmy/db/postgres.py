"""PostgreSQL: a writer thread that groups what waits, a few readers, and any number of server processes beside this one.

READ COMMITTED, with guarded UPDATEs, CHECK and UNIQUE as the last line. One unit is one transaction: a unit takes its locks in
one order (invoice, job, payout, accounts, event counter), and two units in one transaction would break that order.
"""

from __future__ import annotations

from functools import partial

import psycopg
from psycopg.rows import dict_row

from timmy.db.dialect import for_postgres
from timmy.db.line import Probe, no_probe
from timmy.db.lines import Lines
from timmy.db.migrate import look_at_postgres, migrate_postgres
from timmy.db.protocol import DatabaseDown, Row
from timmy.db.wire import Asked, Raw, Wire, translated

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


class PostgresTx:
    def __init__(self, wire: Wire, probe: Probe) -> None:
        self._wire = wire
        self._probe = probe

    def ask(self, sql: str, **params: object) -> Asked:
        self._probe("before statement")
        asked = self._wire.ask(for_postgres(sql), params)
        self._probe("after statement")
        return asked

    def run(self, sql: str, **params: object) -> int:
        return self._answered(sql, params).count

    def one(self, sql: str, **params: object) -> Row | None:
        rows = self._answered(sql, params).rows
        return rows[0] if rows else None

    def all(self, sql: str, **params: object) -> list[Row]:
        return self._answered(sql, params).rows

    def settle(self) -> None:
        self._wire.settle()

    def _answered(self, sql: str, params: dict[str, object]) -> Asked:
        self._probe("before statement")
        asked = self._wire.ask(for_postgres(sql), params)
        self._wire.settle()
        self._probe("after statement")
        return asked


class PostgresConnection:
    def __init__(self, url: str, probe: Probe, *, read_only: bool, statement_timeout_ms: int | None = None) -> None:
        self._probe = probe
        self._connect = partial(connect, url, read_only=read_only, statement_timeout_ms=statement_timeout_ms)
        self._raw = self._connect()
        self._wire = Wire(self._raw)

    def begin(self) -> PostgresTx:
        if self._raw.closed:
            self._raw = self._connect()
            self._wire = Wire(self._raw)
        self._wire.forget()
        return PostgresTx(self._wire, self._probe)

    def savepoint(self, name: str) -> None:
        """One unit is one transaction here, so rolling back to its beginning is rolling back all of it."""

    def release(self, name: str) -> None: ...

    def rollback_to(self, name: str) -> None:
        self.rollback()

    def commit(self) -> None:
        self._probe("before commit")
        try:
            self._wire.commit()
        except psycopg.OperationalError as lost:
            # The connection died while COMMIT was on its way: it may have happened. Running the unit again could do it twice,
            # so the caller is told, and finds out by the idempotency key, the payment hash or the task's lease.
            raise DatabaseDown("the connection to PostgreSQL was lost during a commit; ask again what happened") from lost
        except psycopg.Error as trouble:
            raise translated(trouble) from trouble
        self._probe("after commit")

    def rollback(self) -> None:
        self._wire.forget()
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
            client_encoding="UTF8",  # what a Wire sends, whatever the environment or the database would rather have
            prepare_threshold=None,  # what a Wire has prepared would go with psycopg's own, which it forgets at a rollback
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
