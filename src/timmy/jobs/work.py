"""What is done for a job in the background: judged, offered, worked on, refunded. Each is a task, and each ends in `flow.finish_all`.

A process that dies in here loses nothing: the task's lease runs out and somebody does it again, at the house's expense.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, assert_never

import structlog

from timmy import events, tasks
from timmy.clock import SECOND_MS, Clock
from timmy.db import Database, Row, Tx
from timmy.errors import Breach, Outage, Refusal
from timmy.events import NewEvent
from timmy.generosity import Ask, Decision, Free, Gate, Gift, Partial, day_of, preview
from timmy.identity import trust
from timmy.ids import RandomBytes, new_id
from timmy.jobs import machine, store
from timmy.jobs.flow import REFUND_ADDRESS, WORK, NotFree, Outcome, Rules, Step, finish_all, gift_of
from timmy.jobs.machine import NOTHING, Accepted, Broke, Declined, Finished, GivenFree, Offered
from timmy.jobs.model import State
from timmy.ledger import chart
from timmy.lightning import payouts
from timmy.lightning.lnurl import DestinationDown, LnurlRefused
from timmy.lightning.paying import Paying
from timmy.lightning.payouts import NothingOwed, PayoutInProgress
from timmy.lightning.receiving import Receiving
from timmy.lightning.wallets.protocol import NewInvoice, WalletDown
from timmy.models import Accepted as SaidYes
from timmy.models import Completion, Delta, Finish, Provider, ProviderDown, ProviderRefused, judge, work_prompt
from timmy.models import Declined as SaidNo
from timmy.money import Msats, NanoUsd
from timmy.pricing import BtcOracle, Quote, RateBook, estimate_tokens, make_quote, most_input_tokens
from timmy.tasks import AskAgainLater, Bell, Task
from timmy.tasks.book import holds, put_back
from timmy.tasks.worker import Handler

PROGRESS_EVERY_MS = 250
# A job whose work breaks, or kills the process, each time must not do so for ever; nor may its task be parked, with the sats in it.
DEATHS_MAX = 6
REFUND_TO_ATTEMPTS_MAX = 200  # more than a week, at an hour between them; then the sats stay claimable by hand
REFUND_TO_PAUSE_MAX_SECONDS = 3_600
USEFUL_TOKENS_MIN = 16  # an answer that must end before this is no answer

log = structlog.get_logger("timmy.jobs")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a job costs and how long it waits."""

    eval_model: str
    work_model: str
    max_output_tokens: int
    margin_bp: int
    infra: NanoUsd
    pool_credit_bp: int
    patience_seconds: int  # how long a job waits for a model or a wallet that is down, before it fails and is refunded


