"""A price with its reasons, frozen: later changes of rates, margin or the price of a bitcoin do not touch it.

All of it is whole-number arithmetic that anyone can repeat from what is shown:

    cost    tokens × rates + this request's share of the machine         up to the next nano-dollar
    charge  cost × (1 + margin), at the quote's price of a bitcoin       up to the next millisat
    price   the charge for the estimated tokens                          up to the next sat, at least one

The same `charge` that makes the price later makes the bill, from the tokens that were really used. So the margin is applied once, and a
job that used what was estimated costs what was asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import orjson

from timmy.errors import Breach
from timmy.money import MSATS_MAX, NANO_USD_MAX, Msats, NanoUsd, Sats

MTOK = 1_000_000
WHOLE_BP = 10_000  # basis points of one: 100 %
OUTPUT_TOKENS_MAX = 10_000_000  # what "as many as you like" means when a model's output is free
FORMAT = 1
READ_MAX = 1_024


@dataclass(frozen=True, slots=True)
class Rate:
    """A model's price in nano-dollars per million tokens."""

    input_nano_usd_per_mtok: int
    output_nano_usd_per_mtok: int
    cached_nano_usd_per_mtok: int

    def __post_init__(self) -> None:
        if min(self.input_nano_usd_per_mtok, self.output_nano_usd_per_mtok, self.cached_nano_usd_per_mtok) < 0:
            raise ValueError(f"a rate below zero: {self}")
        if self.cached_nano_usd_per_mtok > self.input_nano_usd_per_mtok:
            # output_tokens_within() bounds the work as if nothing came from the cache. Were a cached token dearer, work could cost
            # more than is reserved for it.
            raise ValueError(f"cached input dearer than input: {self}")


@dataclass(frozen=True, slots=True)
class BtcPrice:
    """Dollar cents per bitcoin, and where they come from ("median of 5", "last good", "fallback", …)."""

    cents_per_btc: int
    source: str
    at_ms: int

    def __post_init__(self) -> None:
        if self.cents_per_btc <= 0:
            raise ValueError(f"a bitcoin cannot cost {self.cents_per_btc} cents")


