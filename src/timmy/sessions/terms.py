"""What a session costs, how large it may be, and how long it lives."""

from __future__ import annotations

from dataclasses import dataclass

from timmy import generosity
from timmy.identity import trust
from timmy.models.evaluate import JUDGEMENT_TOKENS_MAX
from timmy.money import NanoUsd, Sats

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Terms:
    min_deposit: Sats
    max_deposit: Sats
    minimum_balance: Sats  # with less, a session is paused
    ttl_days: int  # without use
    eval_model: str
    work_model: str
    max_output_tokens: int
    margin_bp: int
    infra: NanoUsd  # a request's share of the machine: in the price of the judging, once
    pool_credit_bp: int
    gifts: generosity.Terms
    trust: trust.Terms
    judgement_tokens: int = JUDGEMENT_TOKENS_MAX  # the most that one answer of the judge may take

    @property
    def ttl_ms(self) -> int:
        return self.ttl_days * DAY_MS
