"""The built-in demo agent: no language model, no network, and it says so in every answer.

With it everything around a model can be seen at work for nothing: judging, refusing, streaming, token counts, failure. It is
deterministic (but for the clock, where a date is asked for), and its token counts are what `usage.count_tokens` says, exactly.

These words in a request show the states:

    please reject this        the judgement is no (so it is for what would do harm)
    please be unclear         the judgement cannot be read
    please fail               judged yes; the work ends in ProviderRefused
    please be down            judged yes; the work ends in ProviderDown, each time
    please be down 2 times    … the first two times; then it answers
    please write at length    a long answer, so that the token limit cuts it
    please use a tool         in a conversation with tools: a call of the first of them
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from timmy.clock import Clock, SystemClock
from timmy.models import skills, trouble
from timmy.models.chat import Chat, Draft, Piece, Reply, Skill, plain_text
from timmy.models.evaluate import request_judged_by
from timmy.models.protocol import Completion, Delta, Finish, Prompt, Usage
from timmy.models.retry import Sleep
from timmy.models.text import clean
from timmy.models.thinking import Thinking
from timmy.models.usage import count_prompt, count_tokens, pieces
from timmy.models.visitors import small_talk, visitor_in

NOTICE = "(Stand-in demo agent: no language model.) "
DELTA_TOKENS = 4
LONG_LINES = 400
ECHO_CHARS_MAX = 120
_REMEMBERED_MAX = 1_000

_DOWN = re.compile(r"please be down(?:\s+(\d{1,2})\s+times?)?", re.IGNORECASE)
_HARM = re.compile(
    r"\b(?:(?:build|make|buy)\s+(?:me\s+)?(?:a\s+|an\s+)?(?:pipe\s+)?(?:bomb|weapon|nerve agent|explosives?)"
    r"|(?:write|build|make|create)\s+(?:me\s+)?(?:a\s+|an\s+|some\s+)?(?:malware|ransomware|keylogger|computer virus|phishing)"
    r"|(?:kill|poison|stalk|dox)\s+(?:him|her|them|someone|somebody|a person|people|my)"
    r"|(?:hack|break)\s+into|steal\s+(?:a |the |their |someone's )?(?:passwords?|credit cards?|identit(?:y|ies)))\b",
    re.IGNORECASE,
)


class BuiltinAgent:
    """`delta_seconds` is the pause before each piece of a stream: a little, so that people see it arrive; 0 in tests."""

    name = "builtin"
    skills = frozenset({Skill.TOOLS, Skill.JSON_OBJECT})

    def __init__(self, *, delta_seconds: float = 0.02, sleep: Sleep = asyncio.sleep, clock: Clock | None = None) -> None:
        self._delta_seconds = delta_seconds
        self._sleep = sleep
        self._clock = clock or SystemClock()
        # How often a request with "please be down 2 times" has been asked. Bounded: it is a demonstration, not a record.
        self._downs: OrderedDict[bytes, int] = OrderedDict()

    async def complete(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> Completion:
        return self._completion(prompt, max_output_tokens)

    async def stream(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> AsyncGenerator[Delta | Completion, None]:
        completion = self._completion(prompt, max_output_tokens)
        rest = pieces(completion.text)
        while text := "".join(islice(rest, DELTA_TOKENS)):
            await self._sleep(self._delta_seconds)
            yield Delta(text)
        yield completion

    def thinking(self, model: str, options: Mapping[str, Any]) -> Thinking:
        """See ChatProvider.thinking."""
        return Thinking.NEVER

    async def chat(self, chat: Chat, *, model: str, max_output_tokens: int) -> Reply:
        for item in self._pieces(chat, model, max_output_tokens):
            if isinstance(item, Reply):
                return item
        raise AssertionError("an answer ends with its reply")

    async def chat_stream(self, chat: Chat, *, model: str, max_output_tokens: int) -> AsyncGenerator[Piece | Reply, None]:
        for item in self._pieces(chat, model, max_output_tokens):
            if isinstance(item, Piece):
                await self._sleep(self._delta_seconds)
            yield item

    def _pieces(self, chat: Chat, model: str, max_output_tokens: int) -> Iterator[Piece | Reply]:
        """What it says, or the call of a tool that it was asked for, as far as the limit goes."""
        draft = Draft(chat, model, max_output_tokens)
        asked = next((plain_text(m.get("content")) for m in reversed(chat.messages) if m["role"] == "user"), "")
        tools = chat.options.get("tools") or ()
        if tools and "please use a tool" in asked.lower() and chat.messages[-1]["role"] != "tool":
            call = {"index": 0, "id": "call_demo", "function": {"name": tools[0]["function"]["name"], "arguments": "{}"}}
            if piece := draft.add(calls=[call]):
                yield piece
            yield draft.reply()
            return
        said = self._work(clean(asked))
        if chat.options.get("response_format", {}).get("type") == Skill.JSON_OBJECT:
            said = json.dumps({"answer": said}, ensure_ascii=False)
        rest = islice(pieces(said), max(0, max_output_tokens))
        while text := "".join(islice(rest, DELTA_TOKENS)):
            if piece := draft.add(content=text):
                yield piece
        draft.finish = "stop" if draft.text == said else "length"
        # Its own count is what it is paid for, and no estimate of somebody else's.
        yield replace(draft.reply(), usage=replace(draft.estimated(), estimated=False))

    async def check(self) -> None:
        return None

    async def aclose(self) -> None:
        return None

    def _completion(self, prompt: Prompt, max_output_tokens: int) -> Completion:
        judged = request_judged_by(prompt)
        visitor = visitor_in(prompt)
        if judged is not None:
            said = _judgement(judged)
        elif visitor is not None:
            said = self._talk(clean(visitor))
        else:
            said = self._work(clean(prompt.user))
        text = "".join(islice(pieces(said), max(0, max_output_tokens)))
        return Completion(
            text=text,
            usage=Usage(input=count_prompt(prompt), output=count_tokens(text)),
            finish=Finish.STOP if text == said else Finish.LENGTH,
        )

    def _talk(self, said: str) -> str:
        self._fail_if_asked(said)
        return small_talk(said, self._clock.now_ms())

    def _fail_if_asked(self, request: str) -> None:
        if "please fail" in request.lower():
            raise trouble.refused(trouble.Refused.BAD_REQUEST)
        if (down := _DOWN.search(request)) is not None and self._is_still_down(request, down[1]):
            raise trouble.down(trouble.Down.UNREACHABLE)

    def _work(self, request: str) -> str:
        asked = request.lower()
        self._fail_if_asked(request)
        if "please write at length" in asked:
            return NOTICE + _long()
        return NOTICE + (skills.answer(request, self._clock.now_ms()) or _generic(request))

    def _is_still_down(self, request: str, times: str | None) -> bool:
        if times is None:
            return True
        key = hashlib.sha256(request.encode("utf-8", "surrogatepass")).digest()
        asked_before = self._downs.pop(key, 0)
        self._downs[key] = asked_before + 1
        if len(self._downs) > _REMEMBERED_MAX:
            self._downs.popitem(last=False)
        return asked_before < int(times)


def _judgement(request: str) -> str:
    asked = request.lower()
    if "please be unclear" in asked:
        return "It depends."
    if "please reject this" in asked:
        return _said(False, "You asked the demo agent to reject this.")
    if _HARM.search(request) is not None:
        return _said(False, "This would harm people or what is theirs.")
    return _said(True, "The demo agent will do what it can.")


def _said(accept: bool, reason: str) -> str:
    return json.dumps({"accept": accept, "reason": reason})


def _generic(request: str) -> str:
    echo = " ".join(request.split())
    if len(echo) > ECHO_CHARS_MAX:
        echo = echo[:ECHO_CHARS_MAX].rstrip() + "…"
    words = len(request.split())
    return (
        f"You asked, in {words} {'word' if words == 1 else 'words'}: “{echo}” I cannot think about that: I stand in for a language"
        " model until the operator connects one (Anthropic, or any OpenAI-compatible server). Ask “What can you do?” to see what I can."
    )


def _long() -> str:
    lines = (f"{n}. Each of these lines is here to be long: an answer ends where its token limit is." for n in range(1, LONG_LINES + 1))
    return "You asked for length.\n\n" + "\n".join(lines)
