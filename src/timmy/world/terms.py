"""What the operator has decided about visitors."""

from __future__ import annotations

from dataclasses import dataclass

MESSAGE_CHARS_MAX = 250
REPLY_CHARS_MAX = 250


@dataclass(frozen=True, slots=True)
class Terms:
    replies_per_minute: int  # to one address; 0: Timmy answers nobody
    replies_per_day: int  # to all together: the house pays for them
    viewers_max: int  # of one process
    viewers_per_address: int
