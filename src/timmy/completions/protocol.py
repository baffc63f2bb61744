"""What the hallways may ask of the completions room. `Completions` in desk.py is the one that does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from timmy.idempotency import Key
from timmy.identity.caveats import Use
from timmy.identity.macaroons import Macaroon
from timmy.models import Usage
from timmy.models.chat import Chat, Piece
from timmy.money import Msats, NanoUsd
from timmy.pricing import Quote
from timmy.sessions import SessionState

__all__ = ["CompletionView", "CompletionsDesk", "Ending", "Key", "KeyView", "LimitView", "LiveCompletion", "ModelView", "Use", "Wanted"]


class Ending(StrEnum):
    COMPLETE = "complete"  # the model has ended it: it was done, or its limit was reached
    BUDGET = "budget"  # what could be reserved for it was used up
    LEFT = "left"  # whoever asked has gone away
    BROKEN = "broken"  # the model's provider broke off in the middle
    DIED = "died"  # our server did
    FAILED = "failed"  # nothing was produced, and nothing is charged


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call, checked for form."""

    chat: Chat
    model: str
    max_tokens: int | None
    max_cost: Msats | None  # the caller's own guard
    stream: bool
    body_sha256: str
    is_retry: bool  # the caller's SDK says that it has asked this before
    key: Key | None
    once: bool = False  # `key` is a payment that buys one call: it is told again only to who says that they repeat themselves


@dataclass(frozen=True, slots=True)
class CompletionView:
    """A call as it is kept. Not its session's id: who holds a narrowed key must not learn it."""

    id: str
    model: str
    started_at_ms: int
    ending: Ending | None  # None while it runs
    message: Mapping[str, Any] | None = field(repr=False)  # OpenAI's; None when it is not kept any more, or nothing was produced
    finish: str | None  # OpenAI's finish_reason
    usage: Usage | None
    charged: Msats
    cost: NanoUsd  # what was charged, in dollars at the price of the call
    balance: Msats  # the session's when it ended; while it runs, as it was when it began
    quote: Quote = field(repr=False)  # the prices that were frozen for it
    held: Msats  # what was set aside for it in all: the most that it could come to
    body_sha256: str  # of the request's body as it came
    ended_at_ms: int | None


class LiveCompletion(Protocol):
    """An answer that is being written. Whoever reads it calls `leave` when they go, whatever happens."""

    @property
    def id(self) -> str: ...

    @property
    def model(self) -> str: ...

    @property
    def started_at_ms(self) -> int: ...

    async def take(self) -> Sequence[Piece]:
        """What has come since, once all that was taken before has been handed on; empty at the end. What broke it off is raised after
        the last piece. May be cancelled."""
        ...

    async def ended(self) -> CompletionView:
        """How it ended, after the last piece."""
        ...

    async def leave(self) -> None:
        """Nobody reads on: what was produced is charged and kept, and no more is produced; but an answer that is thought about unseen goes
        on to its end without its reader, as one in one piece does. After the end: nothing."""
        ...


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model that is sold, and what a million of its tokens costs, the margin included."""

    id: str
    provider: str
    input: NanoUsd
    output: NanoUsd
    cached: NanoUsd
    per_request: NanoUsd  # a call's share of the machine, once
    input_msat: Msats  # the same at today's price of a bitcoin
    output_msat: Msats
    per_request_msat: Msats
    max_output_tokens: int


@dataclass(frozen=True, slots=True)
class LimitView:
    """A caveat that caps what may be spent through it."""

    most: Msats
    left: Msats


@dataclass(frozen=True, slots=True)
class KeyView:
    """What a key can do. Nothing in it opens anything."""

    state: SessionState
    balance: Msats
    held: Msats  # by calls under way
    minimum_balance: Msats
    limits: tuple[LimitView, ...]
    per_request: Msats | None
    expires_at_ms: int  # the session's end, if it is not used before
    trust_tier: str
    is_whole: bool  # the session's own key, and not a narrowed one
    session_id: str = field(repr=False)  # for those who hold the whole key only


class CompletionsDesk(Protocol):
    def models(self) -> Sequence[ModelView]: ...

    async def complete(self, macaroon: Macaroon, use: Use, wanted: Wanted) -> CompletionView:
        """The whole answer. It goes on when its caller leaves, and is kept: asked again by an SDK, or with the same Idempotency-Key, it is
        told again and not paid again.

        401 and 403 of the key; ModelNotFound (404), NotSupported, MaxCostTooLow (400); InsufficientBalance, KeyLimitReached (402),
        SessionEnded, NotOpenYet, CompletionInProgress (409), CompletionForgotten (410), KeyReused (422); PromptTooLong, ContentRefused,
        RequestNotAccepted (400), ProviderDown, and ProviderRefused, which is the operator's to mend: nothing was charged."""
        ...

    async def stream(self, macaroon: Macaroon, use: Use, wanted: Wanted) -> LiveCompletion | CompletionView:
        """The answer as it is written, once its first piece is there; the whole at once, where it had been given before. Raises as
        `complete` does."""
        ...

    async def view(self, macaroon: Macaroon, use: Use, completion_id: str) -> CompletionView:
        """CompletionNotFound (404), also for one of another session, for one that another key of the session has bought (unless this is the
        whole key), and a day after its end."""
        ...

    async def key(self, macaroon: Macaroon, use: Use) -> KeyView: ...

    def most(self, wanted: Wanted) -> Msats:
        """The most that the call can come to: what a payment for nothing else must bring. Raises as `complete` does, but for money."""
        ...
