"""A receipt's bill, computed once more from what the receipt itself says. Nothing of the server's own arithmetic is used here.

cost     tokens × rates, up to the next nano-dollar, and this purpose's share of the machine
charge   cost × (1 + margin), at the bitcoin's price, up to the next millisat; of all purposes together, at most what was set aside
refund   what arrived, less the fee for judging, less the charge
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from timmy.identity.nostr import HEX_32

NANO, MTOK, WHOLE_BP, HUNDRED, MSATS_PER_SAT = 10**9, 10**6, 10_000, 100, 1_000
NUMBER_DIGITS_MAX = 30
Told = Mapping[str, Any]


class Unreadable(ValueError):
    """A number that is none, or is not there."""


@dataclass(frozen=True, slots=True)
class Line:
    """One statement of a receipt beside what it comes to. `unit` is of both numbers."""

    name: str
    told: int
    comes_to: int
    unit: str

    @property
    def holds(self) -> bool:
        return self.told == self.comes_to

    def __str__(self) -> str:
        return f"{self.name}: it says {self.told:,} {self.unit}, and its own numbers come to {self.comes_to:,}"


@dataclass(frozen=True, slots=True)
class Bill:
    """`untold`: what this receipt does not say enough about to be computed again."""

    lines: tuple[Line, ...]
    untold: tuple[str, ...]

    @property
    def wrong(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if not line.holds)


def bill_of(told: Told) -> Bill:
    """Raises Unreadable for numbers that make no sense."""
    lines, untold = list[Line](), list[str]()
    prices = told.get("prices") or []
    costs = [_cost_nano(each, _tokens_of(told, each)) for each in prices]
    lines.append(Line("costUsd", _scaled(told, "costUsd", NANO), sum(costs), "billionths of a dollar"))
    if "heldMsat" in told:
        bills = (_charge_msat(each, cost) for each, cost in zip(prices, costs, strict=True))
        comes_to = min(sum(bills), _whole(told, "heldMsat"))
        lines.append(Line("chargedMsat + poolMsat", _whole(told, "chargedMsat") + _whole(told, "poolMsat"), comes_to, "millisats"))
    else:
        untold.append("chargedMsat")
    lines.extend(_preimages(told["payments"]))
    refund = told.get("refund")
    if isinstance(refund, dict):
        received = [payment.get("receivedMsat") for payment in told["payments"]]
        if None in received or "creditMsat" not in refund or "evalFeeMsat" not in told:
            untold.append("refund")
        else:
            arrived = sum(_whole(payment, "receivedMsat") for payment in told["payments"])
            kept = _whole(told, "evalFeeMsat") + _whole(told, "chargedMsat")
            lines.append(Line("refund", _refund_msat(refund), arrived - kept, "millisats"))
    return Bill(tuple(lines), tuple(untold))


def proves(preimage: object, payment_hash: str) -> bool:
    """BOLT 11: the payment hash is the SHA-256 of the preimage, which nobody knows before the payment."""
    if not isinstance(preimage, str) or not HEX_32.fullmatch(preimage):
        return False
    return hmac.compare_digest(hashlib.sha256(bytes.fromhex(preimage)).hexdigest().encode(), payment_hash.encode())


def _preimages(payments: list[Told]) -> Iterator[Line]:
    """A preimage that the receipt itself shows is the payment's, or the receipt is wrong."""
    for payment in payments:
        if payment.get("preimage") is not None:
            shown = proves(payment["preimage"], payment["paymentHash"])
            yield Line(f"preimage of the payment for {payment.get('purpose')}", int(shown), 1, "that open it")


def _cost_nano(price: Told, tokens: Told) -> int:
    rates = price.get("usdPerMillionTokens")
    if not isinstance(rates, dict):
        raise Unreadable("usdPerMillionTokens")
    asked, cached, written = (_whole(tokens, name) for name in ("input", "cachedInput", "output"))
    cached = min(cached, asked)
    parts = (asked - cached) * _scaled(rates, "input", NANO) + cached * _scaled(rates, "cachedInput", NANO)
    parts += written * _scaled(rates, "output", NANO)
    return -(-parts // MTOK) + _scaled(price, "infraUsd", NANO)


def _charge_msat(price: Told, cost_nano: int) -> int:
    """A nano-dollar at c cents for a bitcoin of 10¹¹ millisats is 10,000 ÷ c of them; the margin's basis points cancel against that."""
    cents = _scaled(price, "btcPriceUsd", HUNDRED)
    if not cents:
        raise Unreadable("btcPriceUsd")
    return -(-cost_nano * (WHOLE_BP + _scaled(price, "marginPct", HUNDRED)) // cents)


def _refund_msat(refund: Told) -> int:
    return (_whole(refund, "owedSats") + _whole(refund, "paidSats")) * MSATS_PER_SAT + _whole(refund, "creditMsat")


def _tokens_of(told: Told, price: Told) -> Told:
    tokens = (told.get("tokens") or {}).get(price.get("purpose"))
    if not isinstance(tokens, dict):
        raise Unreadable("tokens")
    return tokens


def _whole(members: Told, name: str) -> int:
    value = members.get(name)
    if type(value) is not int or not 0 <= value < 10**NUMBER_DIGITS_MAX:
        raise Unreadable(name)
    return value


def _scaled(members: Told, name: str, scale: int) -> int:
    """A number with decimals, in whole parts of `scale`. One that is finer than that is none of ours."""
    value = members.get(name)
    if type(value) is int and 0 <= value < 10**NUMBER_DIGITS_MAX:
        return value * scale
    if not isinstance(value, Decimal) or not value.is_finite() or value < 0:
        raise Unreadable(name)
    exponent = value.as_tuple().exponent
    if (
        not isinstance(exponent, int)
        or not -NUMBER_DIGITS_MAX < exponent < NUMBER_DIGITS_MAX
        or len(value.as_tuple().digits) > NUMBER_DIGITS_MAX
    ):
        raise Unreadable(name)
    scaled = int(value.scaleb(len(str(scale)) - 1))
    if Decimal(scaled) != value * scale:
        raise Unreadable(name)
    return scaled
