"""The database as the rooms see it: two verbs for writing, three for reading, and a `Tx` of plain SQL.

A transaction is a plain, synchronous function of `tx`. It cannot await, so it cannot touch the network; it may be run again
(a lost race, a deadlock), so it leaves no trace outside `tx`.

    await db.write(store.rename, job_id, "new name")      # one function, its own outcome
    await db.write_grouped(flow.advance_all, command)     # commands that wait together are one set-based call

SQL is one text for both engines. Parameters are named (`:id`). Two forms stand for a list:

    WHERE id IN :ids                                         a list of texts
    SELECT r.id, r.n FROM :rows(id TEXT, n BIGINT) AS r      a list of dicts, as a table (a missing key is NULL)

`FOR UPDATE` and `SKIP LOCKED` are understood on both: SQLite has one writer, so there they say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from timmy.errors import Outage

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Row = Mapping[str, Any]


class DatabaseDown(Outage):
    code = "database_down"
    title = "The database is not answering"


class Answer(Protocol):
    """To a statement that was asked. Looking at it may raise what went wrong with it, or with one before it."""

    @property
    def count(self) -> int:
        """How many rows it touched."""
        ...

    @property
    def rows(self) -> list[Row]: ...

    def must_touch(self, count: int, otherwise: Exception) -> None:
        """Or `otherwise` is raised: now, or where the next answer is looked at, and at the latest instead of the commit. For INSERT, UPDATE
        and DELETE, without RETURNING: PostgreSQL counts for itself, and commits without asking us first."""
        ...


class Tx(Protocol):
    """An open transaction. Valid only inside the function that it was given to."""

    def ask(self, sql: str, **params: object) -> Answer:
        """Execute, in the order in which it was asked, and go on. PostgreSQL gets it together with what is asked until an answer is looked
        at, or together with the COMMIT: one round trip for all of them. Nothing is committed unless every one of them has gone
        well."""
        ...

    def run(self, sql: str, **params: object) -> int:
        """Execute; how many rows it touched."""
        ...

    def one(self, sql: str, **params: object) -> Row | None:
        """The first row, or None."""
        ...

    def all(self, sql: str, **params: object) -> list[Row]: ...


GroupedFn = Callable[[Tx, Sequence[T]], Sequence[R | Exception]]


class Database(Protocol):
    engine: str  # "sqlite" or "postgres"

    async def write(self, fn: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `fn(tx, …)` and commit. It returns after the commit; what `fn` raises, rolls it (and only it) back."""
        ...

    async def write_grouped(self, fn: GroupedFn[T, R], item: T) -> R:
        """Run `fn(tx, items)` once for all the items that wait for the same `fn`, in one transaction.

        `fn` answers with one outcome per item, in order; an Exception as an outcome is raised to that item's caller, who
        must then have left no trace. If `fn` itself raises, each item is tried alone: nobody pays for a neighbour.
        """
        ...

    async def read(self, fn: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `fn(tx, …)` on a snapshot that cannot be written to."""
        ...

    async def read_grouped(self, fn: GroupedFn[T, R], item: T) -> R:
        """`read` for many at once: one call of `fn` for all the items that wait for it, on one snapshot."""
        ...

    async def read_slowly(self, fn: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """`read` for what may take minutes (an audit): one at a time, with nobody else waiting behind it and no limit on its time."""
        ...

    async def aclose(self) -> None: ...
