"""Whose wallet pays in the demo. The story knows only this much about money."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from timmy.demo.http import JSON, DemoFailed, TimmyHttp
from timmy.errors import TimmyError
from timmy.regtest import Buyer as NodeBuyer


class Buyer(Protocol):
    name: str  # "the built-in customer", "a Lightning node of its own", …

    async def pay(self, invoice: JSON) -> str:
        """Pays an invoice of the server's, and says in a few words how. DemoFailed if it cannot."""
        ...

    async def create_invoice(self, amount_sats: int, memo: str) -> str:
        """A BOLT11 invoice of the buyer's, for the refund."""
        ...

    async def balance_msat(self) -> int | None:
        """What the buyer could spend; None where the wallet does not count it."""
        ...


@dataclass(slots=True)
class StandInBuyer:
    """The customer that the built-in wallet brings along, reached by the development routes."""

    server: TimmyHttp
    name: str = "the built-in wallet's customer"

    async def pay(self, invoice: JSON) -> str:
        await self.server.stub_pay(invoice["paymentHash"])
        return "paid by the development route: a stand-in for a Lightning payment"

    async def create_invoice(self, amount_sats: int, memo: str) -> str:
        answer = await self.server.stub_invoice(amount_sats)
        return str(answer["paymentRequest"])

    async def balance_msat(self) -> int | None:
        return None


@dataclass(slots=True)
class RealBuyer:
    """A wallet on the other side of the counter: its sats move over channels, or through LNbits' own books."""

    node: NodeBuyer
    name: str

    async def pay(self, invoice: JSON) -> str:
        try:
            await self.node.pay(invoice["paymentRequest"])
        except TimmyError as trouble:
            raise DemoFailed(f"the buyer's wallet did not pay: {trouble.message}") from None
        return f"paid by {self.name}; the preimage proves it"

    async def create_invoice(self, amount_sats: int, memo: str) -> str:
        return await self.node.create_invoice(amount_sats, memo)

    async def balance_msat(self) -> int | None:
        return (await self.node.balance()).value
