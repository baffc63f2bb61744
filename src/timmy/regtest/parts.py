"""The words that everything in this room shares: a step of progress, a buyer, and what can go wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from timmy.errors import Outage, Refusal
from timmy.money import Msats

Phase = Literal["install", "start"]


@dataclass(frozen=True, slots=True)
class Step:
    """What begins now. `done` of `total` steps of this phase are behind us; when `done == total` the phase is over.

    A phase that has nothing to do (everything installed before) reports one step with `done == total`.
    """

    phase: Phase
    done: int
    total: int
    text: str


Progress = Callable[[Step], None]
"""Called from whichever thread does the work, so it must be thread-safe (rich's progress display is)."""


class RegtestUnavailable(Outage):
    """A part cannot be installed or does not start here. The message says what is missing and what to do about it."""

    code = "regtest_unavailable"
    title = "The practice Lightning network cannot be started on this machine"


class PaymentRefused(Refusal):
    """The buyer's node could not pay: no route, no funds, expired, paid already."""

    code = "payment_refused"
    title = "The buyer's node could not pay"


class Buyer(Protocol):
    """Somebody with a wallet of their own, on the other side of the counter."""

    async def pay(self, payment_request: str) -> str:
        """Pays, waits until it is settled, and gives the preimage (hex). `PaymentRefused` if the wallet says no."""
        ...

    async def create_invoice(self, amount_sats: int, memo: str) -> str:
        """A BOLT11 invoice of the buyer's: where a refund may be sent."""
        ...

    async def balance(self) -> Msats:
        """What the buyer could spend over Lightning."""
        ...

    async def received(self, payment_hash: str) -> bool:
        """Has an invoice made by `create_invoice` been paid?"""
        ...


def silent(_: Step) -> None:
    """The progress of those who do not look."""
