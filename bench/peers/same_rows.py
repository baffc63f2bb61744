"""What a job of ours writes in its five steps, as a rival's user would write it: plain SQL, one transaction per step, Timmy's own tables.

Kinder than ours in one point: event numbers come from a sequence, which locks nothing but lets a reader miss an event.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool  # type: ignore[import-not-found, unused-ignore]  # it is in the rivals' venv

EVAL_MSAT, WORK_MSAT, CHARGED_MSAT, SHARE_MSAT, OWED_MSAT = 10_000, 8_000, 630, 63, 7_000
POOL_SIZE = 16
NUMBERS = "CREATE SEQUENCE IF NOT EXISTS bench_event_numbers START 1000000"

Connection = psycopg.AsyncConnection[Any]


class SameRows:
    def __init__(self, url: str) -> None:
        self._pool = AsyncConnectionPool(url, min_size=POOL_SIZE, max_size=POOL_SIZE, open=False)

    async def open(self) -> None:
        await self._pool.open(wait=True)
        async with self._pool.connection() as connection:
            await connection.execute(NUMBERS)
            await connection.execute("INSERT INTO accounts (id, guarded) VALUES ('lightning', 0) ON CONFLICT (id) DO NOTHING")

    async def close(self) -> None:
        await self._pool.close()

    async def step(self, number: int, job: str) -> None:
        """One of the five, committed when it returns."""
        async with self._pool.connection() as connection:
            await (submitted, eval_paid, offered, work_paid, finished)[number](connection, job)


async def submitted(c: Connection, job: str) -> None:
    await _invoice(c, f"{job}-eval", "job_eval", job, EVAL_MSAT)
    await c.execute(
        "INSERT INTO jobs (id, state, request, eval_fee_msat, eval_invoice, created_at_ms, moved_at_ms)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (job, "awaiting_eval_payment", "what is 6 times 7?", EVAL_MSAT, f"{job}-eval", _now_ms(), _now_ms()),
    )
    await _event(c, job, "awaiting_eval_payment")


async def eval_paid(c: Connection, job: str) -> None:
    await _move(c, job, "awaiting_eval_payment", "evaluating")
    await _settle(c, f"{job}-eval", EVAL_MSAT)
    await c.execute("INSERT INTO accounts (id, guarded) VALUES (%s, 1) ON CONFLICT (id) DO NOTHING", (f"job/{job}",))
    await _transfer(c, f"invoice/{job}-eval/received", "move", "lightning", f"job/{job}", EVAL_MSAT, "payment_received")
    await _transfer(c, f"job/{job}/eval", "reserve", f"job/{job}", "revenue", EVAL_MSAT, "eval_fee")
    await _change(c, {f"job/{job}": (EVAL_MSAT, EVAL_MSAT), "lightning": (-EVAL_MSAT, 0)})
    await _event(c, job, "evaluating")
    await _event(c, job, "paid")


async def offered(c: Connection, job: str) -> None:
    await _move(c, job, "evaluating", "awaiting_work_payment", work_invoice=f"{job}-work")
    await _invoice(c, f"{job}-work", "job_work", job, WORK_MSAT)
    await _transfer(c, f"job/{job}/eval!", "post", f"job/{job}", "revenue", EVAL_MSAT, "eval_fee", f"job/{job}/eval")
    await _change(c, {f"job/{job}": (-EVAL_MSAT, -EVAL_MSAT), "revenue": (EVAL_MSAT, 0)})
    await _event(c, job, "awaiting_work_payment")


async def work_paid(c: Connection, job: str) -> None:
    await _move(c, job, "awaiting_work_payment", "executing")
    await _settle(c, f"{job}-work", WORK_MSAT)
    await _transfer(c, f"invoice/{job}-work/received", "move", "lightning", f"job/{job}", WORK_MSAT, "payment_received")
    await _transfer(c, f"job/{job}/work", "reserve", f"job/{job}", "revenue", WORK_MSAT, "work_charge")
    await _change(c, {f"job/{job}": (WORK_MSAT, WORK_MSAT), "lightning": (-WORK_MSAT, 0)})
    await _event(c, job, "executing")
    await _event(c, job, "paid")


async def finished(c: Connection, job: str) -> None:
    await _move(c, job, "executing", "complete", result="42", charged_msat=CHARGED_MSAT)
    await c.execute("INSERT INTO accounts (id, guarded) VALUES (%s, 1) ON CONFLICT (id) DO NOTHING", (f"owed/{job}",))
    await _transfer(c, f"job/{job}/work!", "post", f"job/{job}", "revenue", CHARGED_MSAT, "work_charge", f"job/{job}/work")
    await _transfer(c, f"job/{job}/pool", "move", "revenue", "pool", SHARE_MSAT, "pool_credit")
    await _transfer(c, f"job/{job}/owed", "move", f"job/{job}", f"owed/{job}", OWED_MSAT, "owed_back")
    await _change(
        c,
        {
            f"job/{job}": (-CHARGED_MSAT - OWED_MSAT, -WORK_MSAT),
            f"owed/{job}": (OWED_MSAT, 0),
            "pool": (SHARE_MSAT, 0),
            "revenue": (CHARGED_MSAT - SHARE_MSAT, 0),
        },
    )
    await _event(c, job, "complete")


async def _move(c: Connection, job: str, old: str, new: str, **learned: object) -> None:
    """The guarded move, as ours is guarded."""
    columns = "".join(f", {column} = %s" for column in learned)
    sql = f"UPDATE jobs SET state = %s, moved_at_ms = %s{columns} WHERE id = %s AND state = %s"
    moved = await c.execute(sql.encode(), (new, _now_ms(), *learned.values(), job, old))
    if moved.rowcount != 1:
        raise AssertionError(f"{job} was not {old}")


async def _invoice(c: Connection, id: str, purpose: str, job: str, amount_msat: int) -> None:
    await c.execute(
        "INSERT INTO invoices (id, purpose, subject, account, amount_msat, state, payment_hash, payment_request, created_at_ms,"
        " expires_at_ms, look_at_ms) VALUES (%s, %s, %s, %s, %s, 'open', %s, %s, %s, %s, %s)",
        (id, purpose, job, f"job/{job}", amount_msat, secrets.token_hex(32), f"lnbcrt1{id}", _now_ms(), _now_ms() + 600_000, _now_ms()),
    )


async def _settle(c: Connection, id: str, amount_msat: int) -> None:
    await c.execute(
        "UPDATE invoices SET state = 'settled', received_msat = %s, settled_at_ms = %s WHERE id = %s AND state = 'open'",
        (amount_msat, _now_ms(), id),
    )


async def _transfer(
    c: Connection, id: str, kind: str, debit: str, credit: str, amount_msat: int, code: str, reservation: str | None = None
) -> None:
    await c.execute(
        "INSERT INTO transfers (id, kind, debit, credit, amount_msat, code, reservation, at_ms) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (id, kind, debit, credit, amount_msat, code, reservation, _now_ms()),
    )


async def _change(c: Connection, changes: dict[str, tuple[int, int]]) -> None:
    """In sorted order, so that two jobs cannot deadlock; the tables' CHECKs are the guard."""
    for account in sorted(changes):
        balance, reserved = changes[account]
        await c.execute(
            "UPDATE accounts SET balance_msat = balance_msat + %s, reserved_msat = reserved_msat + %s WHERE id = %s",
            (balance, reserved, account),
        )


async def _event(c: Connection, job: str, state: str) -> None:
    await c.execute(
        "INSERT INTO events (seq, at_ms, subject, kind, body) VALUES (nextval('bench_event_numbers'), %s, %s, 'state', %s)",
        (_now_ms(), job, json.dumps({"state": state})),
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
