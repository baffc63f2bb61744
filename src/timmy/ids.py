"""Names that nobody can guess: 128 random bits behind a readable prefix."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

RandomBytes = Callable[[int], bytes]

AT_A_TIME = 4096


class SystemRandom:
    """The operating system's random bytes, asked for by the page: each question is a call into the kernel, which some machines make
    dear (a twentieth of a paid call's processor time was spent in it). No byte is handed out twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = b""
        self._next = 0
        os.register_at_fork(after_in_child=self._forget)

    def __call__(self, count: int) -> bytes:
        if count > AT_A_TIME:
            return os.urandom(count)
        with self._lock:
            if self._next + count > len(self._bytes):
                self._bytes, self._next = os.urandom(AT_A_TIME), 0
            taken = self._bytes[self._next : self._next + count]
            self._next += count
        return taken

    def _forget(self) -> None:
        """Without this, a process and its fork would go on with the same bytes, and give two customers one secret."""
        self._lock = threading.Lock()
        self._bytes, self._next = b"", 0


system_random: RandomBytes = SystemRandom()
ID_BYTES = 16
_DIGITS = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]  # base64.b32encode is a loop in Python, three times as long


def new_id(prefix: str, random_bytes: RandomBytes = system_random) -> str:
    """`job_4k…`: the prefix says what it names, the rest is 128 bits in lower-case base32."""
    bits = int.from_bytes(random_bytes(ID_BYTES)) << 2  # 26 digits of 5 bits
    return f"{prefix}_{''.join([_PAIRS[bits >> shift & 1023] for shift in range(120, -1, -10)])}"
