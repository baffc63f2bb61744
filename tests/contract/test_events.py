"""Events: numbered without gaps in the order in which they became true, so that a reader with a cursor misses nothing."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from timmy.db import Database, Tx, open_database
from timmy.events import NewEvent, after, append, last, of_subject

AT_MS = 1_700_000_000_000
WRITERS = 4
EACH = 40


def say(tx: Tx, *kinds: str, subject: str = "job_1") -> None:
    append(tx, AT_MS, [NewEvent(subject, kind, {"n": n, "text": "čeština ☃ '"}) for n, kind in enumerate(kinds)])


async def test_events_come_back_as_they_were_said_in_order(db: Database) -> None:
    await db.write(say, "created", "paid")
    await db.write(say, "done", subject="job_2")
    await db.write(say)
    events = await db.read(after, 0)
    assert [(event.seq, event.subject, event.kind, event.at_ms) for event in events] == [
        (1, "job_1", "created", AT_MS),
        (2, "job_1", "paid", AT_MS),
        (3, "job_2", "done", AT_MS),
    ]
    assert events[1].body == {"n": 1, "text": "čeština ☃ '"}
    assert await db.read(last) == 3
    assert await db.read(after, 2) == events[2:]
    assert await db.read(after, 3) == []
    assert await db.read(after, 0, 2) == events[:2]
    assert await db.read(of_subject, "job_1") == events[:2]
    assert await db.read(of_subject, "job_1", 1) == events[1:2]
    assert await db.read(of_subject, "job_3") == []


async def test_what_did_not_happen_took_no_number(db: Database) -> None:
    def regretted(tx: Tx) -> None:
        say(tx, "never")
        raise ValueError("on second thoughts")

    for n in range(10):
        if n % 2:
            with pytest.raises(ValueError, match="second thoughts"):
                await db.write(regretted)
        else:
            await db.write(say, f"{n}")
    assert [event.seq for event in await db.read(after, 0)] == [1, 2, 3, 4, 5]
    assert await db.read(last) == 5


async def test_a_smaller_number_never_appears_after_a_larger_one(database_url: str) -> None:
    """The trap of a sequence: 8 is committed while 7 is still open, the cursor goes to 8, and 7 is never seen."""
    slow, fast = open_database(database_url), open_database(database_url)
    numbered, go_on = threading.Event(), threading.Event()

    def hesitant(tx: Tx) -> None:
        say(tx, "first")
        assert [event.kind for event in after(tx, 0)] == ["first"]  # it has happened, and was not only asked for
        numbered.set()
        assert go_on.wait(20)

    hesitating = asyncio.ensure_future(slow.write(hesitant))
    assert await asyncio.to_thread(numbered.wait, 20)
    following = asyncio.ensure_future(fast.write(say, "second"))
    await asyncio.wait([following], timeout=0.2)
    seen = [event.kind for event in await fast.read(after, 0)]
    go_on.set()
    await asyncio.gather(hesitating, following)
    assert seen == []
    assert [event.kind for event in await fast.read(after, 0)] == ["first", "second"]
    await slow.aclose()
    await fast.aclose()


PROCESS = """
import asyncio, sys
from timmy.db import open_database
from timmy.events import NewEvent, append

async def main(url, name, each):
    db = open_database(url)
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(each):
        await db.write(lambda tx: append(tx, n, [NewEvent(name, f"{n}.{part}") for part in range(n % 3 + 1)]))
    await db.aclose()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def test_a_cursor_misses_nothing_while_processes_write(database_url: str) -> None:
    db = open_database(database_url)
    pipe = asyncio.subprocess.PIPE
    writers = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", PROCESS, database_url, f"{n}", f"{EACH}", stdin=pipe, stdout=pipe)
        for n in range(WRITERS)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert await writer.stdout.readline() == b"ready\n"
    writing = asyncio.ensure_future(asyncio.gather(*(writer.communicate(b"go\n") for writer in writers)))
    seen: list[tuple[str, str]] = []
    cursor, over = 0, False
    async with asyncio.timeout(60):
        while not over:
            over = writing.done()  # looked at before the last read, so that nothing can slip in between
            for event in await db.read(after, cursor, 7):
                assert event.seq == cursor + 1, "a gap"
                cursor = event.seq
                seen.append((event.subject, event.kind))
                over = False
    said = {(f"{name}", f"{n}.{part}") for name in range(WRITERS) for n in range(EACH) for part in range(n % 3 + 1)}
    assert len(seen) == len(said)
    assert set(seen) == said
    for name in range(WRITERS):
        own = [kind for subject, kind in seen if subject == f"{name}"]
        assert own == [f"{n}.{part}" for n in range(EACH) for part in range(n % 3 + 1)], "each writer's own order is kept"
    await db.aclose()
