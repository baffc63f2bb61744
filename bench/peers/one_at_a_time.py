"""Several processes of a rival on one new database: its tables are made by the first, while the others wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

LOCK = 7_262_019


@contextmanager
def one_at_a_time(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        # Asked for again and again: a statement that waits holds a snapshot, and DBOS's CREATE INDEX CONCURRENTLY waits for that.
        while connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone() != (True,):
            time.sleep(0.1)
        yield connection
