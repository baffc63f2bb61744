"""The keys of the machines that are sold: made here, sealed while they lie here, and gone for good once they were handed over.

A private key is only ever written sealed. What breaks the seal lies in a file of its own, one per order, that only the house may read.
When the key was handed over and its ten minutes are over, that file is destroyed: from then on whatever copies of the sealed text there
are, in the database's free pages, its log or a backup of it, are noise. So the folder must not be in the backup, and says so by a mark.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from timmy.bootstrap.model import KeyKind
from timmy.errors import Refusal
from timmy.identity import kept_secret
from timmy.ids import RandomBytes

RSA_BITS, RSA_EXPONENT = 4096, 65537
NONCE_BYTES = 12  # RFC 8439
RSA_BITS_MIN = 2048
PUBLIC_KEY_CHARS_MAX = 4_096
FOLDER_MARK = "CACHEDIR.TAG"
# bford.info/cachedir: tar, restic, borg and others leave a folder out that has this file.
FOLDER_MARK_TEXT = "Signature: 8a477f597d28d172789f06886806bc55\n# What is in here must not be copied: it is destroyed on purpose.\n"
SHAPE = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) ([A-Za-z0-9+/]+={0,2})(?: [ -~]*)?")
ID = re.compile(r"[a-z0-9_]{1,64}")


class PublicKeyInvalid(Refusal):
    status = 422
    code = "ssh_public_key_invalid"
    title = "That is no public key of SSH"


@dataclass(frozen=True, slots=True)
class Pair:
    """Both halves in OpenSSH's own forms."""

    private: str
    public: str

    def __repr__(self) -> str:
        return f"Pair(public={self.public!r})"


def make_pair(kind: KeyKind, comment: str) -> Pair:
    """For RSA this takes seconds of a processor: call it in a thread."""
    is_rsa = kind is KeyKind.RSA_4096
    private = rsa.generate_private_key(RSA_EXPONENT, RSA_BITS) if is_rsa else ed25519.Ed25519PrivateKey.generate()
    secret = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()).decode()
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    return Pair(secret, f"{public} {comment}")


def read_public_key(text: str) -> str:
    """The customer's own key, without its comment: that is theirs, and nobody's business. Raises PublicKeyInvalid."""
    text = text.strip()
    found = SHAPE.fullmatch(text)
    if found is None or len(text) > PUBLIC_KEY_CHARS_MAX:
        raise PublicKeyInvalid(
            "sshPublicKey must be one line like `ssh-ed25519 AAAA… you`: the content of a file ending in .pub. Never send the other file."
        )
    bare = f"{found[1]} {found[2]}"
    try:
        key = serialization.load_ssh_public_key(bare.encode())
    except (ValueError, NotImplementedError):  # the second: a point of a curve in a form that SSH does not have
        raise PublicKeyInvalid(
            "sshPublicKey looks like a public key of SSH, and is none: a part of it is missing or was changed."
        ) from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS_MIN:
        raise PublicKeyInvalid(
            f"An RSA key of {key.key_size} bits is too weak. Give one of at least {RSA_BITS_MIN}, or an ssh-ed25519 key."
        )
    return bare


def md5_fingerprint(public_key: str) -> str:
    """As clouds name a key: pairs of hex digits. Not for security."""
    digest = hashlib.md5(base64.b64decode(public_key.split()[1]), usedforsecurity=False).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


class SealBroken(Exception):
    """What was sealed cannot be read: its seal was destroyed, or lies on another machine."""


class KeyRoom:
    """The folder with the seals, one file per order."""

    def __init__(self, folder: Path, random_bytes: RandomBytes) -> None:
        self._folder = folder
        self._random_bytes = random_bytes

    def seal(self, order_id: str, text: str) -> str:
        """Sealed under the order's own key, which is made if there is none yet; bound to the order, so that it opens as no other's."""
        nonce = self._random_bytes(NONCE_BYTES)
        sealed = ChaCha20Poly1305(self._key(order_id)).encrypt(nonce, text.encode(), order_id.encode())
        return base64.b64encode(nonce + sealed).decode()

    def open(self, order_id: str, sealed: str) -> str:
        """Raises SealBroken."""
        if not self.has(order_id):
            raise SealBroken(order_id)
        data = base64.b64decode(sealed)
        try:
            return ChaCha20Poly1305(self._key(order_id)).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], order_id.encode()).decode()
        except InvalidTag:
            raise SealBroken(order_id) from None

    def has(self, order_id: str) -> bool:
        return self._path(order_id).exists()

    def destroy(self, order_id: str) -> None:
        """For good, and safe to repeat. Written over before it is unlinked: an undeleted file should hold nothing."""
        path = self._path(order_id)
        with contextlib.suppress(FileNotFoundError):
            with path.open("r+b") as file:
                file.write(b"0" * path.stat().st_size)
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
        if self._folder.exists():
            self._sync_folder()

    def _key(self, order_id: str) -> bytes:
        if not self._folder.exists():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self._folder / FOLDER_MARK).write_text(FOLDER_MARK_TEXT, "utf-8")
        key = kept_secret(self._path(order_id), self._random_bytes)
        # Without this, a power failure could leave the sealed text in the database, and no name for the file that opens it.
        self._sync_folder()
        return key

    def _path(self, order_id: str) -> Path:
        assert ID.fullmatch(order_id), order_id
        return self._folder / order_id

    def _sync_folder(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
