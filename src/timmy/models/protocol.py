"""What every language model provider can do.

An adapter speaks one wire format, counts nothing for money and bills nobody. Trouble before the answer is complete is
`ProviderDown` (may be retried: time-out, 429, 5xx, a broken stream) or `ProviderRefused` (may not: bad key, bad model, refused content).

All text that an adapter hands over is valid Unicode without NUL characters or lone surrogates, so it can be stored and sent as it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from timmy.errors import Outage


class ProviderDown(Outage):
    """Nothing usable came back; the same call may work later."""

    code = "model_down"
    title = "The language model is not answering"
    wait_seconds: float | None = None  # what the provider itself asked us to wait (Retry-After), if it did


OPERATORS_OWN = frozenset({"bad_key", "no_credit", "unknown_model", "moved"})  # of trouble.Refused, in small letters


class ProviderRefused(Outage):
    """The provider will never answer this call as it stands (a 4xx that is not 408, 409, 425 or 429). Not retried."""

    status = 502
    code = "model_refused"
    title = "The language model refused the request"

    @property
    def is_the_operators(self) -> bool:
        """Whether it would be refused whatever is asked, until the operator mends something. If not, whoever asked can ask otherwise."""
        return self.extra.get("reason") in OPERATORS_OWN


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier message of a conversation."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is told to be, and what the customer asks now; `earlier` is the conversation before it, oldest first."""

    system: str
    user: str
    earlier: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as counted by the provider. `input` is all of the prompt; `cached` is the part of it that was read from its cache."""

    input: int
    output: int
    cached: int = 0
    estimated: bool = False  # True: the provider said nothing usable, at least one figure is our own count


class Finish(StrEnum):
    STOP = "stop"
    LENGTH = "length"  # the token limit that we set was reached
    REFUSED = "refused"  # the provider's own content filter or the model's refusal ended it


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer as it streams in; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Completion:
    """The whole answer, and what it cost in tokens. The last thing a stream yields, always exactly once."""

    text: str
    usage: Usage
    finish: Finish


class Provider(Protocol):
    name: str  # "builtin", "anthropic", "openai": shown by /api/healthz

    async def complete(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> Completion: ...

    def stream(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> AsyncIterator[Delta | Completion]:
        """Pieces of the answer, then the whole. Every adapter here returns an async generator: who leaves early calls `aclose()`
        (`contextlib.aclosing`), which hangs up on the provider, so that tokens nobody reads are not produced."""
        ...

    async def check(self) -> None:
        """Cheap proof that the provider can be reached and accepts our key; raises ProviderDown or ProviderRefused."""
        ...

    async def aclose(self) -> None: ...
