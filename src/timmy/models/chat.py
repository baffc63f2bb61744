"""A conversation in OpenAI's form, which is what programs write: what is asked, what comes back, and how both are counted.

The form is the lingua franca, not a wire: an adapter translates it where its provider speaks another. What comes back is built anew from
the parts that are known here, so nothing of a provider's reaches a client unseen: text that cannot be stored, fields nobody asked for.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from timmy.models.protocol import Provider, Usage
from timmy.models.text import Pieces, clean
from timmy.models.thinking import Thinking
from timmy.models.usage import HONEST_FACTOR, TURN_TOKENS, Reported, claimed_reasoning, count_tokens, sane_beside
from timmy.models.writing import CHARS_PER_TOKEN_MAX, CHARS_SLACK

IMAGE_TOKENS = 5_000  # the most that a picture is known to be, whatever its size: Anthropic's largest, and OpenAI's at high detail
IMAGE_TOKENS_DEAR = {"gpt-4o-mini": 50_000}  # cheap tokens, of which it makes so many more (also its dated versions)
TOOL_TOKENS = 1_000  # what a provider adds to a prompt with tools: Anthropic's system prompt for them, OpenAI's frame
FRAME_TOKENS = 16
CALLS_MAX = 128  # tool calls in one answer

Delta = Mapping[str, Any]


class Skill(StrEnum):
    """What not every provider can do; asked of one that cannot, it is refused before it costs anything."""

    TOOLS = "tools"
    IMAGES = "images"
    JSON_OBJECT = "json_object"
    JSON_SCHEMA = "json_schema"


@dataclass(frozen=True, slots=True)
class Chat:
    """Messages and options as OpenAI's API reference describes them ("Create chat completion"), checked for form by whoever took them in.
    `text` is all in them that is text, for counting."""

    messages: tuple[Mapping[str, Any], ...]
    options: Mapping[str, Any]  # tools, tool_choice, response_format, temperature, …: passed on as they are
    text: str = field(repr=False)
    tokens: int  # of the text, by our own count, as far as it was counted
    images: int = 0

    @classmethod
    def of(cls, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any], *, tokens_max: int | None = None) -> Chat:
        """Counts what is in them: whatever a message says in any field, the tools, and the pictures. More than `tokens_max` tokens of text
        are `tokens_max + 1`: a prompt that nobody takes is not worth counting to its end."""
        texts: list[str] = []
        images = 0
        for message in messages:
            content = message.get("content")
            if isinstance(content, str):
                texts.append(content)
            elif content:
                texts.append(plain_text(content))
                images += sum(part.get("type") == "image_url" for part in content)
            # Every field is passed on, so every one counts: one that is left out is a prompt that nobody pays for.
            texts += [as_json(value) for name, value in message.items() if name not in ("role", "content") and value]
        texts += [as_json(options[name]) for name in ("tools", "tool_choice", "response_format") if options.get(name)]
        text = "\n".join(texts)
        return cls(tuple(messages), options, text, count_tokens(text, tokens_max), images)

    @property
    def needs(self) -> set[Skill]:
        kind = self.options.get("response_format", {}).get("type")
        found = {Skill(kind)} if kind in (Skill.JSON_OBJECT, Skill.JSON_SCHEMA) else set()
        return found | ({Skill.TOOLS} if self.options.get("tools") else set()) | ({Skill.IMAGES} if self.images else set())

    def count_input(self, model: str) -> int:
        """The prompt's tokens by our own count: what it is taken for when the provider does not say."""
        return self.tokens + self._besides(model)

    def most_input(self, model: str) -> int:
        """What no tokenizer that works on bytes can exceed."""
        return len(self.text.encode("utf-8", "surrogatepass")) + self._besides(model)

    def _besides(self, model: str) -> int:
        tools = TOOL_TOKENS if self.options.get("tools") else 0
        images = self.images * image_tokens(model) if self.images else 0
        return FRAME_TOKENS + TURN_TOKENS * len(self.messages) + tools + images


def image_tokens(model: str) -> int:
    name = model.rpartition("/")[2]
    return next((tokens for dear, tokens in IMAGE_TOKENS_DEAR.items() if name.startswith(dear)), IMAGE_TOKENS)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the answer as it streams in: a `delta` of OpenAI's form, never empty. `text` is what of it counts as tokens."""

    delta: Delta
    text: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The whole answer. `message` is OpenAI's, `finish` its finish_reason: stop, length, tool_calls or content_filter."""

    message: Mapping[str, Any]
    finish: str
    usage: Usage
    thought_unseen: bool = False  # the provider counts more reasoning than it has shown


class ChatProvider(Provider, Protocol):
    """A provider that can be talked to in OpenAI's form. Trouble is as in `Provider`."""

    skills: frozenset[Skill]

    def thinking(self, model: str, options: Mapping[str, Any]) -> Thinking:
        """What is known of it for a call with these options."""
        ...

    async def chat(self, chat: Chat, *, model: str, max_output_tokens: int) -> Reply: ...

    def chat_stream(self, chat: Chat, *, model: str, max_output_tokens: int) -> AsyncGenerator[Piece | Reply, None]:
        """Pieces, then the whole, exactly once. Closing it hangs up on the provider."""
        ...


