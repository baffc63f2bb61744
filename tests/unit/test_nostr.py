"""Events to the byte: what is hashed, what is signed, what is refused. nostr-sdk is the peer that shares no line with us."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import nostr_sdk
import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from timmy.identity import nostr
from timmy.identity.nostr import TAGS_MAX, TEXT_CHARS_MAX, NostrEvent, NostrEventInvalid

SECRET = bytes(31) + b"\x07"
AT = 1_700_000_000
HEX_PUBKEY = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e"
NPUB = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg"

# Text that both hash alike: nostr-sdk writes control characters below U+0020 in JSON's long form, where NIP-01 wants them as they are.
TEXTS = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]) | st.sampled_from('\n\r\t\b\f"\\'), max_size=40)
TAGS = st.lists(st.lists(TEXTS, min_size=1, max_size=3), max_size=4)


def signed(content: str = "", tags: list[list[str]] | None = None, kind: int = 22_242) -> NostrEvent:
    return nostr.sign(SECRET, created_at=AT, kind=kind, tags=tags or [], content=content, aux=bytes(32))


def document(event: NostrEvent, **changed: Any) -> dict[str, Any]:
    fields = {name: getattr(event, name) for name in ("id", "pubkey", "created_at", "kind", "content", "sig")}
    return {**fields, "tags": [list(tag) for tag in event.tags], **changed}


def refused(event: object) -> str:
    with pytest.raises(NostrEventInvalid) as caught:
        nostr.verify(nostr.parse(event))
    assert caught.value.status == 401
    return caught.value.message


def test_seven_characters_are_escaped_and_everything_else_is_hashed_as_it_is() -> None:
    text = '\n"\\\r\t\b\f' + "\x01\x1f\x7f\u2028é\U0001f98a/"
    hashed = nostr.serialize(HEX_PUBKEY, 1, 2, [["a", "\x01"]], text)
    assert hashed == (
        b'[0,"' + HEX_PUBKEY.encode() + b'",1,2,[["a","\x01"]],"\\n\\"\\\\\\r\\t\\b\\f\x01\x1f\x7f' + "\u2028é\U0001f98a/".encode() + b'"]'
    )


@given(TEXTS, TAGS)
def test_without_control_characters_it_is_plain_compact_json(content: str, tags: list[list[str]]) -> None:
    plain = json.dumps([0, HEX_PUBKEY, AT, 1, tags, content], separators=(",", ":"), ensure_ascii=False)
    assert nostr.serialize(HEX_PUBKEY, AT, 1, tags, content) == plain.encode()


def test_a_control_character_survives_signing_and_the_wire() -> None:
    event = signed("\x01\x00", [["challenge", "\x1f"]])
    nostr.verify(nostr.parse(json.loads(json.dumps(document(event)))))


@pytest.mark.parametrize("changed", [{"content": "\ud800"}, {"tags": [["challenge", "\udfff"]]}])
def test_half_a_character_is_refused_and_not_a_crash(changed: dict[str, Any]) -> None:
    assert "surrogate" in refused(document(signed(), **changed))


@pytest.mark.fault("E11")
@pytest.mark.parametrize(
    "changed",
    [
        {"content": "another"},
        {"kind": 27_235},
        {"created_at": AT + 1},
        {"tags": []},
        {"tags": [["challenge", "x"], ["challenge", "x"]]},
        {"pubkey": HEX_PUBKEY},
        {"id": "00" * 32},
    ],
)
def test_an_event_that_was_changed_is_not_the_one_that_was_signed(changed: dict[str, Any]) -> None:
    assert "id is not the hash" in refused(document(signed("one", [["challenge", "x"]]), **changed))


@pytest.mark.fault("E11")
def test_a_true_signature_of_another_events_id_proves_nothing() -> None:
    """Id and signature are a pair of the key's own, and belong to another content."""
    true, other = signed("pay me"), signed("hello")
    assert "id is not the hash" in refused(document(true, content="hello"))
    assert "signature" in refused(document(other, sig=true.sig))


@pytest.mark.fault("E11")
def test_a_signature_of_the_same_content_in_other_json_is_refused() -> None:
    spaced = json.dumps([0, signed().pubkey, AT, 22_242, [], "one"]).encode()
    id = hashlib.sha256(spaced).digest()
    sig = PrivateKey(SECRET).sign_schnorr(id, bytes(32))
    refused(document(signed("one"), id=id.hex(), sig=sig.hex()))


