"""Money. Millisats inside, sats at invoices and on the wire, dollars as whole nano-dollars; never a float.

>>> Sats(21).msats
Msats(21000)
>>> Msats(1_001).ceil_sats(), Msats(1_001).floor_sats()
(Sats(2), Sats(1))
>>> NanoUsd.parse("0.0042").at(cents_per_btc=10_000_000)
Msats(4200)
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Self

MSATS_PER_SAT = 1_000
SATS_PER_BTC = 100_000_000
MSATS_MAX = 21_000_000 * SATS_PER_BTC * MSATS_PER_SAT  # every coin there will ever be
NANO_PER_USD = 1_000_000_000
NANO_USD_MAX = 2**63 - 1
assert MSATS_MAX < 2**63, "an amount must fit a signed BIGINT in both databases"


@dataclass(frozen=True, slots=True, order=True)
class _Amount:
    """A whole number of one unit, never negative. Mixing units is a TypeError, leaving the range a ValueError."""

    value: int
    _max: ClassVar[int] = MSATS_MAX

    def __init__(self, value: int) -> None:  # in one piece: a call for money makes some thirty of these
        if type(value) is not int:  # bool and float are not money
            raise TypeError(f"{type(self).__name__} takes an int, not {value!r}")
        if not 0 <= value <= self._max:
            raise ValueError(f"{type(self).__name__} out of range: {value}")
        object.__setattr__(self, "value", value)

    def _same(self, other: Self) -> int:
        if type(other) is not type(self):
            raise TypeError(f"cannot mix {type(self).__name__} with {type(other).__name__}")
        return other.value

    def __add__(self, other: Self) -> Self:
        return type(self)(self.value + self._same(other))

    def __sub__(self, other: Self) -> Self:
        return type(self)(self.value - self._same(other))

    def __bool__(self) -> bool:
        return self.value != 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value})"


class Msats(_Amount):
    """Millisatoshis: the unit of the ledger."""

    __slots__ = ()

    def ceil_sats(self) -> Sats:
        """Rounded up: what we ask."""
        return Sats(-(-self.value // MSATS_PER_SAT))

    def floor_sats(self) -> Sats:
        """Rounded down: what we give back; the rest stays the customer's."""
        return Sats(self.value // MSATS_PER_SAT)


class Sats(_Amount):
    """Satoshis: the unit of invoices and of the wire."""

    __slots__ = ()

    @property
    def msats(self) -> Msats:
        return Msats(self.value * MSATS_PER_SAT)


class NanoUsd(_Amount):
    """Billionths of a US dollar: what models, machines and margins are counted in."""

    __slots__ = ()
    _max: ClassVar[int] = NANO_USD_MAX

    @classmethod
    def parse(cls, dollars: str | Decimal) -> NanoUsd:
        """Exact: a fraction finer than a nano-dollar, NaN or an infinity is a ValueError."""
        try:
            nano = Decimal(dollars) * NANO_PER_USD
            whole = int(nano)
        except (ArithmeticError, ValueError):
            raise ValueError(f"not an amount in dollars: {dollars!r}") from None
        if whole != nano:
            raise ValueError(f"finer than a nano-dollar: {dollars}")
        return cls(whole)

    def at(self, *, cents_per_btc: int) -> Msats:
        """This many dollars in bitcoin, rounded up to a millisat: the house never sells below cost."""
        if cents_per_btc <= 0:
            raise ValueError(f"a bitcoin cannot cost {cents_per_btc} cents")
        # msats = nano * (1e11 msats per BTC) / (cents * 1e7 nano per cent)
        return Msats(-(-self.value * 10_000 // cents_per_btc))

    def __str__(self) -> str:
        """Plain decimal dollars, at least two places: `0.0042`, `12.50`."""
        whole, fraction = divmod(self.value, NANO_PER_USD)
        digits = f"{fraction:09d}".rstrip("0").ljust(2, "0")
        return f"{whole}.{digits}"
