"""What wallets call when something happened. Nothing that they say is believed: it is a reason to look, and looking is harmless."""

from __future__ import annotations

import hmac
import re

from starlette.requests import Request
from starlette.responses import Response

from timmy.web import refusals
from timmy.web.bodies import read_object
from timmy.web.house import WebHouse
from timmy.web.operations import Operation, Sends, Takes, path_parameter
from timmy.web.render import private

HASH = re.compile(r"[0-9a-f]{64}")


class HookRoutes:
    def __init__(self, house: WebHouse, secret: str) -> None:
        self.house = house
        self._secret = secret.encode()

    async def lnbits(self, request: Request) -> Response:
        # The secret keeps strangers from making us look all day long. Sats are safe without it: only the wallet's own word counts.
        given = str(request.path_params["secret"]).encode("utf-8", "replace")
        if not hmac.compare_digest(given, self._secret):
            raise refusals.RouteNotFound("There is nothing at this address. What there is, is listed at /api/docs.")
        document = await read_object(request, bytes_max=self.house.settings.max_body_bytes)
        payment_hash = document.get("payment_hash")
        if isinstance(payment_hash, str) and HASH.fullmatch(payment_hash):
            await self.house.wallet_hint(payment_hash)
        return private({"heard": True})


def operations(house: WebHouse, secret: str) -> tuple[Operation, ...]:
    routes = HookRoutes(house, secret)
    return (
        Operation(
            method="POST",
            path="/api/hooks/lnbits/{secret}",
            name="lnbitsHook",
            summary="LNbits says that an invoice was paid",
            about="A hint and nothing more: the wallet is asked, and only its answer counts. Exists only with WALLET=lnbits.",
            endpoint=routes.lnbits,
            takes=Takes("LnbitsHook", {"paid": {"value": {"payment_hash": "ab" * 32}}}),
            sends=(Sends(200, "Heard.", "HookHeard", example={"heard": True}),),
            refuses=(refusals.RouteNotFound,),
            parameters=(path_parameter("secret", "Made by this server and told to LNbits with each invoice.", "…"),),
        ),
    )
