"""Anthropic's Messages API (API reference: "Create a Message", "Streaming Messages", "Errors", "Versioning").

A stream is `message_start` (usage of the input), content blocks as `content_block_delta`, `message_delta` (usage of the output, why it
ended), `message_stop`, with `ping` and `error` anywhere between; kinds that are not known are skipped, as the reference asks.

A key is sent as `x-api-key`, as the reference shows for calls without an SDK. Their SDKs send it as a bearer token since version
2026-10-21 of the API; a gateway that only knows that form answers 401, is asked again in it, and that is remembered.

Their `input_tokens` leaves out what was read from or written to the cache. Ours is the whole prompt: the three together, and
`cached` is what was read. What is written to the cache counts as plain input.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from enum import Enum
from typing import Any, Protocol, TypeVar

from timmy.clock import Clock
from timmy.models import trouble
from timmy.models.anthropic_chat import FINISH as CHAT_FINISH
from timmy.models.anthropic_chat import Reading, chat_body, text_of
from timmy.models.chat import Chat, Draft, Piece, Reply, Skill
from timmy.models.protocol import Completion, Delta, Finish, Prompt
from timmy.models.retry import Retry
from timmy.models.sse import Event
from timmy.models.thinking import Thinking, thinking_of
from timmy.models.upstream import BadStatus, Key, Timeouts, Upstream, error_names, loads, member
from timmy.models.usage import Reported
from timmy.models.writing import Answer

ANTHROPIC_URL = "https://api.anthropic.com"
ANTHROPIC_VERSION = "2026-10-21"

_FINISH = {
    "end_turn": Finish.STOP,
    "stop_sequence": Finish.STOP,
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.LENGTH,
    "refusal": Finish.REFUSED,
}
T = TypeVar("T")
F = TypeVar("F")
Reader = Callable[[AsyncGenerator[Event, None]], AsyncGenerator[T, None]]


class _Scheme(Enum):
    X_API_KEY = ("x-api-key", "")
    BEARER = ("Authorization", "Bearer ")


class Anthropic:
    """`base_url` ends where `/v1/messages` begins. ValueError for a base URL or a key that cannot be one."""

    name = "anthropic"
    skills = frozenset({Skill.TOOLS, Skill.IMAGES, Skill.JSON_SCHEMA})

    def __init__(
        self,
        api_key: str,
        base_url: str = ANTHROPIC_URL,
        *,
        timeouts: Timeouts | None = None,
        retry: Retry | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._key = Key(api_key)
        self._upstream = Upstream(base_url, timeouts=timeouts, clock=clock)
        self._scheme = _Scheme.X_API_KEY
        self._retry = retry or Retry()

    async def complete(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> Completion:
        body = await self._retry.call(lambda: self._whole(_body(prompt, model, max_output_tokens, stream=False)))
        answer = Answer(prompt, max_output_tokens)
        for block in _blocks(body):
            answer.write(text_of(member(block, "text")))
            answer.think(text_of(member(block, "thinking")))
        reason = member(body, "stop_reason")
        answer.finish = _FINISH.get(reason, Finish.STOP) if isinstance(reason, str) else Finish.STOP
        answer.reported = _reported(_Counts().and_then(member(body, "usage")))
        return answer.completion()

    async def stream(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> AsyncGenerator[Delta | Completion, None]:
        body = _body(prompt, model, max_output_tokens, stream=True)
        read = lambda events: _answered(Answer(prompt, max_output_tokens), events)  # noqa: E731 - a reader for each attempt
        async with aclosing(self._retry.stream(lambda: self._stream(body, read))) as items:
            async for item in items:
                yield item

    def thinking(self, model: str, options: Mapping[str, Any]) -> Thinking:
        """See ChatProvider.thinking. `reasoning_effort` is left out of what is asked."""
        return thinking_of(model)

    async def chat(self, chat: Chat, *, model: str, max_output_tokens: int) -> Reply:
        body = await self._retry.call(lambda: self._whole(chat_body(chat, model, max_output_tokens, stream=False)))
        draft = Draft(chat, model, max_output_tokens)
        reading = Reading(draft)
        for number, block in enumerate(_blocks(body)):
            reading.whole(number, block)
        reason = member(body, "stop_reason")
        draft.finish = CHAT_FINISH.get(reason, "stop") if isinstance(reason, str) else "stop"
        draft.reported = _reported(_Counts().and_then(member(body, "usage")))
        return draft.reply()

    async def chat_stream(self, chat: Chat, *, model: str, max_output_tokens: int) -> AsyncGenerator[Piece | Reply, None]:
        body = chat_body(chat, model, max_output_tokens, stream=True)
        read = lambda events: _drafted(Draft(chat, model, max_output_tokens), events)  # noqa: E731 - a reader for each attempt
        async with aclosing(self._retry.stream(lambda: self._stream(body, read))) as items:
            async for item in items:
                yield item

    async def check(self) -> None:
        schemes = self._schemes()
        while True:
            scheme = schemes.pop(0)
            try:
                await self._upstream.get("/v1/models?limit=1", self._headers(scheme))
                break
            except BadStatus as bad:
                if bad.status != 401 or not schemes:
                    raise bad.as_trouble() from None
        self._scheme = scheme

    async def aclose(self) -> None:
        await self._upstream.aclose()

    async def _whole(self, asked: dict[str, object]) -> object:
        schemes = self._schemes()
        while True:
            scheme = schemes.pop(0)
            try:
                body = await self._upstream.post("/v1/messages", self._headers(scheme), asked)
                break
            except BadStatus as bad:
                if bad.status != 401 or not schemes:
                    raise bad.as_trouble() from None
        self._scheme = scheme
        _raise_error(body)
        return body

    async def _stream(self, asked: dict[str, object], read: Reader[T]) -> AsyncGenerator[T, None]:
        schemes = self._schemes()
        while True:
            scheme = schemes.pop(0)
            try:
                async with aclosing(self._upstream.events("/v1/messages", self._headers(scheme), asked, is_last=_is_stop)) as events:
                    async with aclosing(read(events)) as items:
                        async for item in items:
                            yield item
                self._scheme = scheme
                return
            except BadStatus as bad:
                if bad.status != 401 or not schemes:
                    raise bad.as_trouble() from None

    def _headers(self, scheme: _Scheme) -> dict[str, str]:
        return {"anthropic-version": ANTHROPIC_VERSION, **self._key.header(*scheme.value)}

    def _schemes(self) -> list[_Scheme]:
        """What has worked first, then the other."""
        return [self._scheme, *(other for other in _Scheme if other is not self._scheme)]


async def _answered(answer: Answer, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Delta | Completion, None]:
    async with aclosing(_messages(answer, _FINISH, events)) as messages:
        async for kind, message in messages:
            if kind == "content_block_start":
                text = answer.write(text_of(member(message, "content_block", "text")))
            else:
                answer.think(text_of(member(message, "delta", "thinking")))
                text = answer.write(text_of(member(message, "delta", "text")))
            if text:
                yield Delta(text)
    if text := answer.rest():
        yield Delta(text)
    yield answer.completion()


async def _drafted(draft: Draft, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Piece | Reply, None]:
    reading = Reading(draft)
    async with aclosing(_messages(draft, CHAT_FINISH, events)) as messages:
        async for kind, message in messages:
            if piece := reading.begun(message) if kind == "content_block_start" else reading.grown(message):
                yield piece
    if piece := draft.rest():
        yield piece
    yield draft.reply()


async def _messages(
    answer: Writing[F], finishes: Mapping[str, F], events: AsyncGenerator[Event, None]
) -> AsyncGenerator[tuple[str, object], None]:
    """The beginnings and the pieces of blocks, to be read into `answer`; why it ended and the usage are taken on the way."""
    counts = _Counts()
    stopped = False
    async for event in events:
        message = loads(event.data)
        match member(message, "type"):
            case "message_start":
                counts = counts.and_then(member(message, "message", "usage"))
            case "content_block_start" | "content_block_delta" as kind:
                yield kind, message
            case "message_delta":
                counts = counts.and_then(member(message, "usage"))
                reason = member(message, "delta", "stop_reason")
                if isinstance(reason, str):
                    answer.finish = finishes.get(reason, finishes["end_turn"])
            case "message_stop":
                stopped = True
            case "error":
                raise trouble.of_stream(error_names(message), None)
            case None:
                raise trouble.down(trouble.Down.GARBLED)
            case _:
                continue
        if answer.is_over_the_limit():
            break
    if answer.finish is None and not stopped:
        raise trouble.down(trouble.Down.CUT_OFF)
    answer.reported = _reported(counts)


class Writing(Protocol[F]):
    """What both ways of taking an answer down have in common."""

    finish: F | None
    reported: Reported | None

    def is_over_the_limit(self) -> bool: ...


class _Counts(dict[str, object]):
    """The usage so far: each report of a stream is a running total, and repeats only what has changed."""

    def and_then(self, usage: object) -> _Counts:
        return _Counts({**self, **{name: n for name, n in usage.items() if n is not None}}) if isinstance(usage, dict) else self


def _reported(counts: _Counts) -> Reported | None:
    parts = [counts.get("input_tokens"), counts.get("cache_read_input_tokens", 0), counts.get("cache_creation_input_tokens", 0)]
    # One part that is no count makes the sum no count: None, so that our own is used.
    whole = [part for part in parts if isinstance(part, int) and not isinstance(part, bool) and part >= 0]
    return Reported(
        input=sum(whole) if len(whole) == len(parts) else None,
        output=counts.get("output_tokens"),
        cached=parts[1],
        reasoning=member(counts, "output_tokens_details", "thinking_tokens"),
    )


def _is_stop(event: Event) -> bool:
    return event.name == "message_stop"


def _body(prompt: Prompt, model: str, max_output_tokens: int, *, stream: bool) -> dict[str, object]:
    turns = [*((turn.role, turn.text) for turn in prompt.earlier), ("user", prompt.user)]
    body: dict[str, object] = {
        "model": model,
        "max_tokens": max_output_tokens,
        "messages": [{"role": role, "content": text} for role, text in turns if text],
        "stream": stream,
    }
    if prompt.system:  # an empty text is an error there
        body["system"] = prompt.system
    return body


def _blocks(body: object) -> list[object]:
    blocks = member(body, "content")
    if not isinstance(blocks, list):
        raise trouble.down(trouble.Down.GARBLED)
    return blocks


def _raise_error(body: object) -> None:
    if member(body, "error") is not None:
        raise trouble.of_stream(error_names(body), None)
