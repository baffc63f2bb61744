"""How a program finds out, without having been told, what is sold here and how it is paid for."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from timmy.completions import CompletionsDesk
from timmy.web import v1_views
from timmy.web.house import WebHouse
from timmy.web.operations import App, Document, Operation, Sends
from timmy.web.render import Json

WAYS: Document = {
    "schemes": ["L402", "LSAT", "Payment"],
    "credentials": "Authorization: L402 <macaroon>:<preimage>",
    "payment": {"method": "lightning", "intents": ["charge", "session"]},
}
PUBLIC = {"Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*"}

LLMS = """\
# Timmy

> An AI agent's work for Bitcoin Lightning payments. No account, no card: whoever can pay an invoice can buy.

Everything is paid for in sats, thousandths of a sat are counted, and what is not used goes back.

## Conversations, OpenAI-compatible

- [POST /v1/chat/completions]({url}/v1/chat/completions): OpenAI's chat completions, streaming or not. The API key is a session's macaroon.
- [GET /v1/models]({url}/v1/models): the models and their prices, no key needed.
- [GET /v1/key]({url}/v1/key): what a key can still spend.

Without a key the answer is 402 with `WWW-Authenticate: L402 macaroon="...", invoice="..."`. Pay the invoice, keep the preimage, and send
`Authorization: L402 <macaroon>:<preimage>` from then on. What is paid is a balance; each call takes what it cost.

The same answer has challenges of the `Payment` scheme (MPP), method `lightning`, for the same invoice: `intent="charge"` buys one call,
`intent="session"` opens a session that is topped up and closed, with the rest paid back. `Accept-Payment: lightning/charge` asks for one
of them alone.

## One piece of work

- [POST /api/jobs]({url}/api/jobs): `{{"request": "..."}}`. Pay `evalInvoice`, look again, pay `workInvoice`, read `result`.
- [POST /api/jobs?pay=l402]({url}/api/jobs?pay=l402): the same for L402: 402, pay, send it again with the credential, read `result`. What it
  did not cost stays in the balance.

## More

- [OpenAPI document]({url}/api/openapi.json)
- [The same as a page]({url}/api/docs)
- [L402, for programs]({url}/.well-known/l402)
"""


class DiscoveryRoutes:
    def __init__(self, house: WebHouse, desk: CompletionsDesk) -> None:
        self.house = house
        self.desk = desk

    async def l402(self, _request: Request) -> Response:
        url, settings = self.house.settings.public_url, self.house.settings
        models = [{"id": model["id"], "pricing": model["pricing"]} for one in self.desk.models() for model in (v1_views.model(one, 0),)]
        return Json(
            {
                "name": "Timmy",
                "version": "0",
                **WAYS,
                "depositSats": {"min": settings.session_min.value, "max": settings.session_max.value},
                "caveats": ["timmy_valid_until", "timmy_max_msat", "timmy_max_msat_per_request", "timmy_capabilities", "only"],
                "endpoints": [
                    {"method": "POST", "url": f"{url}/v1/chat/completions", "description": "OpenAI-compatible chat completions"},
                    {"method": "POST", "url": f"{url}/api/jobs?pay=l402", "description": "One piece of work, judged and done in one call"},
                    {"method": "GET", "url": f"{url}/v1/key", "description": "What the key can still spend"},
                ],
                "models": models,
                "openapi": f"{url}/api/openapi.json",
            },
            headers=PUBLIC,
        )

    async def openapi(self, request: Request) -> Response:
        app: App = request.app
        return Json(await app.describe(), headers=PUBLIC)

    async def llms(self, _request: Request) -> Response:
        return PlainTextResponse(LLMS.format(url=self.house.settings.public_url), headers=PUBLIC)


EXAMPLE: Document = {
    "name": "Timmy",
    "version": "0",
    **WAYS,
    "depositSats": {"min": 100, "max": 100000},
    "caveats": ["timmy_valid_until"],
    "endpoints": [],
    "models": [],
    "openapi": "http://127.0.0.1:8402/api/openapi.json",
}


def operations(house: WebHouse, desk: CompletionsDesk) -> tuple[Operation, ...]:
    routes = DiscoveryRoutes(house, desk)
    return (
        Operation(
            method="GET",
            path="/.well-known/l402",
            name="discoverL402",
            summary="What is sold for L402",
            about="For programs that look for something to buy: the addresses, the models, the smallest deposit.",
            endpoint=routes.l402,
            sends=(Sends(200, "What there is.", "L402Discovery", example=EXAMPLE),),
            tag="openai",
        ),
        Operation(
            method="GET",
            path="/openapi.json",
            name="discoverOpenapi",
            summary="This document, where clients of the Payment scheme look for it",
            about="draft-payment-discovery-00. The same as /api/openapi.json.",
            endpoint=routes.openapi,
            sends=(Sends(200, "The document.", schema={"type": "object"}),),
            tag="openai",
        ),
        Operation(
            method="GET",
            path="/llms.txt",
            name="llms",
            summary="This server, told to a language model",
            about="In the form of llmstxt.org.",
            endpoint=routes.llms,
            sends=(Sends(200, "Markdown.", media_type="text/plain"),),
            tag="openai",
        ),
    )
