"""Any server that speaks OpenAI's chat completions: OpenAI, Ollama, vLLM, llama.cpp, LiteLLM, OpenRouter and their like.

Format: OpenAI API reference, "Create chat completion" and "The chat completion chunk object". Where servers differ, this asks
for the newest form first and goes back a step when the server says that it does not know it, once, and remembers:

- usage at the end of a stream (`stream_options`): a server that refuses the field is asked without it, and our own count is used;
- the limit is `max_tokens`, which every server understands; OpenAI's reasoning models want `max_completion_tokens` and say so.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from timmy.clock import Clock
from timmy.models import trouble
from timmy.models.chat import Chat, Draft, Piece, Reply, Skill
from timmy.models.protocol import Completion, Delta, Finish, Prompt
from timmy.models.retry import Retry
from timmy.models.sse import Event
from timmy.models.thinking import Thinking, thinking_of
from timmy.models.upstream import BadStatus, Key, Timeouts, Upstream, error_names, fields, loads, member
from timmy.models.usage import Reported
from timmy.models.writing import Answer

OPENAI_URL = "https://api.openai.com/v1"

_FINISH = {
    "stop": Finish.STOP,
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
    "model_length": Finish.LENGTH,  # Mistral: the context window is full
    "content_filter": Finish.REFUSED,
}
_CHAT_FINISH = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
_DIALECTS_MAX = 256
T = TypeVar("T")
Reader = Callable[[AsyncGenerator[Event, None]], AsyncGenerator[T, None]]


@dataclass(frozen=True, slots=True)
class _Dialect:
    """What a server has been found to understand, for one model."""

    usage_in_streams: bool = True
    limit: str = "max_tokens"

    def after(self, bad: BadStatus) -> _Dialect | None:
        """The next form to try, None if the form was not the trouble."""
        if bad.status not in {400, 422}:
            return None
        if self.usage_in_streams and ("stream_options" in bad.text or "include_usage" in bad.text):
            return _Dialect(False, self.limit)
        if self.limit == "max_tokens" and "max_completion_tokens" in bad.text:
            return _Dialect(self.usage_in_streams, "max_completion_tokens")
        return None


_NEWEST = _Dialect()


class Form(Protocol):
    """The body of a call, in the form that a server understands."""

    def __call__(self, dialect: _Dialect, *, stream: bool) -> dict[str, object]: ...


class OpenAICompatible:
    """`base_url` ends where `/chat/completions` begins (usually in `/v1`). A local server needs no key.

    ValueError for a base URL or a key that cannot be one.
    """

    name = "openai"
    skills = frozenset(Skill)  # what a server behind it cannot do, it says itself

    def __init__(
        self,
        base_url: str = OPENAI_URL,
        api_key: str | None = None,
        *,
        timeouts: Timeouts | None = None,
        retry: Retry | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._key = Key(api_key)
        self._upstream = Upstream(base_url, timeouts=timeouts, clock=clock)
        self._retry = retry or Retry()
        self._dialects: dict[str, _Dialect] = {}
        self._thinkers: set[str] = set()  # models that were seen to think unseen: few, since only those that are sold are asked

    async def complete(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> Completion:
        form = partial(_body, prompt, model, max_output_tokens)
        choice, usage = await self._retry.call(lambda: self._whole(model, form))
        answer = Answer(prompt, max_output_tokens)
        _read(answer, choice, "message")
        answer.reported = usage
        return answer.completion()

    async def stream(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> AsyncGenerator[Delta | Completion, None]:
        form = partial(_body, prompt, model, max_output_tokens)
        read = lambda events: _answered(Answer(prompt, max_output_tokens), events)  # noqa: E731 - a reader for each attempt
        async with aclosing(self._retry.stream(lambda: self._stream(model, form, read))) as items:
            async for item in items:
                yield item

    def thinking(self, model: str, options: Mapping[str, Any]) -> Thinking:
        """See ChatProvider.thinking. A name may say nothing or lie: what a model was once seen to do is believed before it."""
        if model in self._thinkers or options.get("reasoning_effort", "none") != "none":
            return Thinking.UNSEEN
        return thinking_of(model)

    async def chat(self, chat: Chat, *, model: str, max_output_tokens: int) -> Reply:
        form = partial(chat_body, chat, model, max_output_tokens)
        choice, usage = await self._retry.call(lambda: self._whole(model, form))
        draft = Draft(chat, model, max_output_tokens)
        read_choice(draft, choice, "message")
        draft.reported = usage
        return self._learnt(model, draft.reply())

    async def chat_stream(self, chat: Chat, *, model: str, max_output_tokens: int) -> AsyncGenerator[Piece | Reply, None]:
        form = partial(chat_body, chat, model, max_output_tokens)
        read = lambda events: _drafted(Draft(chat, model, max_output_tokens), events)  # noqa: E731 - a reader for each attempt
        async with aclosing(self._retry.stream(lambda: self._stream(model, form, read))) as items:
            async for item in items:
                yield self._learnt(model, item) if isinstance(item, Reply) else item

    async def check(self) -> None:
        """Asks for the list of models. A server that has none (404, 405) is there, and that is all it can tell."""
        try:
            await self._upstream.get("/models", self._key.header("Authorization", "Bearer "))
        except BadStatus as bad:
            if bad.status not in {404, 405}:
                raise bad.as_trouble() from None

    async def aclose(self) -> None:
        await self._upstream.aclose()

    async def _whole(self, model: str, form: Form) -> tuple[object, Reported]:
        """The one choice of an answer in one piece, and the usage as it was reported."""
        dialect = self._dialects.get(model, _NEWEST)
        while True:
            try:
                asked = form(dialect, stream=False)
                body = await self._upstream.post("/chat/completions", self._key.header("Authorization", "Bearer "), asked)
                break
            except BadStatus as bad:
                dialect = _step_back(dialect, bad)
        self._remember(model, dialect)
        said = fields(body)
        _raise_error(said)
        choice = _choice(said)
        if choice is None:
            raise trouble.down(trouble.Down.GARBLED)
        return choice, _reported(said.get("usage"))

    async def _stream(self, model: str, form: Form, read: Reader[T]) -> AsyncGenerator[T, None]:
        dialect = self._dialects.get(model, _NEWEST)
        while True:
            body = form(dialect, stream=True)
            try:
                headers = self._key.header("Authorization", "Bearer ")
                async with aclosing(self._upstream.events("/chat/completions", headers, body, is_last=_is_done)) as events:
                    async with aclosing(read(events)) as items:
                        async for item in items:
                            yield item
                self._remember(model, dialect)
                return
            except BadStatus as bad:
                dialect = _step_back(dialect, bad)

    def _learnt(self, model: str, reply: Reply) -> Reply:
        if reply.thought_unseen:
            self._thinkers.add(model)
        return reply

    def _remember(self, model: str, dialect: _Dialect) -> None:
        """What has worked: not what was only tried, since an error text can quote our own fields for quite another reason."""
        if self._dialects.get(model) is not dialect:
            if len(self._dialects) >= _DIALECTS_MAX:
                self._dialects.clear()
            self._dialects[model] = dialect


def _step_back(dialect: _Dialect, bad: BadStatus) -> _Dialect:
    """The next form to try; raises the trouble if the form is not what it was. Ends: there are only two steps."""
    older = dialect.after(bad)
    if older is None:
        raise bad.as_trouble() from None
    return older


async def _answered(answer: Answer, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Delta | Completion, None]:
    async with aclosing(_choices(answer, events)) as choices:
        async for choice in choices:
            if text := _read(answer, choice, "delta"):
                yield Delta(text)
    if text := answer.rest():
        yield Delta(text)
    yield answer.completion()


async def _drafted(draft: Draft, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Piece | Reply, None]:
    async with aclosing(_choices(draft, events)) as choices:
        async for choice in choices:
            if piece := read_choice(draft, choice, "delta"):
                yield piece
    if piece := draft.rest():
        yield piece
    yield draft.reply()


async def _choices(answer: Answer | Draft, events: AsyncGenerator[Event, None]) -> AsyncGenerator[object, None]:
    """The choices of a stream's chunks, to be read into `answer`; the usage is taken on the way."""
    done = False
    async for event in events:
        if _is_done(event):
            done = True
            continue
        chunk = loads(event.data)
        if not isinstance(chunk, dict):
            raise trouble.down(trouble.Down.GARBLED)
        _raise_error(chunk)
        if chunk.get("usage") is not None:
            answer.reported = _reported(chunk["usage"])
        choice = _choice(chunk)
        if choice is not None:
            yield choice
        if answer.is_over_the_limit():
            return
    if answer.finish is None and not done:
        # Neither a reason to have ended nor [DONE]: the connection broke, and what looks like an answer is half of one.
        raise trouble.down(trouble.Down.CUT_OFF)


