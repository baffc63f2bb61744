"""A worker that was paused in the middle of its work, for longer than its lease: when it wakes, what it brings is dropped, all of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos import lives
from tests.chaos.endings import BY_NAME, Ending, Judge, Work
from tests.chaos.lives import REQUEST, SUBMIT_KEY, Server, server
from tests.chaos.world import Model, World
from timmy.app.books import all_checks
from timmy.db import Row, Tx
from timmy.jobs import State
from timmy.models import Completion, Delta, Prompt, ProviderDown
from timmy.tasks import Task

TABLES = ("accounts", "transfers", "tasks", "events", "invoices", "payouts", "jobs")

Meanwhile = Callable[[], AsyncIterator[None]]


class Pausing(Model):
    """Falls asleep at a chosen moment of its first call, while the others go on; `meanwhile` is what they do."""

    meanwhile: Any = None
    wakes_down = False  # and finds that the model is down

    async def complete(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> Completion:
        completion = await super().complete(prompt, model=model, max_output_tokens=max_output_tokens)
        await self._sleep()
        return completion

    async def stream(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> AsyncGenerator[Delta | Completion, None]:
        async for part in super().stream(prompt, model=model, max_output_tokens=max_output_tokens):
            await self._sleep()
            yield part

    async def _sleep(self) -> None:
        meanwhile, Pausing.meanwhile = Pausing.meanwhile, None
        if meanwhile is not None:
            self.world.clock.advance(seconds=31)
            await meanwhile()
            if Pausing.wakes_down:
                raise ProviderDown("The model is down, as far as this worker can see.")


def rows(tx: Tx) -> dict[str, list[Row]]:
    """All but invoices that were asked for and shown to nobody: they are forgotten."""
    found = {table: sorted(tx.all(f"SELECT * FROM {table}"), key=str) for table in TABLES}
    return {**found, "invoices": [row for row in found["invoices"] if row["state"] != "asked"]}


async def claim(running: Server) -> Task:
    (task,) = await running.db.write(running.worker._take, 1)
    return task


async def lead_to(running: Server, world: World, state: State) -> str:
    """The id of a job, just before somebody begins what the state waits for."""
    view = await running.jobs.submit(REQUEST, key=SUBMIT_KEY)
    for awaited in (State.AWAITING_EVAL_PAYMENT, State.AWAITING_WORK_PAYMENT):
        view = await lives._view(running, view.id)
        assert view.state is awaited
        invoice = view.eval_invoice if awaited is State.AWAITING_EVAL_PAYMENT else view.work_invoice
        assert invoice is not None
        world.pay(invoice.payment_hash, invoice.amount.msats)
        await running.receiving.look(invoice.payment_hash)
        if (await lives._view(running, view.id)).state is state:
            break
        await running.worker.run_due()
    return view.id


@pytest.fixture(autouse=True)
def pausing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lives, "Model", Pausing)
    monkeypatch.setattr(Pausing, "meanwhile", None)
    monkeypatch.setattr(Pausing, "wakes_down", False)


@pytest.mark.fault("B08", "B09")
@pytest.mark.parametrize("state", [State.EVALUATING, State.EXECUTING])
@pytest.mark.parametrize("wakes_down", [False, True])
@pytest.mark.parametrize(
    "ending",
    [BY_NAME["complete"], replace(BY_NAME["rejected"], judge=Judge.NO), replace(BY_NAME["work_refused"], work=Work.REFUSES)],
    ids=lambda ending: ending.name,
)
async def test_what_a_worker_brings_after_its_lease_changes_nothing(
    database_url: str, state: State, wakes_down: bool, ending: Ending
) -> None:
    world = World(replace(BY_NAME["complete"], patience_seconds=7_200))
    async with server(database_url, world) as running:
        await lead_to(running, world, state)
        after: dict[str, list[Row]] = {}

        async def others() -> None:
            """Another worker claims the task, does it to another end, and goes on."""
            world.ending = ending
            await running.worker.run_due()
            after.update(await running.db.read(rows))

        task = await claim(running)
        Pausing.meanwhile, Pausing.wakes_down = staticmethod(others), wakes_down
        await running.worker._do(task)
        assert after, "nobody took over"
        assert await running.db.read(rows) == after, "the worker that woke has written something"
        assert [check for check in await running.db.read(all_checks) if not check.holds] == []
