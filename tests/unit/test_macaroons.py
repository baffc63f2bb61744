"""Macaroons, byte by byte: what pymacaroons makes verifies here, what we make verifies there, and nobody takes a caveat away."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from itertools import pairwise, permutations

import pymacaroons
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timmy.identity import macaroons
from timmy.identity.macaroons import CAVEATS_MAX, MACAROON_BYTES_MAX, Macaroon, MacaroonMalformed, decode, identifier_of, mint, unpack

ROOT = bytes(32)
HASH = "72cd6e8422c407fb6d098690f1130b7ded7ec2f7f5e1d30bd9d521f015363793"
CAVEATS = ("services=agent:0", "agent_capabilities=eval,work", "agent_valid_until=1800000000")
SIGNATURE = "4c44969e9c11578385bbfeba5c92140f98dfa94aaee79afb86e50b77d866755e"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


def vector() -> Macaroon:
    return mint(ROOT, identifier_of(HASH, b"\x02" * 32), "lsat", CAVEATS)


def theirs(location: str, identifier: bytes, caveats: tuple[str, ...], root: bytes = ROOT) -> pymacaroons.Macaroon:
    macaroon = pymacaroons.Macaroon(location=location, identifier=identifier, key=root, version=pymacaroons.MACAROON_V2)
    for caveat in caveats:
        macaroon.add_first_party_caveat(caveat)
    return macaroon


def test_the_known_vector_comes_out_to_the_byte() -> None:
    assert hashlib.sha256(b"\x01" * 32).hexdigest() == HASH
    macaroon = vector()
    assert len(macaroon.identifier) == macaroons.IDENTIFIER_BYTES
    assert macaroon.signature.hex() == SIGNATURE
    assert len(macaroon.pack()) == 192
    assert decode(macaroon.encode()) == macaroon


@given(TEXTS, st.binary(min_size=1, max_size=200), st.lists(TEXTS, max_size=6).map(tuple), st.binary(min_size=32, max_size=32))
def test_pymacaroons_makes_the_same_bytes_and_verifies_ours(
    location: str, identifier: bytes, caveats: tuple[str, ...], root: bytes
) -> None:
    ours, other = mint(root, identifier, location, caveats), theirs(location, identifier, caveats, root)
    assert ours.signature.hex() == other.signature
    read = decode(other.serialize())  # url-safe, without padding
    assert read == ours
    assert read.is_signed_with(root)
    verifier = pymacaroons.Verifier()
    verifier.satisfy_general(lambda _: True)
    assert verifier.verify(pymacaroons.Macaroon.deserialize(base64.urlsafe_b64encode(ours.pack()).decode().rstrip("=")), root)


def test_whoever_holds_one_can_narrow_it_without_us() -> None:
    narrowed = pymacaroons.Macaroon.deserialize(vector().encode().replace("+", "-").replace("/", "_").rstrip("="))
    narrowed.add_first_party_caveat("timmy_max_msat=5")
    read = decode(narrowed.serialize())
    assert read == vector().with_caveat("timmy_max_msat=5")
    assert read.is_signed_with(ROOT)


@pytest.mark.fault("E07")
def test_no_caveat_can_be_taken_away_changed_or_moved() -> None:
    true = vector()
    assert not true.is_signed_with(b"\x01" * 32)
    forged = [Macaroon(true.location, true.identifier, true.caveats[:n], true.signature) for n in range(3)]
    forged += [Macaroon(true.location, true.identifier, order, true.signature) for order in list(permutations(true.caveats))[1:]]
    forged += [Macaroon(true.location, true.identifier, (*true.caveats, b"services=timmy:9"), true.signature)]
    forged += [Macaroon(true.location, true.identifier, (*true.caveats[:2], b"agent_valid_until=1900000000"), true.signature)]
    forged += [Macaroon(true.location, true.identifier[:-1] + b"\x03", true.caveats, true.signature)]
    forged += [Macaroon(true.location, true.identifier, (true.caveats[0] + true.caveats[1], true.caveats[2]), true.signature)]
    assert len(forged) == 12
    assert not any(macaroon.is_signed_with(ROOT) for macaroon in forged)


@pytest.mark.fault("E07")
def test_no_single_flipped_bit_leaves_a_macaroon_of_ours() -> None:
    """The location alone is outside the signature, in every library: it says nothing that counts."""
    packed = vector().pack()
    location = range(1, 3 + len("lsat"))
    for place in set(range(len(packed))) - set(location):
        for bit in range(8):
            wrong = packed[:place] + bytes([packed[place] ^ 1 << bit]) + packed[place + 1 :]
            try:
                assert not unpack(wrong).is_signed_with(ROOT), (place, bit)
            except MacaroonMalformed:
                continue


@pytest.mark.fault("E07")
def test_a_macaroon_that_is_cut_anywhere_or_extended_is_refused() -> None:
    packed = vector().pack()
    for end in range(len(packed)):
        with pytest.raises(MacaroonMalformed):
            unpack(packed[:end])
    for more in (b"\0", b"\x06\x20" + bytes(32), packed):
        with pytest.raises(MacaroonMalformed):
            unpack(packed + more)


def test_third_party_caveats_and_other_formats_are_refused() -> None:
    third = theirs("lsat", b"id", ("a=1",))
    third.add_third_party_caveat("https://elsewhere.example", b"\x01" * 32, "their id")
    old = pymacaroons.Macaroon(location="lsat", identifier="id", key=ROOT, version=pymacaroons.MACAROON_V1)
    for macaroon in (third, old):
        with pytest.raises(MacaroonMalformed):
            decode(macaroon.serialize())


def test_every_way_to_write_base64_is_read_and_what_is_none_is_refused() -> None:
    true = next(macaroon for n in range(100) if {"+", "/"} <= set((macaroon := mint(ROOT, bytes([n]) * 66, "lsat")).encode()))
    safe = true.encode().replace("+", "-").replace("/", "_")
    assert all(decode(text) == true for text in (true.encode(), safe, safe.rstrip("="), true.encode().rstrip("="), f" {safe}\n"))
    for text in ("", "=", "A", "AAAAA", "é", "A A", "AgEE%", true.encode()[:-8], true.encode() + "AAAA", "\ud800"):
        with pytest.raises(MacaroonMalformed):
            decode(text)


def test_lengths_are_bounded() -> None:
    many = mint(ROOT, b"id", "", tuple(f"a={n}" for n in range(CAVEATS_MAX)))
    assert decode(many.encode()) == many
    huge = (b"\x02\x02\x02id\0" + b"\x02\x01a\0" * 1_200).ljust(MACAROON_BYTES_MAX * 2, b"\0")
    for text in (many.with_caveat("a=1").encode(), base64.b64encode(huge).decode(), "A" * 10**6):
        with pytest.raises(MacaroonMalformed):
            decode(text)
    for length in (b"\xff\xff\xff\xff\x0f", b"\xff" * 12 + b"\0", b"\x80" * 5):
        with pytest.raises(MacaroonMalformed):
            unpack(b"\x02\x02" + length + b"id\0\0\x06\x20" + bytes(32))


@pytest.mark.fault("E07")
@given(st.one_of(st.binary(max_size=300), st.binary(max_size=200).map(lambda tail: vector().pack()[:60] + tail)))
def test_no_bytes_bring_the_reader_down(data: bytes) -> None:
    with contextlib.suppress(MacaroonMalformed):
        assert not unpack(data).is_signed_with(b"\x05" * 32)
    with contextlib.suppress(MacaroonMalformed):
        assert not decode(base64.b64encode(data).decode()).is_signed_with(b"\x05" * 32)


@given(st.text(max_size=200))
def test_no_text_brings_the_reader_down(text: str) -> None:
    with contextlib.suppress(MacaroonMalformed):
        assert not decode(text).is_signed_with(b"\x05" * 32)


@given(TEXTS, st.lists(TEXTS, max_size=8))
def test_what_is_packed_is_read_back(location: str, caveats: list[str]) -> None:
    macaroon = mint(ROOT, b"\x07" * 66, location, tuple(caveats))
    assert unpack(macaroon.pack()) == macaroon
    for shorter, longer in pairwise(macaroons.signatures(ROOT, macaroon.identifier, macaroon.caveats)):
        assert shorter != longer


def test_a_macaroon_shown_in_a_log_does_not_open_anything() -> None:
    shown = repr(vector())
    assert SIGNATURE not in shown
    assert repr(vector().signature) not in shown
