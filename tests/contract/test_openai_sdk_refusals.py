"""What the model's provider refuses, as the official SDK sees it: the caller's error where they can mend it, and an outage where not."""

from __future__ import annotations

import openai
import pytest
from tests.contract.test_openai_sdk import MESSAGES, MODEL, Shop, shop

from timmy.models.trouble import Refused

__all__ = ["shop"]

THEIRS = {
    Refused.TOO_LARGE: "context_length_exceeded",
    Refused.CONTENT: "content_policy_violation",
    Refused.BAD_REQUEST: "request_not_accepted",
}


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("why", Refused)
async def test_what_the_customer_can_mend_is_a_400_and_what_only_the_operator_can_is_an_outage(
    shop: Shop, why: Refused, streams: bool
) -> None:
    shop.agent.then, shop.agent.breaks_at, shop.agent.refusal = "refuses", 0, why
    async with shop.client(retries=2) as client:
        with pytest.raises(openai.APIStatusError) as refused:
            await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=streams)
    headers = refused.value.response.headers
    told = (refused.value.status_code, refused.value.code, refused.value.type, "retry-after" in headers)
    theirs = (400, THEIRS.get(why), "invalid_request_error", False)
    assert told == (theirs if why in THEIRS else (502, "model_refused", "server_error", True))
    assert headers["x-should-retry"] == "false"
    assert shop.agent.calls["chat"] == 1
    assert await shop.settled() == 1_000_000


async def test_a_refusal_in_the_middle_ends_the_stream_with_it_and_what_came_is_paid(shop: Shop) -> None:
    shop.agent.then, shop.agent.breaks_at = "refuses", 2
    async with shop.client() as client:
        stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError) as refused:
            [chunk async for chunk in stream]
    assert (refused.value.code, refused.value.type) == ("content_policy_violation", "invalid_request_error")
    assert 0 < 1_000_000 - await shop.settled() < 3_000
