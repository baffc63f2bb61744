"""Tasks: one claimant at a time, leases and fences, put back, parked, never dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

import pytest
import structlog

from timmy.clock import ManualClock
from timmy.db import Database, DatabaseDown, Tx
from timmy.errors import Breach, Outage
from timmy.tasks import AskAgainLater, Bell, NewTask, Task, Worker, add, book, finish, parked, store, unpark, waiting
from timmy.tasks.book import hasten, holds
from timmy.tasks.worker import FAILURES_BEFORE_PARKING

LEASE_SECONDS = 30
HOUR_SECONDS = 3_600

Handler = Callable[[Task], Awaitable[None]]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Tracebacks of the bugs that are tested cost more than the tests."""
    with structlog.testing.capture_logs():
        yield


def worker(db: Database, clock: ManualClock, handler: Handler, **kinds: Handler) -> Worker:
    return Worker(db, clock, Bell(), {"work": handler, **kinds}, concurrency=4, lease_seconds=LEASE_SECONDS)


def claim(tx: Tx, now_ms: int, limit: int = 100, kinds: Sequence[str] = ("work",)) -> list[Task]:
    rows = store.claim(tx, kinds, now_ms, now_ms + LEASE_SECONDS * 1000, limit)
    return [Task(row["id"], row["kind"], row["subject"], row["attempts"], row["fence"], row["failures"]) for row in rows]


def work(subject: str, clock: ManualClock, kind: str = "work") -> NewTask:
    return NewTask(kind, subject, clock.now_ms())


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await true():
            await asyncio.sleep(0.02)


async def nothing_waits(db: Database) -> bool:
    return not await db.read(waiting)


async def test_a_task_asked_for_twice_is_one_task(db: Database, clock: ManualClock) -> None:
    await db.write(add, [work("a", clock), work("a", clock), work("b", clock)])
    await db.write(add, [work("a", clock)])
    await db.write(add, [])
    assert sorted(task.id for task in await db.write(claim, clock.now_ms())) == ["work/a", "work/b"]


async def test_a_task_is_not_due_before_its_time_and_only_for_who_knows_its_kind(db: Database, clock: ManualClock) -> None:
    await db.write(add, [NewTask("work", "later", clock.now_ms() + 1), work("now", clock), work("other", clock, kind="other")])
    assert [task.subject for task in await db.write(claim, clock.now_ms())] == ["now"]
    clock.advance(ms=1)
    assert [task.subject for task in await db.write(claim, clock.now_ms())] == ["later"]


async def test_a_transaction_that_fails_asked_for_nothing(db: Database, clock: ManualClock) -> None:
    def half(tx: Tx) -> None:
        add(tx, [work("a", clock)])
        raise Breach("stop")

    with pytest.raises(Breach):
        await db.write(half)
    assert await db.read(waiting) == []


async def test_no_more_is_claimed_than_was_asked_for_whatever_the_planner_believes(db: Database, clock: ManualClock) -> None:
    """Statistics that say "one row" once made PostgreSQL run the inner query for every row of the table: all was claimed at once."""
    await db.write(add, [work("first", clock)])
    await db.write(lambda tx: tx.run("ANALYZE tasks"))
    await db.write(add, [work(f"{n:02}", clock) for n in range(20)])
    assert [len(await db.write(claim, clock.now_ms(), 3)) for _ in range(8)] == [3, 3, 3, 3, 3, 3, 3, 0]


@pytest.mark.fault("B08")
async def test_a_lease_runs_out_and_the_fence_grows_with_every_claim(db: Database, clock: ManualClock) -> None:
    await db.write(add, [work("a", clock)])
    (first,) = await db.write(claim, clock.now_ms())
    assert await db.write(claim, clock.now_ms()) == []
    clock.advance(seconds=LEASE_SECONDS, ms=-1)
    assert await db.write(claim, clock.now_ms()) == []
    clock.advance(ms=1)
    (second,) = await db.write(claim, clock.now_ms())
    assert second.fence > first.fence
    assert (first.attempts, second.attempts) == (1, 2)


