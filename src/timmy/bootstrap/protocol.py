"""What the hallways may ask of the bootstrap room. `Bootstraps` in desk.py is the one that does it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from timmy.bootstrap.call_home import Report
from timmy.bootstrap.model import BootstrapNews, BootstrapView, KeyKind, State
from timmy.idempotency import Key

__all__ = ["BootstrapDesk", "Destination", "Key", "ToInvoice", "ToLightningAddress", "ToLnurl", "Wanted"]


@dataclass(frozen=True, slots=True)
class ToInvoice:
    payment_request: str


@dataclass(frozen=True, slots=True)
class ToLightningAddress:
    address: str


@dataclass(frozen=True, slots=True)
class ToLnurl:
    lnurl: str


Destination = ToInvoice | ToLightningAddress | ToLnurl


@dataclass(frozen=True, slots=True)
class Wanted:
    """`public_key`: the customer's own, with KeyKind.OWN and no other."""

    key_kind: KeyKind = KeyKind.ED25519
    public_key: str | None = None
    refund_to: str | None = None


class BootstrapDesk(Protocol):
    async def order(self, wanted: Wanted, *, key: Key | None = None) -> BootstrapView:
        """A new order, waiting for its fee. The same key and body answers with the same order, another body is a Refusal (422).

        NotOffered (503) where nothing is sold, PublicKeyInvalid, LightningAddressMalformed, WalletDown."""
        ...

    async def view(self, order_id: str) -> BootstrapView:
        """Looking changes nothing. BootstrapNotFound (404)."""
        ...

    async def collect(self, order_id: str, claim: str | None = None) -> tuple[BootstrapView, str | None]:
        """The order, and the private key for whoever has a right to it now: the first to ask once the node is ready, and for ten minutes
        from then on whoever shows the claim token of the order. ClaimTokenInvalid (401): one is shown, and it is not this order's."""
        ...

    def follow(self, order_id: str, *, after_seq: int = 0) -> AsyncIterator[BootstrapNews]:
        """What has happened since `after_seq`, then what happens; ends when the order has ended and no payout is on its way."""
        ...

    async def refund(self, order_id: str, destination: Destination, *, key: Key | None = None) -> BootstrapView:
        """Pay what is owed to `destination`, once."""
        ...

    async def called_home(self, order_id: str, token: str, report: Report) -> State:
        """A machine says that its node answers. CallHomeTokenInvalid (401), BootstrapOver (410)."""
        ...
