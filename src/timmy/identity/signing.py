"""The server's own Nostr key: what it signs with it can be checked by anybody, without asking the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from coincurve import PrivateKey

from timmy.identity import nostr
from timmy.identity.nostr import NostrEvent
from timmy.ids import RandomBytes

AUX_BYTES = 32


@dataclass(frozen=True, slots=True)
class SigningKey:
    """`secret`: 32 bytes, the same on every process and after every start."""

    secret: bytes = field(repr=False)
    random_bytes: RandomBytes = field(repr=False)

    @property
    def pubkey(self) -> str:
        """X-only, in hex (BIP-340)."""
        return PrivateKey(self.secret).public_key_xonly.format().hex()

    def sign(self, *, created_at: int, kind: int, tags: Sequence[Sequence[str]], content: str) -> NostrEvent:
        """`created_at` in seconds since 1970."""
        return nostr.sign(self.secret, created_at=created_at, kind=kind, tags=tags, content=content, aux=self.random_bytes(AUX_BYTES))
