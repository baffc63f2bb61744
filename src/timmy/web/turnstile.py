"""How often one address may ask for what costs it nothing: an invoice that nobody has paid yet, a nonce to log in with.

Each of these is work for the wallet or a row in the database, and is free to ask for. In memory and for this process alone: a limit that
needed the database could be used to wear the database out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request

from timmy.clock import SECOND_MS, Clock
from timmy.web.address import Network, client_address
from timmy.web.refusals import RateLimited

MINUTE_MS = 60 * SECOND_MS
ADDRESSES_MAX = 50_000  # remembered; of more, the one that was away for longest begins anew
IPV6_PREFIX = 64  # what one customer of a network is given: to count single addresses would be to count nothing


class Turnstile:
    """A minute's worth at once, and then as many as the minute has. Counted in whole numbers: one passing is `MINUTE_MS` units, and
    `per_minute` units are forgiven in each millisecond."""

    def __init__(self, per_minute: int, clock: Clock, trusted: tuple[Network, ...], what: str) -> None:
        """`per_minute` 0: everybody passes. `what` is told to whoever does not."""
        self._per_minute = per_minute
        self._clock = clock
        self._trusted = trusted
        self._what = what
        self._clear_at: dict[str, int] = {}  # address → when nothing of what it asked for counts any more; the latest to ask is last

    @contextmanager
    def passing(self, request: Request) -> Iterator[None]:
        """Around what is limited; what comes to nothing does not count. RateLimited (429)."""
        if not self._per_minute:
            yield
            return
        address = counted(client_address(request.scope, self._trusted))
        self._count(address)
        try:
            yield
        except BaseException:
            self._clear_at[address] = self._clear_at.get(address, 0) - MINUTE_MS
            raise

    def _count(self, address: str) -> None:
        now = self._clock.now_ms() * self._per_minute
        whole = MINUTE_MS * self._per_minute
        clear_at = min(max(self._clear_at.pop(address, now), now), now + whole)  # a clock that was put back must not lock anybody out
        over = clear_at + MINUTE_MS - now - whole
        self._clear_at[address] = clear_at if over > 0 else clear_at + MINUTE_MS
        if len(self._clear_at) > ADDRESSES_MAX:
            del self._clear_at[next(iter(self._clear_at))]
        if over > 0:
            seconds = -(-over // (self._per_minute * SECOND_MS))
            raise RateLimited(
                f"From your address came more than {self._per_minute} {self._what} in a minute. Wait {seconds} seconds and ask again.",
                retry_after_seconds=seconds,
            )


def counted(address: str) -> str:
    if ":" not in address:
        return address
    return str(ipaddress.IPv6Network((address, IPV6_PREFIX), strict=False))
