"""The audit on a large ledger: no check may look through a table once for each row of another.

On PostgreSQL, whose plans can be asked for. With little memory to plan with, a few thousand rows are as many as a few hundred thousand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from timmy.app.books import all_checks
from timmy.db import Answer, Row, open_database
from timmy.db.dialect import for_postgres

N = 3_000
SCANS_MAX = 10  # of one table by one part of a plan: it may be shared out to a few workers
LOOKED_MAX = 1_000_000  # rows that one part of a plan may look at: several times all that there are, and far less than each for each
KEY = "lpad(to_hex(n), 64, '0')"
DAY = f"'allowance/' || {KEY} || '/2026-01-31'"
COLUMNS = "(id, kind, debit, credit, amount_msat, code, reservation, at_ms)"

LEDGER = (
    "INSERT INTO accounts VALUES ('pool', 1, 10000000, 0), ('revenue', 1, 0, 0), ('allowances', 0, 0, 0), ('allowances_used', 1, 0, 0)",
    f"INSERT INTO accounts SELECT {DAY}, 1, 50000, 0 FROM generate_series(1, {N}) AS n",
    f"INSERT INTO accounts SELECT 'session/ses_' || n, 1, 100000, 0 FROM generate_series(1, {N}) AS n",
    f"INSERT INTO accounts SELECT 'job/job_' || n, 1, 0, 0 FROM generate_series(1, {N}) AS n",
    f"""INSERT INTO transfers
        SELECT {DAY} || '/50000', 'move', 'allowances', {DAY}, 50000, 'allowance_granted', NULL, 0 FROM generate_series(1, {N}) AS n""",
    f"""INSERT INTO grants
        SELECT 'job/job_' || n || '/gift', 'job_' || n, 'k', 'elite', '2026-01-31', 3000, 0 FROM generate_series(1, {N}) AS n""",
    f"""INSERT INTO sessions (id, identifier, deposit_invoice, created_at_ms, opened_at_ms, used_at_ms)
        SELECT 'ses_' || n, 'i' || n, 'inv' || n, 0, 0, 0 FROM generate_series(1, {N}) AS n""",
    f"""INSERT INTO session_requests (id, session_id, state, request, held_msat, gift_msat, limits, tier, day, eval_quote, work_quote,
                                      result, debited_msat, started_at_ms, heard_at_ms, ended_at_ms)
        SELECT 'req_' || n, 'ses_' || n, 'complete', 'x', 30000, 0, n % 2, 'anonymous', '2026-01-31', 'x', 'x', '42', 3570, 0, 0, 0
          FROM generate_series(1, {N}) AS n""",
    f"""INSERT INTO session_requests (id, session_id, state, request, held_msat, gift_msat, limits, tier, day, eval_quote, work_quote,
                                      started_at_ms, heard_at_ms)
        SELECT 'run_' || n, 'ses_' || n, 'running', 'x', 30000, 0, 0, 'anonymous', '2026-01-31', 'x', 'x', 0, 0
          FROM generate_series(1, {N}) AS n""",
    f"""INSERT INTO jobs (id, state, request, eval_fee_msat, eval_invoice, created_at_ms, moved_at_ms, result, charged_msat,
                          completed_at_ms)
        SELECT 'job_' || n, 'complete', 'x', 10000, 'inv' || n, 0, 0, 'x', 5000, 0 FROM generate_series(1, {N}) AS n""",
    f"""INSERT INTO invoices (id, purpose, subject, account, amount_msat, state, payment_hash, payment_request, created_at_ms,
                              expires_at_ms, look_at_ms, received_msat, settled_at_ms)
        SELECT 'inv' || n, 'job_eval', 's', 'a', 10000, 'settled', 'h' || n, 'r', 0, 0, 0, 10000, 0 FROM generate_series(1, {N}) AS n""",
    f"""INSERT INTO payouts (id, obligation, subject, payment_hash, payment_request, amount_msat, fee_limit_msat, destination, state,
                             planned_at_ms, ended_at_ms)
        SELECT 'pay' || n, 'owed/' || n, 's', 'h' || n, 'r', 1000, 10, 'invoice', 'sent', 0, 0 FROM generate_series(1, {N}) AS n""",
    f"""INSERT INTO transfers
        SELECT 'invoice/inv' || n || '/received', 'move', 'lightning', 'job/job_' || n, 10000, 'payment_received', NULL, 0
          FROM generate_series(1, {N}) AS n""",
)
RESERVATIONS = {  # a reservation's id: its debit, its credit, why, and whether it was posted
    "'job/job_' || n || '/work'": ("'job/job_' || n", "revenue", "work_charge", True),
    "'job/job_' || n || '/gift/pool'": ("'pool'", "revenue", "gift", True),
    "'job/job_' || n || '/gift/allowance'": (DAY, "allowances_used", "allowance_used", True),
    "'request/req_' || n || '/session'": ("'session/ses_' || n", "revenue", "session_charge", True),
    "'request/req_' || n || '/limit/0'": ("'allowance/limit-' || n || '/ever'", "allowances_used", "allowance_used", True),
    "'request/run_' || n || '/session'": ("'session/ses_' || n", "revenue", "session_charge", False),
}


def fill(raw: psycopg.Connection[Any]) -> None:
    for statement in LEDGER:
        raw.execute(statement.encode())
    for id, (debit, credit, code, posted) in RESERVATIONS.items():
        rows = f"FROM generate_series(1, {N}) AS n"
        raw.execute(f"INSERT INTO transfers {COLUMNS} SELECT {id}, 'reserve', {debit}, '{credit}', 3000, '{code}', NULL, 0 {rows}".encode())
        if posted:
            raw.execute(
                f"INSERT INTO transfers {COLUMNS} SELECT {id} || '!', 'post', {debit}, '{credit}', 3000, '{code}', {id}, 0 {rows}".encode()
            )


class Explaining:
    """A `Tx` that runs nothing without asking how it will be run."""

    def __init__(self, raw: psycopg.Connection[dict[str, Any]]) -> None:
        self._raw = raw
        self.often: list[str] = []  # the queries that look at too much

    def all(self, sql: str, **params: object) -> list[Row]:
        translated = for_postgres(sql)
        bound = [param.decode() if isinstance(param, bytes) else param for param in translated.bind(params)]
        cursor = psycopg.RawCursor(self._raw)
        explained = cursor.execute(b"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + translated.sql, bound).fetchone()
        assert explained is not None
        for node in nodes(explained["QUERY PLAN"][0]["Plan"]):
            looked = node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
            if looked > LOOKED_MAX or (node["Node Type"] == "Seq Scan" and node["Actual Loops"] > SCANS_MAX):
                self.often.append(f"{node['Node Type']}, {looked} rows: {' '.join(sql.split())}")
        return list(cursor.execute(translated.sql, bound).fetchall())

    def one(self, sql: str, **params: object) -> Row | None:
        rows = self.all(sql, **params)
        return rows[0] if rows else None

    def run(self, sql: str, **params: object) -> int:
        raise AssertionError("an audit writes nothing")

    def ask(self, sql: str, **params: object) -> Answer:
        raise AssertionError("an audit looks at every answer at once")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


@pytest.mark.parametrize("analyzed", [False, True], ids=["without statistics", "with statistics"])
async def test_no_check_looks_through_a_table_once_for_each_row_of_another(postgres_url: str, analyzed: bool) -> None:
    await open_database(postgres_url).aclose()
    with psycopg.connect(postgres_url, autocommit=True, row_factory=dict_row) as raw:
        fill(raw)
        if analyzed:
            raw.execute("ANALYZE")
        raw.execute("SET work_mem = '64kB'")
        looking = Explaining(raw)
        assert len(all_checks(looking)) > 10
        assert looking.often == []
