"""Buyers: the other side of the counter, with code of its own, so that a mistake in Timmy's wallets is not made twice."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

from timmy.money import Msats
from timmy.regtest.lnbits import Account, LnbitsRefused
from timmy.regtest.network import Node, btc
from timmy.regtest.parts import PaymentRefused
from timmy.regtest.rpc import RpcRefused

MSATS_PER_BTC = 100_000_000_000
ELECTRUM_PAID = 3  # Electrum's PR_PAID


class ElectrumBuyer:
    """A Lightning node. See `Buyer` for what it promises."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def pay(self, payment_request: str) -> str:
        try:
            result = await self._ask("lnpay", invoice=payment_request)
        except RpcRefused as refused:
            raise PaymentRefused(str(refused)) from None
        if not result["success"]:
            raise PaymentRefused(f"No way to the recipient: {result['log']}")
        return str(result["preimage"])

    async def create_invoice(self, amount_sats: int, memo: str) -> str:
        request = await self._ask("add_request", amount=btc(amount_sats), memo=memo, lightning=True)
        return str(request["lightning_invoice"])

    async def balance(self) -> Msats:
        return Msats(int(Decimal((await self._ask("getbalance")).get("lightning", "0")) * MSATS_PER_BTC))

    async def received(self, payment_hash: str) -> bool:
        return bool((await self._ask("get_request", request_id=payment_hash))["status"] == ELECTRUM_PAID)

    async def _ask(self, method: str, **named: object) -> Any:
        return await asyncio.to_thread(self._node.rpc, method, **named)


class LnbitsBuyer:
    """A wallet in LNbits. See `Buyer` for what it promises."""

    def __init__(self, account: Account) -> None:
        self._account = account

    async def pay(self, payment_request: str) -> str:
        try:
            payment = await self._ask("POST", "/api/v1/payments", {"out": True, "bolt11": payment_request})
        except LnbitsRefused as refused:
            raise PaymentRefused(str(refused)) from None
        if payment["status"] != "success":
            raise PaymentRefused(f"LNbits calls the payment {payment['status']}.")
        return str(payment["preimage"])

    async def create_invoice(self, amount_sats: int, memo: str) -> str:
        invoice = await self._ask("POST", "/api/v1/payments", {"out": False, "amount": amount_sats, "unit": "sat", "memo": memo})
        return str(invoice["bolt11"])

    async def balance(self) -> Msats:
        return Msats((await self._ask("GET", "/api/v1/wallet"))["balance"])

    async def received(self, payment_hash: str) -> bool:
        return bool((await self._ask("GET", f"/api/v1/payments/{payment_hash}"))["paid"])

    async def _ask(self, method: str, path: str, body: object = None) -> Any:
        return await asyncio.to_thread(self._account.ask, method, path, body)
