"""Many callers, several servers, one balance: exactly what it holds is given, and what was written stays written."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence

import psycopg
import pytest

from timmy.db import Database, Row, Tx, open_database
from timmy.ledger import Code, Entry, InsufficientFunds, Move, Post, Reserve, audit, commit, commit_all
from timmy.ledger.audit import accounts
from timmy.ledger.commit import TransferConflict, available
from timmy.ledger.store import change_accounts
from timmy.money import Msats

AT_MS = 1_700_000_000_000
WHY = Code.OPERATOR_CORRECTION
SERVERS = 3


def run(tx: Tx, statement: str) -> int:
    return tx.run(statement)


def apply_all(tx: Tx, units: Sequence[Sequence[Entry]]) -> list[InsufficientFunds | None]:
    return commit_all(tx, AT_MS, units)


@pytest.fixture
async def servers(database_url: str) -> AsyncIterator[list[Database]]:
    """As several processes would: each has connections, threads and groups of its own."""
    opened = [open_database(database_url) for _ in range(SERVERS)]
    yield opened
    for server in opened:
        await server.aclose()


async def ask(server: Database, n: int, unit: Sequence[Entry]) -> bool:
    """Every third caller alone, the others in groups."""
    try:
        if n % 3:
            await server.write_grouped(apply_all, unit)
        else:
            await server.write(commit, AT_MS, *unit)
    except InsufficientFunds:
        return False
    return True


async def books(server: Database) -> dict[str, tuple[int, int]]:
    assert [check for check in await server.read(audit) if not check.holds] == []
    return {line.account: (line.balance_msat, line.reserved_msat) for line in await server.read(accounts)}


@pytest.mark.fault("B01", "B02", "B14")
async def test_a_thousand_callers_for_what_the_pool_has_left_get_exactly_that(servers: list[Database]) -> None:
    await servers[0].write(commit, AT_MS, Move("gift", "operator", "pool", Msats(137), WHY))
    wanted = [(Reserve(f"{n}", "pool", "revenue", Msats(1), WHY),) for n in range(1000)]
    granted = await asyncio.gather(*(ask(servers[n % SERVERS], n, unit) for n, unit in enumerate(wanted)))
    assert sum(granted) == 137
    assert (await books(servers[0]))["pool"] == (137, 137)
    given = [n for n, yes in enumerate(granted) if yes]
    await asyncio.gather(*(ask(servers[n % SERVERS], n, (Post(f"{n}"),)) for n in given))
    assert (await books(servers[0])).items() >= {"pool": (0, 0), "revenue": (137, 0)}.items()
    assert not await ask(servers[0], 0, (Reserve("late", "pool", "revenue", Msats(1), WHY),))


@pytest.mark.fault("B14")
async def test_payments_around_a_circle_neither_deadlock_nor_lose_a_millisat(servers: list[Database]) -> None:
    """Everybody pays to the left and to the right at once, so that any two units want the same accounts in opposite order."""
    size = 6
    names = [f"session/{n}" for n in range(size)]
    await servers[0].write(commit, AT_MS, *(Move(f"start {name}", "operator", name, Msats(50), WHY) for name in names))
    wanted: list[Sequence[Entry]] = []
    for n in range(240):
        here, left, right = names[n % size], names[(n + 1) % size], names[(n - 1) % size]
        wanted.append((Move(f"{n} left", here, left, Msats(n % 5), WHY), Move(f"{n} right", here, right, Msats(n % 3), WHY)))
    outcomes = await asyncio.gather(*(ask(servers[n % SERVERS], n, unit) for n, unit in enumerate(wanted)))
    assert any(outcomes)
    after = await books(servers[0])
    assert sum(after[name][0] for name in names) == size * 50
    assert min(after[name][0] for name in names) >= 0


@pytest.mark.fault("B06")
async def test_the_same_unit_from_every_server_is_applied_once(servers: list[Database]) -> None:
    unit = (Move("gift", "operator", "pool", Msats(5), WHY), Reserve("held", "pool", "revenue", Msats(3), WHY))
    assert all(await asyncio.gather(*(ask(servers[n % SERVERS], n, unit) for n in range(60))))
    assert (await books(servers[0]))["pool"] == (5, 3)


async def test_one_id_meaning_two_things_at_once_is_a_conflict_for_one_of_them(servers: list[Database]) -> None:
    """The accounts differ, so no lock keeps them apart: only the id does."""
    for n in range(20):
        first = servers[0].write(commit, AT_MS, Move(f"{n}", "operator", f"job/{n}", Msats(5), WHY))
        second = servers[1].write(commit, AT_MS, Move(f"{n}", "lightning", f"owed/{n}", Msats(5), Code.PAYMENT_RECEIVED))
        outcomes = await asyncio.gather(first, second, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes if outcome is not None] == [TransferConflict]
    await books(servers[0])


@pytest.mark.fault("A20")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transfers SET amount_msat = 0",
        "UPDATE transfers SET at_ms = at_ms + 1 WHERE id = 'gift'",
        "DELETE FROM transfers",
        "DELETE FROM transfers WHERE id = 'gift'",
        "INSERT INTO transfers SELECT id, kind, debit, credit, 1, code, reservation, at_ms FROM transfers WHERE TRUE"
        " ON CONFLICT (id) DO UPDATE SET amount_msat = 1",
    ],
)
async def test_a_transfer_is_never_changed_or_deleted_whoever_asks(db: Database, statement: str) -> None:
    await db.write(commit, AT_MS, Move("gift", "operator", "pool", Msats(5), WHY))
    before = await db.read(lambda tx: tx.all("SELECT * FROM transfers"))
    with pytest.raises((sqlite3.IntegrityError, psycopg.errors.RaiseException), match="never"):
        await db.write(lambda tx: tx.run(statement))
    assert await db.read(lambda tx: tx.all("SELECT * FROM transfers")) == before


@pytest.mark.fault("A20")
async def test_a_transfer_is_never_replaced_on_sqlite(sqlite_db: Database) -> None:
    """REPLACE deletes without asking the triggers for deletion."""
    await sqlite_db.write(commit, AT_MS, Move("gift", "operator", "pool", Msats(5), WHY))
    for verb in ("REPLACE", "INSERT OR REPLACE"):
        statement = f"{verb} INTO transfers VALUES ('gift', 'move', 'operator', 'pool', 1, 'x', NULL, 1)"
        with pytest.raises(sqlite3.IntegrityError, match="never"):
            await sqlite_db.write(run, statement)
    assert (await books(sqlite_db))["pool"] == (5, 0)


@pytest.mark.fault("A20")
async def test_transfers_are_never_truncated_on_postgres(postgres_url: str) -> None:
    db = open_database(postgres_url)
    await db.write(commit, AT_MS, Move("gift", "operator", "pool", Msats(5), WHY))
    with pytest.raises(psycopg.errors.RaiseException, match="never"):
        await db.write(lambda tx: tx.run("TRUNCATE transfers"))
    assert (await books(db))["pool"] == (5, 0)
    await db.aclose()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts SET balance_msat = -1 WHERE id = 'pool'",
        "UPDATE accounts SET reserved_msat = 6 WHERE id = 'pool'",
        "UPDATE accounts SET reserved_msat = -1 WHERE id = 'operator'",
        "INSERT INTO accounts (id, guarded, balance_msat) VALUES ('job/1', 1, -1)",
        "INSERT INTO transfers VALUES ('x', 'move', 'pool', 'pool', 1, 'x', NULL, 1)",
        "INSERT INTO transfers VALUES ('x', 'move', 'pool', 'revenue', -1, 'x', NULL, 1)",
        "INSERT INTO transfers VALUES ('x', 'gift', 'pool', 'revenue', 1, 'x', NULL, 1)",
        "INSERT INTO transfers VALUES ('x', 'post', 'pool', 'revenue', 1, 'x', NULL, 1)",
        "INSERT INTO transfers VALUES ('x', 'post', 'pool', 'revenue', 1, 'x', 'gift', 1)",
        "INSERT INTO transfers VALUES ('gift!', 'move', 'pool', 'revenue', 1, 'x', 'gift', 1)",
    ],
)
async def test_the_tables_themselves_refuse_what_the_code_would_never_ask(db: Database, statement: str) -> None:
    await db.write(commit, AT_MS, Move("gift", "operator", "pool", Msats(5), WHY))
    with pytest.raises((sqlite3.IntegrityError, psycopg.errors.CheckViolation)):
        await db.write(lambda tx: tx.run(statement))
    assert (await books(db))["pool"] == (5, 0)


async def test_what_is_available_is_the_balance_less_what_is_reserved(db: Database) -> None:
    assert await db.read(available, "pool") == Msats(0)
    gift = Move("gift", "operator", "pool", Msats(5), WHY)
    await db.write(commit, AT_MS, gift, Reserve("held", "pool", "revenue", Msats(3), WHY))
    assert await db.read(available, "pool") == Msats(2)


@pytest.mark.parametrize(
    ("lie", "noticed"),
    [
        ("UPDATE accounts SET balance_msat = balance_msat + 1 WHERE id = 'pool'", "all accounts sum to zero"),
        ("UPDATE accounts SET balance_msat = balance_msat + 1 WHERE id = 'pool'", "every balance is the sum of its transfers"),
        ("UPDATE accounts SET reserved_msat = reserved_msat - 1 WHERE id = 'pool'", "what is reserved is the sum of the open reservations"),
        ("DELETE FROM accounts WHERE id = 'revenue'", "every balance is the sum of its transfers"),
        ("UPDATE accounts SET guarded = 0 WHERE id = 'pool'", "every account is on the chart"),
        ("INSERT INTO accounts (id, guarded) VALUES ('moon', 0)", "every account is on the chart"),
        ("INSERT INTO transfers VALUES ('x!', 'void', 'pool', 'revenue', 0, 'x', 'x', 1)", "every reservation is resolved"),
        (
            "INSERT INTO transfers VALUES ('held!', 'post', 'pool', 'revenue', 4, 'x', 'held', 1)",
            "every reservation is resolved",
        ),
    ],
)
async def test_the_audit_notices_a_lie(db: Database, lie: str, noticed: str) -> None:
    gift = Move("gift", "operator", "pool", Msats(5), WHY)
    await db.write(commit, AT_MS, gift, Reserve("held", "pool", "revenue", Msats(3), WHY))
    await books(db)
    await db.write(lambda tx: tx.run(lie))
    broken = [check.name for check in await db.read(audit) if not check.holds]
    assert any(name.startswith(noticed) for name in broken), broken


@pytest.mark.parametrize(("debit", "credit"), [("lightning", "pool"), ("pool", "lightning")])
async def test_the_audit_notices_money_that_came_or_went_under_a_false_name(db: Database, debit: str, credit: str) -> None:
    await db.write(commit, AT_MS, Move("gift", "operator", "pool", Msats(5), WHY))
    await db.write(commit, AT_MS, Move("false", debit, credit, Msats(4), Code.EVAL_FEE))
    broken = [check.name for check in await db.read(audit) if not check.holds]
    assert broken == ["paid in is earned, credited, owed, in flight, paid out or unallocated"]


@pytest.mark.parametrize("change", [{"balance_change": -6}, {"reserved_change": 6}, {"balance_change": -3, "reserved_change": 3}])
async def test_the_statement_that_changes_accounts_refuses_a_wrong_decision(db: Database, change: Row) -> None:
    """Whoever decided wrongly is told so by it, and not by the table's CHECK behind it."""
    await db.write(commit, AT_MS, Move("gift", "operator", "pool", Msats(5), WHY))
    wrong = {"id": "pool", "balance_change": 0, "reserved_change": 0, **change}
    assert (
        await db.write(lambda tx: change_accounts(tx, [wrong, {"id": "operator", "balance_change": -6, "reserved_change": 0}]).count) == 1
    )
    row = await db.read(lambda tx: tx.one("SELECT balance_msat, reserved_msat FROM accounts WHERE id = 'pool'"))
    assert row == {"balance_msat": 5, "reserved_msat": 0}
