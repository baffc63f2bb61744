"""Server-sent events from bytes that are cut anywhere, and text that was cut in the wrong place."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from timmy.models.sse import Event, EventParser, EventTooLong
from timmy.models.text import Pieces, clean


def parsed(*chunks: bytes, most: int = 1_000_000) -> list[Event]:
    parser = EventParser(most)
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return [*events, *parser.end()]


def test_the_examples_of_the_standard() -> None:
    """WHATWG HTML, section 9.2.6."""
    assert parsed(b"data: YHOO\ndata: +2\ndata: 10\n\n") == [Event("message", "YHOO\n+2\n10")]
    assert parsed(b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n") == [
        Event("message", "first event"),
        Event("message", "second event"),
        Event("message", " third event"),
    ]
    assert parsed(b"data\n\ndata\ndata\n\n") == [Event("message", ""), Event("message", "\n")]
    assert parsed(b"data:test\n\ndata: test\n\n") == [Event("message", "test"), Event("message", "test")]


def test_a_name_belongs_to_one_event() -> None:
    assert parsed(b"event: ping\ndata: 1\n\ndata: 2\n\nevent: x\n\ndata: 3\n\n") == [
        Event("ping", "1"),
        Event("message", "2"),
        Event("message", "3"),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_field() -> None:
    assert parsed(b"\xef", b"\xbb", b"\xbfdata: x\n\n") == [Event("message", "x")]


def test_an_event_without_its_last_empty_line_is_not_lost() -> None:
    assert parsed(b"data: x") == [Event("message", "x")]
    assert parsed(b"data: x\r") == [Event("message", "x")]


@pytest.mark.fault("D23")
def test_half_a_character_waits_for_the_other_half() -> None:
    wizard = "🧙".encode()
    assert parsed(b"data: " + wizard[:2], wizard[2:] + b"\n\n") == [Event("message", "🧙")]


@pytest.mark.fault("D23")
def test_what_is_no_utf8_is_replaced() -> None:
    assert parsed(b"data: a\xffb\n\n") == [Event("message", "a\ufffdb")]


@pytest.mark.fault("D23")
@given(st.lists(st.sampled_from([b"data: x", b"data:", b"event: e", b":c", b"\n", b"\r\n", b"\r", b"\n\n", "ü🧙".encode()])))
@example([b"data: x", b"\r\n", b"\r\n"])
def test_where_the_bytes_are_cut_makes_no_difference(parts: list[bytes]) -> None:
    stream = b"".join(parts)
    whole = parsed(stream)
    assert parsed(*(stream[at : at + 1] for at in range(len(stream)))) == whole
    assert parsed(*parts) == whole


@pytest.mark.fault("D23")
@pytest.mark.parametrize("part", [b"data: " + b"x" * 100, b"x" * 200, b"data: 1234567890\n" * 20])
def test_an_event_has_a_size(part: bytes) -> None:
    with pytest.raises(EventTooLong):
        parsed(*(part[at : at + 1] for at in range(len(part))), most=100)
    with pytest.raises(EventTooLong):
        parsed(part, most=100)


@pytest.mark.fault("D23")
@given(st.binary())
def test_no_bytes_break_it(noise: bytes) -> None:
    assert isinstance(parsed(noise), list)


# ---- text


@pytest.mark.parametrize(
    ("raw", "good"),
    [
        ("plain", "plain"),
        ("a\x00b", "a\ufffdb"),
        ("\ud83e\uddd9", "🧙"),
        ("\ud83e", "\ufffd"),
        ("\uddd9\ud83e", "\ufffd\ufffd"),
        ("x\ud83e\uddd9\ud83ey", "x🧙\ufffdy"),
    ],
)
def test_text_is_made_fit_to_be_stored(raw: str, good: str) -> None:
    assert clean(raw) == good


@given(st.lists(st.text(alphabet=st.sampled_from("ab\x00\ud83e\uddd9🧙"), max_size=4)))
def test_pieces_add_up_to_the_clean_whole(texts: list[str]) -> None:
    answer = Pieces()
    shown = "".join([*(answer.add(text) for text in texts), answer.end()])
    assert shown == answer.whole() == clean("".join(texts))
    assert shown.encode().decode() == shown
    assert answer.chars == len(shown)
