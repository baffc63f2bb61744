"""Development routes: pay an invoice of ours, and get an invoice to be paid by us. They exist only where the operator's settings say so."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from timmy.lightning.wallets.protocol import WalletDown
from timmy.web import fields, refusals
from timmy.web.bodies import read_object
from timmy.web.house import DevDesk, WebHouse
from timmy.web.operations import Operation, Sends, Takes, path_parameter
from timmy.web.render import private

HASH = re.compile(r"[0-9a-f]{64}")


class DevRoutes:
    def __init__(self, house: WebHouse, dev: DevDesk) -> None:
        self.house = house
        self.dev = dev

    async def pay(self, request: Request) -> Response:
        payment_hash = str(request.path_params["paymentHash"]).lower()
        if HASH.fullmatch(payment_hash) is None or not await self.dev.pay(payment_hash):
            raise refusals.InvoiceNotFound("There is no invoice with this payment hash here. It is the paymentHash of an invoice object.")
        return private({"paid": True, "preimage": await self.dev.preimage(payment_hash)})

    async def invoice(self, request: Request) -> Response:
        document = await read_object(request, bytes_max=self.house.settings.max_body_bytes)
        return private({"paymentRequest": await self.dev.customer_invoice(fields.amount_sats(document))}, 201)


def operations(house: WebHouse, dev: DevDesk) -> tuple[Operation, ...]:
    routes = DevRoutes(house, dev)
    return (
        Operation(
            method="POST",
            path="/api/dev/stub/pay/{paymentHash}",
            name="devPayInvoice",
            summary="Pay an invoice",
            about="With the built-in wallet the invoice is marked as paid; with a real one it is really paid, from the operator's sats. "
            "The built-in wallet shows the `preimage`, so that L402 can be tried.",
            endpoint=routes.pay,
            sends=(Sends(200, "It is paid, now or since before.", "Paid", example={"paid": True, "preimage": "cd" * 32}),),
            refuses=(refusals.InvoiceNotFound, WalletDown),
            parameters=(path_parameter("paymentHash", "The paymentHash of an invoice object.", "ab" * 32),),
            tag="development",
        ),
        Operation(
            method="POST",
            path="/api/dev/stub/invoice",
            name="devCustomerInvoice",
            summary="An invoice of the built-in customer",
            about="The built-in wallet plays both sides: this is an invoice that a refund can be paid to.",
            endpoint=routes.invoice,
            takes=Takes("DevInvoiceWanted", {"ten": {"value": {"amountSats": 10}}}),
            sends=(Sends(201, "The invoice.", "DevInvoice", example={"paymentRequest": "lnbcrt100n1p…"}),),
            refuses=(refusals.FieldMissing, refusals.FieldWrongType, refusals.FieldUnknown, refusals.SatsOutOfRange, WalletDown),
            tag="development",
        ),
    )
