"""Nostr events: read, hashed and verified to the byte (NIP-01), and keys as people write them (NIP-19).

No cryptography of our own: signatures are libsecp256k1's BIP-340.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bech32 import bech32_decode, bech32_encode, convertbits
from coincurve import PrivateKey, PublicKeyXOnly

from timmy.errors import Refusal

HEX_32 = re.compile(r"[0-9a-f]{64}")
HEX_64 = re.compile(r"[0-9a-f]{128}")
KIND_MAX = 65_535
CREATED_AT_MAX = 2**33  # seconds: the year 2242
TAGS_MAX = 64
TEXT_CHARS_MAX = 16_384

# NIP-01: these are escaped, and nothing else is, control characters included. json.dumps would write U+0001 as six characters, and
# the hash would be that of another event.
_ESCAPES = {0x0A: "\\n", 0x22: '\\"', 0x5C: "\\\\", 0x0D: "\\r", 0x09: "\\t", 0x08: "\\b", 0x0C: "\\f"}


class NostrEventInvalid(Refusal):
    status = 401
    code = "nostr_event_invalid"
    title = "That is not a valid Nostr event"


@dataclass(frozen=True, slots=True)
class NostrEvent:
    """NIP-01. `id` and `pubkey` are 32 bytes, `sig` 64, in lower-case hex; `created_at` in seconds since 1970."""

    id: str
    pubkey: str
    created_at: int
    kind: int
    tags: tuple[tuple[str, ...], ...]
    content: str
    sig: str

    def tag(self, name: str) -> str | None:
        """The value of the only tag of this name; None if there is none. Two are a refusal: readers would disagree on which counts."""
        values = [tag[1] for tag in self.tags if len(tag) > 1 and tag[0] == name]
        if len(values) > 1:
            raise NostrEventInvalid(f"The event has {len(values)} `{name}` tags; it may have one.")
        return values[0] if values else None


def serialize(pubkey: str, created_at: int, kind: int, tags: Sequence[Sequence[str]], content: str) -> bytes:
    """What an event's id is the SHA-256 of (NIP-01, "Events and signatures"). Raises NostrEventInvalid for text that is not Unicode."""
    tag_list = ",".join("[" + ",".join(_quoted(part) for part in tag) + "]" for tag in tags)
    text = f"[0,{_quoted(pubkey)},{created_at},{kind},[{tag_list}],{_quoted(content)}]"
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise NostrEventInvalid("The event holds half a character (a lone surrogate), which has no bytes to sign.") from None


def parse(document: object, *, content_chars_max: int = TEXT_CHARS_MAX) -> NostrEvent:
    """An event from JSON, its shape checked and nothing else. Raises NostrEventInvalid."""
    if not isinstance(document, Mapping):
        raise NostrEventInvalid("A Nostr event is a JSON object.")
    id, pubkey, sig = (_hex(document, name, form) for name, form in (("id", HEX_32), ("pubkey", HEX_32), ("sig", HEX_64)))
    kind, created_at = _whole(document, "kind", KIND_MAX), _whole(document, "created_at", CREATED_AT_MAX)
    content, tags = document.get("content"), document.get("tags")
    if not isinstance(content, str) or len(content) > content_chars_max:
        raise NostrEventInvalid(f"The event's `content` must be a text of at most {content_chars_max:,} characters.")
    if not isinstance(tags, list) or len(tags) > TAGS_MAX or not all(_is_tag(tag) for tag in tags):
        raise NostrEventInvalid(f"The event's `tags` must be at most {TAGS_MAX} lists of texts.")
    return NostrEvent(id, pubkey, created_at, kind, tuple(tuple(tag) for tag in tags), content, sig)


def verify(event: NostrEvent) -> None:
    """The id is the event's own, and the key has signed it. Raises NostrEventInvalid.

    The id is computed before the signature is looked at: a true signature of another event's id would pass otherwise."""
    own = hashlib.sha256(serialize(event.pubkey, event.created_at, event.kind, event.tags, event.content)).hexdigest()
    if not hmac.compare_digest(own, event.id):
        raise NostrEventInvalid("The event's id is not the hash of its content: it was changed after it was made.")
    try:
        signed = PublicKeyXOnly(bytes.fromhex(event.pubkey)).verify(bytes.fromhex(event.sig), bytes.fromhex(event.id))
    except ValueError:  # not a point on the curve
        signed = False
    if not signed:
        raise NostrEventInvalid("The event's signature is not that of its key.")


def sign(secret: bytes, *, created_at: int, kind: int, tags: Sequence[Sequence[str]], content: str, aux: bytes) -> NostrEvent:
    """An event of our own. `secret` is a 32-byte key, `aux` 32 random bytes (BIP-340, "Default Signing")."""
    key = PrivateKey(secret)
    pubkey = key.public_key_xonly.format().hex()
    id = hashlib.sha256(serialize(pubkey, created_at, kind, tags, content)).digest()
    sig = key.sign_schnorr(id, aux)
    return NostrEvent(id.hex(), pubkey, created_at, kind, tuple(tuple(tag) for tag in tags), content, sig.hex())


def document(event: NostrEvent) -> dict[str, object]:
    """The event as JSON has it (NIP-01)."""
    return {
        "id": event.id,
        "pubkey": event.pubkey,
        "created_at": event.created_at,
        "kind": event.kind,
        "tags": [list(tag) for tag in event.tags],
        "content": event.content,
        "sig": event.sig,
    }


def npub(pubkey: str) -> str:
    """NIP-19: the key as people write it."""
    words = convertbits(bytes.fromhex(pubkey), 8, 5)
    assert words is not None, "32 bytes always convert"
    return str(bech32_encode("npub", words))


def pubkey_of(text: str) -> str | None:
    """A key in hex or as npub, in hex; None if it is neither."""
    if HEX_32.fullmatch(text):
        return text
    prefix, words = bech32_decode(text)
    octets = convertbits(words, 5, 8, False) if prefix == "npub" and words else None
    return bytes(octets).hex() if octets is not None and len(octets) == 32 else None


def _quoted(text: str) -> str:
    return '"' + text.translate(_ESCAPES) + '"'


def _is_tag(tag: object) -> bool:
    return isinstance(tag, list) and all(isinstance(part, str) and len(part) <= TEXT_CHARS_MAX for part in tag)


def _hex(document: Mapping[str, object], name: str, form: re.Pattern[str]) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise NostrEventInvalid(f"The event's `{name}` must be lower-case hex of the right length.")
    return value


def _whole(document: Mapping[str, object], name: str, most: int) -> int:
    value = document.get(name)
    if type(value) is not int or not 0 <= value <= most:
        raise NostrEventInvalid(f"The event's `{name}` must be a whole number up to {most}.")
    return value