def test_a_signature_by_another_key_or_with_a_flipped_bit_is_refused() -> None:
    event = signed()
    other = nostr.sign(bytes(31) + b"\x08", created_at=AT, kind=22_242, tags=[], content="", aux=bytes(32))
    assert "signature" in refused(document(event, sig=other.sig))
    for place in (0, 63, 64, 127):
        flipped = event.sig[:place] + f"{int(event.sig[place], 16) ^ 1:x}" + event.sig[place + 1 :]
        assert "signature" in refused(document(event, sig=flipped))


def test_a_key_that_is_no_point_of_the_curve_is_refused() -> None:
    pubkey = "ff" * 32
    id = hashlib.sha256(nostr.serialize(pubkey, AT, 22_242, [], "")).hexdigest()
    assert "signature" in refused(document(signed(), pubkey=pubkey, id=id))


@pytest.mark.parametrize("name", ["id", "pubkey", "sig"])
def test_hex_is_lower_case_and_of_its_length(name: str) -> None:
    true = str(document(signed())[name])
    for wrong in (true.upper(), true[:-1], true + "0", true[:-1] + "g", true + "\n", "", None, 5, [true]):
        assert f"`{name}`" in refused(document(signed(), **{name: wrong}))


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": True},
        {"kind": -1},
        {"kind": 65_536},
        {"kind": 1.0},
        {"created_at": "1700000000"},
        {"created_at": -1},
        {"created_at": 10**40},
        {"created_at": float("nan")},
        {"content": None},
        {"content": "x" * (TEXT_CHARS_MAX + 1)},
        {"tags": None},
        {"tags": {}},
        {"tags": ["challenge"]},
        {"tags": [["challenge", 5]]},
        {"tags": [["x"]] * (TAGS_MAX + 1)},
        {"tags": [["challenge", "x" * (TEXT_CHARS_MAX + 1)]]},
    ],
)
def test_an_event_of_a_wrong_or_huge_shape_is_refused(changed: dict[str, Any]) -> None:
    refused(document(signed(), **changed))


@pytest.mark.parametrize("nothing", [None, [], "event", 5, {}])
def test_what_is_no_event_at_all_is_refused(nothing: object) -> None:
    refused(nothing)


def test_two_tags_of_one_name_are_refused_and_none_is_none() -> None:
    event = signed(tags=[["u", "a"], ["u", "b"], ["challenge"], ["method", "POST", "more"]])
    with pytest.raises(NostrEventInvalid, match="2 `u` tags"):
        event.tag("u")
    assert event.tag("challenge") is None
    assert event.tag("method") == "POST"


def test_a_key_is_read_and_written_as_people_write_it() -> None:
    assert nostr.npub(HEX_PUBKEY) == NPUB
    assert nostr.pubkey_of(NPUB) == nostr.pubkey_of(HEX_PUBKEY) == HEX_PUBKEY
    for wrong in ("", NPUB[:-1] + "q", NPUB.replace("npub", "nsec"), HEX_PUBKEY.upper(), HEX_PUBKEY[:-2], "npub1", "\ud800"):
        assert nostr.pubkey_of(wrong) is None


@given(TEXTS, TAGS)
def test_what_nostr_sdk_signs_is_accepted(content: str, tags: list[list[str]]) -> None:
    keys = nostr_sdk.Keys.parse("11" * 32)
    theirs = [nostr_sdk.Tag.parse(tag) for tag in tags]
    made = nostr_sdk.EventBuilder(nostr_sdk.Kind(22_242), content).tags(theirs)
    event = nostr.parse(json.loads(made.custom_created_at(nostr_sdk.Timestamp.from_secs(AT)).finalize(keys).as_json()))
    nostr.verify(event)
    assert (event.content, event.created_at, event.kind) == (content, AT, 22_242)
    assert event.pubkey == keys.public_key().to_hex()
    assert nostr.npub(event.pubkey) == keys.public_key().to_bech32()


@given(TEXTS, TAGS)
def test_what_we_sign_verifies_in_nostr_sdk(content: str, tags: list[list[str]]) -> None:
    theirs = nostr_sdk.Event.from_json(json.dumps(document(signed(content, tags))))
    assert theirs.verify_id()
    assert theirs.verify_signature()


def test_the_control_characters_on_which_nostr_sdk_and_the_specification_differ_are_only_those() -> None:
    """If this fails, the peer has come to follow NIP-01 to the byte, and TEXTS above can hold every character."""
    differs = []
    for point in range(0x21):
        event = nostr_sdk.Event.from_json(json.dumps(document(signed(chr(point)))))
        if not event.verify_id():
            differs.append(chr(point))
    assert differs == [chr(point) for point in range(0x20) if chr(point) not in "\n\r\t\b\f"]
