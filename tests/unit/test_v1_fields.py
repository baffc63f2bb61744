"""What a call's body may hold, and that nothing of it is passed on uncounted."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from starlette.requests import Request

from timmy.completions.terms import PROMPT_TOKENS_MAX
from timmy.models.chat import Chat
from timmy.web import v1_fields
from timmy.web.v1_refusals import ParamInvalid, ParamUnknown

LONG = "much more of it " * 50
CALLS = [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": LONG}}]
HELD: dict[str, Any] = {"tool_calls": CALLS}  # what a field holds that is not a text
FIELDS = [(role, name) for role, names in v1_fields.ROLES.items() for name in names if name != "role"]


def call(**body: Any) -> v1_fields.Call:
    document = {"model": "m", "messages": [{"role": "user", "content": "Hello."}], **body}
    request = Request({"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []})
    return v1_fields.call(request, document, orjson.dumps({"model": "m"}), principal="session")


@pytest.mark.parametrize(("role", "name"), FIELDS)
def test_every_field_that_is_passed_on_adds_to_what_a_prompt_is_taken_for(role: str, name: str) -> None:
    without: dict[str, Any] = {"role": role, "content": "Hello.", "tool_call_id": "call_1"}
    without = {field: value for field, value in without.items() if field in v1_fields.ROLES[role]}
    before, after = Chat.of([without], {}), Chat.of([{**without, name: HELD.get(name, LONG)}], {})
    assert after.count_input("m") > before.count_input("m") + 100
    assert after.most_input("m") > before.most_input("m") + len(LONG) // 2


@pytest.mark.parametrize("text", ["x " * 2_000_000, "é" * 2_000_000, "  " * 2_000_000])
def test_a_prompt_is_not_counted_further_than_any_is_taken(text: str) -> None:
    chat = call(messages=[{"role": "user", "content": text}]).wanted.chat
    assert chat.tokens == PROMPT_TOKENS_MAX + 1


@pytest.mark.parametrize("name", ["temperature", "top_p", "frequency_penalty", "presence_penalty"])
@pytest.mark.parametrize("value", [10**309, 10**399, -(10**399), float("nan"), float("inf")], ids="abcde")
def test_no_number_however_long_is_more_than_a_400(name: str, value: float) -> None:
    with pytest.raises(ParamInvalid):
        call(**{name: value})


def test_the_name_of_an_unknown_field_is_not_told_back_at_any_length() -> None:
    with pytest.raises(ParamUnknown) as refused:
        call(**{"y" * 100_000: 1})
    assert "y" * 64 in refused.value.message
    assert len(refused.value.message) < 1_000


@pytest.mark.fault("E19")
@pytest.mark.parametrize("name", ["refusal", "reasoning_content"])
def test_what_an_answer_said_besides_is_a_text(name: str) -> None:
    """Or the provider is the one to refuse it, and the caller is told that the model is out of order."""
    with pytest.raises(ParamInvalid) as refused:
        call(messages=[{"role": "assistant", "content": "Hello.", name: {"a": 1}}])
    assert refused.value.extra["param"] == f"messages[0].{name}"


@pytest.mark.parametrize("name", ["include_usage", "include_obfuscation"])
def test_an_option_of_a_stream_is_yes_or_no_or_left_out(name: str) -> None:
    with pytest.raises(ParamInvalid) as refused:
        call(stream=True, stream_options={name: "yes"})
    assert refused.value.extra["param"] == f"stream_options.{name}"
    assert call(stream=True, stream_options={name: None}).include_usage is False
    assert call(stream=True, stream_options={"include_usage": True, "include_obfuscation": None}).include_usage is True
