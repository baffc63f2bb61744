"""What two Nostr keys say to each other, sealed so that a relay cannot read it: NIP-44, and NIP-04 for those who know nothing newer.

The ciphers and the curve are OpenSSL's, the hashes Python's. Ours is the order in which they are put together, which the specification's
vectors and an independent peer hold to account in the tests. Neither form hides who speaks with whom, or when.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from timmy.ids import RandomBytes

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # SEC 2, secp256k1
KEY_BYTES = 32
NIP44_VERSION = 2
NIP44_NONCE_BYTES, NIP44_MAC_BYTES = 32, 32
NIP44_TEXT_BYTES_MAX = 65_535  # what a length of two bytes can name; the longer form is for messages that no wallet sends
NIP44_PAYLOAD_CHARS_MIN, NIP44_PAYLOAD_CHARS_MAX = 132, 87_472
NIP44_SALT = b"nip44-v2"
NIP04_PAYLOAD_CHARS_MAX = 131_072
AES_BLOCK_BYTES = 16


class SealBroken(ValueError):
    """It was not sealed by this pair of keys, or was changed on the way, or is in a form that is not known here."""


class Seal(Protocol):
    """One pair of keys, one form. `name` as NIP-47 writes it."""

    name: str

    def seal(self, text: str) -> str: ...

    def open(self, payload: str) -> str:
        """Raises SealBroken."""
        ...


class Nip44:
    """Version 2. Both sides come to the same key, so either can open what either has sealed."""

    name = "nip44_v2"

    def __init__(self, secret: bytes, pubkey: str, random_bytes: RandomBytes) -> None:
        """`secret`: 32 bytes; `pubkey`: the other's, x-only, in hex. ValueError when one of them is no key."""
        self.conversation_key = hmac.digest(NIP44_SALT, shared_x(secret, pubkey), "sha256")  # HKDF-extract
        self._random_bytes = random_bytes

    def seal(self, text: str) -> str:
        return self.seal_with(text, self._random_bytes(NIP44_NONCE_BYTES))

    def seal_with(self, text: str, nonce: bytes) -> str:
        """For the specification's vectors: a nonce is never used twice."""
        raw = text.encode()
        if not 1 <= len(raw) <= NIP44_TEXT_BYTES_MAX:
            raise ValueError(f"NIP-44 seals 1 to {NIP44_TEXT_BYTES_MAX:,} bytes.")
        padded = len(raw).to_bytes(2) + raw + bytes(padded_bytes(len(raw)) - len(raw))
        chacha_key, chacha_nonce, mac_key = self._message_keys(nonce)
        sealed = _chacha20(chacha_key, chacha_nonce, padded)
        mac = hmac.digest(mac_key, nonce + sealed, "sha256")
        return base64.b64encode(bytes([NIP44_VERSION]) + nonce + sealed + mac).decode()

    def open(self, payload: str) -> str:
        if payload.startswith("#"):
            raise SealBroken("It is sealed in a later form than NIP-44's version 2.")
        if not NIP44_PAYLOAD_CHARS_MIN <= len(payload) <= NIP44_PAYLOAD_CHARS_MAX:
            raise SealBroken("It is too short or too long to be sealed as NIP-44 has it.")
        data = _from_base64(payload)
        if data[:1] != bytes([NIP44_VERSION]):
            raise SealBroken("It is sealed in another form than NIP-44's version 2.")
        nonce, sealed, mac = data[1 : 1 + NIP44_NONCE_BYTES], data[1 + NIP44_NONCE_BYTES : -NIP44_MAC_BYTES], data[-NIP44_MAC_BYTES:]
        chacha_key, chacha_nonce, mac_key = self._message_keys(nonce)
        if not hmac.compare_digest(hmac.digest(mac_key, nonce + sealed, "sha256"), mac):
            raise SealBroken("It was not sealed by this key, or was changed.")
        padded = _chacha20(chacha_key, chacha_nonce, sealed)
        length = int.from_bytes(padded[:2])
        raw = padded[2 : 2 + length]
        if not length or len(padded) != 2 + padded_bytes(length) or any(padded[2 + length :]):
            raise SealBroken("Its padding is not NIP-44's.")
        return _text(raw)

    def _message_keys(self, nonce: bytes) -> tuple[bytes, bytes, bytes]:
        """HKDF-expand to 76 bytes (RFC 5869): a key and a nonce for the cipher, a key for the MAC."""
        block, made = b"", b""
        for count in (1, 2, 3):
            block = hmac.digest(self.conversation_key, block + nonce + bytes([count]), "sha256")
            made += block
        return made[:32], made[32:44], made[44:76]


