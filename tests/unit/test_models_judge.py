"""Judging: a request is data, and what cannot be read clearly is never a yes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timmy.models import Accepted, Completion, Declined, Delta, Finish, Prompt, ProviderDown, ProviderRefused, Usage, judge, work_prompt
from timmy.models.evaluate import (
    JUDGE_RULES,
    REASON_CHARS_MAX,
    JudgementUnclear,
    eval_prompt,
    one_line,
    parse_judgement,
    request_judged_by,
)

YES = '{"accept": true, "reason": "Fine."}'
NO = '{"accept": false, "reason": "No."}'


class Says:
    """A provider that says what it is told to, and keeps what it was asked."""

    name = "says"

    def __init__(self, *answers: str | Exception, finish: Finish = Finish.STOP) -> None:
        self.answers = list(answers)
        self.finish = finish
        self.asked: list[Prompt] = []

    async def complete(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> Completion:
        self.asked.append(prompt)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Completion(answer, Usage(10, 3), self.finish)

    def stream(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> AsyncIterator[Delta | Completion]:
        raise NotImplementedError

    async def check(self) -> None: ...

    async def aclose(self) -> None: ...


@pytest.mark.parametrize(
    "text",
    [
        YES,
        f"  {YES}\n",
        f"```json\n{YES}\n```",
        f"Sure! Here it is: {YES} I hope that helps.",
        '{"reason": "Fine.", "accept": true, "confidence": 0.9}',
        f'{{"request": "x"}} {YES}',
        f"{YES}{YES}",
    ],
)
def test_a_clear_yes_is_read_through_decoration(text: str) -> None:
    assert parse_judgement(text) == (True, "Fine.")


def test_a_clear_no_brings_its_reason() -> None:
    assert parse_judgement(NO) == (False, "No.")
    assert parse_judgement('{"accept": false}') == (False, "The agent declined this request.")
    assert parse_judgement('{"accept": false, "reason": 5}') == (False, "The agent declined this request.")


@pytest.mark.fault("E17")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "Yes.",
        "accept: true",
        "true",
        '["accept", true]',
        '{"accept": "true"}',
        '{"accept": 1}',
        '{"accept": null}',
        '{"accept": [true]}',
        "{}",
        '{"Accept": true}',
        '{"verdict": {"accept": true}}',  # an object in an object is not the answer
        '{"accept": true',  # cut off
        '{"accept": false, "accept": true}',  # twice
        f"The request says {YES} but I say {NO}",  # two that disagree
        f"{NO} {YES}",
        f'{{"quoted": {YES}, "acc',  # half an object around a whole one
        "{" * 50_000,
        '{"accept": true, "reason": "' + "x" * 20_000 + '"}',
        f"The set {{1, 2}} is fine. {YES}",  # braces that are no JSON: asked again rather than guessed
    ],
)
def test_what_is_not_clear_is_not_a_yes(text: str) -> None:
    assert parse_judgement(text) is None


@pytest.mark.fault("E17")
@given(st.text())
def test_a_request_cannot_leave_the_string_that_it_is_in(request_text: str) -> None:
    prompt = eval_prompt(request_text)
    assert prompt.system == JUDGE_RULES
    assert json.loads(prompt.user) == {"request": request_text}
    assert request_judged_by(prompt) == request_text
    assert request_judged_by(eval_prompt(request_text, again=True)) == request_text


def test_another_prompt_judges_nothing() -> None:
    assert request_judged_by(work_prompt("x")) is None
    assert request_judged_by(Prompt(JUDGE_RULES, "no json")) is None
    assert request_judged_by(Prompt(JUDGE_RULES, '{"request": 5}')) is None


def test_the_worker_is_told_that_it_has_no_money() -> None:
    prompt = work_prompt("Refund me everything")
    assert "no access to money" in prompt.system
    assert prompt.user == "Refund me everything"


async def test_a_yes_and_a_no() -> None:
    assert await judge(Says(YES), "x", "m") == Accepted(Usage(10, 3))
    assert await judge(Says(NO), "x", "m") == Declined("No.", Usage(10, 3))


async def test_an_unclear_answer_is_asked_for_once_more_and_both_are_counted() -> None:
    provider = Says("Hm.", YES)
    assert await judge(provider, "x", "m") == Accepted(Usage(20, 6))
    assert provider.asked[0] != provider.asked[1]


async def test_two_unclear_answers_are_trouble_and_not_a_yes() -> None:
    provider = Says("Hm.", "Hm!", YES)
    with pytest.raises(JudgementUnclear) as unclear:
        await judge(provider, "x", "m")
    assert isinstance(unclear.value, ProviderDown)
    assert unclear.value.usage == Usage(20, 6)
    assert len(provider.asked) == 2


@pytest.mark.fault("D24")
async def test_a_safety_stop_of_the_judge_is_a_no_whatever_it_said() -> None:
    verdict = await judge(Says(YES, finish=Finish.REFUSED), "x", "m")
    assert isinstance(verdict, Declined)
    assert "safety filter" in verdict.reason


@pytest.mark.parametrize("trouble", [ProviderDown("down"), ProviderRefused("no")])
async def test_trouble_of_the_provider_is_passed_on(trouble: Exception) -> None:
    with pytest.raises(type(trouble)):
        await judge(Says(trouble), "x", "m")


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        (" two\nlines\t and  spaces ", "two lines and spaces"),
        ("red \x1b[31mletters\x07", "red [31mletters"),
        ("right-to-left \u202eoverride", "right-to-left override"),
        ("zero\u200bwidth", "zero width"),
        (None, ""),
        (["x"], ""),
    ],
)
def test_a_reason_is_one_plain_line(reason: object, shown: str) -> None:
    assert one_line(reason) == shown


@given(st.text())
def test_a_reason_is_bounded_and_printable(reason: str) -> None:
    line = one_line(reason)
    assert len(line) <= REASON_CHARS_MAX
    assert line.isprintable()


def test_a_long_reason_ends_in_an_ellipsis() -> None:
    line = one_line("x" * 1_000)
    assert len(line) == REASON_CHARS_MAX
    assert line.endswith("…")
