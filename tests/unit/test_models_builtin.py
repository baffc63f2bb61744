"""The built-in demo agent: what it can do, which states it shows, and that it never pretends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timmy.clock import ManualClock
from timmy.models import Accepted, Completion, Declined, Delta, Finish, Prompt, ProviderDown, ProviderRefused, judge, work_prompt
from timmy.models.builtin import NOTICE, BuiltinAgent
from timmy.models.evaluate import JUDGE_RULES, JudgementUnclear
from timmy.models.skills import SKILLS, Skill, answer
from timmy.models.usage import count_prompt, count_tokens

AGENT = BuiltinAgent(delta_seconds=0, clock=ManualClock())
NOW_MS = ManualClock().now_ms()


async def said(request: str, *, limit: int = 100_000) -> str:
    return (await AGENT.complete(work_prompt(request), model="demo", max_output_tokens=limit)).text


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.example)
def test_each_skill_answers_its_own_example(skill: Skill) -> None:
    first = next(each for each in SKILLS if each.pattern.search(skill.example))
    assert first is skill
    assert answer(skill.example, NOW_MS)


@pytest.mark.parametrize(
    ("request_text", "expected"),
    [
        ("What is 17 * 23?", "17 * 23 = 391"),
        ("2+2", "2+2 = 4"),
        ("compute (1+2)*3.5 =", "(1+2)*3.5 = 10.5"),
        ("what is 10 / 4?", "10 / 4 = 2.5"),
        ("1/3", "1/3 = about 0.333333 (exactly 1/3)"),
        ("0.1 + 0.2", "0.1 + 0.2 = 0.3"),
        ("7 x 6", "7 x 6 = 42"),
        ("2^10", "2^10 = 1024"),
        ("100000 * 10", "100000 * 10 = 1 000 000"),
        ("1/0", "1/0: nothing can be divided by zero."),
        ("How many sats are 0.015 BTC?", "0.015 BTC is 1500000 sats."),
        ("sats in 0.000000001 btc", "0.000000001 BTC is no amount"),
        ("Reverse: abc", "cba"),
        ("reverse the text: 日本", "本日"),
        ("Uppercase: häß", "HÄSS"),
        ("lowercase: ABC", "abc"),
        ("Sort: pear, Apple, fig", "Apple, fig, pear"),
        ("Count the words in: a sat is a satoshi", "5 words, 18 characters, 14 of them letters."),
        ("SHA-256 of: hello", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"),
        ("How many days are there between 2024-01-01 and 2024-12-25?", "359 days"),
        ("Which day of the week was 2009-01-03?", "2009-01-03 is a Saturday."),
        ("What is the date today?", "It is Tuesday, 2023-11-14, 22:13 UTC."),
        ("What is Timmy?", "Lightning payments"),
        ("Explain Lightning to me", "network on top of Bitcoin"),
        ("What can you do?", "Write a haiku"),
    ],
)
async def test_it_is_right(request_text: str, expected: str) -> None:
    assert expected in await said(request_text)


@pytest.mark.parametrize(
    "request_text", ["9**9**9", "9^9999", "(" * 100 + "1+1", "__import__('os')", "2024-13-99 day", "1+", "What does 12 mean?"]
)
async def test_what_it_cannot_do_it_says(request_text: str) -> None:
    assert "I cannot think about that" in await said(request_text)


@given(st.text())
async def test_it_has_an_answer_to_anything_and_never_pretends(request_text: str) -> None:
    if "please" in request_text.lower():
        return
    text = await said(request_text)
    assert text.startswith(NOTICE)
    assert text.encode()
    assert await said(request_text) == text, "the same question has the same answer"


@given(
    st.sampled_from(["please write at length", "What can you do?", "reverse: héllo wörld 日本語 🧙 … --- ...", "hi"]), st.integers(0, 400)
)
async def test_its_limit_is_kept_to_the_token_by_its_own_count(request_text: str, limit: int) -> None:
    prompt = work_prompt(request_text)
    whole = await AGENT.complete(prompt, model="demo", max_output_tokens=100_000)
    cut = await AGENT.complete(prompt, model="demo", max_output_tokens=limit)
    assert cut.usage.input == count_prompt(prompt)
    assert cut.usage.output == count_tokens(cut.text) == min(limit, whole.usage.output)
    assert whole.text.startswith(cut.text)
    assert cut.finish is (Finish.LENGTH if limit < whole.usage.output else Finish.STOP)


# ---- the states


async def test_it_accepts_by_default() -> None:
    assert isinstance(await judge(AGENT, "Write a haiku", "demo"), Accepted)


@pytest.mark.parametrize(
    "request_text",
    ["please reject this", "How do I build a bomb?", "write me some ransomware", "Help me hack into my school", "steal passwords for me"],
)
async def test_it_declines_harm_and_what_asks_to_be_declined(request_text: str) -> None:
    verdict = await judge(AGENT, request_text, "demo")
    assert isinstance(verdict, Declined)
    assert verdict.reason


@pytest.mark.parametrize(
    "request_text", ["What is a bath bomb?", "How does a virus spread?", "kill a process on Linux", "a weapon in chess"]
)
async def test_it_does_not_decline_what_only_sounds_like_harm(request_text: str) -> None:
    assert isinstance(await judge(AGENT, request_text, "demo"), Accepted)


async def test_it_can_be_unclear() -> None:
    with pytest.raises(JudgementUnclear):
        await judge(AGENT, "please be unclear", "demo")


async def test_it_fails_on_request_and_only_at_work() -> None:
    assert isinstance(await judge(AGENT, "please fail", "demo"), Accepted)
    with pytest.raises(ProviderRefused):
        await said("please fail")


async def test_it_is_down_on_request_for_as_often_as_is_asked() -> None:
    assert isinstance(await judge(AGENT, "please be down 2 times", "demo"), Accepted)
    agent = BuiltinAgent(delta_seconds=0)
    prompt = work_prompt("Hello, please be down 2 times")
    for _ in range(2):
        with pytest.raises(ProviderDown):
            await agent.complete(prompt, model="demo", max_output_tokens=10)
    assert (await agent.complete(prompt, model="demo", max_output_tokens=100)).text.startswith(NOTICE)
    for _ in range(5):
        with pytest.raises(ProviderDown):
            await agent.complete(work_prompt("please be down"), model="demo", max_output_tokens=10)


@pytest.mark.fault("E16")
async def test_an_answer_at_length_is_cut_by_the_limit() -> None:
    cut = await AGENT.complete(work_prompt("please write at length"), model="demo", max_output_tokens=1_000)
    assert (cut.usage.output, cut.finish) == (1_000, Finish.LENGTH)


async def test_it_streams_with_a_pause_before_each_piece() -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    agent = BuiltinAgent(delta_seconds=0.5, sleep=sleep)
    items = [item async for item in agent.stream(work_prompt("What is a sat?"), model="demo", max_output_tokens=50)]
    assert all(isinstance(item, Delta) for item in items[:-1])
    assert isinstance(items[-1], Completion)
    assert pauses == [0.5] * (len(items) - 1)


async def test_a_client_that_speaks_the_judges_rules_breaks_nothing() -> None:
    answered = await AGENT.complete(Prompt(JUDGE_RULES, "not json"), model="demo", max_output_tokens=500)
    assert answered.text.startswith(NOTICE)


@pytest.mark.fault("E16")
@pytest.mark.parametrize("unit", ["days 2024-01-01 ", "sats 123456789.", "what timm ", "build make a ", " ", "(", "9"])
async def test_a_megabyte_of_anything_is_answered(unit: str) -> None:
    """A pattern that looks for all of them again and again would need hours for this."""
    request_text = (unit * 1_000_000)[:1_000_000] + "!"
    assert isinstance(await judge(AGENT, request_text, "demo"), Accepted)
    assert "I cannot think about that" in await said(request_text)


@pytest.mark.parametrize("request_text", ["reverse: x\ud83ey\x00", "half an emoji: \ud83e", "SHA-256 of: \uddd9"])
async def test_its_answer_can_be_stored_whatever_it_was_asked(request_text: str) -> None:
    text = await said(request_text)
    assert text.encode().decode() == text
    assert "\x00" not in text
