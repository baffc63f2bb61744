"""OpenAI's conversations in Anthropic's words, and back (API reference: "Create a Message", "Tool use", "Vision", "Structured outputs").

What Anthropic has no word for and what only nudges (`seed`, the penalties, `reasoning_effort`) is left out, as their own compatible
endpoint does; what would change the answer's form is refused before (`skills`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from timmy.models import trouble
from timmy.models.chat import Chat, Draft, Piece, plain_text
from timmy.models.upstream import loads, member

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
DATA_URL = re.compile(r"data:(image/(?:png|jpeg|gif|webp));base64,([A-Za-z0-9+/=]+)")
TEMPERATURE_MAX = 1.0  # OpenAI's goes to 2

Block = dict[str, Any]


def chat_body(chat: Chat, model: str, max_output_tokens: int, *, stream: bool) -> dict[str, object]:
    options = chat.options
    body: dict[str, object] = {"model": model, "max_tokens": max_output_tokens, "messages": _turns(chat), "stream": stream}
    system = "\n\n".join(text for message in chat.messages if _is_system(message) and (text := plain_text(message.get("content"))))
    if system:
        body["system"] = system
    if "temperature" in options:
        body["temperature"] = min(options["temperature"], TEMPERATURE_MAX)
    if "top_p" in options:
        body["top_p"] = options["top_p"]
    if stop := options.get("stop"):
        body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if tools := options.get("tools"):
        body["tools"] = [_tool(tool["function"]) for tool in tools]
        body["tool_choice"] = _tool_choice(options)
    schema = member(options.get("response_format"), "json_schema", "schema")
    if schema is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    return body


def _is_system(message: Mapping[str, Any]) -> bool:
    return message["role"] in ("system", "developer")


def _turns(chat: Chat) -> list[Block]:
    """Roles take turns there, and the results of tools are a user's words: neighbours of one role become one turn."""
    turns: list[Block] = []
    for message in chat.messages:
        if _is_system(message):
            continue
        role = "assistant" if message["role"] == "assistant" else "user"
        blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise trouble.refused(trouble.Refused.BAD_REQUEST)
    return turns


def _blocks(message: Mapping[str, Any]) -> list[Block]:
    content = message.get("content")
    if message["role"] == "tool":
        return [{"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": plain_text(content)}]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    blocks = [_image(part) if part["type"] == "image_url" else {"type": "text", "text": part["text"]} for part in parts]
    blocks = [block for block in blocks if block.get("text") != ""]  # an empty text is an error there
    for call in message.get("tool_calls") or ():
        arguments = loads(call["function"]["arguments"] or "{}")
        given = arguments if isinstance(arguments, dict) else {}
        blocks.append({"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": given})
    return blocks


def _image(part: Mapping[str, Any]) -> Block:
    url = part["image_url"]["url"]
    data = DATA_URL.fullmatch(url)
    if data is not None:
        return {"type": "image", "source": {"type": "base64", "media_type": data[1], "data": data[2]}}
    return {"type": "image", "source": {"type": "url", "url": url}}


def _tool(function: Mapping[str, Any]) -> Block:
    tool: Block = {"name": function["name"], "input_schema": function.get("parameters") or {"type": "object", "properties": {}}}
    return {**tool, "description": function["description"]} if function.get("description") else tool


def _tool_choice(options: Mapping[str, Any]) -> Block:
    choice = options.get("tool_choice", "auto")
    if isinstance(choice, str):
        found: Block = {"type": {"required": "any"}.get(choice, choice)}
    else:
        found = {"type": "tool", "name": choice["function"]["name"]}
    if options.get("parallel_tool_calls") is False and found["type"] != "none":
        found["disable_parallel_tool_use"] = True
    return found


class Reading:
    """Blocks as they begin and grow, told as OpenAI's deltas. A block that is a tool call has a place of its own among the calls."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._calls: dict[object, int] = {}

    def begun(self, message: object) -> Piece | None:
        """`content_block_start`."""
        block = member(message, "content_block")
        if member(block, "type") == "tool_use":
            return self._call(member(message, "index"), block)
        return self._draft.add(content=text_of(member(block, "text")))

    def grown(self, message: object) -> Piece | None:
        """`content_block_delta`."""
        delta = member(message, "delta")
        place = self._calls.get(member(message, "index"))
        if place is not None:
            arguments = text_of(member(delta, "partial_json"))
            return self._draft.add(calls=[{"index": place, "function": {"arguments": arguments}}]) if arguments else None
        return self._draft.add(content=text_of(member(delta, "text")), reasoning=text_of(member(delta, "thinking")))

    def whole(self, number: int, block: object) -> None:
        """A block of an answer in one piece."""
        if member(block, "type") == "tool_use":
            self._call(number, block)
            arguments = json.dumps(member(block, "input") or {}, ensure_ascii=False)
            self._draft.add(calls=[{"index": self._calls[number], "function": {"arguments": arguments}}])
        else:
            self._draft.add(content=text_of(member(block, "text")), reasoning=text_of(member(block, "thinking")))

    def _call(self, number: object, block: object) -> Piece | None:
        place = self._calls.setdefault(number if isinstance(number, int) else None, len(self._calls))
        function = {"name": member(block, "name"), "arguments": ""}
        return self._draft.add(calls=[{"index": place, "id": member(block, "id"), "function": function}])


def text_of(value: object) -> str:
    return value if isinstance(value, str) else ""
