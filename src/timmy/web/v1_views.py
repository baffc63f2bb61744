"""Conversations, models and keys as OpenAI's clients read them. What is ours besides stands in `usage`, `pricing` and `timmy`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from timmy.clock import SECOND_MS, iso
from timmy.completions import CompletionView, Ending, KeyView, LiveCompletion, ModelView
from timmy.errors import TimmyError
from timmy.models import Usage
from timmy.models.chat import Delta, deltas_of
from timmy.web import v1_errors, views

Document = dict[str, Any]
DONE = b"data: [DONE]\n\n"

WHY = {
    Ending.BUDGET: "It ends here because no more could be reserved for it: the session, the key or max_cost_msat is used up.",
    Ending.LEFT: "It ends here because whoever asked had gone away.",
    Ending.BROKEN: "It ends here because the model's provider broke off.",
    Ending.DIED: "It ends here because the server stopped.",
}


def completion(view: CompletionView) -> Document:
    choice = {"index": 0, "message": view.message, "logprobs": None, "finish_reason": view.finish}
    return {
        "id": view.id,
        "object": "chat.completion",
        "created": view.started_at_ms // SECOND_MS,
        "model": view.model,
        "choices": [choice],
        "usage": usage(view),
        "timmy": ending(view),
    }


def usage(view: CompletionView) -> Document:
    """`cost` is what was charged, in dollars at the price of the call; `cost_msat` is exact."""
    used = view.usage or Usage(0, 0, estimated=True)
    return {
        "prompt_tokens": used.input,
        "completion_tokens": used.output,
        "total_tokens": used.input + used.output,
        "prompt_tokens_details": {"cached_tokens": used.cached},
        "cost": views.dollars(view.cost),
        "cost_msat": view.charged.value,
        "estimated": used.estimated,
    }


def ending(view: CompletionView) -> Document:
    told: Document = {
        "ending": None if view.ending is None else view.ending.value,
        "cost_msat": view.charged.value,
        "balance_msat": view.balance.value,
    }
    return {**told, "message": WHY[view.ending]} if view.ending in WHY else told


class Chunks:
    """The chunks of one stream. What they have in common is made once."""

    def __init__(
        self, of: LiveCompletion | CompletionView, *, include_usage: bool, spent: Callable[[CompletionView], bytes] | None = None
    ) -> None:
        """`spent`: an event that its payment has before the end."""
        head = {"id": of.id, "object": "chat.completion.chunk", "created": of.started_at_ms // SECOND_MS, "model": of.model}
        self._head = b"data: " + orjson.dumps(head)[:-1]
        self._before = self._head + b',"choices":[{"index":0,"delta":'
        self._after = b',"logprobs":null,"finish_reason":null}]' + (b',"usage":null}\n\n' if include_usage else b"}\n\n")
        self._include_usage = include_usage
        self._spent = spent

    def first(self) -> bytes:
        return self.delta({"role": "assistant", "content": ""})

    def delta(self, delta: Delta) -> bytes:
        return self._before + orjson.dumps(delta) + self._after

    def last(self, view: CompletionView) -> bytes:
        """Why it ended, what it cost if that was asked for, and the end."""
        choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": view.finish}
        members: Document = {"choices": [choice], "timmy": ending(view)}
        out = self._with({**members, "usage": None} if self._include_usage else members)
        if self._include_usage:
            out += self._with({"choices": [], "usage": usage(view)})
        return out + (self._spent(view) if self._spent is not None else b"") + DONE

    def trouble(self, error: TimmyError) -> bytes:
        """In the middle there is no status any more. The SDKs raise what stands in `error`."""
        choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "error"}
        return self._with({"choices": [choice], **v1_errors.body(error)}) + DONE

    def whole(self, view: CompletionView) -> bytes:
        """An answer that was given before, as a stream."""
        return self.first() + b"".join(self.delta(delta) for delta in deltas_of(view.message or {})) + self.last(view)

    def _with(self, members: Document) -> bytes:
        return self._head + b"," + orjson.dumps(members, default=str)[1:] + b"\n\n"


def models(found: list[ModelView], created: int) -> Document:
    return {"object": "list", "data": [model(one, created) for one in found]}


def model(one: ModelView, created: int) -> Document:
    return {
        "id": one.id,
        "object": "model",
        "created": created,
        "owned_by": one.provider,
        "max_output_tokens": one.max_output_tokens,
        "pricing": {
            "currency": "USD",
            "prompt_per_million": str(one.input),
            "completion_per_million": str(one.output),
            "input_cache_read_per_million": str(one.cached),
            "request": str(one.per_request),
            "prompt_msat_per_million": one.input_msat.value,
            "completion_msat_per_million": one.output_msat.value,
            "request_msat": one.per_request_msat.value,
        },
    }


def key(view: KeyView) -> Document:
    shown: Document = {
        "object": "key",
        "state": view.state.value,
        "balance_msat": view.balance.value,
        "held_msat": view.held.value,
        "minimum_balance_msat": view.minimum_balance.value,
        "limits": [{"max_msat": limit.most.value, "left_msat": limit.left.value} for limit in view.limits],
        "max_msat_per_request": None if view.per_request is None else view.per_request.value,
        "expires_at": iso(view.expires_at_ms),
        "trust_tier": view.trust_tier,
        "topup_url": f"/api/sessions/{view.session_id}/topup" if view.is_whole else None,
    }
    return shown
