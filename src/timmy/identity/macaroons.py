"""Macaroons in libmacaroons' V2 binary format: minted, read, narrowed, verified. Six lines of HMAC, and a parser that trusts nothing.

    key  = HMAC("macaroons-key-generator", root key)     the step that the L402 text leaves out and every library does
    sig₀ = HMAC(key, identifier)
    sigₙ = HMAC(sigₙ₋₁, caveatₙ)                          anybody can add a caveat; nobody can take one away

Identifier (L402, "Macaroon Identifier"): version 0 in two bytes, the payment hash, a random token id: 66 bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from functools import lru_cache

from timmy.errors import Refusal

MACAROON_BYTES_MAX = 4_096
CAVEATS_MAX = 32
IDENTIFIER_BYTES = 66
DECODED_MAX = 1_024
_KEY_GENERATOR = b"macaroons-key-generator".ljust(32, b"\0")
_EOS, _LOCATION, _IDENTIFIER, _VID, _SIGNATURE = 0, 1, 2, 4, 6


class MacaroonMalformed(Refusal):
    status = 401
    code = "macaroon_malformed"
    title = "That is not a macaroon"


@dataclass(frozen=True, slots=True)
class Macaroon:
    location: str
    identifier: bytes
    caveats: tuple[bytes, ...]
    signature: bytes = field(repr=False)

    def with_caveat(self, caveat: str) -> Macaroon:
        """A smaller key: the same, and this must hold too. Its holder needs nothing of ours to make it."""
        added = caveat.encode()
        return Macaroon(self.location, self.identifier, (*self.caveats, added), _hmac(self.signature, added))

    def is_signed_with(self, root_key: bytes) -> bool:
        """Whether we minted it, and only caveats were added since. Constant time in what it compares."""
        return hmac.compare_digest(self.signature, signatures(root_key, self.identifier, self.caveats)[-1])

    def pack(self) -> bytes:
        out = bytearray([2])
        _put(out, _LOCATION, self.location.encode())
        _put(out, _IDENTIFIER, self.identifier)
        out.append(_EOS)
        for caveat in self.caveats:
            _put(out, _IDENTIFIER, caveat)
            out.append(_EOS)
        out.append(_EOS)
        _put(out, _SIGNATURE, self.signature)
        return bytes(out)

    def encode(self) -> str:
        """Standard padded base64 (RFC 4648, section 4): the form that L402 clients expect."""
        return base64.b64encode(self.pack()).decode()


def mint(root_key: bytes, identifier: bytes, location: str, caveats: tuple[str, ...] = ()) -> Macaroon:
    packed = tuple(caveat.encode() for caveat in caveats)
    return Macaroon(location, identifier, packed, signatures(root_key, identifier, packed)[-1])


@lru_cache(maxsize=DECODED_MAX)  # a program brings the same key with each call
def signatures(root_key: bytes, identifier: bytes, caveats: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The chain: the signature after the identifier, then after each caveat."""
    chain = [_hmac(_hmac(_KEY_GENERATOR, root_key), identifier)]
    for caveat in caveats:
        chain.append(_hmac(chain[-1], caveat))
    return tuple(chain)


def identifier_of(payment_hash: str, token_id: bytes) -> bytes:
    return (0).to_bytes(2, "big") + bytes.fromhex(payment_hash) + token_id


@lru_cache(maxsize=DECODED_MAX)  # a program brings the same key with each call
def decode(text: str) -> Macaroon:
    """From base64, standard or url-safe, padded or not. Raises MacaroonMalformed."""
    if len(text) > MACAROON_BYTES_MAX * 4 // 3 + 4:
        raise MacaroonMalformed(f"A macaroon has at most {MACAROON_BYTES_MAX} bytes.")
    try:
        bare = text.strip().rstrip("=").replace("-", "+").replace("_", "/").encode("ascii")
        packed = base64.b64decode(bare + b"=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise MacaroonMalformed(
            "The macaroon is not base64. The key here is a session's macaroon: copy it again, whole, or open a session."
        ) from None
    return unpack(packed)


def unpack(packed: bytes) -> Macaroon:
    """From V2 binary. Whatever does not fit to the byte is MacaroonMalformed; so are third-party caveats, which we never make."""
    reader = _Reader(packed)
    if reader.byte() != 2:
        raise MacaroonMalformed(
            "The macaroon is not in the V2 format. The key here is a session's macaroon: copy it again, whole, or open a session."
        )
    location = b""
    tag = reader.byte()
    if tag == _LOCATION:
        location, tag = reader.data(), reader.byte()
    if tag != _IDENTIFIER:
        raise MacaroonMalformed("The macaroon has no identifier.")
    identifier = reader.data()
    reader.expect(_EOS)
    caveats = []
    while (tag := reader.byte()) != _EOS:
        if tag != _IDENTIFIER:
            raise MacaroonMalformed("The macaroon has a caveat that is not a plain one.")
        caveats.append(reader.data())
        reader.expect(_EOS)
    reader.expect(_SIGNATURE)
    signature = reader.data()
    if len(signature) != 32 or reader.left or len(caveats) > CAVEATS_MAX:
        raise MacaroonMalformed("The macaroon is cut off, or something is attached to it. Copy it again, whole.")
    try:
        return Macaroon(location.decode(), identifier, tuple(caveats), signature)
    except UnicodeDecodeError:
        raise MacaroonMalformed("The macaroon's location is not text.") from None


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def byte(self) -> int:
        if not self.left:
            raise MacaroonMalformed("The macaroon is cut off. Copy it again, whole.")
        self._at += 1
        return self._data[self._at - 1]

    def expect(self, tag: int) -> None:
        if self.byte() != tag:
            raise MacaroonMalformed("The macaroon's parts are not where they belong.")

    def data(self) -> bytes:
        length = self._varint()
        if length > self.left:
            raise MacaroonMalformed("The macaroon is cut off. Copy it again, whole.")
        self._at += length
        return self._data[self._at - length : self._at]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 28:
                raise MacaroonMalformed("The macaroon has a part of absurd length.")


def _put(out: bytearray, tag: int, data: bytes) -> None:
    out.append(tag)
    length = len(data)
    while length >= 0x80:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    out.append(length)
    out += data


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, hashlib.sha256)
