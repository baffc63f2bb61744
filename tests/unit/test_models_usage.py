"""Our own token count, and what is believed of a provider's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from timmy.models import Prompt, Usage
from timmy.models.protocol import Turn
from timmy.models.usage import (
    CAP_DENOMINATOR,
    CAP_NUMERATOR,
    HONEST_FACTOR,
    HONEST_SLACK_TOKENS,
    TURN_TOKENS,
    Reported,
    count_prompt,
    count_tokens,
    estimated,
    pieces,
    sane,
)

SHORT = Prompt("You are a test.", "Say something.")
LONG = Prompt("You are a test. " * 500, "Say something. " * 500)
LONG_TEXT = "and so on, and so on. " * 500

anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()) | st.just(10**18) | st.just(-1)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("hello", 1),
        ("hello world", 2),
        ("strawberry", 2),
        ("1234567", 3),
        (" 123", 1),
        ("....", 1),
        (".....", 2),
        ("a, b", 3),
        ("\n\n", 2),
        ("        ", 1),
        ("é", 1),
        ("日本", 2),
        ("🧙", 1),
        ("\x00", 1),
    ],
)
def test_tokens_are_counted_as_documented(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


@given(st.text(alphabet="ab 1.,\n\té日🧙\x00\ud83e", max_size=400), st.none() | st.integers(0, 500))
def test_a_text_has_as_many_tokens_as_there_are_in_it_however_it_is_counted(text: str, most: int | None) -> None:
    there = len(list(pieces(text)))
    told = there if most is None else min(there, most + 1)
    assert count_tokens(text, most) == told
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("timmy.models.usage._AT_ONCE_CHARS_MAX", 0)
        assert count_tokens(text, most) == told


@given(st.text())
def test_the_tokens_of_a_text_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert count_tokens(text) == len(list(pieces(text)))


@given(st.text(alphabet=st.characters() | st.sampled_from("ab 1.\n\r\t-"), max_size=200), st.integers(0, 50))
def test_a_text_cut_after_n_tokens_has_n_tokens(text: str, n: int) -> None:
    kept = list(pieces(text))[:n]
    assert count_tokens("".join(kept)) == len(kept)


@given(st.text(min_size=1))
def test_the_count_is_never_nothing_and_never_more_than_the_characters(text: str) -> None:
    assert 1 <= count_tokens(text) <= len(text)


def test_a_prompt_is_all_of_its_messages() -> None:
    earlier = (Turn("user", "one two"), Turn("assistant", "three"))
    assert count_prompt(Prompt("a b", "c", earlier)) == 2 + 1 + 2 + 1 + 4 * TURN_TOKENS
    assert count_prompt(Prompt("", "c")) == 1 + TURN_TOKENS


# ---- what is believed


def test_an_honest_report_is_taken_as_it_is() -> None:
    report = Reported(input=11, output=7, cached=5)
    assert sane(report, SHORT, "Something.", max_output_tokens=100) == Usage(11, 7, 5)


def test_a_tokenizer_that_needs_fewer_tokens_is_believed() -> None:
    report = Reported(input=count_prompt(LONG) // 3, output=count_tokens(LONG_TEXT) // 3)
    usage = sane(report, LONG, LONG_TEXT, max_output_tokens=100_000)
    assert (usage.input, usage.output, usage.estimated) == (report.input, report.output, False)


def test_a_tokenizer_that_needs_three_times_as_many_is_believed() -> None:
    report = Reported(input=count_prompt(LONG) * 3, output=count_tokens(LONG_TEXT) * 3)
    usage = sane(report, LONG, LONG_TEXT, max_output_tokens=100_000)
    assert (usage.input, usage.output, usage.estimated) == (report.input, report.output, False)


def test_a_template_longer_than_the_prompt_is_believed() -> None:
    assert sane(Reported(input=HONEST_SLACK_TOKENS, output=5), SHORT, "Something.", max_output_tokens=9) == Usage(HONEST_SLACK_TOKENS, 5)


@pytest.mark.fault("D20")
def test_no_report_is_our_own_count() -> None:
    assert sane(None, SHORT, "Something.", max_output_tokens=9) == estimated(SHORT, "Something.")


@pytest.mark.fault("D21")
@pytest.mark.parametrize("nonsense", [None, True, False, -1, "12", "NaN", 3.0, float("nan"), float("inf"), [], {}, 10**18])
def test_a_count_that_is_no_count_is_replaced_by_ours(nonsense: object) -> None:
    ours = estimated(SHORT, "Something.")
    assert sane(Reported(nonsense, nonsense, nonsense, nonsense), SHORT, "Something.", max_output_tokens=9) == ours
    assert sane(Reported(11, nonsense), SHORT, "Something.", max_output_tokens=9) == Usage(11, ours.output, 0, estimated=True)


def test_nothing_for_something_is_nonsense() -> None:
    assert sane(Reported(0, 0), SHORT, "Something.", max_output_tokens=9) == estimated(SHORT, "Something.")
    assert sane(Reported(11, 0), SHORT, "", max_output_tokens=9) == Usage(11, 0)


@pytest.mark.fault("D22")
def test_ten_times_too_much_is_capped_near_our_count_and_raises_the_alarm() -> None:
    ours = estimated(LONG, LONG_TEXT)
    with capture_logs() as logged:
        usage = sane(Reported(ours.input * 10, ours.output * 10), LONG, LONG_TEXT, max_output_tokens=100_000)
    assert usage.estimated
    assert usage.input == -(-ours.input * CAP_NUMERATOR // CAP_DENOMINATOR)
    assert usage.output == -(-ours.output * CAP_NUMERATOR // CAP_DENOMINATOR)
    assert [entry["event"] for entry in logged] == ["models.usage_doubted"]
    assert logged[0]["log_level"] == "warning"


def test_reasoning_explains_output_up_to_the_limit_that_was_set() -> None:
    claimed = Reported(input=11, output=5_010, reasoning=5_000)
    assert sane(claimed, SHORT, "42", max_output_tokens=6_000) == Usage(11, 5_010)
    doubted = sane(claimed, SHORT, "42", max_output_tokens=100)
    assert doubted.estimated
    assert doubted.output <= 110


def test_reasoning_that_was_streamed_is_counted_where_the_provider_counts_nothing() -> None:
    usage = sane(Reported(input=11), SHORT, "42", max_output_tokens=6_000, hidden="hm " * 100)
    assert usage == Usage(11, count_tokens("42") + count_tokens("hm " * 100), 0, estimated=True)


def test_more_cached_than_there_was_is_not_cached() -> None:
    assert sane(Reported(input=11, output=5, cached=12), SHORT, "Something.", max_output_tokens=9) == Usage(11, 5, 0)


@pytest.mark.fault("D21", "D22")
@given(anything, anything, anything, anything, st.text(max_size=40), st.integers(1, 10_000))
def test_whatever_is_reported_what_is_believed_is_a_count_near_the_text(
    said_input: object, said_output: object, cached: object, reasoning: object, text: str, limit: int
) -> None:
    usage = sane(Reported(said_input, said_output, cached, reasoning), SHORT, text, max_output_tokens=limit)
    ours = estimated(SHORT, text)
    for count, our, extra in ((usage.input, ours.input, 0), (usage.output, ours.output, limit), (usage.cached, ours.input, 0)):
        assert type(count) is int
        assert 0 <= count <= our * HONEST_FACTOR + HONEST_SLACK_TOKENS + extra
    assert usage.cached <= usage.input
    assert usage.input > 0
