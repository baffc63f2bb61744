"""The world on a real database of each engine: what is shown, to whom, and at what cost."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.visiting import arrive, eventually
from tests.contract.world_stage import POOL, Counting, Stage, answered, said, say

from timmy.clock import ManualClock
from timmy.db import Database
from timmy.events import NewEvent
from timmy.world import UnderWay


@pytest.fixture
def stage(sqlite_db: Database, clock: ManualClock) -> Stage:
    return Stage(Counting(sqlite_db), clock)


@pytest.fixture
def on_each(db: Database, clock: ManualClock) -> Stage:
    """Where the engines might differ: once on each."""
    return Stage(Counting(db), clock)


# seen ------------------------------------------------------------------------------------------------------


async def test_the_first_message_is_the_whole_state_and_then_comes_what_happens(stage: Stage) -> None:
    await stage.happen(NewEvent("job_1", "state", {"state": "evaluating"}))
    async with stage.world() as world:
        _, ear = await arrive(world)
        first = ear.heard[0]
        assert (first["type"], first["cursor"], first["pool"]) == ("world_state", 1, POOL)
        assert [each["agentId"] for each in first["agents"]] == ["timmy", "alpha", "beta", "gamma", "delta"]
        assert [each["state"] for each in first["recent"]] == ["evaluating"]
        await stage.happen(NewEvent("job_1", "state", {"state": "rejected"}))
        await eventually(lambda: bool(ear.of_type("job", state="rejected")))
        assert ear.of_type("job")[0]["ref"] == first["recent"][0]["ref"]
        assert ear.of_type("job")[0]["cursor"] == 2
        assert (await world.state())["cursor"] == 2


async def test_the_agents_do_what_is_really_under_way(stage: Stage) -> None:
    async with stage.world() as world:
        _, ear = await arrive(world)
        stage.under_way = UnderWay(judging=1, working=2, paying=1)
        await stage.happen()
        await eventually(lambda: bool(ear.of_type("agent_state", agentId="beta", state="working")))
        doing = {each["agentId"]: (each["state"], each["doing"]) for each in (await world.state())["agents"]}  # type: ignore[attr-defined]
        assert doing == {
            "timmy": ("working", "at the crystal ball"),
            "alpha": ("evaluating", "reading a request"),
            "beta": ("working", "working on 2 requests"),
            "gamma": ("idle", "listening"),
            "delta": ("processing", "sending sats back"),
        }
        stage.under_way = UnderWay(working=1)
        await eventually(lambda: bool(ear.of_type("agent_state", agentId="beta", doing="working on a request")))
        stage.under_way = UnderWay()
        await eventually(lambda: bool(ear.of_type("agent_state", agentId="beta", state="idle")))


async def test_an_idle_till_says_what_it_waits_for(stage: Stage) -> None:
    async with stage.world() as world:
        _, ear = await arrive(world)
        await stage.happen(NewEvent("job_1", "state", {"state": "awaiting_eval_payment"}))
        await eventually(lambda: bool(ear.of_type("agent_state", agentId="delta", state="idle", doing="waiting for a payment")))
        stage.clock.advance(seconds=3_600)
        await eventually(lambda: bool(ear.of_type("agent_state", agentId="delta", state="idle", doing="minding the till")))


async def test_the_pool_is_told_when_it_moved(stage: Stage) -> None:
    async with stage.world() as world:
        _, ear = await arrive(world)
        stage.pool = {**POOL, "balanceSats": 9_021, "earnedSats": 21}
        stage.clock.advance(seconds=2)
        await stage.happen(NewEvent("job_1", "payment", {"purpose": "job_work", "receivedMsat": 21_000}))
        await eventually(lambda: bool(ear.of_type("pool", balanceSats=9_021, earnedSats=21)))
        assert ear.of_type("payment")[0]["amountSats"] == 21


async def test_the_payment_of_a_node_is_told_as_others_are(stage: Stage) -> None:
    async with stage.world() as world:
        _, ear = await arrive(world)
        await stage.happen(NewEvent("bst_1", "payment", {"purpose": "bootstrap_fee", "receivedMsat": 10_000_000}))
        await eventually(lambda: bool(ear.of_type("payment", purpose="node", amountSats=10_000)))


async def test_whoever_comes_late_and_whoever_comes_again_sees_what_happened_meanwhile(on_each: Stage) -> None:
    async with on_each.world() as world:
        viewer, ear = await arrive(world)
        say(world, viewer, "Anybody here?")
        await answered(ear)
        world.leave(viewer)
        await eventually(lambda: not world.is_awake)
        await on_each.happen(*(NewEvent(f"job_{n}", "state", {"state": "complete"}) for n in range(45)))
        _, again = await arrive(world)
        recent = again.heard[0]["recent"]
        assert len(recent) == 47
        assert next(each["text"] for each in recent if each["type"] == "chat") == "Anybody here?"
    async with on_each.world() as restarted:
        _, after = await arrive(restarted)
        assert after.heard[0]["recent"] == recent


async def test_who_was_away_for_long_is_shown_the_last_fifty(stage: Stage) -> None:
    async with stage.world() as world:
        _, ear = await arrive(world)
        await stage.happen(*(NewEvent(f"job_{n}", "state", {"state": "complete"}) for n in range(300)))
        await eventually(lambda: bool(ear.of_type("job", cursor=300)))
        assert len(ear.of_type("job")) == 50
        assert len((await world.state())["recent"]) == 50  # type: ignore[arg-type]


async def test_what_goes_to_everybody_is_encoded_once(stage: Stage) -> None:
    async with stage.world() as world:
        ears = [(await arrive(world))[1] for _ in range(40)]
        await stage.happen(NewEvent("job_1", "state", {"state": "evaluating"}))
        await eventually(lambda: bool(ears[0].of_type("job")))
        assert len({id(ear.frames[0]) for ear in ears}) < 40, "the state too, for those who come together"
        assert len({id(next(f for f in ear.frames if b'"job"' in f)) for ear in ears}) == 1


async def test_a_world_that_nobody_watches_asks_the_database_nothing(stage: Stage) -> None:
    async with stage.world() as world:
        viewer, _ = await arrive(world)
        await eventually(lambda: stage.db.asked > 2)
        world.leave(viewer)
        await eventually(lambda: not world.is_awake)
        await eventually(lambda: not world._presence.locked())
        asked = stage.db.asked
        for _ in range(50):
            stage.bell.ring()
            stage.clock.advance(seconds=60)
            await asyncio.sleep(0.01)
        assert stage.db.asked == asked
        assert await stage.db.inner.read(lambda tx: tx.all("SELECT process FROM world_presence")) == []
        assert stage.model.asked == []


async def test_visitors_of_all_processes_are_counted_together(on_each: Stage) -> None:
    async with on_each.world() as one, on_each.world() as other:
        _, ear = await arrive(one)
        await arrive(other)
        viewer, _ = await arrive(other)
        on_each.clock.advance(seconds=2)
        await eventually(lambda: bool(ear.of_type("visitors", count=3)))
        other.leave(viewer)
        on_each.clock.advance(seconds=2)
        await eventually(lambda: ear.of_type("visitors")[-1]["count"] == 2)


async def test_visitors_of_a_process_that_died_are_not_counted_for_long(on_each: Stage) -> None:
    async with on_each.world() as one, on_each.world() as other:
        _, ear = await arrive(one)
        await arrive(other)
        await eventually(lambda: bool(ear.of_type("visitors", count=2)))
        assert other._watching is not None
        other._watching.cancel()  # as if it had been killed: nothing is said
        on_each.clock.advance(seconds=3_600)
        await eventually(lambda: ear.of_type("visitors")[-1]["count"] == 1)


async def test_two_processes_show_the_same(on_each: Stage) -> None:
    async with on_each.world() as one, on_each.world() as other:
        speaker, own = await arrive(one)
        _, there = await arrive(other)
        say(one, speaker, "Hello from the other side")
        await answered(there)
        await answered(own)
        assert said(there, "visitor") == ["Hello from the other side"]
        assert [message.get("mine") for message in own.of_type("chat")] == [True, None]
        assert [message.get("mine") for message in there.of_type("chat")] == [None, None]
        assert there.of_type("agent_state", agentId="gamma", state="working", doing="answering a visitor")


async def test_a_world_that_stumbles_sends_its_viewers_away_and_wakes_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object) -> None:
        raise ZeroDivisionError

    async with stage.world() as world:
        viewer, ear = await arrive(world)
        with monkeypatch.context() as patched:
            patched.setattr(world, "_take_in", stumble)
            await stage.happen()
            await eventually(lambda: ear.closed is not None)
        assert ear.closed is not None
        assert ear.closed[0] == 1013
        world.leave(viewer)
        _, again = await arrive(world)
        assert again.heard[0]["type"] == "world_state"


async def test_a_database_that_is_away_for_a_while_changes_nothing(stage: Stage) -> None:
    async with stage.world() as world:
        viewer, ear = await arrive(world)
        stage.db.down = True
        say(world, viewer, "Hello?")
        await eventually(lambda: bool(ear.of_type("error", code="not_said")))
        stage.db.down = False
        await stage.happen(NewEvent("job_1", "state", {"state": "evaluating"}))
        await eventually(lambda: bool(ear.of_type("job")))
        assert ear.closed is None
