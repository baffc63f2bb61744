"""Login tokens: a key and an expiry under our HMAC. They say who somebody is, and nothing that can change: the tier is in the database."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from dataclasses import dataclass
from pathlib import Path

from timmy.errors import Refusal
from timmy.identity.nostr import HEX_32
from timmy.ids import RandomBytes

VERSION = "tmy1"
SECRET_BYTES = 32
TOKEN_CHARS_MAX = 256
WHOLE = re.compile(r"0|[1-9][0-9]{0,15}")


class TokenInvalid(Refusal):
    status = 401
    code = "token_invalid"
    title = "That login is not one of this server's"


class TokenExpired(Refusal):
    status = 401
    code = "token_expired"
    title = "That login has expired"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Makes and reads tokens. `secret` is the server's, the same on every process."""

    secret: bytes

    def issue(self, pubkey: str, expires_at_ms: int) -> str:
        return f"{VERSION}.{pubkey}.{expires_at_ms}.{self._mac(pubkey, expires_at_ms)}"

    def read(self, token: str, now_ms: int) -> str:
        """Whose it is. Raises TokenInvalid or TokenExpired; what is expired was ours, and its owner may be told so."""
        parts = token.split(".")
        if len(token) > TOKEN_CHARS_MAX or len(parts) != 4 or parts[0] != VERSION or not HEX_32.fullmatch(parts[1]):
            raise TokenInvalid("The nostr_token is not one of this server's. Log in again at /api/identity/challenge.")
        _, pubkey, expiry, mac = parts
        # Only as we write it: int() also reads "1_000", leading zeros and other scripts' digits, and one token would have many spellings.
        expires_at_ms = int(expiry) if WHOLE.fullmatch(expiry) else -1
        if not hmac.compare_digest(mac.encode(errors="replace"), self._mac(pubkey, expires_at_ms).encode()):
            raise TokenInvalid("The nostr_token is not one of this server's. Log in again at /api/identity/challenge.")
        if now_ms >= expires_at_ms:
            raise TokenExpired("The nostr_token has expired. Log in again at /api/identity/challenge.")
        return pubkey

    def _mac(self, pubkey: str, expires_at_ms: int) -> str:
        mac = hmac.digest(self.secret, f"{VERSION}.{pubkey}.{expires_at_ms}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(mac).decode().rstrip("=")

    def __repr__(self) -> str:
        return "Tokens(•••)"


def kept_secret(path: Path, random_bytes: RandomBytes) -> bytes:
    """The secret in this file, made with owner-only permissions if there is none yet. Two processes that make it at once agree on one."""
    if path.exists():
        return _read(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(random_bytes(SECRET_BYTES).hex())
        file.flush()
        os.fsync(file.fileno())
    try:
        # Whole or not there at all: written in its place, it could be read half by a process that starts at the same moment.
        os.link(draft, path)
    except FileExistsError:
        return _read(path)
    finally:
        draft.unlink()
    return _read(path)


def _read(path: Path) -> bytes:
    text = path.read_text().strip()
    if not HEX_32.fullmatch(text):
        raise ValueError(f"{path} does not hold a secret. Restore it, or remove it and start again: then everybody has to log in anew.")
    return bytes.fromhex(text)
