"""A completions desk in memory: what it sells has a price and an answer, and whoever brings a macaroon at all has a key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from timmy.clock import ManualClock
from timmy.completions import CompletionView, Ending, KeyView, LiveCompletion, ModelView, Wanted
from timmy.completions.protocol import Use
from timmy.completions.refusals import CompletionNotFound, ModelNotFound
from timmy.identity.macaroons import Macaroon
from timmy.models import Usage
from timmy.money import Msats, NanoUsd
from timmy.pricing import Quote
from timmy.sessions import SessionState

MODELS = ("timmy-demo", "makers/with a slash")
BALANCE, COST = Msats(100_000), Msats(1_234)
DOLLAR = NanoUsd.parse("1")


@dataclass
class Talk:
    """`CompletionsDesk`."""

    clock: ManualClock
    quote: Quote

    def models(self) -> Sequence[ModelView]:
        return [ModelView(name, "here", DOLLAR, DOLLAR, DOLLAR, DOLLAR, COST, COST, COST, 4_096) for name in MODELS]

    async def complete(self, macaroon: Macaroon, use: Use, wanted: Wanted) -> CompletionView:
        self.most(wanted)
        message = {"role": "assistant", "content": "Forty-two.", "refusal": None}
        now_ms = self.clock.now_ms()
        return CompletionView(
            "chatcmpl-1", wanted.model, now_ms, Ending.COMPLETE, message, "stop", Usage(10, 4), COST, NanoUsd.parse("0.001"),
            BALANCE - COST, self.quote, COST, wanted.body_sha256, now_ms,
        )  # fmt: skip

    async def stream(self, macaroon: Macaroon, use: Use, wanted: Wanted) -> LiveCompletion | CompletionView:
        return await self.complete(macaroon, use, wanted)

    async def view(self, macaroon: Macaroon, use: Use, completion_id: str) -> CompletionView:
        raise CompletionNotFound("There is no completion with this id.")

    async def key(self, macaroon: Macaroon, use: Use) -> KeyView:
        return KeyView(
            state=SessionState.ACTIVE,
            balance=BALANCE,
            held=Msats(0),
            minimum_balance=Msats(0),
            limits=(),
            per_request=None,
            expires_at_ms=self.clock.now_ms(),
            trust_tier="anonymous",
            is_whole=True,
            session_id="ses_1",
        )

    def most(self, wanted: Wanted) -> Msats:
        if wanted.model not in MODELS:
            raise ModelNotFound("That model is not sold here.", param="model")
        return COST