def _is_done(event: Event) -> bool:
    return event.data.strip() == "[DONE]"


def _body(prompt: Prompt, model: str, max_output_tokens: int, dialect: _Dialect, *, stream: bool) -> dict[str, object]:
    said = [("system", prompt.system), *((turn.role, turn.text) for turn in prompt.earlier), ("user", prompt.user)]
    return _asked(model, [{"role": role, "content": text} for role, text in said if text], max_output_tokens, dialect, stream)


def chat_body(chat: Chat, model: str, max_output_tokens: int, dialect: _Dialect, *, stream: bool) -> dict[str, object]:
    """What is OpenAI's already goes as it is: the options are those that were allowed, and none of them is one that is set here."""
    return {**chat.options, **_asked(model, list(chat.messages), max_output_tokens, dialect, stream)}


def _asked(
    model: str, messages: Sequence[Mapping[str, object]], max_output_tokens: int, dialect: _Dialect, stream: bool
) -> dict[str, object]:
    body: dict[str, object] = {"model": model, "messages": messages, dialect.limit: max_output_tokens, "stream": stream}
    if stream and dialect.usage_in_streams:
        body["stream_options"] = {"include_usage": True}
    return body


def _choice(body: Mapping[str, object]) -> object:
    choices = body.get("choices")
    return choices[0] if isinstance(choices, list) and choices else None