@dataclass(frozen=True, slots=True)
class Quote:
    """What some work is expected to cost and what is asked for it."""

    model: str
    rate: Rate
    btc: BtcPrice
    margin_bp: int  # hundredths of a percent: 4000 is 40 %
    infra: NanoUsd  # this request's share of the machine
    estimated_input_tokens: int
    estimated_output_tokens: int
    estimated_cost: NanoUsd  # before the margin, the share of the machine included
    price: Sats

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> NanoUsd:
        """What this many tokens cost the operator, the share of the machine included. `cached_tokens` are part of `input_tokens`."""
        return _cost(self.rate, self.infra, input_tokens, output_tokens, cached_tokens)

    def charge(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> Msats:
        """What a customer is billed for this many tokens. Not bounded by the price: whoever bills takes the smaller of the two."""
        return _with_margin(self.cost(input_tokens, output_tokens, cached_tokens), self.margin_bp, self.btc)

    def output_tokens_within(self, budget: Msats, input_tokens: int) -> int:
        """The most output tokens whose charge is at most `budget`: the limit that a model is called with.

        Zero when not even the input can be paid for, or nothing beyond it: then the work must not start. `input_tokens` is the most
        that the input can turn out to be (`estimate.most_input_tokens`), or the promise does not hold.
        """
        if input_tokens < 0:
            raise ValueError(f"tokens below zero: {input_tokens}")
        cost_most_nano = budget.value * self.btc.cents_per_btc // (WHOLE_BP + self.margin_bp)
        left = (cost_most_nano - self.infra.value) * MTOK - input_tokens * self.rate.input_nano_usd_per_mtok
        if left < 0:
            return 0
        if self.rate.output_nano_usd_per_mtok == 0:
            return OUTPUT_TOKENS_MAX
        return min(left // self.rate.output_nano_usd_per_mtok, OUTPUT_TOKENS_MAX)

    def as_json(self) -> str:
        """All of it, exactly, to be kept beside the job. Amounts are whole numbers."""
        return orjson.dumps(
            {
                "format": FORMAT,
                "model": self.model,
                "rate": {
                    "input": self.rate.input_nano_usd_per_mtok,
                    "output": self.rate.output_nano_usd_per_mtok,
                    "cached": self.rate.cached_nano_usd_per_mtok,
                },
                "btc": {"cents": self.btc.cents_per_btc, "source": self.btc.source, "at_ms": self.btc.at_ms},
                "margin_bp": self.margin_bp,
                "infra_nano_usd": self.infra.value,
                "input_tokens": self.estimated_input_tokens,
                "output_tokens": self.estimated_output_tokens,
                "cost_nano_usd": self.estimated_cost.value,
                "price_sats": self.price.value,
            }
        ).decode()

    @classmethod
    @lru_cache(maxsize=READ_MAX)  # what is sold at one price is written and read in the same words, again and again
    def from_json(cls, text: str) -> Quote:
        """What `as_json` wrote. Members added by a later version are passed over; anything else that does not fit is a Breach."""
        try:
            kept = orjson.loads(text)
            if kept["format"] != FORMAT:
                raise ValueError(f"format {kept['format']}")
            rate, btc = kept["rate"], kept["btc"]
            return cls(
                model=_text(kept["model"]),
                rate=Rate(_whole(rate["input"]), _whole(rate["output"]), _whole(rate["cached"])),
                btc=BtcPrice(_whole(btc["cents"]), _text(btc["source"]), _whole(btc["at_ms"])),
                margin_bp=_whole(kept["margin_bp"]),
                infra=NanoUsd(_whole(kept["infra_nano_usd"])),
                estimated_input_tokens=_whole(kept["input_tokens"]),
                estimated_output_tokens=_whole(kept["output_tokens"]),
                estimated_cost=NanoUsd(_whole(kept["cost_nano_usd"])),
                price=Sats(_whole(kept["price_sats"])),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Breach(f"A stored quote cannot be read: {type(error).__name__}: {error}") from None


def make_quote(*, model: str, rate: Rate, btc: BtcPrice, margin_bp: int, infra: NanoUsd, input_tokens: int, output_tokens: int) -> Quote:
    """The price of this many tokens, with everything that it was made from."""
    if margin_bp < 0:
        raise ValueError(f"a margin below zero: {margin_bp}")
    cost = _cost(rate, infra, input_tokens, output_tokens, 0)
    asked = _with_margin(cost, margin_bp, btc).ceil_sats()
    return Quote(
        model=model,
        rate=rate,
        btc=btc,
        margin_bp=margin_bp,
        infra=infra,
        estimated_input_tokens=input_tokens,
        estimated_output_tokens=output_tokens,
        estimated_cost=cost,
        price=max(asked, Sats(1)),
    )


def _cost(rate: Rate, infra: NanoUsd, input_tokens: int, output_tokens: int, cached_tokens: int) -> NanoUsd:
    """Saturates at the largest amount: a provider that reports a nonsensical number of tokens must not keep a job from ending."""
    if min(input_tokens, output_tokens, cached_tokens) < 0:
        raise ValueError(f"tokens below zero: {input_tokens}, {output_tokens}, {cached_tokens}")
    cached = min(cached_tokens, input_tokens)
    parts = (
        (input_tokens - cached) * rate.input_nano_usd_per_mtok
        + cached * rate.cached_nano_usd_per_mtok
        + output_tokens * rate.output_nano_usd_per_mtok
    )
    return NanoUsd(min(-(-parts // MTOK) + infra.value, NANO_USD_MAX))


def _with_margin(cost: NanoUsd, margin_bp: int, btc: BtcPrice) -> Msats:
    # nano-dollars at c cents per bitcoin are nano × 10,000 ÷ c millisats; the margin's 10,000 basis points cancel against that 10,000.
    return Msats(min(-(-cost.value * (WHOLE_BP + margin_bp) // btc.cents_per_btc), MSATS_MAX))


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"not a whole number: {value!r}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
