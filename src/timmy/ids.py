"""Names that nobody can guess: 130 random bits behind a readable prefix."""

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
ID_DIGITS = 26
_DIGITS = b"abcdefghijklmnopqrstuvwxyz234567" * 8  # for each byte a digit, and each digit for as many bytes


def new_id(prefix: str, random_bytes: RandomBytes = system_random) -> str:
    """`job_4k…`: the prefix says what it names, the rest is 130 random bits as 26 digits of lower-case base32."""
    return f"{prefix}_{random_bytes(ID_DIGITS).translate(_DIGITS).decode()}"
