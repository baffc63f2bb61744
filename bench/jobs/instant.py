"""A wallet and a model that answer at once and always yes: what is left is ours."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator

from timmy.lightning.wallets.protocol import InvoiceLookup, Network, NeverSent, NewInvoice, PaymentOutcome, Unpaid
from timmy.models import Completion, Delta, Finish, Prompt, Usage
from timmy.money import Msats

VERDICT = Completion('{"accept": true, "reason": "fine"}', Usage(100, 10), Finish.STOP)
ANSWER = Completion("42", Usage(100, 10), Finish.STOP)


class InstantWallet:
    """It remembers what it was asked for last under each memo: the customer pays that, and need not read it from the database."""

    name = "instant"
    network = Network.REGTEST
    caps_fees = True

    def __init__(self) -> None:
        self.asked: dict[str, tuple[str, Msats]] = {}

    async def create_invoice(self, amount: Msats, *, memo: str, expiry_seconds: int, label: str) -> NewInvoice:
        payment_hash = secrets.token_hex(32)
        self.asked[memo] = (payment_hash, amount)
        return NewInvoice(payment_hash, f"lnbcrt1{label}", (int(time.time()) + expiry_seconds) * 1_000)

    async def lookup_invoice(self, payment_hash: str) -> InvoiceLookup:
        return Unpaid()

    async def pay_invoice(self, payment_request: str, *, amount: Msats, fee_limit: Msats) -> PaymentOutcome:
        return NeverSent()

    async def lookup_payment(self, payment_hash: str) -> PaymentOutcome:
        return NeverSent()

    async def settlements(self) -> AsyncIterator[str]:
        for payment_hash in list[str]():
            yield payment_hash

    async def balance(self) -> Msats:
        return Msats(0)

    async def aclose(self) -> None: ...


class InstantModel:
    name = "instant"

    async def complete(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> Completion:
        return VERDICT

    async def stream(self, prompt: Prompt, *, model: str, max_output_tokens: int) -> AsyncIterator[Delta | Completion]:
        yield Delta(ANSWER.text)
        yield ANSWER

    async def check(self) -> None: ...

    async def aclose(self) -> None: ...
