"""One SQL text means the same on both engines: text, numbers, lists, tables of rows, and characters that SQL itself uses."""

from __future__ import annotations

import asyncio

import pytest

from timmy.db import Database, Row, Tx


@pytest.fixture
async def notes(db: Database) -> Database:
    await db.write(lambda tx: tx.run("CREATE TABLE notes (id TEXT PRIMARY KEY, n BIGINT, text TEXT)"))
    return db


def put(tx: Tx, id: str, n: int | None = None, text: str | None = None) -> None:
    tx.run("INSERT INTO notes (id, n, text) VALUES (:id, :n, :text)", id=id, n=n, text=text)


def query(tx: Tx, /, sql: str, **params: object) -> list[Row]:
    return tx.all(sql, **params)


TEXTS = ["", "'", "''; DROP TABLE notes; --", '"', "\\", "%s %(id)s %%", ":id", "čeština ☃ 🦀 \u202e", "a\nb\tc", "null", "[1]", "{}"]
BIGGEST = 2**63 - 1


@pytest.mark.fault("F09")
async def test_any_text_comes_back_as_it_went_in(notes: Database) -> None:
    def one_by_one(tx: Tx) -> None:
        for text in TEXTS:
            put(tx, "1" + text, text=text)

    def all_at_once(tx: Tx) -> None:
        rows: list[Row] = [{"id": "2" + text, "text": text} for text in TEXTS]
        tx.run("INSERT INTO notes (id, text) SELECT r.id, r.text FROM :rows(id TEXT, text TEXT) AS r WHERE TRUE", rows=rows)

    await notes.write(one_by_one)
    await notes.write(all_at_once)
    for first in "12":
        wanted = [first + text for text in TEXTS]
        rows = await notes.read(query, "SELECT id, text FROM notes WHERE id IN :ids", ids=wanted)
        assert {row["id"]: row["text"] for row in rows} == {first + text: text for text in TEXTS}


async def test_a_list_of_texts_may_be_empty_or_long(notes: Database) -> None:
    rows: list[Row] = [{"id": f"{n:04}", "n": n} for n in range(3000)]
    fill = "INSERT INTO notes (id, n) SELECT r.id, r.n FROM :rows(id TEXT, n BIGINT) AS r WHERE TRUE ON CONFLICT DO NOTHING"
    assert await notes.write(lambda tx: tx.run(fill, rows=rows)) == 3000
    assert await notes.write(lambda tx: tx.run(fill, rows=rows)) == 0
    assert await notes.write(lambda tx: tx.run(fill, rows=[])) == 0
    every_id = [row["id"] for row in rows]
    for wanted, found in [([], 0), (every_id, 3000), (["0001", "0002", "0002", "'; --"], 2)]:
        assert await notes.read(query, "SELECT COUNT(*) AS n FROM notes WHERE id IN :wanted", wanted=wanted) == [{"n": found}]


async def test_a_table_of_rows_keeps_nothing_and_huge_numbers_apart(notes: Database) -> None:
    rows: list[Row] = [
        {"id": "a", "n": BIGGEST, "text": None},
        {"id": "b", "n": -BIGGEST - 1, "text": ""},
        {"id": "c", "n": None},
        {"id": "d", "n": 0, "text": "0"},
        {"id": "e", "n": 2_100_000_000_000_000_001},
    ]
    fill = "INSERT INTO notes (id, n, text) SELECT r.id, r.n, r.text FROM :rows(id TEXT, n BIGINT, text TEXT) AS r WHERE TRUE"
    await notes.write(lambda tx: tx.run(fill, rows=rows))
    kept = await notes.read(lambda tx: tx.all("SELECT id, n, text FROM notes ORDER BY id"))
    assert [(row["n"], row["text"]) for row in kept] == [(row["n"], row.get("text")) for row in rows]


async def test_percent_signs_casts_and_colons_are_left_alone(notes: Database) -> None:
    await notes.write(put, "50%", text="12:30")
    likes = await notes.read(lambda tx: tx.all("SELECT id FROM notes WHERE id LIKE '%0%'"))
    assert [row["id"] for row in likes] == ["50%"]
    row = await notes.read(lambda tx: tx.one("SELECT 5 % 3 AS rest, '12:30' AS noon, text FROM notes WHERE id LIKE :id", id="5%"))
    assert row == {"rest": 2, "noon": "12:30", "text": "12:30"}


async def test_rows_are_counted_and_the_first_is_first(notes: Database) -> None:
    await asyncio.gather(*(notes.write(put, id, n=1) for id in "abc"))
    assert await notes.write(lambda tx: tx.run("UPDATE notes SET n = n + 1 WHERE id <> :id", id="a")) == 2
    assert await notes.read(lambda tx: tx.one("SELECT id FROM notes ORDER BY id")) == {"id": "a"}
    assert await notes.read(lambda tx: tx.one("SELECT id FROM notes WHERE id = 'z'")) is None
    taken = await notes.write(lambda tx: tx.all("DELETE FROM notes WHERE n = 2 RETURNING id"))
    assert sorted(row["id"] for row in taken) == ["b", "c"]
