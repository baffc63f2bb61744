"""OpenAI's SDK for JavaScript buys by changing `baseURL` and `apiKey`, and an answer that was lost on the way is paid for once."""

from __future__ import annotations

from scripts import foreign_clients


async def test_openais_javascript_sdk_buys_with_a_sessions_macaroon_as_its_key() -> None:
    foreign_clients.check(await foreign_clients.buy(foreign_clients.with_openai_js))