class Nip04:
    """AES-256-CBC under the bare shared point, without a MAC: only the signature of the event around it says that it is whole. For wallets
    that offer nothing else."""

    name = "nip04"

    def __init__(self, secret: bytes, pubkey: str, random_bytes: RandomBytes) -> None:
        self._key = shared_x(secret, pubkey)
        self._random_bytes = random_bytes

    def seal(self, text: str) -> str:
        vector = self._random_bytes(AES_BLOCK_BYTES)
        padder = PKCS7(AES_BLOCK_BYTES * 8).padder()
        encryptor = Cipher(algorithms.AES(self._key), modes.CBC(vector)).encryptor()
        sealed = encryptor.update(padder.update(text.encode()) + padder.finalize()) + encryptor.finalize()
        return f"{base64.b64encode(sealed).decode()}?iv={base64.b64encode(vector).decode()}"

    def open(self, payload: str) -> str:
        if len(payload) > NIP04_PAYLOAD_CHARS_MAX:
            raise SealBroken("It is too long to be a message of a wallet.")
        first, found, second = payload.partition("?iv=")
        sealed, vector = _from_base64(first), _from_base64(second)
        if not found or len(vector) != AES_BLOCK_BYTES or not sealed or len(sealed) % AES_BLOCK_BYTES:
            raise SealBroken("It is not sealed as NIP-04 has it.")
        decryptor = Cipher(algorithms.AES(self._key), modes.CBC(vector)).decryptor()
        unpadder = PKCS7(AES_BLOCK_BYTES * 8).unpadder()
        try:
            raw = unpadder.update(decryptor.update(sealed) + decryptor.finalize()) + unpadder.finalize()
        except ValueError:
            raise SealBroken("It was not sealed by this key, or was changed.") from None
        return _text(raw)


def shared_x(secret: bytes, pubkey: str) -> bytes:
    """The x coordinate of the point that both keys lead to, not hashed (NIP-44, "Encryption"; NIP-04). ValueError when one is no key."""
    number = int.from_bytes(secret)
    if len(secret) != KEY_BYTES or not 0 < number < CURVE_ORDER:
        raise ValueError("A secret key is 32 bytes, and a number below the order of secp256k1.")
    # NIP-01's keys have no sign: the point with the even y is meant (BIP-340). The x of the product is the same for both.
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), b"\x02" + bytes.fromhex(pubkey))
    return ec.derive_private_key(number, ec.SECP256K1()).exchange(ec.ECDH(), point)


def padded_bytes(length: int) -> int:
    """What NIP-44 pads a text of `length` bytes to, so that its length tells little."""
    if length <= 32:
        return 32
    power = 1 << (length - 1).bit_length()
    chunk = 32 if power <= 256 else power // 8
    return chunk * ((length - 1) // chunk + 1)


def _chacha20(key: bytes, nonce: bytes, data: bytes) -> bytes:
    """RFC 8439 with its counter, the first four bytes, at zero; the same function both ways."""
    encryptor = Cipher(algorithms.ChaCha20(key, bytes(4) + nonce), mode=None).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SealBroken("It is not base64.") from None


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise SealBroken("What is in it is no text.") from None
