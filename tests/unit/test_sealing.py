"""Sealed to the byte as NIP-44 and NIP-04 have it: by the specification's own vectors, and by a peer that shares no line with us."""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path
from typing import Any

import nostr_sdk
import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from timmy.identity.sealing import NIP44_TEXT_BYTES_MAX, Nip04, Nip44, Seal, SealBroken, padded_bytes, shared_x

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "nip44.json").read_text())
VALID, INVALID = VECTORS["valid"], VECTORS["invalid"]
OURS, THEIRS = "11" * 32, "22" * 32
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


def pubkey(secret: str) -> str:
    return PrivateKey(bytes.fromhex(secret)).public_key_xonly.format().hex()


def nip44(secret: str = OURS, other: str = THEIRS) -> Nip44:
    return Nip44(bytes.fromhex(secret), pubkey(other), secrets.token_bytes)


def nip04(secret: str = OURS, other: str = THEIRS) -> Nip04:
    return Nip04(bytes.fromhex(secret), pubkey(other), secrets.token_bytes)


def keyed(conversation_key: str) -> Nip44:
    """The vectors name the key itself, and not whose it is."""
    seal = nip44()
    seal.conversation_key = bytes.fromhex(conversation_key)
    return seal


@pytest.mark.parametrize("vector", VALID["get_conversation_key"])
def test_both_keys_lead_to_the_specifications_conversation_key(vector: dict[str, str]) -> None:
    assert Nip44(bytes.fromhex(vector["sec1"]), vector["pub2"], secrets.token_bytes).conversation_key.hex() == vector["conversation_key"]


@pytest.mark.parametrize("vector", VALID["encrypt_decrypt"])
def test_a_message_is_sealed_to_the_specifications_bytes_and_opened_by_both_sides(vector: dict[str, str]) -> None:
    ours, theirs = nip44(vector["sec1"], vector["sec2"]), nip44(vector["sec2"], vector["sec1"])
    assert ours.seal_with(vector["plaintext"], bytes.fromhex(vector["nonce"])) == vector["payload"]
    assert ours.open(vector["payload"]) == theirs.open(vector["payload"]) == vector["plaintext"]


@pytest.mark.parametrize("vector", VALID["encrypt_decrypt_long_msg"], ids=lambda vector: str(vector["repeat"]))
def test_a_long_message_is_sealed_to_the_specifications_bytes(vector: dict[str, Any]) -> None:
    seal, text = keyed(vector["conversation_key"]), vector["pattern"] * vector["repeat"]
    payload = seal.seal_with(text, bytes.fromhex(vector["nonce"]))
    assert hashlib.sha256(payload.encode()).hexdigest() == vector["payload_sha256"]
    assert seal.open(payload) == text


def test_lengths_are_hidden_as_the_specification_hides_them() -> None:
    assert [padded_bytes(length) for length, _ in VALID["calc_padded_len"]] == [padded for _, padded in VALID["calc_padded_len"]]


@pytest.mark.parametrize("vector", INVALID["decrypt"], ids=lambda vector: vector["note"])
def test_what_the_specification_calls_invalid_is_not_opened(vector: dict[str, str]) -> None:
    with pytest.raises(SealBroken):
        keyed(vector["conversation_key"]).open(vector["payload"])


@pytest.mark.parametrize("vector", INVALID["get_conversation_key"], ids=lambda vector: vector["note"])
def test_what_is_no_key_seals_nothing(vector: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        shared_x(bytes.fromhex(vector["sec1"]), vector["pub2"])


@given(TEXTS)
def test_nostr_sdk_opens_what_we_seal_and_we_what_it_seals(text: str) -> None:
    their_secret = nostr_sdk.SecretKey.parse(THEIRS)
    our_pubkey = nostr_sdk.PublicKey.parse(pubkey(OURS))
    assert nostr_sdk.nip44_decrypt(their_secret, our_pubkey, nip44().seal(text)) == text
    assert nip44().open(nostr_sdk.nip44_encrypt(their_secret, our_pubkey, text, nostr_sdk.Nip44Version.V2)) == text
    assert nostr_sdk.nip04_decrypt(their_secret, our_pubkey, nip04().seal(text)) == text
    assert nip04().open(nostr_sdk.nip04_encrypt(their_secret, our_pubkey, text)) == text


@pytest.mark.parametrize("seal", [nip44(), nip04()], ids=["nip44", "nip04"])
@given(payload=st.text(max_size=400) | st.binary(max_size=200).map(lambda raw: raw.hex()))
def test_nonsense_is_refused_and_breaks_nothing(seal: Seal, payload: str) -> None:
    with pytest.raises(SealBroken):
        seal.open(payload)


@pytest.mark.parametrize("at", [0, 1, 40, -1])
def test_one_changed_byte_and_another_key_do_not_open_it(at: int) -> None:
    payload = nip44().seal("two words")
    changed = list(payload)
    changed[at] = "B" if changed[at] != "B" else "C"
    with pytest.raises(SealBroken):
        nip44().open("".join(changed))
    with pytest.raises(SealBroken):
        nip44(OURS, "33" * 32).open(payload)


def test_a_text_that_no_length_of_two_bytes_can_name_is_not_sealed() -> None:
    assert nip44().open(nip44().seal("a" * NIP44_TEXT_BYTES_MAX)) == "a" * NIP44_TEXT_BYTES_MAX
    for text in ("", "a" * (NIP44_TEXT_BYTES_MAX + 1)):
        with pytest.raises(ValueError, match="bytes"):
            nip44().seal(text)
