"""One key, one body, one answer: however often, from wherever, at whatever moment."""

from __future__ import annotations

import asyncio

import pytest

from timmy.db import Database, Tx, open_database
from timmy.idempotency import Key, KeyReused, bind, subject_of

AT_MS = 1_700_000_000_000


def create(tx: Tx, key: Key, id: str) -> str:
    """As a room would: look, create, bind; whoever comes second answers with the first one's."""
    subject = bind(tx, "POST /v1/things", key, id, AT_MS)
    if subject == id:
        tx.run("INSERT INTO things (id) VALUES (:id)", id=id)
    return subject


async def things(db: Database) -> list[str]:
    return [row["id"] for row in await db.read(lambda tx: tx.all("SELECT id FROM things ORDER BY id"))]


async def make(db: Database) -> None:
    await db.write(lambda tx: tx.run("CREATE TABLE things (id TEXT PRIMARY KEY)"))


@pytest.mark.fault("B06")
async def test_a_key_used_again_answers_with_what_it_made(db: Database) -> None:
    await make(db)
    key = Key("k", "body")
    assert await db.read(subject_of, "POST /v1/things", key) is None
    assert await db.write(create, key, "first") == "first"
    assert await db.read(subject_of, "POST /v1/things", key) == "first"
    assert await db.write(create, key, "second") == "first"
    assert await things(db) == ["first"]


@pytest.mark.fault("B07")
async def test_a_key_with_another_body_is_refused_and_does_nothing(db: Database) -> None:
    await make(db)
    await db.write(create, Key("k", "body"), "first")
    for asked in (db.write(create, Key("k", "other"), "second"), db.read(subject_of, "POST /v1/things", Key("k", "other"))):
        with pytest.raises(KeyReused, match="new key"):
            await asked
    assert await things(db) == ["first"]


@pytest.mark.fault("F10")
async def test_keys_belong_to_who_used_them_and_what_for(db: Database) -> None:
    await make(db)
    await db.write(create, Key("k", "body"), "first")
    assert await db.write(create, Key("k", "another body", principal="session_1"), "second") == "second"
    assert await db.write(bind, "POST /v1/others", Key("k", "third body"), "third", AT_MS) == "third"
    assert await db.read(subject_of, "POST /v1/things", Key("k", "body")) == "first"
    assert await db.read(subject_of, "POST /v1/things", Key("k", "another body", principal="session_1")) == "second"
    assert await db.read(subject_of, "POST /v1/things", Key("k", "body", principal="session_2")) is None


async def test_a_key_whose_transaction_failed_was_never_used(db: Database) -> None:
    await make(db)

    def fails(tx: Tx) -> None:
        create(tx, Key("k", "body"), "first")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await db.write(fails)
    assert await things(db) == []
    assert await db.write(create, Key("k", "other body"), "second") == "second"


@pytest.mark.fault("B06")
async def test_the_same_key_from_everywhere_at_once_makes_one_thing(database_url: str) -> None:
    servers = [open_database(database_url) for _ in range(3)]
    await make(servers[0])
    for round in range(5):
        key = Key(f"k{round}", "body")
        answers = await asyncio.gather(
            *(server.write(create, key, f"{round}-{place}-{n}") for place, server in enumerate(servers) for n in range(10))
        )
        assert len(set(answers)) == 1
        assert answers[0] in await things(servers[0])
    assert len(await things(servers[0])) == 5
    for server in servers:
        await server.aclose()


@pytest.mark.fault("B06", "B07")
async def test_the_same_key_with_two_bodies_at_once_does_one_of_them(database_url: str) -> None:
    servers = [open_database(database_url) for _ in range(2)]
    await make(servers[0])
    for round in range(5):
        asked = [server.write(create, Key(f"k{round}", f"body {place}"), f"{round}-{place}") for place, server in enumerate(servers)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert sorted(type(answer).__name__ for answer in answers) == ["KeyReused", "str"]
    assert len(await things(servers[0])) == 5
    for server in servers:
        await server.aclose()
