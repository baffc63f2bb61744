"""A job whose work breaks us, each time: it ends, and what was paid is owed back. A task that was laid aside would keep the sats."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tests.chaos import lives
from tests.chaos.endings import BY_NAME
from tests.chaos.lives import server
from tests.chaos.test_stale_worker import lead_to
from tests.chaos.world import Model, World
from timmy import tasks
from timmy.app.books import all_checks
from timmy.db import Tx
from timmy.jobs import State
from timmy.jobs.work import DEATHS_MAX
from timmy.ledger import chart
from timmy.ledger.commit import available
from timmy.models import Completion, Delta, Prompt
from timmy.money import Msats
from timmy.tasks.worker import BACKOFF_MAX_SECONDS

ROUNDS = 12


class Breaking(Model):
    """Brings out a bug of ours, whatever it is asked."""

    breaks = False

    async def complete(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> Completion:
        if self.breaks:
            raise ZeroDivisionError
        return await super().complete(prompt, model=model, max_output_tokens=max_output_tokens)

    async def stream(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> AsyncGenerator[Delta | Completion, None]:
        if self.breaks:
            raise ZeroDivisionError
        async for part in super().stream(prompt, model=model, max_output_tokens=max_output_tokens):
            yield part


@pytest.fixture(autouse=True)
def breaking(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(lives, "Model", Breaking)
    monkeypatch.setattr(Breaking, "breaks", False)
    caplog.set_level("CRITICAL")


async def ended(running: lives.Server, view_id: str) -> tuple[State, Msats]:
    assert await running.db.read(tasks.parked) == [], "a paid job waits for an operator"
    assert [check.name for check in await running.db.read(all_checks) if not check.holds] == []
    view = await lives._view(running, view_id)
    return view.state, await running.db.read(available, chart.owed(view_id))


@pytest.mark.parametrize("state", [State.EVALUATING, State.EXECUTING])
async def test_work_that_runs_into_a_bug_each_time_is_owed_back(database_url: str, state: State) -> None:
    world = World(BY_NAME["complete"])
    async with server(database_url, world) as running:
        job_id = await lead_to(running, world, state)
        Breaking.breaks = True
        for _ in range(ROUNDS):
            await running.worker.run_due()
            world.clock.advance(seconds=BACKOFF_MAX_SECONDS)
        now, owed = await ended(running, job_id)
        view = await lives._view(running, job_id)
        paid = view.eval_invoice.amount if state is State.EVALUATING or view.work_invoice is None else view.work_invoice.amount
        assert (now, owed) == (State.FAILED, paid.msats)


@pytest.mark.parametrize("state", [State.EVALUATING, State.EXECUTING])
async def test_work_that_kills_its_worker_each_time_is_owed_back(database_url: str, state: State) -> None:
    world = World(BY_NAME["complete"])
    async with server(database_url, world) as running:
        job_id = await lead_to(running, world, state)
        for _ in range(DEATHS_MAX + 1):
            assert len(await running.db.write(running.worker._take, 1)) == 1  # and nobody hears of it again
            world.clock.advance(seconds=31)
        await running.worker.run_due()
        assert (await ended(running, job_id))[0] is State.FAILED


async def test_a_price_that_cannot_be_read_any_more_is_owed_back_and_not_laid_aside(database_url: str) -> None:
    world = World(BY_NAME["complete"])
    async with server(database_url, world) as running:
        job_id = await lead_to(running, world, State.EXECUTING)

        def spoil(tx: Tx) -> None:
            tx.run("UPDATE jobs SET quote = '{}' WHERE id = :id", id=job_id)

        await running.db.write(spoil)
        await running.worker.run_due()
        row = await running.db.read(lambda tx: tx.one("SELECT state, reason FROM jobs WHERE id = :id", id=job_id))
        assert row is not None
        assert row["state"] == "failed"
        assert await running.db.read(tasks.parked) == []
        assert await running.db.read(available, chart.owed(job_id)) > Msats(0)