class Workshop:
    def __init__(
        self,
        db: Database,
        clock: Clock,
        bell: Bell,
        random_bytes: RandomBytes,
        receiving: Receiving,
        paying: Paying,
        provider: Provider,
        book: RateBook,
        oracle: BtcOracle,
        terms: Terms,
        rules: Rules,
    ) -> None:
        self._db = db
        self._clock = clock
        self._bell = bell
        self._random_bytes = random_bytes
        self._receiving = receiving
        self._paying = paying
        self._provider = provider
        self._book = book
        self._oracle = oracle
        self._terms = terms
        self._rules = rules
        self.handlers: dict[str, Handler] = {
            machine.EVALUATE: partial(self._to_an_end, self.evaluate),
            machine.OFFER: partial(self._to_an_end, self.offer),
            machine.EXECUTE: partial(self._to_an_end, self.execute),
            machine.REFUND_TO: self.refund_to,
        }

    async def _to_an_end(self, work: Handler, task: Task) -> None:
        """Whatever breaks, the job ends and its sats are owed back. Without this the task would be laid aside at last, and the sats with
        it, until an operator comes."""
        if task.failures >= DEATHS_MAX:  # not `attempts`: those are also made while the model is down, and patience ends them
            return await self._finish(task, Broke(f"The work was begun {DEATHS_MAX} times and did not come to an end."))
        try:
            await work(task)
        except Breach as breach:
            log.error("jobs.work_broke", task=task.id, why=breach.message)
            await self._finish(task, Broke("Something of ours broke on this job, and would break again."))

    # judged ----------------------------------------------------------------------------------------------

    async def evaluate(self, task: Task) -> None:
        """Ask the small model whether the agent should do this; if so, freeze the price."""
        row = await self._job(task, State.EVALUATING)
        if row is None:
            return
        try:
            verdict = await judge(self._provider, row["request"], self._terms.eval_model)
        except ProviderRefused as refused:
            return await self._finish(
                task, Broke(f"The request could not be judged: {refused.message}", blames=not refused.is_the_operators)
            )
        except ProviderDown as down:
            return await self._wait(task, row, down)
        match verdict:
            case SaidYes():
                quote = quote_for(row["request"], self._book, self._oracle, self._terms)
                try:
                    await self._give_or_offer(task, row, quote)
                except WalletDown:  # the judgement is kept, so that the model is not asked again while the wallet is away
                    await self._finish(task, Accepted(quote))
            case SaidNo(reason=reason):
                await self._finish(task, Declined(reason))
            case _:
                assert_never(verdict)

    # offered ---------------------------------------------------------------------------------------------

    async def offer(self, task: Task) -> None:
        """Get the invoice for work that was accepted while the wallet was away, and offer it."""
        row = await self._job(task, State.EVALUATING)
        if row is None:
            return
        try:
            await self._give_or_offer(task, row, Quote.from_json(row["quote"]))
        except WalletDown as down:
            await self._wait(task, row, down)

    async def _give_or_offer(self, task: Task, row: Row, quote: Quote) -> None:
        """Free, if the pool takes all of it over; otherwise an invoice for the rest. What the look ahead says may be gone a moment later:
        only the reservation counts, and if that falls short, what can be had then is offered."""
        if row["pubkey"] is None:  # the pool helps people it knows: there is nothing to look up
            return await self._offer(task, quote, None, NOTHING)
        gift, decision = await self._db.read(self._look_ahead, row, quote, self._clock.now_ms())
        if isinstance(decision, Free):
            try:
                return await self._finish(task, GivenFree(quote, gift))
            except NotFree as drained:
                decision = drained.decision
        match decision:
            case Partial(absorb=absorb):
                await self._offer(task, quote, gift, absorb)
            case Gate() | Free():  # Free is left only to a decision that was overtaken twice: full price, and nothing is promised
                await self._offer(task, quote, None, NOTHING)
            case _:
                assert_never(decision)

    def _look_ahead(self, tx: Tx, row: Row, quote: Quote, now_ms: int) -> tuple[Gift, Decision]:
        standing = trust.standings(tx, [row["pubkey"]], self._rules.trust, now_ms)[row["pubkey"]]
        gift = gift_of(row["id"], row["pubkey"], standing.tier.value, day_of(now_ms))
        return gift, preview(tx, Ask(gift, quote.price.msats, now_ms), self._rules.giving)

    async def _offer(self, task: Task, quote: Quote, gift: Gift | None, absorb: Msats) -> None:
        id = new_id("inv", self._random_bytes)
        invoice = await self._receiving.ask(
            id=id,
            purpose=WORK,
            subject=task.subject,
            account=chart.job(task.subject),
            amount=quote.price.msats - absorb,
            memo=f"Timmy: work on {task.subject}",
        )
        await self._finish(task, Offered(quote, id, gift, absorb), made=(id, invoice))

    # worked on -------------------------------------------------------------------------------------------

    async def execute(self, task: Task) -> None:
        """Do the work, bounded by what was paid for it, and account for what it really cost."""
        row = await self._job(task, State.EXECUTING)
        if row is None:
            return
        quote = Quote.from_json(row["quote"])
        budget = Msats(row["charge_msat"] + row["gift_reserved_msat"])
        most_tokens = self._most_tokens(row["request"], quote, budget)
        if most_tokens < USEFUL_TOKENS_MIN:
            return await self._finish(
                task, Broke("What was paid and what the pool could give is too little to begin. All of it is returned.")
            )
        try:
            completion = await self._stream(task, row["request"], quote, most_tokens)
        except ProviderRefused as refused:
            return await self._finish(task, Broke(f"The work could not be done: {refused.message}", blames=not refused.is_the_operators))
        except ProviderDown as down:
            return await self._wait(task, row, down)
        if not completion.text.strip():
            return await self._finish(task, Broke("The model gave no answer.", blames=True))
        await self._finish(task, self._finished(completion, quote))

    def _most_tokens(self, request: str, quote: Quote, budget: Msats) -> int:
        """The one rule: what a call may produce is computed from what is reserved for it. Without this, work could cost more than was
        paid, and the house would pay the rest."""
        prompt = work_prompt(request)
        return min(quote.output_tokens_within(budget, most_input_tokens(prompt.system, prompt.user)), self._terms.max_output_tokens)

    async def _stream(self, task: Task, request: str, quote: Quote, most_tokens: int) -> Completion:
        """The answer, told piece by piece as it comes."""
        prompt = work_prompt(request)
        pieces: list[str] = []
        told_ms = self._clock.now_ms()
        if task.attempts > 1:
            await self._tell(task, "restarted")
        stream = self._provider.stream(prompt, model=quote.model, max_output_tokens=most_tokens)
        async with contextlib.aclosing(stream) as parts:  # type: ignore[type-var]
            async for part in parts:
                match part:
                    case Delta(text=text):
                        pieces.append(text)
                        now_ms = self._clock.now_ms()
                        if now_ms - told_ms >= PROGRESS_EVERY_MS:
                            await self._tell(task, "progress", text="".join(pieces))
                            pieces.clear()
                            told_ms = now_ms
                    case Completion():
                        return part
                    case _:
                        assert_never(part)
        raise ProviderDown("The language model's answer broke off.")

    def _finished(self, completion: Completion, quote: Quote) -> Finished:
        usage = completion.usage
        came_to = quote.charge(usage.input, usage.output, usage.cached)
        charge = min(came_to, quote.price.msats)
        if came_to > charge:  # the house's: no sats of anybody's move for it, and the operator should know of a model that does this
            log.warning("jobs.overrun", model=quote.model, over_msat=came_to.value - charge.value)
        return Finished(
            result=completion.text,
            truncated=completion.finish is Finish.LENGTH,
            usage=usage,
            cost=quote.cost(usage.input, usage.output, usage.cached),
            charge=charge,
            pool_credit_bp=self._terms.pool_credit_bp,
        )

    # refunded --------------------------------------------------------------------------------------------

    async def refund_to(self, task: Task) -> None:
        """Pay what is owed to the address that was given with the job. If that address cannot be paid, the sats stay claimable."""
        row = await self._db.read_grouped(store.find_all, task.subject)
        if row is not None and row["refund_to"]:
            try:
                await self._paying.to_address(chart.owed(row["id"]), row["id"], row["refund_to"], destination=REFUND_ADDRESS)
            except NothingOwed:
                log.debug("jobs.refund_not_needed", job=row["id"])  # claimed by hand meanwhile, or less than a sat
            except PayoutInProgress as busy:
                raise AskAgainLater(busy.message) from None
            except (LnurlRefused, DestinationDown, Refusal) as trouble:
                await self._tell(task, "refund", state="pending", trouble=trouble.message)
                if task.attempts < REFUND_TO_ATTEMPTS_MAX:
                    pause_seconds = min(REFUND_TO_PAUSE_MAX_SECONDS, 5 * 2 ** min(task.attempts, 12))
                    raise AskAgainLater(trouble.message, after_seconds=pause_seconds) from None
                log.error("jobs.refund_address_given_up", job=row["id"], why=trouble.message)
                await self._db.write(tasks.finish, [task])
                return
        await self._db.write(_end_refund_to, task, self._clock.now_ms())
        self._bell.ring()

    # all of them -----------------------------------------------------------------------------------------

    async def _job(self, task: Task, expected: State) -> Row | None:
        """The job, if it still waits for this task; otherwise the task is crossed off."""
        row = await self._db.read_grouped(store.find_all, task.subject)
        if row is None or State(row["state"]) is not expected:
            await self._db.write(tasks.finish, [task])
            return None
        return row

    async def _finish(self, task: Task, event: machine.Event, *, made: tuple[str, NewInvoice] | None = None) -> None:
        step = Step(task.subject, event, self._clock.now_ms())
        await self._db.write_grouped(self._finish_together, Outcome(task, step, made))
        self._bell.ring()

    def _finish_together(self, tx: Tx, outcomes: Sequence[Outcome]) -> Sequence[NotFree | None]:
        return finish_all(tx, outcomes, self._rules)

    async def _wait(self, task: Task, row: Row, outage: Outage) -> None:
        """What we depend on is down: the job says so and waits, but not for ever."""
        if self._clock.now_ms() - row["moved_at_ms"] > self._terms.patience_seconds * SECOND_MS:
            return await self._finish(task, Broke(f"{outage.message} Timmy waited as long as it promised to, and gave up."))
        if await self._db.write(_note_waiting, task, outage.message, self._clock.now_ms()):
            self._bell.ring()
        raise outage

    async def _tell(self, task: Task, kind: str, **body: Any) -> None:
        await self._db.write(_append_if_held, task, NewEvent(task.subject, kind, body), self._clock.now_ms())
        self._bell.ring()


