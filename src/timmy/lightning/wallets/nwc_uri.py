"""The address of a wallet over Nostr, as the wallet gives it to one program (NIP-47, "Nostr Wallet Connect URI")."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from coincurve import PrivateKey

from timmy.identity.nostr import HEX_32
from timmy.identity.sealing import CURVE_ORDER, shared_x

SCHEME = "nostr+walletconnect"
RELAYS_MAX = 8
URI_CHARS_MAX = 4_096


@dataclass(frozen=True, slots=True)
class WalletUri:
    """A connection that a wallet has made for one program. Whoever has the secret can spend what the wallet allows it."""

    wallet_pubkey: str
    relays: tuple[str, ...]
    secret: bytes = field(repr=False)

    @property
    def pubkey(self) -> str:
        """Ours, on this connection."""
        return PrivateKey(self.secret).public_key_xonly.format().hex()


def parse_uri(text: str) -> WalletUri:
    """Strictly (NIP-47, "Nostr Wallet Connect URI"): what is doubtful is refused before anything is sent. ValueError never quotes the text,
    because the secret is in it. Parameters that are not known here, as `lud16`, are left alone."""
    if len(text) > URI_CHARS_MAX:
        raise ValueError("A Nostr Wallet Connect address is shorter than that")
    try:
        parts = urlsplit(text)
        pairs = parse_qsl(parts.query, strict_parsing=True, keep_blank_values=True, max_num_fields=32)
    except ValueError:
        raise ValueError("A Nostr Wallet Connect address cannot be read like this; copy it again from the wallet") from None
    if parts.scheme != SCHEME or parts.path or parts.fragment:
        raise ValueError(f"A Nostr Wallet Connect address looks like {SCHEME}://PUBKEY?relay=wss://…&secret=…")
    if not HEX_32.fullmatch(parts.netloc):
        raise ValueError("Before the ? of a Nostr Wallet Connect address stands the wallet's public key, 64 hex digits in lower case")
    secrets = [value for name, value in pairs if name == "secret"]
    relays = tuple(dict.fromkeys(value for name, value in pairs if name == "relay"))
    if len(secrets) != 1 or not HEX_32.fullmatch(secrets[0]) or not 0 < int(secrets[0], 16) < CURVE_ORDER:
        raise ValueError("A Nostr Wallet Connect address has one secret, 64 hex digits in lower case")
    if not 1 <= len(relays) <= RELAYS_MAX or not all(map(_is_relay, relays)):
        raise ValueError("A Nostr Wallet Connect address names its relays as relay=wss://host")
    uri = WalletUri(parts.netloc, relays, bytes.fromhex(secrets[0]))
    try:
        shared_x(uri.secret, uri.wallet_pubkey)
    except ValueError:
        raise ValueError("The public key in that Nostr Wallet Connect address is none") from None
    return uri


def _is_relay(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("wss", "ws") and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        return False
