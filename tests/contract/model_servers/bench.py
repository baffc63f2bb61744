"""A provider under test with the server behind it, and a retry that does not really wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from tests.contract.model_servers.anthropic_server import AnthropicServer
from tests.contract.model_servers.openai_server import OpenAIServer
from tests.contract.model_servers.script import API_KEY, MODEL, ModelServer

from timmy.models.anthropic import Anthropic
from timmy.models.builtin import BuiltinAgent
from timmy.models.openai import OpenAICompatible
from timmy.models.protocol import Completion, Delta, Prompt
from timmy.models.retry import Patience, Retry
from timmy.models.upstream import Timeouts

Remote = OpenAICompatible | Anthropic

QUICK = Timeouts(connect_seconds=5, first_byte_seconds=5, idle_seconds=5, total_seconds=10)
ASK = Prompt(system="You are a test.", user="Say something.")


@dataclass
class Bench:
    provider: Remote
    server: ModelServer
    slept: list[float] = field(default_factory=list)

    async def complete(self, prompt: Prompt = ASK, *, limit: int = 1_000) -> Completion:
        return await self.provider.complete(prompt, model=MODEL, max_output_tokens=limit)

    async def stream(self, prompt: Prompt = ASK, *, limit: int = 1_000) -> tuple[list[str], list[Completion]]:
        return await drained(self.provider, prompt, limit=limit)


async def drained(provider: Remote | BuiltinAgent, prompt: Prompt, *, limit: int = 1_000) -> tuple[list[str], list[Completion]]:
    """The pieces and the completions of a stream; the order is checked on the way."""
    texts: list[str] = []
    completions: list[Completion] = []
    async with aclosing(provider.stream(prompt, model=MODEL, max_output_tokens=limit)) as items:
        async for item in items:
            assert not completions, "nothing may follow the completion"
            if isinstance(item, Delta):
                texts.append(item.text)
            else:
                completions.append(item)
    return texts, completions


@asynccontextmanager
async def bench(
    kind: str, *, timeouts: Timeouts = QUICK, patience: Patience | None = None, key: str | None = API_KEY, server: ModelServer | None = None
) -> AsyncIterator[Bench]:
    """`kind` is "openai" or "anthropic"."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    retry = Retry(patience, random=Random(7), sleep=sleep)
    async with (server or (OpenAIServer() if kind == "openai" else AnthropicServer())).running() as running:
        provider: Remote
        if kind == "openai":
            provider = OpenAICompatible(running.url + "/v1", key, timeouts=timeouts, retry=retry)
        else:
            provider = Anthropic(key or "", running.url, timeouts=timeouts, retry=retry)
        try:
            yield Bench(provider, running, slept)
        finally:
            await provider.aclose()
