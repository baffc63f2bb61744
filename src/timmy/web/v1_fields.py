"""The body of a call, checked field by field against what is taken here. What is not known is refused and named, never passed over: a field
that is misspelt, or that costs more than what was asked for, must not be found out from the bill.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from timmy.completions import Wanted
from timmy.completions.terms import PROMPT_TOKENS_MAX
from timmy.models.chat import Chat
from timmy.money import MSATS_MAX, Msats
from timmy.web import fields
from timmy.web.headers import first
from timmy.web.v1_refusals import ParamInvalid, ParamMissing, ParamUnknown

MESSAGES_MAX = 2_000
PARTS_MAX = 200
IMAGES_MAX = 20
TOOLS_MAX = 128
STOPS_MAX = 4
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
ID_CHARS_MAX = 200
MODEL_CHARS_MAX = 200
URL = re.compile(r"https://[^\s]{1,4000}|data:image/[a-z+.-]{1,20};base64,[A-Za-z0-9+/=]+", re.IGNORECASE)
TOKENS_MAX = 10_000_000
FIELD_CHARS_TOLD = 64

Document = Mapping[str, Any]
Check = Callable[[str, Any], None]

ROLES: Mapping[str, tuple[str, ...]] = {
    "system": ("role", "content", "name"),
    "developer": ("role", "content", "name"),
    "user": ("role", "content", "name"),
    "assistant": ("role", "content", "name", "tool_calls", "refusal", "reasoning_content"),
    "tool": ("role", "content", "tool_call_id"),
}


@dataclass(frozen=True, slots=True)
class Call:
    wanted: Wanted
    include_usage: bool


def call(request: Request, document: dict[str, Any], raw: bytes, *, principal: str) -> Call:
    """ParamUnknown, ParamMissing, ParamInvalid: each names its field."""
    given = {name: value for name, value in document.items() if value is not None}  # null is the same as leaving it out
    if not KNOWN.issuperset(given):
        told = next(name for name in given if name not in KNOWN)[:FIELD_CHARS_TOLD]
        raise ParamUnknown(f"{told} is not taken here. Taken are: {', '.join((*OURS, *OPTIONS, *PASSED_OVER))}.", param=told)
    for name, value in given.items():
        if (check := CHECKS.get(name)) is not None:
            check(name, value)
    messages = _messages(given)
    options = {name: given[name] for name in OPTIONS if name in given}
    if "tool_choice" in options and "tools" not in options:
        raise ParamInvalid("tool_choice is for a call with tools.", param="tool_choice")
    chat = Chat.of(messages, options, tokens_max=PROMPT_TOKENS_MAX)
    if chat.images > IMAGES_MAX:
        raise ParamInvalid(f"At most {IMAGES_MAX} pictures are taken in a call.", param="messages")
    stream = _flag(given, "stream")
    return Call(
        Wanted(
            chat=chat,
            model=_text(given, "model", MODEL_CHARS_MAX),
            max_tokens=_limit(given),
            max_cost=_max_cost(given),
            stream=stream,
            body_sha256=hashlib.sha256(raw).hexdigest(),
            is_retry=first(request, b"x-stainless-retry-count", "0") not in ("", "0"),
            key=fields.idempotency_key(request, document, principal=principal),
        ),
        include_usage=_stream_options(given, stream),
    )


# our own fields --------------------------------------------------------------------------------------


def _limit(given: Document) -> int | None:
    """Both names that OpenAI has had for it. Where both are given, the smaller counts."""
    found = [_whole(name, given[name], 1, TOKENS_MAX) for name in LIMITS if name in given]
    return min(found, default=None)


def _max_cost(given: Document) -> Msats | None:
    return Msats(_whole("max_cost_msat", given["max_cost_msat"], 1, MSATS_MAX)) if "max_cost_msat" in given else None


def _stream_options(given: Document, stream: bool) -> bool:
    options = given.get("stream_options")
    if options is None:
        return False
    if not stream:
        raise ParamInvalid("stream_options is for a call with stream.", param="stream_options")
    _only("stream_options", options, ("include_usage", "include_obfuscation"))
    for name, value in options.items():
        if value is not None:
            _boolean(f"stream_options.{name}", value)
    return bool(options.get("include_usage"))


def _messages(given: Document) -> list[Document]:
    if "messages" not in given:
        raise ParamMissing('messages is missing: [{"role": "user", "content": "…"}].', param="messages")
    messages = given["messages"]
    if not isinstance(messages, list) or not 1 <= len(messages) <= MESSAGES_MAX:
        raise ParamInvalid(f"messages must be a list of 1 to {MESSAGES_MAX} messages.", param="messages")
    return [_message(f"messages[{place}]", message) for place, message in enumerate(messages)]


def _message(where: str, message: object) -> Document:
    if not isinstance(message, dict):
        raise ParamInvalid(f"{where} must be an object.", param=where)
    kept = {name: value for name, value in message.items() if value is not None}
    role = kept.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise ParamInvalid(f"{where}.role must be one of {', '.join(ROLES)}.", param=f"{where}.role")
    _only(where, kept, ROLES[role])
    if "name" in kept:
        _name(f"{where}.name", kept["name"])
    for name in ("refusal", "reasoning_content"):
        if not isinstance(kept.get(name, ""), str):
            raise ParamInvalid(f"{where}.{name} must be a text.", param=f"{where}.{name}")
    if "tool_calls" in kept:
        _tool_calls(f"{where}.tool_calls", kept["tool_calls"])
    if role == "tool":
        _text(kept, "tool_call_id", ID_CHARS_MAX, where)
    if "content" not in kept and not kept.get("tool_calls") and "refusal" not in kept:
        raise ParamMissing(f"{where}.content is missing.", param=f"{where}.content")
    if "content" in kept:
        _content(f"{where}.content", kept["content"], may_show=role == "user")
    return {"content": None, **kept} if role == "assistant" else kept


def _content(where: str, content: object, *, may_show: bool) -> None:
    if isinstance(content, str):
        return
    if not isinstance(content, list) or not 1 <= len(content) <= PARTS_MAX:
        raise ParamInvalid(f"{where} must be a text, or a list of 1 to {PARTS_MAX} parts.", param=where)
    for place, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        here = f"{where}[{place}]"
        if kind == "text":
            _only(here, part, ("type", "text"))
            if not isinstance(part.get("text"), str):
                raise ParamInvalid(f"{here}.text must be a text.", param=f"{here}.text")
        elif kind == "image_url" and may_show:
            _image(here, part)
        else:
            raise ParamInvalid(f"{here}.type must be text{', or image_url' if may_show else ''}.", param=f"{here}.type")


def _image(where: str, part: Document) -> None:
    _only(where, part, ("type", "image_url"))
    image = part.get("image_url")
    _only(f"{where}.image_url", image, ("url", "detail"))
    assert isinstance(image, dict), "checked in _only"
    url = image.get("url")
    if not isinstance(url, str) or URL.fullmatch(url) is None:
        raise ParamInvalid(f"{where}.image_url.url must be an https:// or a data:image/…;base64 URL.", param=f"{where}.image_url.url")
    if "detail" in image:
        _one_of("auto", "low", "high")(f"{where}.image_url.detail", image["detail"])


def _tool_calls(where: str, calls: object) -> None:
    if not isinstance(calls, list) or not 1 <= len(calls) <= TOOLS_MAX:
        raise ParamInvalid(f"{where} must be a list of 1 to {TOOLS_MAX} calls.", param=where)
    for place, one in enumerate(calls):
        here = f"{where}[{place}]"
        _only(here, one, ("id", "type", "function", "index"))
        _text(one, "id", ID_CHARS_MAX, here)
        function = one.get("function")
        _only(f"{here}.function", function, ("name", "arguments"))
        assert isinstance(function, dict), "checked in _only"
        _name(f"{here}.function.name", function.get("name"))
        if not isinstance(function.get("arguments"), str):
            raise ParamInvalid(f"{here}.function.arguments must be a text.", param=f"{here}.function.arguments")


# the fields that are passed on -----------------------------------------------------------------------


def _number(least: float, most: float) -> Check:
    def check(where: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ParamInvalid(f"{where} must be a number from {least:g} to {most:g}.", param=where)

    return check


def _one_of(*words: str) -> Check:
    def check(where: str, value: Any) -> None:
        if not isinstance(value, str) or value not in words:
            raise ParamInvalid(f"{where} must be one of {', '.join(words)}.", param=where)

    return check


def _seed(where: str, value: Any) -> None:
    _whole(where, value, -(2**63), 2**63 - 1)


def _boolean(where: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ParamInvalid(f"{where} must be true or false.", param=where)


def _stop(where: str, value: Any) -> None:
    texts = value if isinstance(value, list) else [value]
    if not 1 <= len(texts) <= STOPS_MAX or not all(isinstance(text, str) and 0 < len(text) <= 500 for text in texts):
        raise ParamInvalid(f"{where} must be a text, or a list of up to {STOPS_MAX} texts.", param=where)


def _tools(where: str, tools: Any) -> None:
    if not isinstance(tools, list) or not 1 <= len(tools) <= TOOLS_MAX:
        raise ParamInvalid(f"{where} must be a list of 1 to {TOOLS_MAX} tools.", param=where)
    for place, tool in enumerate(tools):
        here = f"{where}[{place}]"
        _only(here, tool, ("type", "function"))
        _one_of("function")(f"{here}.type", tool.get("type"))
        function = tool.get("function")
        _only(f"{here}.function", function, ("name", "description", "parameters", "strict"))
        assert isinstance(function, dict), "checked in _only"
        _name(f"{here}.function.name", function.get("name"))
        if not isinstance(function.get("description", ""), str | None):
            raise ParamInvalid(f"{here}.function.description must be a text.", param=f"{here}.function.description")
        if not isinstance(function.get("parameters", {}), dict | None):
            raise ParamInvalid(f"{here}.function.parameters must be a JSON schema.", param=f"{here}.function.parameters")


def _tool_choice(where: str, choice: Any) -> None:
    if isinstance(choice, str):
        _one_of("none", "auto", "required")(where, choice)
        return
    _only(where, choice, ("type", "function"))
    _only(f"{where}.function", choice.get("function"), ("name",))
    _name(f"{where}.function.name", choice["function"].get("name"))


def _response_format(where: str, form: Any) -> None:
    _only(where, form, ("type", "json_schema"))
    _one_of("text", "json_object", "json_schema")(f"{where}.type", form.get("type"))
    if form["type"] != "json_schema":
        _only(where, form, ("type",))
        return
    schema = form.get("json_schema")
    _only(f"{where}.json_schema", schema, ("name", "description", "schema", "strict"))
    assert isinstance(schema, dict), "checked in _only"
    _name(f"{where}.json_schema.name", schema.get("name"))
    if not isinstance(schema.get("schema", {}), dict | None):
        raise ParamInvalid(f"{where}.json_schema.schema must be a JSON schema.", param=f"{where}.json_schema.schema")


def _only_one(where: str, value: Any) -> None:
    if value != 1 or isinstance(value, bool):
        raise ParamInvalid("n must be 1: ask again for another answer.", param=where)


def _short(where: str, value: Any) -> None:
    if not isinstance(value, str) or len(value) > 500:
        raise ParamInvalid(f"{where} must be a text of at most 500 characters.", param=where)


LIMITS = ("max_tokens", "max_completion_tokens")
OURS = ("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "max_cost_msat")
OPTIONS: Mapping[str, Check] = {
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "frequency_penalty": _number(-2, 2),
    "presence_penalty": _number(-2, 2),
    "seed": _seed,
    "stop": _stop,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": _boolean,
    "response_format": _response_format,
    "reasoning_effort": _one_of("none", "minimal", "low", "medium", "high", "xhigh"),
}
PASSED_OVER: Mapping[str, Check] = {"n": _only_one, "user": _short}  # they change nothing; `user` is nobody's business but the caller's
CHECKS: Mapping[str, Check] = {**OPTIONS, **PASSED_OVER}
KNOWN = frozenset((*OURS, *CHECKS))


# small words -----------------------------------------------------------------------------------------


def _only(where: str, value: object, known: tuple[str, ...]) -> None:
    if not isinstance(value, dict):
        raise ParamInvalid(f"{where} must be an object with {', '.join(known)}.", param=where)
    for name in value:
        if name not in known:
            told = f"{where}.{name[:FIELD_CHARS_TOLD]}"
            raise ParamUnknown(f"{told} is not taken here; {', '.join(known)} are.", param=told)


def _text(given: Document, name: str, chars_max: int, within: str = "") -> str:
    where = f"{within}.{name}" if within else name
    if name not in given:
        raise ParamMissing(f"{where} is missing.", param=where)
    value = given[name]
    if not isinstance(value, str) or not 0 < len(value) <= chars_max:
        raise ParamInvalid(f"{where} must be a text of 1 to {chars_max} characters.", param=where)
    return value


def _name(where: str, value: object) -> None:
    if not isinstance(value, str) or NAME.fullmatch(value) is None:
        raise ParamInvalid(f"{where} must have 1 to 64 letters, digits, _ or -.", param=where)


def _whole(where: str, value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ParamInvalid(f"{where} must be a whole number from {least} to {most}.", param=where)
    return value


def _flag(given: Document, name: str) -> bool:
    value = given.get(name, False)
    _boolean(name, value)
    return bool(value)
