"""What a server in development may do besides: pay its own invoices, and be paid as a pretend customer."""

from __future__ import annotations

from timmy.clock import Clock
from timmy.db import Database
from timmy.errors import Refusal
from timmy.ids import RandomBytes
from timmy.ledger import Code, Move, chart, commit
from timmy.lightning import bolt11, invoices
from timmy.lightning.receiving import Receiving
from timmy.lightning.wallets.builtin import BuiltinCustomer, BuiltinWallet
from timmy.lightning.wallets.protocol import Failed, PaysItself, Succeeded, Wallet
from timmy.money import Msats, Sats

FEE_LIMIT = Sats(10).msats


class NoPretendCustomer(Refusal):
    status = 409
    code = "no_pretend_customer"
    title = "This wallet is real"


class NotPaid(Refusal):
    status = 409
    code = "not_paid"
    title = "The wallet did not pay its own invoice"


class Development:
    """The `DevDesk` of the house."""

    def __init__(self, db: Database, clock: Clock, random_bytes: RandomBytes, wallet: Wallet, receiving: Receiving) -> None:
        self._db = db
        self._clock = clock
        self._wallet = wallet
        self._receiving = receiving
        self._customer = BuiltinCustomer(db, clock, random_bytes, wallet=wallet) if isinstance(wallet, BuiltinWallet) else None

    async def pay(self, payment_hash: str) -> bool:
        """With the built-in wallet its customer pays; with a real one the operator's own wallet really pays."""
        invoice = await self._db.read(invoices.find, payment_hash)
        if invoice is None:
            return False
        if invoice.state != "settled":
            if isinstance(self._wallet, PaysItself):
                if not await self._wallet.pay_own_invoice(payment_hash):
                    return False
            else:
                await self._pay_for_real(invoice.payment_request, invoice.amount)
                # From one pocket into the other: the wallet holds what it held, so what the customer now has came from the operator.
                paid = Move(f"dev/{payment_hash}", chart.OPERATOR, chart.LIGHTNING, invoice.amount, Code.OPERATOR_CORRECTION)
                await self._db.write(commit, self._clock.now_ms(), paid)
            await self._receiving.look(payment_hash)
        return True

    async def preimage(self, payment_hash: str) -> str | None:
        """Never a real wallet's: whoever knows an invoice could spend what another has paid with it."""
        return await self._wallet.proof_of(payment_hash) if isinstance(self._wallet, BuiltinWallet) else None

    async def _pay_for_real(self, payment_request: str, amount: Msats) -> None:
        outcome = await self._wallet.pay_invoice(bolt11.normalise(payment_request), amount=amount, fee_limit=FEE_LIMIT)
        if not isinstance(outcome, Succeeded):
            why = outcome.reason if isinstance(outcome, Failed) else type(outcome).__name__
            raise NotPaid(f"The wallet could not pay its own invoice ({why}). Pay it with another wallet.")

    async def customer_invoice(self, amount: Sats) -> str:
        if self._customer is None:
            raise NoPretendCustomer("With a real wallet there is no pretend customer: make the invoice in your own wallet.")
        return await self._customer.create_invoice(amount.msats, "Timmy: a refund")
