"""Names that nobody can guess: 128 random bits behind a readable prefix."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable

RandomBytes = Callable[[int], bytes]

system_random: RandomBytes = secrets.token_bytes
ID_BYTES = 16


def new_id(prefix: str, random_bytes: RandomBytes = system_random) -> str:
    """`job_4k…`: the prefix says what it names, the rest is 128 bits in lower-case base32."""
    return f"{prefix}_{base64.b32encode(random_bytes(ID_BYTES)).decode().rstrip('=').lower()}"
