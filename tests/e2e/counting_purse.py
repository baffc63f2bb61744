"""A purse that pays with the pretend customer, and breaks where it is told to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from timmy.client import Notebook
from timmy.client.purses import DevelopmentPurse
from timmy.lightning import bolt11
from timmy.lightning.wallets.protocol import Network, NeverSent, PaymentOutcome, Succeeded
from timmy.money import Msats, Sats

NO_FEE = Msats(0)


class CountingPurse:
    """Pays with the pretend customer, remembers what it paid as a wallet does, and breaks where it is told to."""

    network: Network | None = Network.REGTEST
    adds_fees = True

    def __init__(self, url: str, name: str = "a wallet that counts", fee: Msats = NO_FEE) -> None:
        self.name = name
        self.fee = fee
        self.paid: list[str] = []
        self.asked: list[str] = []
        self.before: Callable[[], Awaitable[None]] | None = None
        self.after: Callable[[], Awaitable[None]] | None = None
        self.says: PaymentOutcome | None = None  # instead of paying
        self.sees: PaymentOutcome | None = None  # instead of looking
        self._till = DevelopmentPurse(url)

    async def pay(self, payment_request: str, *, amount: Msats, fee_limit: Msats) -> PaymentOutcome:
        payment_hash = bolt11.decode(payment_request).payment_hash
        self.asked.append(payment_hash)
        if self.before is not None:
            await self.before()
        if self.says is not None:
            return self.says
        assert payment_hash not in self.paid, "an invoice is paid once"
        self.paid.append(payment_hash)
        await self._till.pay(payment_request, amount=amount, fee_limit=fee_limit)
        if self.after is not None:
            await self.after()
        return Succeeded("ab" * 32, self.fee)

    async def lookup(self, payment_hash: str) -> PaymentOutcome:
        if self.sees is not None:
            return self.sees
        return Succeeded("ab" * 32, self.fee) if payment_hash in self.paid else NeverSent()

    async def invoice(self, amount: Sats, memo: str) -> str | None:
        return await self._till.invoice(amount, memo)

    async def aclose(self) -> None:
        await self._till.aclose()


async def counted(notebook: Notebook) -> int:
    return (await notebook.spent_today()).value
