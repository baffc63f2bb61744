"""Names that nobody can guess: 128 random bits behind a readable prefix."""

from __future__ import annotations

import secrets
from collections.abc import Callable

RandomBytes = Callable[[int], bytes]

system_random: RandomBytes = secrets.token_bytes
ID_BYTES = 16
_DIGITS = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]  # base64.b32encode is a loop in Python, three times as long


def new_id(prefix: str, random_bytes: RandomBytes = system_random) -> str:
    """`job_4k…`: the prefix says what it names, the rest is 128 bits in lower-case base32."""
    bits = int.from_bytes(random_bytes(ID_BYTES)) << 2  # 26 digits of 5 bits
    return f"{prefix}_{''.join([_PAIRS[bits >> shift & 1023] for shift in range(120, -1, -10)])}"
