"""Opening the ledger that a server uses, beside that server or without it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from timmy.errors import Refusal
from timmy.settings import Settings, mask_password

if TYPE_CHECKING:  # what a command needs it imports where it runs: its help must not wait for the house
    from timmy.db import Database


class NoBooks(Refusal):
    code = "no_ledger"
    title = "There is no ledger"


def need_books(settings: Settings) -> None:
    """NoBooks where no server has ever run: a look at the money must not create an empty ledger in the wrong place."""
    path = settings.sqlite_path
    if path is not None and not path.exists():
        raise NoBooks(
            f"{path} does not exist: no server has run with these settings yet. Is DATA_DIR or DATABASE_URL what it was for the server?"
        )


@asynccontextmanager
async def open_books(settings: Settings) -> AsyncIterator[Database]:
    """NoBooks or SchemaEmpty where no server has ever run. SchemaOlder where the servers are of an older version: to migrate under
    them would be to break them."""
    from timmy.db import open_database

    need_books(settings)
    db = open_database(settings.database_url, migrate=False)
    try:
        yield db
    finally:
        await db.aclose()


def describe(settings: Settings) -> str:
    path = settings.sqlite_path
    return f"SQLite, {path}" if path is not None else f"PostgreSQL, {mask_password(settings.database_url)}"
