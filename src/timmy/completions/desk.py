"""The counter: where conversations are bought, one call at a time, with a session's macaroon."""

from __future__ import annotations

from collections.abc import Sequence

from timmy.clock import Clock
from timmy.completions import store
from timmy.completions.begin import Beginning, caller_of
from timmy.completions.finish import completion_view
from timmy.completions.protocol import CompletionView, KeyView, LimitView, LiveCompletion, ModelView, Use, Wanted
from timmy.completions.refusals import CompletionNotFound, ModelNotFound, NotSupported, PromptTooLong
from timmy.completions.running import KEPT_MS, Running
from timmy.completions.terms import PROMPT_TOKENS_MAX, STEP_TOKENS, Terms
from timmy.db import Database, Tx
from timmy.identity.macaroons import Macaroon
from timmy.ids import RandomBytes, new_id
from timmy.ledger.commit import available_all
from timmy.models.chat import ChatProvider, Skill
from timmy.money import NANO_USD_MAX, Msats, NanoUsd
from timmy.pricing import BtcOracle, Quote, RateBook, make_quote
from timmy.pricing.quote import WHOLE_BP
from timmy.sessions import Permit
from timmy.sessions import store as sessions_store
from timmy.sessions.begin import new_limits
from timmy.sessions.flow import balances
from timmy.sessions.holding import purse_of
from timmy.sessions.keys import CAVEATS
from timmy.sessions.permits import Brought, permits
from timmy.sessions.views import open_state
from timmy.tasks import Bell

PARAMS = {
    Skill.TOOLS: "tools",
    Skill.IMAGES: "messages",
    Skill.JSON_OBJECT: "response_format",
    Skill.JSON_SCHEMA: "response_format",
}
WORDS = {
    Skill.TOOLS: "call tools",
    Skill.IMAGES: "look at pictures",
    Skill.JSON_OBJECT: "promise a JSON object (a json_schema it may)",
    Skill.JSON_SCHEMA: "hold an answer to a JSON schema",
}


