"""Whatever happens, nothing of it that is anybody's own is told to everybody; what is shown of strangers' texts is harmless and short."""

from __future__ import annotations

import json
import string
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.visiting import checked

from timmy.events import Event
from timmy.models.visitors import small_talk, visitor_in, visitor_prompt
from timmy.world.plain import cut, one_line, spoken
from timmy.world.told import KINDS, ref, told

ALPHABET = string.ascii_lowercase + "234567"
PURPOSES = ["job_eval", "job_work", "session_deposit", "session_topup", "gift"]
ids = st.builds(
    lambda prefix, rest: f"{prefix}_{rest}", st.sampled_from(["job", "ses", "req", "inv"]), st.text(ALPHABET, min_size=26, max_size=26)
)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
private = st.text(string.ascii_uppercase, min_size=12, max_size=40)  # a request, an answer, a trouble, an address
amounts = st.integers(0, 10**12)


@st.composite
def happenings(draw: st.DrawFn) -> tuple[Event, list[str]]:
    """An event as the rooms write them, and what in it is nobody else's business."""
    subject, other, hash, text = draw(ids), draw(ids), draw(hashes), draw(private)
    state = draw(
        st.sampled_from(
            ["awaiting_eval_payment", "evaluating", "rejected", "awaiting_work_payment", "executing", "complete", "failed", "expired"]
        )
    )
    body: dict[str, Any] = draw(
        st.sampled_from(
            [
                {"state": state},
                {},
                {"purpose": draw(st.sampled_from(PURPOSES)), "receivedMsat": draw(amounts)},
                {"state": "paid", "amountMsat": draw(amounts), "feeMsat": 0},
                {"state": "pending", "trouble": text},
                {"balanceMsat": 1, "reason": draw(st.sampled_from(["request", "completion", "deposit", "closed"])), "requestId": other,
                 "state": draw(st.sampled_from(["complete", "failed", "rejected", "stopped"])), "debitedMsat": draw(amounts)},
                {"text": text, "paymentHash": hash},
            ]
        )
    )  # fmt: skip
    kind = draw(st.sampled_from([*KINDS, "progress", "waiting", "stray"]))
    event = Event(draw(st.integers(1, 10**9)), draw(st.integers(0, 4 * 10**12)), subject, kind, {**body, "more": [text, hash]})
    return event, [subject, subject.partition("_")[2], other, other.partition("_")[2], hash, text]


@settings(deadline=None)
@given(happenings())
def test_nothing_that_is_anybodys_own_is_told(happened: tuple[Event, list[str]]) -> None:
    event, own = happened
    messages = [each.message for each in told(event)]
    written = json.dumps(messages)
    assert [word for word in own if word in written] == []
    for message in messages:
        checked(dict(message))


@settings(deadline=None)
@given(ids, ids)
def test_a_tag_is_the_same_for_the_same_and_says_nothing_of_it(one: str, other: str) -> None:
    assert ref(one) == ref(one)
    assert len(ref(one)) == 8
    assert ref(one) not in one
    assert (ref(one) == ref(other)) == (one == other)


@settings(deadline=None)
@given(st.text(max_size=600), st.integers(2, 250))
def test_what_is_said_fits_and_is_one_line_of_visible_text(text: str, chars_max: int) -> None:
    shown = spoken(text, chars_max)
    assert len(shown) <= chars_max
    assert one_line(shown) == shown
    assert "\n" not in shown
    assert all(char.isprintable() or char in "\u200c\u200d" for char in shown)


@settings(deadline=None)
@given(st.text(st.characters(categories=["Ll", "Zs"]), min_size=1, max_size=400))
def test_a_cut_falls_between_words_and_says_that_it_is_one(text: str) -> None:
    words = one_line(text)
    short = cut(words, 100)
    if len(words) <= 100:
        assert short == words
    else:
        assert short.endswith("…")
        head = short[:-1]
        assert words.startswith(head)
        assert " " not in words[:99] or words[len(head) : len(head) + 1] in ("", " ") or head == words[:99]


@settings(deadline=None)
@given(st.text(max_size=300).filter(lambda text: all(not "\ud800" <= char <= "\udfff" for char in text)))
def test_no_words_of_a_visitor_end_the_string_that_they_stand_in(text: str) -> None:
    prompt = visitor_prompt(text)
    assert json.loads(prompt.user) == {"visitor": text}
    assert visitor_in(prompt) == text
    assert len(small_talk(text, 0)) <= 250
