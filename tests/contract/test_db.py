"""What both engines promise: whole or not at all, once, in company or alone; and one SQL text that means the same on both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import psycopg
import pytest

from timmy.db import Database, DatabaseDown, Tx, lines, open_database, waiting
from timmy.errors import Breach

PATIENCE_SECONDS = 60


class Refused(Exception):
    pass


@pytest.fixture
async def notes(db: Database) -> Database:
    await db.write(lambda tx: tx.run("CREATE TABLE notes (id TEXT PRIMARY KEY, n BIGINT, text TEXT)"))
    return db


def put(tx: Tx, id: str, n: int | None = None, text: str | None = None) -> str:
    tx.run("INSERT INTO notes (id, n, text) VALUES (:id, :n, :text)", id=id, n=n, text=text)
    return id


def put_and_refuse(tx: Tx, id: str) -> None:
    put(tx, id)
    raise Refused(id)


def put_all(tx: Tx, ids: Sequence[str]) -> list[str | Exception]:
    """`bad …` is refused as an outcome, `worse …` by raising after everything was written."""
    for id in ids:
        if not id.startswith("bad"):
            put(tx, id)
    if any(id.startswith("worse") for id in ids):
        raise Refused("worse")
    return [Refused(id) if id.startswith("bad") else id for id in ids]


def ids(tx: Tx) -> list[str]:
    return [row["id"] for row in tx.all("SELECT id FROM notes ORDER BY id")]


class Gate:
    """Holds a writer thread inside its transaction until it is opened."""

    def __init__(self) -> None:
        self.reached, self._open = threading.Event(), threading.Event()

    def hold(self, tx: Tx) -> None:
        self.reached.set()
        assert self._open.wait(PATIENCE_SECONDS)

    def open(self) -> None:
        self._open.set()

    async def until_reached(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, PATIENCE_SECONDS)


# --- whole or not at all ---------------------------------------------------------------------------------------


async def test_a_write_answers_with_what_its_function_answered(notes: Database) -> None:
    assert await notes.write(put, "a", n=1) == "a"
    assert await notes.read(ids) == ["a"]


async def test_a_write_that_raises_leaves_nothing(notes: Database) -> None:
    with pytest.raises(Refused, match="a"):
        await notes.write(put_and_refuse, "a")
    assert await notes.read(ids) == []


async def test_a_refusal_harms_no_neighbour(notes: Database) -> None:
    asked = [notes.write(put_and_refuse if n % 3 == 0 else put, f"{n:03}") for n in range(120)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    kept = [f"{n:03}" for n in range(120) if n % 3]
    assert [outcome for outcome in outcomes if isinstance(outcome, str)] == kept
    assert sum(isinstance(outcome, Refused) for outcome in outcomes) == 40
    assert await notes.read(ids) == kept


async def test_a_broken_statement_harms_no_neighbour(notes: Database) -> None:
    await notes.write(put, "taken")
    asked = [notes.write(put, "taken" if n % 2 else f"{n:02}") for n in range(20)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(outcome, Exception) for outcome in outcomes) == 10
    assert await notes.read(ids) == sorted([f"{n:02}" for n in range(0, 20, 2)] + ["taken"])


async def test_an_error_that_was_swallowed_is_not_a_success(notes: Database) -> None:
    """PostgreSQL would answer COMMIT with a silent ROLLBACK: the caller must hear that nothing was kept."""

    def careless(tx: Tx) -> str:
        put(tx, "before")
        try:
            put(tx, "before")
        except Exception:  # noqa: BLE001 - the carelessness that is tested
            return "fine"
        return "never"

    with pytest.raises(Breach):
        await notes.write(careless)
    assert await notes.read(ids) == []
    assert await notes.write(put, "after") == "after"


# --- in company ------------------------------------------------------------------------------------------------


async def test_a_group_answers_each_caller_with_its_own_outcome(notes: Database) -> None:
    wanted = [f"{'bad' if n % 4 == 0 else 'good'} {n:03}" for n in range(100)]
    outcomes = await asyncio.gather(*(notes.write_grouped(put_all, id) for id in wanted), return_exceptions=True)
    for id, outcome in zip(wanted, outcomes, strict=True):
        assert outcome == id if id.startswith("good") else isinstance(outcome, Refused) and str(outcome) == id
    assert await notes.read(ids) == sorted(id for id in wanted if id.startswith("good"))


async def test_when_a_group_raises_each_is_tried_alone(notes: Database) -> None:
    wanted = ["a", "bad b", "worse c", "d", "worse e", "f"]
    outcomes = await asyncio.gather(*(notes.write_grouped(put_all, id) for id in wanted), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [str, Refused, Refused, str, Refused, str]
    assert await notes.read(ids) == ["a", "d", "f"]


async def test_groups_and_lone_writes_wait_together_and_harm_each_other_never(notes: Database) -> None:
    gate = Gate()
    held = asyncio.ensure_future(notes.write(gate.hold))
    await gate.until_reached()
    asked = [
        notes.write(put, "alone 1"),
        notes.write_grouped(put_all, "a"),
        notes.write(put_and_refuse, "alone 2"),
        notes.write_grouped(put_all, "worse b"),
        notes.write_grouped(put_all, "c"),
        notes.write(put, "alone 3"),
    ]
    tasks = [asyncio.ensure_future(one) for one in asked]
    await asyncio.sleep(0)
    gate.open()
    outcomes = await asyncio.gather(held, *tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), str, str, Refused, Refused, str, str]
    assert await notes.read(ids) == ["a", "alone 1", "alone 3", "c"]


async def test_what_was_committed_stays_a_success_when_the_database_goes_down_after(notes: Database) -> None:
    """A group that is tried one by one, and an outage on the way: the first ones are done and must not be told otherwise."""

    def lost_on_the_way(tx: Tx, wanted: Sequence[str]) -> list[str | Exception]:
        if wanted == ["c"]:
            raise DatabaseDown("gone")
        return put_all(tx, wanted)

    wanted = ["a", "worse b", "c", "d"]
    outcomes = await asyncio.gather(*(notes.write_grouped(lost_on_the_way, id) for id in wanted), return_exceptions=True)
    kept = await notes.read(ids)
    assert isinstance(outcomes[2], DatabaseDown)
    for id, outcome in zip(wanted, outcomes, strict=True):
        assert (outcome == id) == (id in kept), f"{id}: {outcome!r}, and the table has {kept}"
    assert "a" in kept


async def test_a_group_that_answers_too_few_outcomes_is_undone(notes: Database) -> None:
    def silent(tx: Tx, wanted: Sequence[str]) -> list[str | Exception]:
        put_all(tx, wanted)
        return []

    outcomes = await asyncio.gather(*(notes.write_grouped(silent, id) for id in "abc"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Breach, Breach, Breach]
    assert await notes.read(ids) == []


async def test_more_than_a_group_holds_is_several_groups(notes: Database) -> None:
    sizes: list[int] = []

    def counted(tx: Tx, wanted: Sequence[str]) -> list[str | Exception]:
        sizes.append(len(wanted))
        return put_all(tx, wanted)

    wanted = [f"{n:04}" for n in range(2 * waiting.GROUP_MAX + 100)]
    assert await asyncio.gather(*(notes.write_grouped(counted, id) for id in wanted)) == wanted
    assert await notes.read(ids) == wanted
    assert sum(sizes) == len(wanted)
    assert max(sizes) <= waiting.GROUP_MAX
    assert len(sizes) < 40, "they were not grouped"


# --- callers that leave, a queue that is full, an end that is orderly ----------------------------------------------


async def test_a_caller_that_gives_up_tears_nothing(notes: Database, database_url: str) -> None:
    gate = Gate()

    def slow(tx: Tx) -> None:
        put(tx, "first half")
        gate.hold(tx)
        put(tx, "second half")

    task = asyncio.ensure_future(notes.write(slow))
    await gate.until_reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.open()
    await notes.write(put, "z")
    await notes.aclose()  # which waits for what is on its way
    again = open_database(database_url)
    assert await again.read(ids) == ["first half", "second half", "z"]
    await again.aclose()


def test_callers_whose_event_loop_is_gone_harm_nobody(sqlite_url: str) -> None:
    db = open_database(sqlite_url)
    gate = Gate()

    async def leave() -> None:
        asyncio.ensure_future(db.write(gate.hold))  # noqa: RUF006 - nobody ever looks at it: that is the case
        await gate.until_reached()

    asyncio.run(leave())
    gate.open()
    assert asyncio.run(db.write(lambda tx: tx.one("SELECT 1 AS alive"))) == {"alive": 1}
    asyncio.run(db.aclose())


async def test_too_much_waiting_is_an_outage_not_a_memory_leak(notes: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "WAITING_MAX", 30)
    gate = Gate()
    held = [asyncio.ensure_future(notes.write(gate.hold)) for _ in range(10)]
    await gate.until_reached()
    queued = [asyncio.ensure_future(notes.write_grouped(put_all, f"{n:02}")) for n in range(20)]
    await asyncio.sleep(0)
    try:
        for too_much in (notes.write(put, "no"), notes.write_grouped(put_all, "no")):
            with pytest.raises(DatabaseDown, match="too much"):
                await asyncio.wait_for(too_much, 1)
    finally:
        gate.open()
    await asyncio.gather(*held, *queued)
    assert await notes.write(put, "yes") == "yes"
    assert await notes.read(ids) == [*(f"{n:02}" for n in range(20)), "yes"]


async def test_closing_does_what_was_admitted_and_admits_no_more(notes: Database, database_url: str) -> None:
    asked = [asyncio.ensure_future(notes.write(put, f"{n:03}")) for n in range(100)]
    asked += [asyncio.ensure_future(notes.write_grouped(put_all, f"{n:03}")) for n in range(100, 200)]
    await asyncio.sleep(0)
    await notes.aclose()
    assert await asyncio.gather(*asked) == [f"{n:03}" for n in range(200)]
    for late in (notes.write(put, "late"), notes.write_grouped(put_all, "late"), notes.read(ids)):
        with pytest.raises(DatabaseDown, match="closed"):
            await late
    again = open_database(database_url)
    assert len(await again.read(ids)) == 200
    await again.aclose()


async def test_a_commit_that_is_refused_stops_nobody_else(notes: Database) -> None:
    """A deferred constraint speaks up only at COMMIT, when nobody knows whose it is."""
    await notes.write(
        lambda tx: tx.run("CREATE TABLE answers (id TEXT PRIMARY KEY, to_note TEXT REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED)")
    )

    def answer(tx: Tx, id: str) -> str:
        tx.run("INSERT INTO answers (id, to_note) VALUES (:id, 'nothing')", id=id)
        return id

    gate = Gate()
    held = asyncio.ensure_future(notes.write(gate.hold))
    await gate.until_reached()
    tasks = [asyncio.ensure_future(one) for one in (notes.write(put, "a"), notes.write(answer, "x"), notes.write_grouped(put_all, "b"))]
    await asyncio.sleep(0)
    gate.open()
    await held
    first, refused, second = await asyncio.gather(*tasks, return_exceptions=True)
    assert (first, second) == ("a", "b")
    assert isinstance(refused, Exception)
    assert not isinstance(refused, DatabaseDown)
    assert await notes.write(put, "c") == "c"
    assert await notes.read(ids) == ["a", "b", "c"]


# --- reading ---------------------------------------------------------------------------------------------------


async def test_a_read_sees_what_was_written_before_it(notes: Database) -> None:
    for n in range(60):
        await notes.write(put, f"{n:02}")
        assert len(await notes.read(ids)) == n + 1


async def test_a_read_cannot_write(notes: Database) -> None:
    with pytest.raises((DatabaseDown, psycopg.errors.ReadOnlySqlTransaction)):
        await notes.read(put, "a")
    assert await notes.read(ids) == []


async def test_a_read_sees_one_moment(notes: Database) -> None:
    await notes.write(put, "a")
    gate = Gate()

    def twice(tx: Tx) -> tuple[list[str], list[str]]:
        before = ids(tx)
        gate.hold(tx)
        return before, ids(tx)

    reading = asyncio.ensure_future(notes.read(twice))
    await gate.until_reached()
    await notes.write(put, "b")
    assert await notes.read(ids) == ["a", "b"], "other readers are not held up"
    gate.open()
    assert await reading == (["a"], ["a"])


async def test_a_read_that_raises_harms_no_neighbour(notes: Database) -> None:
    await notes.write(put, "a")

    def broken(tx: Tx) -> list[str]:
        raise Refused

    asked = [notes.read(broken if n % 2 else ids) for n in range(40)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [outcome for outcome in outcomes if not isinstance(outcome, Refused)] == [["a"]] * 20


async def test_grouped_reads_answer_each_caller_and_see_what_was_written_before_them(notes: Database) -> None:
    def find(tx: Tx, wanted: Sequence[str]) -> list[str | Exception]:
        if "worse" in wanted:
            raise Refused("worse")
        there = set(ids(tx))
        return [id if id in there else Refused(id) for id in wanted]

    for id in "abc":
        await notes.write(put, id)
        outcomes = await asyncio.gather(*(notes.read_grouped(find, wanted) for wanted in (id, "z", "worse", id)), return_exceptions=True)
        assert outcomes[0] == outcomes[3] == id
        assert [str(outcome) for outcome in outcomes[1:3]] == ["z", "worse"]


async def test_a_grouped_read_cannot_write(notes: Database) -> None:
    with pytest.raises((DatabaseDown, psycopg.errors.ReadOnlySqlTransaction)):
        await notes.read_grouped(put_all, "a")
    assert await notes.read(ids) == []


async def test_nobody_waits_behind_a_slow_read(notes: Database) -> None:
    await notes.write(put, "a")
    gate = Gate()

    def audit(tx: Tx) -> list[str]:
        before = ids(tx)
        gate.hold(tx)
        return before

    auditing = asyncio.ensure_future(notes.read_slowly(audit))
    await gate.until_reached()
    waiting = asyncio.ensure_future(notes.read_slowly(ids))
    asked = [notes.read(ids) for _ in range(40)]  # asked together, so readers that an audit could take would be taken
    assert await asyncio.gather(*asked) == [["a"]] * 40
    await notes.write(put, "b")
    assert not waiting.done(), "slow reads come one after the other"
    gate.open()
    assert await auditing == ["a"]
    assert await waiting == ["a", "b"]


async def test_a_slow_read_cannot_write(notes: Database) -> None:
    with pytest.raises((DatabaseDown, psycopg.errors.ReadOnlySqlTransaction)):
        await notes.read_slowly(put, "a")
    assert await notes.read_slowly(ids) == []


async def test_closing_does_not_wait_for_a_slow_read(notes: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "SLOW_CLOSE_SECONDS", 0.0)
    db = open_database(database_url)
    gate = Gate()
    auditing = asyncio.ensure_future(db.read_slowly(gate.hold))
    await gate.until_reached()
    await db.aclose()  # would wait for ever
    gate.open()
    await asyncio.gather(auditing, return_exceptions=True)
