"""Models whose names have slashes in them, as those of OpenRouter do, are found by their names."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from tests.contract.http_completions import MODELS
from tests.contract.http_desk import World


@pytest.mark.parametrize("path", ["makers/with%20a%20slash", "makers%2Fwith%20a%20slash", "makers%2fwith%20a%20slash", "timmy-demo"])
async def test_a_model_is_found_by_its_name_however_the_slash_is_written(path: str) -> None:
    async with World.build(talks=True).client() as client:
        answer = await client.get(f"/v1/models/{path}")
    assert (answer.status_code, answer.json()["id"] in MODELS) == (200, True)


@pytest.mark.parametrize("path", ["", "/", "makers", "makers/", "makers//with%20a%20slash", "timmy-demo/", "../key", "%2e%2e%2fkey", "%00"])
async def test_what_is_no_model_is_not_found(path: str) -> None:
    async with World.build(talks=True).client() as client:
        answer = await client.get(f"/v1/models/{path}")
    assert answer.status_code in (402, 404), answer.text  # the client itself makes /v1/key of the dots
    assert answer.json()["error"]["code"] in ("model_not_found", "route_not_found", "payment_required")


async def test_openais_sdk_finds_it() -> None:
    transport: Any = World.build(talks=True).client()
    async with transport as http, openai.AsyncOpenAI(base_url="http://timmy.test/v1", api_key="none", http_client=http) as client:
        assert (await client.models.retrieve(MODELS[1])).id == MODELS[1]