@pytest.mark.fault("B08", "B09")
async def test_a_claimant_that_slept_past_its_lease_can_write_nothing(db: Database, clock: ManualClock) -> None:
    await db.write(add, [work("a", clock)])
    (slept,) = await db.write(claim, clock.now_ms())
    clock.advance(seconds=LEASE_SECONDS)
    (awake,) = await db.write(claim, clock.now_ms())
    assert not await db.write(holds, slept)
    assert await db.write(finish, [slept]) == set()
    assert not await db.write(book.put_back, slept, clock.now_ms())
    assert not await db.write(book.park, slept, "no")
    until_ms = await db.read(store.next_due, ["work"])
    await db.write(store.extend, [{"id": slept.id, "fence": slept.fence}], clock.now_ms() + HOUR_SECONDS * 1000)
    assert await db.read(store.next_due, ["work"]) == until_ms
    clock.advance(seconds=LEASE_SECONDS - 1)
    assert await db.write(holds, awake)
    assert await db.write(claim, clock.now_ms()) == []
    clock.advance(seconds=1)
    assert await db.write(holds, awake), "its lease is over, but nobody took the task: its work still counts"
    assert await db.write(finish, [awake]) == {"work/a"}
    assert await db.write(finish, [awake]) == set()
    assert await db.read(waiting) == []


@pytest.mark.fault("B08", "B09")
async def test_a_claimant_that_slept_while_its_task_was_done_and_asked_for_anew_can_write_nothing(db: Database, clock: ManualClock) -> None:
    await db.write(add, [work("a", clock)])
    (slept,) = await db.write(claim, clock.now_ms())
    clock.advance(seconds=LEASE_SECONDS)
    (awake,) = await db.write(claim, clock.now_ms())
    await db.write(finish, [awake])
    for _ in range(3):
        await db.write(add, [work("a", clock)])
        for _ in range(3):  # whichever claim of the new task it is: no fence comes again
            (another,) = await db.write(claim, clock.now_ms())
            assert await db.write(finish, [slept]) == set()
            assert await db.write(finish, [awake]) == set()
            assert not await db.write(holds, slept)
            clock.advance(seconds=LEASE_SECONDS)
        assert await db.write(finish, [another]) == {"work/a"}


async def test_finishing_many_tells_which_were_ours(db: Database, clock: ManualClock) -> None:
    await db.write(add, [work(subject, clock) for subject in "abc"])
    a, b, c = sorted(await db.write(claim, clock.now_ms()), key=lambda task: task.id)
    stale = Task(b.id, b.kind, b.subject, b.attempts, b.fence - 1)
    assert await db.write(finish, [a, stale, c]) == {"work/a", "work/c"}
    assert await db.write(finish, []) == set()
    assert await db.write(finish, [b]) == {"work/b"}


@pytest.mark.fault("B10")
async def test_a_live_worker_keeps_its_lease(db: Database, clock: ManualClock) -> None:
    """The heart beats in real time; what it extends, counts on the worker's clock."""
    await db.write(add, [work("a", clock)])
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(task: Task) -> None:
        started.set()
        await go_on.wait()
        assert await db.write(finish, [task]) == {"work/a"}

    live = asyncio.create_task(Worker(db, clock, Bell(), {"work": slow}, concurrency=1, lease_seconds=1).run())
    await started.wait()
    for _ in range(3):
        clock.advance(ms=990)
        before = await db.read(store.next_due, ["work"])

        async def extended(before: int | None = before) -> bool:
            return await db.read(store.next_due, ["work"]) != before

        await until(extended)
        assert await db.write(claim, clock.now_ms()) == []
    go_on.set()
    await until(lambda: nothing_waits(db))
    live.cancel()
    await asyncio.gather(live, return_exceptions=True)


async def test_a_heartbeat_does_not_hold_what_was_given_back(db: Database, clock: ManualClock) -> None:
    await db.write(add, [work("a", clock)])
    (task,) = await db.write(claim, clock.now_ms())
    await db.write(book.put_back, task, clock.now_ms())
    await db.write(store.extend, [{"id": task.id, "fence": task.fence}], clock.now_ms() + HOUR_SECONDS * 1000)
    assert len(await db.write(claim, clock.now_ms())) == 1


# --- what happens to a task whose handler does not finish it ---------------------------------------------------------


async def run_through(db: Database, clock: ManualClock, handler: Handler, attempts: int) -> Worker:
    """As many attempts as asked for, each after all the backing off that there can be."""
    await db.write(add, [work("a", clock)])
    doing = worker(db, clock, handler)
    for _ in range(attempts):
        await doing.run_due()
        clock.advance(seconds=HOUR_SECONDS)
    return doing


