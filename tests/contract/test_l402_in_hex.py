"""Clients that show a macaroon in hex, and the proof of its payment as a caveat: in the header `Macaroon`, or gRPC's name for it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.contract.test_openai_sdk import MESSAGES, MODEL, Shop, paid, shop

from timmy.identity.macaroons import Macaroon, decode

__all__ = ["shop"]

BODY = {"model": MODEL, "messages": MESSAGES}


async def asked(shop: Shop, headers: dict[str, str]) -> tuple[int, Any]:
    async with shop.site.http.post(f"{shop.site.url}/v1/chat/completions", json=BODY, headers=headers) as answer:
        return answer.status, await answer.json()


async def bought(shop: Shop) -> tuple[Macaroon, str]:
    """An offer's macaroon, and the preimage of its invoice; we are not told of the payment."""
    async with shop.site.http.post(f"{shop.site.url}/v1/chat/completions", json=BODY) as offer:
        assert offer.status == 402
        challenge = offer.headers.getall("WWW-Authenticate")[0]
    macaroon, invoice = challenge.split('"')[1::2]
    return decode(macaroon), await paid(shop, invoice)


@pytest.mark.parametrize("name", ["Macaroon", "Grpc-Metadata-Macaroon"])
async def test_a_macaroon_in_hex_with_its_preimage_is_served(shop: Shop, name: str) -> None:
    macaroon, preimage = await bought(shop)
    shown = macaroon.with_caveat(f"preimage={preimage}").pack().hex()
    assert (await asked(shop, {name: shown}))[0] == 200
    assert (await asked(shop, {name: shown.upper()}))[0] == 200
    assert (await asked(shop, {"Macaroon": shown, "Grpc-Metadata-Macaroon": shown}))[0] == 200


async def test_the_same_macaroon_is_good_in_every_form(shop: Shop) -> None:
    macaroon, preimage = await bought(shop)
    proven = macaroon.with_caveat(f"preimage={preimage}")
    assert (await asked(shop, {"Macaroon": proven.pack().hex()}))[0] == 200
    assert (await asked(shop, {"Macaroon": macaroon.pack().hex()}))[0] == 200, "once it is paid it is a key"
    assert (await asked(shop, {"Authorization": f"Bearer {proven.encode()}"}))[0] == 200
    assert (await asked(shop, {"Authorization": f"L402 {proven.encode()}:{preimage}"}))[0] == 200


async def test_what_is_no_proof_is_refused(shop: Shop) -> None:
    macaroon, preimage = await bought(shop)
    wrong = macaroon.with_caveat("preimage=" + "00" * 32)
    good = macaroon.with_caveat(f"preimage={preimage}")
    for headers, code in (
        ({"Macaroon": wrong.pack().hex()}, "preimage_wrong"),
        ({"Macaroon": wrong.with_caveat(f"preimage={preimage}").pack().hex()}, "macaroon_not_for_this"),
        ({"Macaroon": macaroon.with_caveat("preimage=zz").pack().hex()}, "credential_malformed"),
        ({"Macaroon": "nonsense"}, "credential_malformed"),
        ({"Macaroon": "0"}, "credential_malformed"),
        ({"Macaroon": "00"}, "macaroon_malformed"),
        ({"Macaroon": good.pack().hex(), "Grpc-Metadata-Macaroon": macaroon.pack().hex()}, "credential_malformed"),
        ({"Authorization": f"Bearer {wrong.encode()}"}, "macaroon_not_for_this"),
    ):
        status, told = await asked(shop, headers)
        assert (status in (401, 403), told["error"]["code"]) == (True, code), headers
    assert shop.agent.calls["chat"] == 0


async def test_a_client_that_writes_the_word_twice_is_served(shop: Shop) -> None:
    """pyl402 keeps `LSAT <macaroon>:<preimage>` and puts `L402` before it when it shows it again."""
    macaroon, preimage = await bought(shop)
    assert (await asked(shop, {"Authorization": f"L402 LSAT {macaroon.encode()}:{preimage}"}))[0] == 200
    status, told = await asked(shop, {"Authorization": f"L402 L402 LSAT {macaroon.encode()}:{preimage}"})
    assert (status, told["error"]["code"]) == (401, "macaroon_malformed")
