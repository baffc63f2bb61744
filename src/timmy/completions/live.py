"""An answer while it is being written: its pieces wait here for whoever reads them, and none is handed over that is not paid for.

The writer (`write`) reads the provider, reserves further steps, and ends the call. The reader (`take`) gets what has come since it asked.
What the reader has handed on is written down before it gets more, by one commit for all the streams that wait at that moment. So when the
server dies, what is charged is what was handed over, but for the last piece, which is ours to lose; and a fast answer costs few commits,
since whatever came meanwhile is one piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

import structlog

from timmy.clock import Clock
from timmy.completions.begin import Begun, Extension
from timmy.completions.finish import End
from timmy.completions.holding import Holding
from timmy.completions.protocol import CompletionView, Ending
from timmy.completions.refusals import of_provider
from timmy.completions.terms import STEP_TOKENS, STEP_TOKENS_MAX
from timmy.errors import Outage, Refusal
from timmy.models import ProviderDown, ProviderRefused, Usage
from timmy.models.chat import ChatProvider, Piece, Reply, message_of
from timmy.models.thinking import Thinking
from timmy.models.usage import count_tokens
from timmy.money import Msats
from timmy.sessions.holding import NOTHING

BATCH_TOKENS_MAX = 256  # handed over at once, and so at most lost by a crash
OVER_LIMIT_FACTOR, OVER_LIMIT_SLACK = 2, 64  # a provider that goes on beyond the limit it was given is stopped by our own count

log = structlog.get_logger("timmy.completions")

Extend = Callable[[Extension], Awaitable[Holding]]
Mark = Callable[[str, int, Sequence[Piece]], Awaitable[None]]
Finish = Callable[[End], Awaitable[CompletionView]]


class Live:
    """The `LiveCompletion` of the house."""

    def __init__(self, begun: Begun, provider: ChatProvider, clock: Clock, extend: Extend, mark: Mark, finish: Finish) -> None:
        self._begun = begun
        self._provider = provider
        self._clock = clock
        self._extend = extend
        self._mark = mark
        self._finish = finish
        beginning = begun.beginning
        self.id, self.model, self.started_at_ms = beginning.completion_id, beginning.wanted.model, beginning.at_ms
        self._holding = begun.holding
        self._capacity = beginning.quote.output_tokens_within(begun.holding.in_all, beginning.input_tokens)
        self._most = beginning.quote.charge(beginning.most_input, beginning.cap)  # that it was said to come to, whatever a provider does
        self._step = STEP_TOKENS
        self._tokens = 0
        self._pieces: list[Piece] = []  # all that was produced
        self._taken = 0  # how many of them were handed to the reader
        self._marked = 0  # … and are written down as handed over
        self._reply: Reply | None = None
        self._trouble: Refusal | Outage | None = None
        self._is_left = self._is_stopped = self._is_writing = self._is_asked = False
        self._news = asyncio.Event()
        self._is_written = False  # nothing more will come
        self._all_taken = asyncio.Event()
        self._marking: asyncio.Future[None] | None = None
        self._ended: asyncio.Future[CompletionView] = asyncio.get_running_loop().create_future()
        self._ended.add_done_callback(_seen)
        self._writer: asyncio.Task[None] | None = None

    # the reader's side -----------------------------------------------------------------------------------

    async def take(self) -> Sequence[Piece]:
        """See LiveCompletion.take."""
        if self._marking is None and self._marked < self._taken and not self._is_through:
            batch, place = self._pieces[self._marked : self._taken], self._marked
            self._marked = self._taken
            self._marking = asyncio.ensure_future(self._mark(self.id, place, batch))
            self._marking.add_done_callback(_seen)
        while self._taken == len(self._pieces) and not self._is_written:
            self._news.clear()
            await self._news.wait()
        if self._marking is not None and not self._is_through:  # the end of the call will tell of what it tells, and needs no waiting
            await asyncio.shield(self._marking)
            self._marking = None
        if self._is_through:
            self._all_taken.set()
            if self._trouble is not None:
                await self.ended()
                raise self._trouble
            return ()
        return self._next_batch()

    @property
    def _is_through(self) -> bool:
        """There is nothing more to hand over."""
        return self._is_written and self._taken == len(self._pieces)

    def _next_batch(self) -> Sequence[Piece]:
        start, tokens = self._taken, 0
        for piece in self._pieces[start:]:
            if tokens >= BATCH_TOKENS_MAX and not self._is_written:
                break
            tokens += len(piece.text) // 3 + 1
            self._taken += 1
        return self._pieces[start : self._taken]

    async def ended(self) -> CompletionView:
        """See LiveCompletion.ended."""
        return await asyncio.shield(self._ended)

    async def leave(self) -> None:
        """See LiveCompletion.leave."""
        self._is_left = True
        if self._begun.beginning.thinking is Thinking.UNSEEN and self._is_writing:
            # Only the end says what was thought unseen, and it is held already. Hung up on now, it would have been thought for nothing.
            self._all_taken.set()
            return
        self.stop()
        if not self._ended.done():
            await asyncio.shield(self._ended)

    def stop(self) -> None:
        """No more is produced. What was, is charged and kept."""
        self._all_taken.set()
        self._is_stopped = True
        if self._writer is not None and self._is_writing:  # one that has not begun would be gone without ending the call
            self._writer.cancel()

    # the writer's side -----------------------------------------------------------------------------------

    async def write(self) -> CompletionView:
        """To the end. Whoever cancels this stops the writing, and not the accounting for it."""
        self._writer = asyncio.create_task(self._write(), name=self.id)
        self._writer.add_done_callback(_seen)
        try:
            return await self.ended()
        except asyncio.CancelledError:
            self.stop()
            raise

    async def _write(self) -> None:
        ending = Ending.LEFT if self._is_left else Ending.DIED
        try:
            self._is_writing = True
            if not self._is_stopped:
                ending = await self._read_provider()
        except (ProviderDown, ProviderRefused) as trouble:
            self._trouble, ending = told_to_the_caller(trouble, self.model), Ending.BROKEN
        except asyncio.CancelledError:
            ending = Ending.LEFT if self._is_left else Ending.DIED
        except Exception:  # a bug of ours: what is held must be let go, now and not when the sweep comes
            log.exception("completions.broke", completion=self.id)
            self._trouble, ending = ProviderDown("Something broke on our side. Nothing more than what you have was charged."), Ending.BROKEN
        except BaseException as death:  # the process is going down: whoever reads must not wait for it
            self._ended.set_exception(death)
            raise
        finally:
            self._is_writing, self._is_written = False, True
            self._news.set()
        await self._end(ending)

    async def _read_provider(self) -> Ending:
        beginning = self._begun.beginning
        limit = self._begun.limit
        self._is_asked = True
        stream = self._provider.chat_stream(beginning.wanted.chat, model=self.model, max_output_tokens=limit)
        async with aclosing(stream) as items:
            async for item in items:
                if isinstance(item, Reply):
                    self._reply = item
                    continue
                if not await self._afford(item):
                    return Ending.COMPLETE if self._has_run_over and limit == beginning.cap else Ending.BUDGET
                self._pieces.append(item)
                self._news.set()
        return Ending.BUDGET if self._is_short() else Ending.COMPLETE

    def _is_short(self) -> bool:
        """Whether it was the money, and not the caller or the house, that set the limit it has come to."""
        return self._reply is not None and self._reply.finish == "length" and self._begun.limit < self._begun.beginning.cap

    @property
    def _has_run_over(self) -> bool:
        """Far beyond the limit that it was given: a provider that does not end there is ended, as one that keeps to it."""
        return self._tokens > self._begun.limit * OVER_LIMIT_FACTOR + OVER_LIMIT_SLACK

    async def _afford(self, piece: Piece) -> bool:
        """Whether what is held covers this piece too; further steps are reserved as they are needed."""
        self._tokens += max(1, count_tokens(piece.text))
        if self._tokens <= self._capacity:
            return True
        beginning, limit = self._begun.beginning, self._begun.limit
        if self._has_run_over:
            return False
        if self._holding.in_all >= self._most:
            return True  # what is written beyond the caller's limit is the house's to pay
        self._step = min(self._step * 2, STEP_TOKENS_MAX)
        ahead = max(self._tokens, min(self._tokens + self._step, limit))
        charge = beginning.quote.charge
        least = min(charge(beginning.input_tokens, self._tokens), self._most)
        await self._hold(charge(beginning.input_tokens, ahead), least)
        self._capacity = beginning.quote.output_tokens_within(self._holding.in_all, beginning.input_tokens)
        return self._holding.in_all >= least

    async def _hold(self, wanted: Msats, least: Msats) -> None:
        """Bring what is held to `wanted`, or as near as there is money for; not at all if `least` cannot be reached."""
        held, room, wanted = self._holding.in_all, self._begun.room, min(wanted, self._most)
        extension = Extension(
            self.id,
            self._holding.session_id,
            self._begun.permit.grant.budgets,
            wanted=_above(wanted, held),
            least=_above(least, held),
            room=None if room is None else _above(room, held),
            at_ms=self._clock.now_ms(),
        )
        self._holding = await self._extend(extension)

    async def _end(self, ending: Ending) -> None:
        try:
            await self._all_taken.wait()  # else a crash between here and the reader would charge for what nobody has had
            if self._marking is not None:
                await asyncio.gather(self._marking, return_exceptions=True)
            self._ended.set_result(await self._finish(await self._how(ending)))
        except BaseException as trouble:  # whoever waits for the end must not wait for ever; the sweep ends the call
            if not self._ended.done():
                self._ended.set_exception(trouble)
            raise

    async def _how(self, ending: Ending) -> End:
        reply, at_ms, quote = self._reply, self._clock.now_ms(), self._begun.beginning.quote
        if reply is not None:
            await self._reach(reply.usage)
            return End(
                self.id, ending, at_ms, reply.usage, reply.message, reply.finish, was_streamed=True, quote=quote, holding=self._holding
            )
        if not self._pieces and not (self._is_asked and (self._has_run_over or ending in (Ending.LEFT, Ending.BUDGET))):
            return End(self.id, Ending.FAILED, at_ms, was_streamed=True, quote=quote, holding=self._holding)
        message, text = message_of([piece.delta for piece in self._pieces])
        usage = Usage(self._begun.beginning.input_tokens, count_tokens(text), estimated=True)
        return End(self.id, ending, at_ms, usage, message, "length", was_streamed=True, quote=quote, holding=self._holding)

    async def _reach(self, usage: Usage) -> None:
        """The provider has counted more than we did (it may have thought unseen): what is missing is reserved now, as far as there is
        money. The rest is the house's."""
        charge = self._begun.beginning.quote.charge(usage.input, usage.output, usage.cached)
        if charge > self._holding.in_all:
            await self._hold(charge, self._holding.in_all)


def told_to_the_caller(trouble: ProviderDown | ProviderRefused, model: str) -> Refusal | Outage:
    """As `of_provider` says. The operator is told too: what looks like one customer's may be everybody's."""
    if isinstance(trouble, ProviderRefused):
        log.warning("completions.model_refused", model=model, reason=trouble.extra.get("reason"))
    return of_provider(trouble)


def _seen(done: asyncio.Future[Any]) -> None:
    """Its trouble is told to whoever waits for it; perhaps nobody does."""
    if not done.cancelled():
        done.exception()


def _above(amount: Msats, held: Msats) -> Msats:
    return amount - held if amount > held else NOTHING