async def test_a_failing_task_is_put_back_later_and_later_then_parked_and_never_dropped(db: Database, clock: ManualClock) -> None:
    waits: list[int] = []

    async def bug(task: Task) -> None:
        raise KeyError("a bug, with a secret in it")

    await db.write(add, [work("a", clock)])
    doing = worker(db, clock, bug)
    for attempt in range(1, FAILURES_BEFORE_PARKING + 1):
        assert await db.read(parked) == []
        assert await doing.run_due() == 1
        if attempt < FAILURES_BEFORE_PARKING:
            due_ms = await db.read(store.next_due, ["work"])
            assert due_ms is not None
            waits.append(due_ms - clock.now_ms())
        clock.advance(seconds=HOUR_SECONDS)
    assert all(500 * 2**n <= wait <= 1000 * 2**n for n, wait in enumerate(waits[:5])), waits
    assert max(waits) <= 60_000
    (laid_aside,) = await db.read(parked)
    assert (laid_aside.id, laid_aside.attempts) == ("work/a", FAILURES_BEFORE_PARKING)
    assert "KeyError" in laid_aside.trouble
    assert "secret" not in laid_aside.trouble
    assert await doing.run_due() == 0, "a parked task waits for the operator"
    assert await db.read(waiting) == [{"kind": "work", "parked": 1, "n": 1}]


async def test_a_parked_task_is_tried_anew_when_the_operator_says_so(db: Database, clock: ManualClock) -> None:
    broken = True

    async def mended_later(task: Task) -> None:
        if broken:
            raise Breach("the books disagree")
        await db.write(finish, [task])

    doing = await run_through(db, clock, mended_later, 2)
    (laid_aside,) = await db.read(parked)
    assert (laid_aside.attempts, laid_aside.trouble) == (1, "the books disagree"), "a breach stops at once"
    assert not await db.write(unpark, "work/other", clock.now_ms())
    assert await db.write(unpark, "work/a", clock.now_ms())
    assert not await db.write(unpark, "work/a", clock.now_ms())
    broken = False
    assert await doing.run_due() == 1
    assert await db.read(waiting) == []


@pytest.mark.parametrize("trouble", [AskAgainLater("on its way"), Outage("the wallet is down"), DatabaseDown("gone")])
async def test_what_only_waits_for_an_answer_is_never_parked(db: Database, clock: ManualClock, trouble: Exception) -> None:
    async def not_yet(task: Task) -> None:
        raise trouble

    await run_through(db, clock, not_yet, 3 * FAILURES_BEFORE_PARKING)
    assert await db.read(parked) == []
    (task,) = await db.write(claim, clock.now_ms())
    assert task.attempts == 3 * FAILURES_BEFORE_PARKING + 1


async def test_a_payment_that_was_asked_about_for_days_is_not_parked_at_its_first_hiccup(db: Database, clock: ManualClock) -> None:
    asked = 0

    async def days(task: Task) -> None:
        nonlocal asked
        asked += 1
        if asked % (FAILURES_BEFORE_PARKING + 2) == 0:
            raise KeyError("a hiccup")
        raise AskAgainLater("still on its way")

    await run_through(db, clock, days, 3 * FAILURES_BEFORE_PARKING)
    assert await db.read(parked) == []


async def test_who_asks_to_be_asked_again_says_when(db: Database, clock: ManualClock) -> None:
    async def in_a_while(task: Task) -> None:
        raise AskAgainLater("on its way", after_seconds=7)

    await db.write(add, [work("a", clock)])
    await worker(db, clock, in_a_while).run_due()
    assert await db.read(store.next_due, ["work"]) == clock.now_ms() + 7_000


async def test_a_handler_that_forgets_its_task_finds_it_again(db: Database, clock: ManualClock) -> None:
    async def forgetful(task: Task) -> None:
        return None

    await db.write(add, [work("a", clock)])
    doing = worker(db, clock, forgetful)
    assert await doing.run_due() == 1
    assert await doing.run_due() == 0
    clock.advance(seconds=LEASE_SECONDS)
    assert await doing.run_due() == 1


async def test_a_waiting_task_can_be_brought_forward_and_a_parked_one_cannot(db: Database, clock: ManualClock) -> None:
    late = clock.now_ms() + HOUR_SECONDS * 1000
    await db.write(add, [NewTask("work", "a", late), NewTask("work", "b", late)])
    await db.write(hasten, NewTask("work", "a", clock.now_ms()))
    await db.write(hasten, NewTask("work", "a", late))
    (task,) = await db.write(claim, clock.now_ms())
    await db.write(book.park, task, "stuck")
    await db.write(hasten, NewTask("work", "a", clock.now_ms() - 1))
    assert await db.write(claim, clock.now_ms()) == []