def quote_for(request: str, book: RateBook, oracle: BtcOracle, terms: Terms) -> Quote:
    """The price of the work, frozen. The input is priced as the most it can turn out to be, so that the work never runs out of payment
    before it has begun; what was not used is given back."""
    prompt = work_prompt(request)
    return make_quote(
        model=terms.work_model,
        rate=book.rate(terms.work_model),
        btc=oracle.price(),
        margin_bp=terms.margin_bp,
        infra=terms.infra,
        input_tokens=most_input_tokens(prompt.system, prompt.user),
        output_tokens=estimate_tokens(request, system=prompt.system, max_output_tokens=terms.max_output_tokens).output,
    )


def _append_if_held(tx: Tx, task: Task, event: NewEvent, at_ms: int) -> None:
    """A worker that wakes after its lease has passed on tells nothing: its pieces would stand among those of whoever has the work now."""
    if holds(tx, task):
        events.append(tx, at_ms, [event])


def _end_refund_to(tx: Tx, task: Task, now_ms: int) -> None:
    """Cross it off, unless more has come to be owed since it looked: a late payment's task would have met this one, and been none."""
    if task.id not in tasks.held(tx, [task]):
        return
    state = payouts.obligation(tx, chart.owed(task.subject))
    if state.claimable and state.live is None:
        put_back(tx, task, now_ms, "more is owed by now")
    else:
        tasks.cross_off(tx, [task.id])  # while one is on its way, its end looks again


def _note_waiting(tx: Tx, task: Task, waiting: str, at_ms: int) -> bool:
    news = holds(tx, task) and store.note_waiting(tx, task.subject, waiting)
    if news:
        events.append(tx, at_ms, [NewEvent(task.subject, "waiting", {"waiting": waiting})])
    return news
