"""Work that stops half-way and is begun anew: what was written before is not part of the answer, and nobody is shown it as if it were."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from tests.chaos import lives
from tests.chaos.endings import BY_NAME
from tests.chaos.lives import server
from tests.chaos.test_stale_worker import lead_to
from tests.chaos.world import Model, World
from timmy.jobs import State
from timmy.models import Completion, Delta, Prompt, ProviderDown


class Breaking(Model):
    """Breaks off after two pieces, once; the next time it stops in the middle for us to look."""

    begun = 0

    async def stream(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> AsyncGenerator[Delta | Completion, None]:
        Breaking.begun += 1
        for piece in ("an old ", "beginning") if Breaking.begun == 1 else ("a new ", "one"):
            self.world.clock.advance(ms=1_000)
            yield Delta(piece)
        raise ProviderDown


async def test_what_was_written_before_the_work_began_anew_is_forgotten(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lives, "Model", Breaking)
    monkeypatch.setattr(Breaking, "begun", 0)
    world = World(replace(BY_NAME["complete"], patience_seconds=7_200))
    async with server(database_url, world) as running:
        job_id = await lead_to(running, world, State.EXECUTING)
        await running.worker.run_due()
        assert await running.jobs.so_far(job_id) == "an old beginning"
        while Breaking.begun < 2:
            world.clock.advance(seconds=60)
            await running.worker.run_due()
        assert await running.jobs.so_far(job_id) == "a new one"
