"""What is done for a request: priced at the most that it can cost, judged, worked on within what is held for it."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

import structlog

from timmy.clock import Clock
from timmy.generosity import day_of
from timmy.idempotency import Key
from timmy.ids import RandomBytes, new_id
from timmy.models import Accepted, Declined, Finish, Provider, ProviderDown, ProviderRefused, Usage, judge, work_prompt
from timmy.models.evaluate import eval_prompt
from timmy.money import NANO_USD_MAX, Msats, NanoUsd
from timmy.pricing import BtcOracle, Quote, RateBook, estimate_tokens, make_quote, most_input_tokens
from timmy.sessions.begin import Beginning, Begun
from timmy.sessions.finish import Ending
from timmy.sessions.holding import gift_of
from timmy.sessions.protocol import Permit, RequestState
from timmy.sessions.terms import Terms

BROKE = "Something broke on our side. It cost nothing; ask again."

log = structlog.get_logger("timmy.sessions")


class Work:
    def __init__(
        self, clock: Clock, random_bytes: RandomBytes, provider: Provider, book: RateBook, oracle: BtcOracle, terms: Terms
    ) -> None:
        self._clock = clock
        self._random_bytes = random_bytes
        self._provider = provider
        self._book = book
        self._oracle = oracle
        self._terms = terms

    def priced(self, permit: Permit, text: str, key: Key | None) -> Beginning:
        """The request with its prices frozen, and the most that it can come to."""
        id, now_ms = new_id("req", self._random_bytes), self._clock.now_ms()
        eval_quote, work_quote = self._eval_quote(text), self._work_quote(text)
        most = _estimate(eval_quote) + _estimate(work_quote)
        has_budget = bool(self._terms.gifts.budget(permit.trust_tier))
        gift = gift_of(id, permit.pubkey, permit.trust_tier, day_of(now_ms)) if has_budget else None
        return Beginning(id, permit, text, eval_quote, work_quote, most, gift, key, now_ms)

    def most(self, text: str) -> Msats:
        """See SessionsDesk.most."""
        return _estimate(self._eval_quote(text)) + _estimate(self._work_quote(text))

    def _eval_quote(self, text: str) -> Quote:
        """The judge answers once, and if that is unclear once more: both are in it. So is the request's share of the machine."""
        questions = (eval_prompt(text), eval_prompt(text, again=True))
        return self._quote(
            self._terms.eval_model,
            self._terms.infra,
            sum(most_input_tokens(question.system, question.user) for question in questions),
            len(questions) * self._terms.judgement_tokens,
        )

    def _work_quote(self, text: str) -> Quote:
        prompt = work_prompt(text)
        wanted = estimate_tokens(text, system=prompt.system, max_output_tokens=self._terms.max_output_tokens).output
        return self._quote(self._terms.work_model, NanoUsd(0), most_input_tokens(prompt.system, prompt.user), wanted)

    def _quote(self, model: str, infra: NanoUsd, input_tokens: int, output_tokens: int) -> Quote:
        return make_quote(
            model=model,
            rate=self._book.rate(model),
            btc=self._oracle.price(),
            margin_bp=self._terms.margin_bp,
            infra=infra,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
        )

    async def carry_out(self, begun: Begun) -> Ending:
        """From the judgement to the answer. Whatever goes wrong is an ending too; only a cancellation passes."""
        try:
            return await self._judged(begun)
        except ProviderDown as down:
            return self._failed(begun, down.message, blames=False)
        except ProviderRefused as refused:
            why = f"The language model would not do this: {refused.message}"
            return self._failed(begun, why, blames=not refused.is_the_operators)
        except Exception:  # a bug of ours: the customer must get back what is held, now and not when the reaper comes
            log.exception("sessions.request_broke", request=begun.beginning.request_id)
            return self._failed(begun, BROKE, blames=False)

    async def _judged(self, begun: Begun) -> Ending:
        beginning = begun.beginning
        verdict = await judge(self._provider, beginning.text, beginning.eval_quote.model, max_output_tokens=self._terms.judgement_tokens)
        judged = self._charged(begun, verdict.usage, None)
        match verdict:
            case Declined(reason=reason):
                return replace(judged, state=RequestState.REJECTED, reason=reason)
            case Accepted():
                return await self._worked(begun, judged)
            case _:
                assert_never(verdict)

    async def _worked(self, begun: Begun, judged: Ending) -> Ending:
        """The one rule: what the answer may take is computed from what is held, less what the judging has cost. Without this, a request
        could cost more than is held for it, and the house would pay the rest."""
        beginning, prompt = begun.beginning, work_prompt(begun.beginning.text)
        budget = begun.holding.in_all - judged.charged
        within = beginning.work_quote.output_tokens_within(budget, most_input_tokens(prompt.system, prompt.user))
        most_tokens = min(within, self._terms.max_output_tokens)
        if most_tokens == 0:
            return self._failed(begun, "The judging took all that was set aside, and nothing was left for an answer.", blames=False)
        completion = await self._provider.complete(prompt, model=beginning.work_quote.model, max_output_tokens=most_tokens)
        if not completion.text.strip():
            return self._failed(begun, "The language model gave no answer.")
        worked = self._charged(begun, judged.eval_usage or Usage(0, 0), completion.usage)
        return replace(worked, result=completion.text, truncated=completion.finish is Finish.LENGTH)

    def _charged(self, begun: Begun, judging: Usage, working: Usage | None) -> Ending:
        """What it came to so far."""
        beginning = begun.beginning
        parts = [(beginning.eval_quote, judging)] + ([(beginning.work_quote, working)] if working is not None else [])
        charged, cost = Msats(0), NanoUsd(0)
        for quote, usage in parts:
            # The smaller of the two at each step: a provider that claims absurdly many tokens must not keep a request from ending.
            came_to = quote.charge(usage.input, usage.output, usage.cached)
            left = begun.holding.in_all - charged
            charged += min(left, came_to)
            if came_to > left:  # the house's: no sats of anybody's move for it, and the operator should know of a model that does this
                log.warning("sessions.overrun", model=quote.model, over_msat=came_to.value - left.value)
            cost = NanoUsd(min(cost.value + quote.cost(usage.input, usage.output, usage.cached).value, NANO_USD_MAX))
        return Ending(
            beginning.request_id,
            RequestState.COMPLETE,
            self._clock.now_ms(),
            charged=charged,
            cost=cost,
            eval_usage=judging,
            work_usage=working,
        )

    def _failed(self, begun: Begun, reason: str, *, blames: bool = True) -> Ending:
        return Ending(begun.beginning.request_id, RequestState.FAILED, self._clock.now_ms(), reason=reason, blames=blames)


def _estimate(quote: Quote) -> Msats:
    return quote.charge(quote.estimated_input_tokens, quote.estimated_output_tokens)