class Completions:
    """The `CompletionsDesk` of the house."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        bell: Bell,
        random_bytes: RandomBytes,
        provider: ChatProvider,
        book: RateBook,
        oracle: BtcOracle,
        terms: Terms,
    ) -> None:
        self._db = db
        self._clock = clock
        self._random_bytes = random_bytes
        self._provider = provider
        self._book = book
        self._oracle = oracle
        self._terms = terms
        self.running = Running(db, clock, bell, provider, terms)
        self.handlers = self.running.handlers

    async def aclose(self, patience_seconds: float = 10.0) -> None:
        await self.running.aclose(patience_seconds)

    def models(self) -> Sequence[ModelView]:
        """See CompletionsDesk.models."""
        return [self._model(name) for name in self._terms.models]

    def _model(self, name: str) -> ModelView:
        rate, terms, btc = self._book.rate(name), self._terms.sessions, self._oracle.price()
        prices = (rate.input_nano_usd_per_mtok, rate.output_nano_usd_per_mtok, rate.cached_nano_usd_per_mtok, terms.infra.value)
        sold = [NanoUsd(min(-(-price * (WHOLE_BP + terms.margin_bp) // WHOLE_BP), NANO_USD_MAX)) for price in prices]
        return ModelView(
            id=name,
            provider=self._provider.name,
            input=sold[0],
            output=sold[1],
            cached=sold[2],
            per_request=sold[3],
            input_msat=sold[0].at(cents_per_btc=btc.cents_per_btc),
            output_msat=sold[1].at(cents_per_btc=btc.cents_per_btc),
            per_request_msat=sold[3].at(cents_per_btc=btc.cents_per_btc),
            max_output_tokens=terms.max_output_tokens,
        )

    async def complete(self, macaroon: Macaroon, use: Use, wanted: Wanted) -> CompletionView:
        """See CompletionsDesk.complete."""
        return await self.running.complete(self._priced(macaroon, use, wanted))

    async def stream(self, macaroon: Macaroon, use: Use, wanted: Wanted) -> LiveCompletion | CompletionView:
        """See CompletionsDesk.stream."""
        return await self.running.stream(self._priced(macaroon, use, wanted))

    def most(self, wanted: Wanted) -> Msats:
        """See CompletionsDesk.most."""
        quote, most_input, _, cap = self._prices(wanted)
        most = quote.charge(most_input, cap)
        return most if wanted.max_cost is None else min(most, wanted.max_cost)

    def _priced(self, macaroon: Macaroon, use: Use, wanted: Wanted) -> Beginning:
        """The call with its prices frozen, and the most that its prompt can be."""
        quote, most_input, input_tokens, cap = self._prices(wanted)
        id = new_id("chatcmpl", self._random_bytes).replace("_", "-")
        thinking = self._provider.thinking(wanted.model, wanted.chat.options)
        return Beginning(id, macaroon, use, wanted, quote, most_input, input_tokens, cap, thinking, self._clock.now_ms())

    def _prices(self, wanted: Wanted) -> tuple[Quote, int, int, int]:
        """The quote, the most that the prompt can be, our own count of it, and the most that the answer can be, in tokens."""
        if wanted.model not in self._terms.models:
            raise ModelNotFound(f"{wanted.model} is not sold here. GET /v1/models says what is.", param="model")
        for skill in wanted.chat.needs - self._provider.skills:
            raise NotSupported(f"The provider of {wanted.model} cannot {WORDS[skill]}.", param=PARAMS[skill])
        most_input, input_tokens = wanted.chat.most_input(wanted.model), wanted.chat.count_input(wanted.model)
        if input_tokens > PROMPT_TOKENS_MAX:
            raise PromptTooLong(
                f"The conversation has more than {PROMPT_TOKENS_MAX} tokens by our count, the most that is taken here. Send less of it.",
                param="messages",
            )
        cap = min(wanted.max_tokens or self._terms.sessions.max_output_tokens, self._terms.sessions.max_output_tokens)
        quote = make_quote(
            model=wanted.model,
            rate=self._book.rate(wanted.model),
            btc=self._oracle.price(),
            margin_bp=self._terms.sessions.margin_bp,
            infra=self._terms.sessions.infra,
            input_tokens=input_tokens,
            output_tokens=min(cap, STEP_TOKENS),
        )
        return quote, most_input, input_tokens, cap

    async def view(self, macaroon: Macaroon, use: Use, completion_id: str) -> CompletionView:
        """See CompletionsDesk.view."""
        view = await self._db.read(self._view, Brought(macaroon, use), completion_id)
        if view is None or view.started_at_ms < self._clock.now_ms() - 2 * KEPT_MS:
            raise CompletionNotFound("There is no completion with this id for this key, or it is no longer kept: that is a day.")
        return view

    def _view(self, tx: Tx, brought: Brought, completion_id: str) -> CompletionView | None:
        permit = self._permit(tx, brought)
        row = store.find(tx, completion_id)
        if row is None or row["session_id"] != permit.session_id or (row["state"] == "ended" and row["output"] is None):
            return None
        if row["caller"] != caller_of(brought.macaroon) and not _is_whole(brought.macaroon):
            return None  # bought with another key of the session
        return completion_view(row)

    async def key(self, macaroon: Macaroon, use: Use) -> KeyView:
        """See CompletionsDesk.key."""
        return await self._db.read(self._key, Brought(macaroon, use))

    def _key(self, tx: Tx, brought: Brought) -> KeyView:
        permit, terms = self._permit(tx, brought), self._terms.sessions
        row = sessions_store.find_all(tx, [permit.session_id])[permit.session_id]
        balance_msat, held_msat = balances(tx, [permit.session_id])[permit.session_id]
        budgets = permit.grant.budgets
        left = available_all(tx, [purse_of(budget) for budget in budgets]) | new_limits(tx, budgets) if budgets else {}
        now_ms = brought.use.now_ms
        return KeyView(
            state=open_state(row, balance_msat, terms, now_ms),
            balance=Msats(balance_msat),
            held=Msats(held_msat),
            minimum_balance=terms.minimum_balance.msats,
            limits=tuple(LimitView(budget.most, left[purse_of(budget)]) for budget in budgets),
            per_request=permit.grant.per_request,
            expires_at_ms=(row["used_at_ms"] or row["created_at_ms"]) + terms.ttl_ms,
            trust_tier=permit.trust_tier,
            is_whole=_is_whole(brought.macaroon),
            session_id=permit.session_id,
        )

    def _permit(self, tx: Tx, brought: Brought) -> Permit:
        outcome = permits(tx, [brought], self._terms.sessions)[0]
        if not isinstance(outcome, Permit):
            raise outcome
        return outcome


def _is_whole(macaroon: Macaroon) -> bool:
    """The session's own key, and not a narrowed one."""
    return list(macaroon.caveats) == [caveat.encode() for caveat in CAVEATS]
