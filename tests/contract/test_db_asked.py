"""Statements that are asked, and looked at later or never: their order, their errors, and what they must have touched."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from timmy.db import Database, Tx
from timmy.errors import Breach


@pytest.fixture
async def notes(db: Database) -> Database:
    await db.write(lambda tx: tx.run("CREATE TABLE notes (id TEXT PRIMARY KEY, n BIGINT NOT NULL)"))
    return db


def put(tx: Tx, id: str, n: int) -> Any:
    return tx.ask("INSERT INTO notes (id, n) VALUES (:id, :n)", id=id, n=n)


def all_notes(tx: Tx) -> dict[str, int]:
    return {row["id"]: row["n"] for row in tx.all("SELECT id, n FROM notes")}


async def test_what_is_asked_happens_in_its_order(notes: Database) -> None:
    def several(tx: Tx) -> tuple[int, list[int], int]:
        put(tx, "a", 1)
        doubled = tx.ask("UPDATE notes SET n = n * 2 WHERE n > :least", least=0)
        between = tx.ask("SELECT n FROM notes ORDER BY id")
        put(tx, "b", 5)
        again = tx.ask("UPDATE notes SET n = n * 2 WHERE n > :least", least=0)
        return again.count, [row["n"] for row in between.rows], doubled.count

    assert await notes.write(several) == (2, [2], 1)
    assert await notes.read(all_notes) == {"a": 4, "b": 10}


async def test_what_nobody_looks_at_is_kept_all_the_same(notes: Database) -> None:
    await notes.write(lambda tx: [put(tx, str(n), n) for n in range(50)] and None)
    assert len(await notes.read(all_notes)) == 50


async def test_an_error_that_nobody_looked_at_undoes_everything_and_is_told(notes: Database) -> None:
    def twice(tx: Tx) -> str:
        put(tx, "a", 1)
        put(tx, "a", 2)
        put(tx, "b", 3)
        return "done"

    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        await notes.write(twice)
    assert await notes.read(all_notes) == {}
    await notes.write(put_and_forget, "c")
    assert await notes.read(all_notes) == {"c": 1}


def put_and_forget(tx: Tx, id: str) -> None:
    put(tx, id, 1)


async def test_an_error_is_not_outrun_by_a_unit_that_goes_on(notes: Database) -> None:
    def stubborn(tx: Tx) -> str:
        put(tx, "a", 1)
        try:
            put(tx, "a", 2)
            tx.all("SELECT id FROM notes")
        except Exception:  # noqa: BLE001 - the unit that this is about
            return "never mind"
        return "well"

    with pytest.raises(Exception):  # noqa: B017 - which one depends on the engine; that nothing was kept does not
        await notes.write(stubborn)
    assert await notes.read(all_notes) == {}


@pytest.mark.parametrize("look", [False, True], ids=["unseen", "seen"])
async def test_a_statement_that_touched_too_little_undoes_everything(notes: Database, look: bool) -> None:
    def change(tx: Tx, id: str) -> None:
        put(tx, "x" + id, 1)
        tx.ask("UPDATE notes SET n = 7 WHERE id = :id", id=id).must_touch(1, Breach(f"{id} is not there"))
        put(tx, "y" + id, 1)
        if look:
            all_notes(tx)

    with pytest.raises(Breach, match="a is not there"):
        await notes.write(change, "a")
    assert await notes.read(all_notes) == {}
    await notes.write(put_and_forget, "a")
    await notes.write(change, "a")
    assert await notes.read(all_notes) == {"a": 7, "xa": 1, "ya": 1}


async def test_in_a_group_only_who_asked_wrongly_is_told(notes: Database) -> None:
    def put_all(tx: Tx, ids: Any) -> list[str]:
        for id in ids:
            put(tx, id, 1)
        return list(ids)

    outcomes = await asyncio.gather(*(notes.write_grouped(put_all, id) for id in ("a", "b", "a", "c")), return_exceptions=True)
    assert [outcome if isinstance(outcome, str) else "refused" for outcome in outcomes] == ["a", "b", "refused", "c"]
    assert await notes.read(all_notes) == {"a": 1, "b": 1, "c": 1}


async def test_much_may_be_asked_and_much_answered_at_once(notes: Database) -> None:
    """Both sides have more to say than a socket holds: neither may wait for the other to listen first."""
    text = "x" * 20_000

    def flood(tx: Tx) -> int:
        answers = [tx.ask("SELECT CAST(:text AS TEXT) || :n AS said", text=text, n=str(n)) for n in range(400)]
        return sum(len(answer.rows[0]["said"]) for answer in answers)

    assert await notes.write(flood) > 400 * 20_000
    assert await notes.read(flood) > 400 * 20_000


async def test_a_text_with_a_nul_is_no_shorter_text(notes: Database) -> None:
    """libpq would take it for the end of the text, and what it says behind it for nothing."""

    def put_and_tell(tx: Tx) -> list[str]:
        put(tx, "a\0b", 1)
        return list(all_notes(tx))

    if notes.engine == "postgres":
        with pytest.raises(Exception, match="NUL"):
            await notes.write(put_and_tell)
        assert await notes.read(all_notes) == {}
    else:
        assert await notes.write(put_and_tell) == ["a\0b"]


async def test_the_same_words_with_other_kinds_of_values_are_understood(notes: Database) -> None:
    def kinds(tx: Tx) -> list[Any]:
        ask = "SELECT COUNT(*) AS n FROM notes WHERE n = :n"
        found = [tx.all(ask, n=value)[0]["n"] for value in (1, 2**40, None, 1.0)]
        return [*found, tx.all("SELECT CAST(:yes AS TEXT) AS said", yes=None)[0]["said"]]

    await notes.write(put_and_forget, "a")
    assert await notes.read(kinds) == [1, 0, 0, 1, None]
