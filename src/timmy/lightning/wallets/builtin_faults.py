"""Trouble on order: what the built-in wallet does wrong when a test asks for it. Nothing here is random.

    faults = Faults()
    wallet = BuiltinWallet(db, clock, random_bytes, faults)
    faults.next("pay_invoice", Says(Unknown("timed out")))         # pays, and does not know it
    faults.next("pay_invoice", HeldFor(looks=3), Says(InFlight()))  # the call after that: the recipient holds it for three look-ups
    faults.always("lookup_payment", DownBefore())                   # every look-up fails, until …
    faults.heal()                                                   # … it is mended
    assert faults.calls["pay_invoice"] == 2

Operations are the names of the methods of `Wallet`. Faults that were ordered for one call happen together, each in its place: before the
effect (`Pause`, `Gate`, `DownBefore`, `Instead`), inside it (`HeldFor`, `ExtraFee`), and after it (`DownAfter`, `Says`).
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast

from timmy.lightning.wallets.protocol import WalletDown
from timmy.money import Msats

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pause:
    """Takes its time before the effect."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Gate:
    """Waits until the test opens it; `after`: the effect has happened by then, and the answer is on its way."""

    opened: asyncio.Event
    after: bool = False


@dataclass(frozen=True, slots=True)
class DownBefore:
    """WalletDown, and nothing happened."""


@dataclass(frozen=True, slots=True)
class DownAfter:
    """WalletDown, although it happened."""


@dataclass(frozen=True, slots=True)
class Instead:
    """This answer, and nothing happened: a lie about doing."""

    answer: object


@dataclass(frozen=True, slots=True)
class Says:
    """It happened, and this is the answer: a lie about what was done, or an honest `Unknown`."""

    answer: object


@dataclass(frozen=True, slots=True)
class HeldFor:
    """`pay_invoice`: the payment stays in flight for so many look-ups, then ends. `fails`: in failure, with everything given back."""

    looks: int
    fails: bool = False


@dataclass(frozen=True, slots=True)
class ExtraFee:
    """`pay_invoice`: so much more fee is taken, over the limit if need be."""

    fee: Msats


Fault = Pause | Gate | DownBefore | DownAfter | Instead | Says | HeldFor | ExtraFee


@dataclass(slots=True)
class Faults:
    """Which call goes wrong, and how. `hints_lost`: settlements() falls silent. `hints_repeated`: it says each thing so often again."""

    hints_lost: bool = False
    hints_repeated: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    _next: defaultdict[str, deque[tuple[Fault, ...]]] = field(default_factory=lambda: defaultdict(deque))
    _always: dict[str, tuple[Fault, ...]] = field(default_factory=dict)

    def next(self, operation: str, *faults: Fault) -> None:
        """What the next call (that has nothing ordered yet) does wrong. No faults: that call goes well."""
        self._next[operation].append(faults)

    def always(self, operation: str, *faults: Fault) -> None:
        """What every call without an order of its own does wrong."""
        self._always[operation] = faults

    def heal(self) -> None:
        """All is well from now on, hints included."""
        self._next.clear()
        self._always.clear()
        self.hints_lost, self.hints_repeated = False, 0

    def take(self, operation: str) -> tuple[Fault, ...]:
        """For the wallet: what this call does wrong."""
        self.calls[operation] += 1
        ordered = self._next[operation]
        return ordered.popleft() if ordered else self._always.get(operation, ())


async def play(faults: tuple[Fault, ...], effect: Callable[[], Awaitable[T]]) -> T:
    """The effect, with the faults around it."""
    for fault in faults:
        match fault:
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Gate(opened, after=False):
                await opened.wait()
            case DownBefore():
                raise WalletDown("the wallet is down (a fault that was ordered)")
            case Instead(answer):
                return cast(T, answer)
            case _:
                continue
    result = await effect()
    for fault in faults:
        match fault:
            case Gate(opened, after=True):
                await opened.wait()
            case DownAfter():
                raise WalletDown("the wallet went down (a fault that was ordered)")
            case Says(answer):
                result = cast(T, answer)
            case _:
                continue
    return result
