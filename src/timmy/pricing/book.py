"""What the models of the supported providers cost, in US dollars per million tokens.

A model that does not stand here is refused at start, with the setting to add: an unknown price is not a price of zero.
The operator's own prices (`MODEL_RATES`) come before these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from timmy.errors import Refusal
from timmy.money import NanoUsd
from timmy.pricing.quote import Rate

AS_OF = "2026-11-21"
# Some providers ask more for longer prompts. These are their prices for a prompt of fewer tokens than this; MAX_REQUEST_CHARS cannot
# be set so high that a request gets there.
PROMPT_TOKENS_MAX = 100_000

# model: (input, output, input read from the provider's cache). Sources: the providers' price pages, as kept by genai-prices and LiteLLM;
# a model in which the two differ is left out.
ANTHROPIC = {
    "claude-haiku-4-5": ("1", "5", "0.10"),
    "claude-haiku-4-5-20251001": ("1", "5", "0.10"),
    "claude-haiku-5-5": ("0.10", "0.50", "0.01"),
    "claude-sonnet-4-5": ("3", "15", "0.30"),
    "claude-sonnet-4-5-20250929": ("3", "15", "0.30"),
    "claude-sonnet-4-6": ("3", "15", "0.30"),
    "claude-sonnet-5": ("2", "10", "0.20"),
    "claude-sonnet-5-5": ("2", "10", "0.10"),
    "claude-opus-4-5": ("5", "25", "0.50"),
    "claude-opus-4-5-20251101": ("5", "25", "0.50"),
    "claude-opus-4-6": ("5", "25", "0.50"),
    "claude-opus-4-7": ("5", "25", "0.50"),
    "claude-opus-4-8": ("5", "25", "0.50"),
    "claude-opus-5": ("5", "25", "0.50"),
    "claude-opus-5-5": ("4", "20", "0.20"),
    "claude-fable-5": ("10", "50", "1.00"),
    "claude-fable-5-1": ("10", "50", "0.25"),
}

OPENAI = {
    "gpt-4o": ("2.50", "10", "1.25"),
    "gpt-4o-2024-08-06": ("2.50", "10", "1.25"),
    "gpt-4o-2024-11-20": ("2.50", "10", "1.25"),
    "gpt-4o-mini": ("0.15", "0.60", "0.075"),
    "gpt-4o-mini-2024-07-18": ("0.15", "0.60", "0.075"),
    "gpt-4.1": ("2", "8", "0.50"),
    "gpt-4.1-2025-04-14": ("2", "8", "0.50"),
    "gpt-4.1-mini": ("0.40", "1.60", "0.10"),
    "gpt-4.1-mini-2025-04-14": ("0.40", "1.60", "0.10"),
    "gpt-5": ("1.25", "10", "0.125"),
    "gpt-5-2025-08-07": ("1.25", "10", "0.125"),
    "gpt-5-mini": ("0.25", "2", "0.025"),
    "gpt-5-mini-2025-08-07": ("0.25", "2", "0.025"),
    "gpt-5-nano": ("0.05", "0.40", "0.005"),
    "gpt-5-nano-2025-08-07": ("0.05", "0.40", "0.005"),
    "gpt-5.1": ("1.25", "10", "0.125"),
    "gpt-5.1-2025-11-13": ("1.25", "10", "0.125"),
    "gpt-5.2": ("1.75", "14", "0.175"),
    "gpt-5.2-2025-12-11": ("1.75", "14", "0.175"),
    "gpt-5.4": ("2.50", "15", "0.25"),
    "gpt-5.4-2026-03-05": ("2.50", "15", "0.25"),
    "gpt-5.4-mini": ("0.75", "4.50", "0.075"),
    "gpt-5.4-mini-2026-03-17": ("0.75", "4.50", "0.075"),
    "gpt-5.4-nano": ("0.20", "1.25", "0.02"),
    "gpt-5.4-nano-2026-03-17": ("0.20", "1.25", "0.02"),
    "gpt-5.5": ("5", "30", "0.50"),
    "gpt-5.5-2026-04-23": ("5", "30", "0.50"),
    "gpt-5.6-sol": ("4", "20", "0.40"),
    "gpt-5.6-terra": ("2", "12", "0.20"),
    "gpt-5.6-luna": ("0.20", "1.20", "0.02"),
    "gpt-6-astra": ("10", "50", "1.00"),
    "gpt-6-sol": ("2", "10", "0.20"),
    "gpt-6-luna": ("0.10", "0.50", "0.01"),
    "gpt-6.1-sol": ("2", "10", "0.10"),
    "gpt-6.1-terra": ("1", "5", "0.05"),
}

# OpenRouter sells these two makers' models at their makers' prices, under "maker/name" and with a dot in Anthropic's versions.
OPENROUTER = {
    "anthropic/claude-haiku-4.5": ANTHROPIC["claude-haiku-4-5"],
    "anthropic/claude-sonnet-4.6": ANTHROPIC["claude-sonnet-4-6"],
    "anthropic/claude-opus-4.6": ANTHROPIC["claude-opus-4-6"],
    "openai/gpt-4o-mini": OPENAI["gpt-4o-mini"],
    "openai/gpt-5-mini": OPENAI["gpt-5-mini"],
    "openai/gpt-5.4": OPENAI["gpt-5.4"],
    "openai/gpt-5.4-mini": OPENAI["gpt-5.4-mini"],
}

# Ollama's names for models on one's own machine. Nobody sends a bill for their tokens; the machine is in INFRA_USD_PER_MONTH.
LOCAL = dict.fromkeys(
    (
        *("deepseek-r1:7b", "deepseek-r1:8b", "deepseek-r1:14b", "deepseek-r1:32b"),
        *("gemma2:9b", "gemma3", "gemma3:1b", "gemma3:4b", "gemma3:12b", "gemma3:27b"),
        *("gpt-oss:20b", "gpt-oss:120b"),
        *("llama3.1", "llama3.1:8b", "llama3.1:70b", "llama3.2", "llama3.2:1b", "llama3.2:3b", "llama3.3", "llama3.3:70b"),
        *("mistral", "mistral:7b", "mistral-nemo", "mistral-small", "phi3", "phi4", "phi4:14b"),
        *("qwen2.5", "qwen2.5:0.5b", "qwen2.5:3b", "qwen2.5:7b", "qwen2.5:14b", "qwen2.5:32b"),
        *("qwen3", "qwen3:0.6b", "qwen3:4b", "qwen3:8b", "qwen3:14b", "qwen3:30b", "qwen3:32b"),
        *("smollm2", "smollm2:135m", "smollm2:360m", "tinyllama"),
    ),
    ("0", "0", "0"),
)

# The demo agent costs nothing. It is priced like a model that does, so that what a first look shows is what selling looks like.
BUILTIN = {
    "timmy-demo-small": ("1", "5", "0.10"),
    "timmy-demo": ("3", "15", "0.30"),
}


class UnknownModel(Refusal):
    """Nobody has said what this model costs."""

    status = 400
    code = "unknown_model"
    title = "The price of this model is not known here"


class Prices(Protocol):
    """A million tokens of a model, as the settings say it."""

    @property
    def input(self) -> NanoUsd: ...
    @property
    def output(self) -> NanoUsd: ...
    @property
    def cached(self) -> NanoUsd: ...


class RateBook:
    """Rates by model name: the operator's, then the table's. It changes only by a restart; a quote keeps the rate that it was made with."""

    def __init__(self, overrides: Mapping[str, Prices] | None = None) -> None:
        table = {**BUILTIN, **ANTHROPIC, **OPENAI, **OPENROUTER, **LOCAL}
        self._rates = {model: _rate(*map(NanoUsd.parse, prices)) for model, prices in table.items()}
        for model, prices in (overrides or {}).items():
            self._rates[model] = _rate(prices.input, prices.output, prices.cached)

    def rate(self, model: str) -> Rate:
        """UnknownModel when there is none: never zero by guess."""
        try:
            return self._rates[model]
        except KeyError:
            raise UnknownModel(
                f"Timmy does not know what {model} costs. The operator can set it, in US dollars per million tokens: "
                f'MODEL_RATES={{"{model}": {{"input": "3.00", "output": "15.00"}}}}'
            ) from None

    def __contains__(self, model: object) -> bool:
        return model in self._rates

    def models(self) -> list[str]:
        return sorted(self._rates)


def _rate(dollars_in: NanoUsd, dollars_out: NanoUsd, dollars_cached: NanoUsd) -> Rate:
    return Rate(dollars_in.value, dollars_out.value, dollars_cached.value)
