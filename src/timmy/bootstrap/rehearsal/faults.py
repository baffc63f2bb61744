"""What goes wrong at the rehearsal cloud, on order."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

# refuse: answer `status`, and do nothing. after: do it, and answer `status`. lost: do it, and hang up. cut: hang up, and do nothing.
# silent: do it, and answer only when nobody waits any more. mute: the same without doing it. nonsense: answer with what is no JSON.
hiding_seconds: ContextVar[float] = ContextVar("hiding_seconds", default=0.0)  # of what this request makes

How = Literal["refuse", "after", "lost", "cut", "silent", "mute", "nonsense"]


@dataclass(slots=True)
class Fault:
    """Befalls the next `times` requests of this kind. `path`: the beginning of it."""

    method: str
    path: str
    how: How = "refuse"
    status: int = 500
    times: int = 1
    message: str = "Server was unable to give you a response."
    headers: dict[str, str] = field(default_factory=dict)
    hides_seconds: float = 0.0  # what it makes shows in lists only after so long

    def befalls(self, method: str, path: str) -> bool:
        if self.times <= 0 or method != self.method or not path.startswith(self.path):
            return False
        self.times -= 1
        return True