def _read(answer: Answer, choice: object, where: str) -> str:
    """Takes a choice's text, reasoning and reason to end into `answer`; the text that can be shown now."""
    answer.think(_text(member(choice, where, "reasoning_content")) or _text(member(choice, where, "reasoning")))
    refusal = _text(member(choice, where, "refusal"))
    if refusal:
        answer.finish = Finish.REFUSED
    reason = member(choice, "finish_reason")
    if reason == "error":  # OpenRouter: the provider behind it failed in the middle
        raise trouble.down(trouble.Down.BROKEN)
    if isinstance(reason, str) and answer.finish is not Finish.REFUSED:
        # Unknown reasons (tool calls we never offered, "eos", …) are ends like any other.
        answer.finish = _FINISH.get(reason, Finish.STOP)
    return answer.write(_text(member(choice, where, "content")) + refusal)


def read_choice(draft: Draft, choice: object, where: str) -> Piece | None:
    """The same for a conversation: tool calls and reasoning are parts of the answer."""
    whole = fields(choice)
    said = fields(whole.get(where))
    refusal = _text(said.get("refusal"))
    if refusal:
        draft.finish = "content_filter"
    reason = whole.get("finish_reason")
    if reason == "error":
        raise trouble.down(trouble.Down.BROKEN)
    if isinstance(reason, str) and draft.finish != "content_filter":
        draft.finish = _CHAT_FINISH.get(reason, "stop")
    return draft.add(
        content=_text(said.get("content")),
        reasoning=_text(said.get("reasoning_content")) or _text(said.get("reasoning")),
        refusal=refusal,
        calls=_numbered(said.get("tool_calls")),
    )


def _numbered(calls: object) -> object:
    """In a whole message, tool calls have no `index`: their order is it."""
    if not isinstance(calls, list):
        return None
    return [
        ({**call, "index": place} if call.get("index") is None else call) if isinstance(call, dict) else None
        for place, call in enumerate(calls)
    ]


def _text(value: object) -> str:
    """A string, or a list of parts with text in them, as some servers answer."""
    if isinstance(value, str):
        return value
    return "".join(text for part in value if isinstance(text := member(part, "text"), str)) if isinstance(value, list) else ""


def _raise_error(body: Mapping[str, object]) -> None:
    """An error in the body of a 200, as gateways send when the provider behind them fails late."""
    error = body.get("error")
    if not error:
        return
    code = member(error, "code")
    raise trouble.of_stream(error_names(body), code if isinstance(code, int) else None)


def _reported(usage: object) -> Reported:
    said = fields(usage)
    return Reported(
        input=said.get("prompt_tokens"),
        output=said.get("completion_tokens"),
        cached=fields(said.get("prompt_tokens_details")).get("cached_tokens"),
        reasoning=fields(said.get("completion_tokens_details")).get("reasoning_tokens"),
    )
