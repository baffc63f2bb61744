"""Bodies have one meaning or none, and reading them costs what a body of their size should cost."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timmy.errors import Refusal
from timmy.web.bodies import DEPTH_MAX, parse_object, sha256_of


def refused(raw: bytes) -> str:
    with pytest.raises(Refusal) as caught:
        parse_object(raw)
    return caught.value.code


@pytest.mark.fault("F02")
@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "invalid_json"),
        (b"   ", "invalid_json"),
        (b"not json", "invalid_json"),
        (b'{"request": "a"', "invalid_json"),
        (b'{"request": "a"} {}', "invalid_json"),
        (b"{'request': 'a'}", "invalid_json"),
        (b'\xff{"request": "a"}', "invalid_json"),
        (b'\xef\xbb\xbf{"request": "a"}', "invalid_json"),
        ('{"request": "a"}'.encode("utf-16"), "invalid_json"),
        (b'{"request": "a\nb"}', "invalid_json"),
        (b'{"amount": NaN}', "json_number_invalid"),
        (b'{"amount": Infinity}', "json_number_invalid"),
        (b'{"amount": -Infinity}', "json_number_invalid"),
        (b'{"amount": 1e999}', "json_number_invalid"),
        (b'{"amount": ' + b"9" * 5_000 + b"}", "json_number_invalid"),
        (b'{"request": "a", "request": "b"}', "json_duplicate_key"),
        (b'{"a": {"b": 1, "b": 1}}', "json_duplicate_key"),
        (b'{"re\\u0071uest": "a", "request": "b"}', "json_duplicate_key"),
        (b'{"a": ' + b"[" * DEPTH_MAX + b"]" * DEPTH_MAX + b"}", "json_too_deep"),
        (b"[" * 60_000, "json_too_deep"),
        (b'{"a":' * 10_000, "json_too_deep"),
        (b"[]", "json_not_object"),
        (b"null", "json_not_object"),
        (b'"text"', "json_not_object"),
        (b"1", "json_not_object"),
    ],
)
def test_json_with_no_or_two_meanings_is_refused_with_its_reason(raw: bytes, code: str) -> None:
    assert refused(raw) == code


@pytest.mark.fault("F03")
@pytest.mark.parametrize("text", ['"\\u0000"', '"\\ud800"', '"a\\udfffb"', '["x", {"y": "\\ud83d"}]'])
def test_what_is_no_text_is_refused(text: str) -> None:
    assert refused(f'{{"request": {text}}}'.encode()) == "text_invalid"
    assert refused(b'{"\\u0000": 1}') == "text_invalid"


@pytest.mark.fault("F03")
@pytest.mark.parametrize("text", ["עברית", "مرحبا", "e" + "\u0301" * 400, "😀", "\U0010ffff", "аpple", "\u202egnp.exe", "tab\tand\nline"])
def test_text_in_any_script_is_kept_as_it_is(text: str) -> None:
    assert parse_object(json.dumps({"request": text}).encode()) == {"request": text}
    assert parse_object(json.dumps({"request": text}, ensure_ascii=False).encode()) == {"request": text}


def test_brackets_inside_of_text_are_not_depth() -> None:
    text = '[{"' * 1_000 + "\\"
    assert parse_object(json.dumps({"request": text}).encode()) == {"request": text}


@pytest.mark.fault("F02")
def test_quotes_without_an_end_are_read_in_one_pass() -> None:
    # With a backtracking pattern this body alone would take minutes.
    assert refused(b'{"a": ' + b"[" * 60 + b"{" * 10 + b'"' + b'\\"' * 2_000_000) in ("invalid_json", "json_too_deep")


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**20), 10**20)
        | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
        max_leaves=10,
    )
)
def test_what_is_accepted_is_what_was_sent(value: object) -> None:
    assert parse_object(json.dumps({"value": value}).encode()) == {"value": value}


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_a_refusal(raw: bytes) -> None:
    try:
        document: object = parse_object(raw)
    except Refusal as refusal:
        document = refusal
    assert isinstance(document, dict | Refusal)


@pytest.mark.fault("B07")
def test_the_hash_of_a_body_is_the_hash_of_its_meaning() -> None:
    one = parse_object(b'{"request": "caf\\u00e9", "refundTo": null}')
    same = parse_object('{ "refundTo":null,\n"request":"café" }'.encode())
    other = parse_object(b'{"request": "cafe", "refundTo": null}')
    assert sha256_of(one) == sha256_of(same) != sha256_of(other)
