"""One answer for nothing: so that whoever has never paid for anything sees first what they would pay for.

The house pays the model, so it is counted by address and by day, in the database. It touches no account of the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass

from timmy.clock import SECOND_MS, Clock
from timmy.db import Database, Tx
from timmy.errors import Refusal
from timmy.models import Declined, Finish, ProviderDown, work_prompt
from timmy.models.evaluate import JudgementUnclear
from timmy.world import store, uses
from timmy.world.free_words import FreeWords
from timmy.world.uses import EVERYBODY, Right, Use

ANSWER_TOKENS_MAX = 600


class DemoClosed(Refusal):
    status = 403
    code = "demo_closed"
    title = "This server gives no free answers"


class DemoUsedUp(Refusal):
    """`retryAfterSeconds`, as in the header `Retry-After`."""

    status = 429
    code = "demo_used_up"
    title = "The free answers are used up"

    def __init__(self, message: str = "", *, use: Use | None = None, retry_after_seconds: int = 1) -> None:
        super().__init__(message, retryAfterSeconds=retry_after_seconds)
        self.use = use
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """`result` or `reason`: it was done, or declined. `use`: how the address stands after it."""

    result: str | None
    reason: str | None
    truncated: bool
    use: Use


class Demo:
    def __init__(self, db: Database, clock: Clock, free_words: FreeWords, *, per_hour: int, per_day: int) -> None:
        self._db = db
        self._clock = clock
        self._free_words = free_words
        self.per_address = Right("demo", uses.HOUR_MS, per_hour)
        self._per_day = Right("demo_day", uses.DAY_MS, per_day)

    async def ask(self, request: str, address: str) -> Answer:
        """DemoClosed, DemoUsedUp, TooBusy, ProviderDown, ProviderRefused, DatabaseDown. What the model answered counts, usable or not."""
        if not self.per_address.most or not self._per_day.most:
            raise DemoClosed("Here nothing is given for nothing. POST /api/jobs says what an answer costs.")
        # A look first: whoever asks on and on, with nothing left, shall not write to the database each time.
        self._see_granted(*await self._db.read(self._look, address))
        use, of_the_day = await self._db.write(self._use, address)
        self._see_granted(use, of_the_day)
        try:
            answer = await self._answer(request, use)
        except JudgementUnclear:  # the house has paid for that: whoever knows how to confuse a judge would have it for nothing all day
            raise
        except BaseException:  # whatever came in between, the asker leaving too: it was no answer
            await self._db.write(self._give_back, address, use, of_the_day)
            raise
        if answer.result is not None and not answer.result.strip():  # the same
            raise ProviderDown("The language model gave no answer. Ask again.")
        return answer

    async def _answer(self, request: str, use: Use) -> Answer:
        verdict = await self._free_words.judge(request)
        if isinstance(verdict, Declined):
            return Answer(None, verdict.reason, False, use)
        completion = await self._free_words.say(work_prompt(request), max_output_tokens=ANSWER_TOKENS_MAX)
        return Answer(completion.text, None, completion.finish is Finish.LENGTH, use)

    def _look(self, tx: Tx, address: str) -> tuple[Use, Use]:
        now_ms = self._clock.now_ms()
        return uses.look(tx, self.per_address, address, now_ms), uses.look(tx, self._per_day, EVERYBODY, now_ms)

    def _use(self, tx: Tx, address: str) -> tuple[Use, Use]:
        """Both, or none of them. The day's row first, always: nobody waits in a circle."""
        now_ms = self._clock.now_ms()
        of_the_day = uses.use(tx, self._per_day, EVERYBODY, now_ms)
        if not of_the_day.granted:
            return uses.look(tx, self.per_address, address, now_ms), of_the_day
        use = uses.use(tx, self.per_address, address, now_ms)
        if not use.granted:
            store.give_back(tx, self._per_day.what, EVERYBODY, of_the_day.since_ms)
        return use, of_the_day

    def _give_back(self, tx: Tx, address: str, use: Use, of_the_day: Use) -> None:
        store.give_back(tx, self._per_day.what, EVERYBODY, of_the_day.since_ms)
        store.give_back(tx, self.per_address.what, address, use.since_ms)

    def _see_granted(self, use: Use, of_the_day: Use) -> None:
        if not use.granted:
            raise self._used_up(f"Your address has had its {self.per_address.most} free answers of this hour.", use, use)
        if not of_the_day.granted:
            raise self._used_up("All free answers of today have been given.", use, of_the_day)

    def _used_up(self, why: str, use: Use, over: Use) -> DemoUsedUp:
        seconds = max(1, -(-(over.ends_at_ms - self._clock.now_ms()) // SECOND_MS))
        return DemoUsedUp(
            f"{why} Wait {seconds} seconds, or POST /api/jobs: an answer costs a few sats.",
            use=use,
            retry_after_seconds=seconds,
        )