class Draft:
    """An answer in OpenAI's form as it is being written. Fed with deltas, piece by piece; `reply()` is the end of it."""

    def __init__(self, chat: Chat, model: str, max_output_tokens: int) -> None:
        self._chat = chat
        self._model = model
        self._limit = max_output_tokens
        self._content, self._reasoning, self._refusal = Pieces(), Pieces(), Pieces()
        self._calls: dict[int, dict[str, Any]] = {}
        self._places: dict[int, int] = {}  # where the call stands that a provider goes on with by this index
        self._call_chars = 0
        self.finish: str | None = None
        self.reported: Reported | None = None

    def add(self, *, content: str = "", reasoning: str = "", refusal: str = "", calls: object = None) -> Piece | None:
        """What of it can be shown now; None for nothing."""
        delta: dict[str, Any] = {}
        for name, into, text in (
            ("content", self._content, content),
            ("reasoning_content", self._reasoning, reasoning),
            ("refusal", self._refusal, refusal),
        ):
            if text and (shown := into.add(text)):
                delta[name] = shown
        text = "".join(delta.values())
        if isinstance(calls, list) and (found := [call for each in calls if (call := self._call(each)) is not None]):
            delta["tool_calls"] = found
            text += "".join(call["function"].get("name", "") + call["function"].get("arguments", "") for call in found)
        return Piece(delta, text) if delta else None

    def rest(self) -> Piece | None:
        """What can only be shown now that nothing follows it."""
        last = self._content.end()
        return Piece({"content": last}, last) if last else None

    def is_over_the_limit(self) -> bool:
        """True, and the end is `length`, once the provider has gone far beyond the limit that it was given."""
        written = self._content.chars + self._reasoning.chars + self._refusal.chars + self._call_chars
        over = written > self._limit * CHARS_PER_TOKEN_MAX + CHARS_SLACK
        if over:
            self.finish = "length"
        return over

    @property
    def text(self) -> str:
        """All that was written, for counting."""
        calls = "".join(call["function"]["name"] + call["function"]["arguments"] for call in self._calls.values())
        return self._reasoning.whole() + self._content.whole() + self._refusal.whole() + calls

    def message(self) -> dict[str, Any]:
        """As it stands."""
        content, refusal, reasoning = self._content.whole(), self._refusal.whole(), self._reasoning.whole()
        message: dict[str, Any] = {"role": "assistant", "content": content or (None if self._calls or refusal else "")}
        message["refusal"] = refusal or None
        if reasoning:
            message["reasoning_content"] = reasoning
        if self._calls:
            message["tool_calls"] = [self._calls[place] for place in sorted(self._calls)]
        return message

    def estimated(self) -> Usage:
        """Our own count of what is there: for an answer that broke off."""
        return Usage(self._chat.count_input(self._model), count_tokens(self.text), estimated=True)

    def reply(self) -> Reply:
        self._content.end()
        usage = sane_beside(self.reported, self.estimated(), max_output_tokens=self._limit)
        finish = self.finish or "stop"
        if finish in ("stop", "tool_calls"):  # a client that is told of calls looks for them, and one that is not runs none
            finish = "tool_calls" if self._calls else "stop"
        claimed = claimed_reasoning(self.reported)
        unseen = claimed > 0 and claimed > count_tokens(self._reasoning.whole()) * HONEST_FACTOR
        return Reply(self.message(), finish, usage, unseen)

    def _call(self, given: object) -> Delta | None:
        """A part of a tool call: `index`, and the first time `id` and the function's name. What makes no sense is left out."""
        if not isinstance(given, dict):
            return None
        index = given.get("index", len(self._calls))
        if not isinstance(index, int) or not 0 <= index < CALLS_MAX:
            return None
        function = given.get("function")
        function = function if isinstance(function, dict) else {}
        id, name, arguments = _cleaned(given.get("id")), _cleaned(function.get("name")), _arguments(function.get("arguments"))
        place = self._places.get(index, index)
        call = self._calls.get(place)
        if call is not None and name and id and id != call["id"]:
            # Another call by the same index: Ollama and Gemini give each of them 0, or none.
            place, call = max(self._calls) + 1, None
            if place >= CALLS_MAX:
                return None
        self._places[index] = place
        self._call_chars += len(name) + len(arguments)
        delta: dict[str, Any] = {"index": place}
        if call is None:
            id = id or f"call_{place}"
            call = self._calls[place] = {"id": id, "type": "function", "function": {"name": name, "arguments": ""}}
            delta |= {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
        else:
            delta["function"] = {"arguments": arguments}
        call["function"]["arguments"] += arguments
        return delta


def _cleaned(value: object) -> str:
    return clean(value) if isinstance(value, str) else ""


def _arguments(value: object) -> str:
    """As text, which they are in OpenAI's form; Ollama's own and servers made after it send the object itself."""
    if not isinstance(value, dict | list):
        return _cleaned(value)
    try:
        return clean(as_json(value))
    except RecursionError:
        return ""


def message_of(deltas: list[Delta]) -> tuple[dict[str, Any], str]:
    """Deltas that were kept, put together again: the message, and its text for counting."""
    draft = Draft(Chat((), {}, "", 0), "", 0)
    for delta in deltas:
        draft.add(
            content=delta.get("content", ""),
            reasoning=delta.get("reasoning_content", ""),
            refusal=delta.get("refusal", ""),
            calls=delta.get("tool_calls"),
        )
    return draft.message(), draft.text


def deltas_of(message: Mapping[str, Any]) -> list[Delta]:
    """A whole message as the stream that it could have been: for an answer that is told a second time."""
    told: list[Delta] = [{name: message[name]} for name in ("reasoning_content", "content", "refusal") if message.get(name)]
    calls = message.get("tool_calls") or []
    return [*told, *([{"tool_calls": [{"index": place, **call} for place, call in enumerate(calls)]}] if calls else [])]


def plain_text(content: object) -> str:
    """A message's content as text: a string, or the texts among its parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
