"""The house of session_house.py with a model that streams as it is told, for the tests of completions."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

from tests.contract.session_house import RATES, TERMS, Agent, House

from timmy.clock import ManualClock
from timmy.completions import Completions, CompletionView, LiveCompletion, Terms, Wanted, audit
from timmy.completions.protocol import Use
from timmy.db import Database
from timmy.idempotency import Key
from timmy.identity.macaroons import Macaroon, decode
from timmy.ids import system_random
from timmy.models import ProviderDown, Usage, trouble
from timmy.models.chat import Chat, Draft, Piece, Reply, Skill
from timmy.models.thinking import Thinking
from timmy.models.trouble import Refused
from timmy.money import Msats
from timmy.pricing import BtcOracle
from timmy.sessions import SessionView
from timmy.tasks import Worker

CHAT_TERMS = Terms(TERMS, ("timmy-demo", "timmy-demo-small"))
V1 = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Say something."}]


class Talker(Agent):
    """A model that says `words`, one piece each. `then`: how it goes on after `breaks_at` of them. `gates`: one is taken before each piece,
    once there are any."""

    skills = frozenset({Skill.TOOLS, Skill.IMAGES, Skill.JSON_OBJECT})

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = ["one ", "two ", "three ", "four ", "five."]
        self.then = "ends"  # "down", "refuses", "stalls", "bug"
        self.refusal = Refused.CONTENT
        self.breaks_at: int | None = None
        self.usage: Usage | None = None  # None: our own count
        self.finish = "stop"
        self.thinks = Thinking.NEVER
        self.gates: asyncio.Semaphore | None = None
        self.said = 0  # pieces that were produced
        self.hung_up = asyncio.Event()
        self.chats: list[tuple[Chat, int]] = []

    def thinking(self, model: str, options: Mapping[str, Any]) -> Thinking:
        return self.thinks

    async def chat(self, chat: Chat, *, model: str, max_output_tokens: int) -> Reply:
        async for item in self.chat_stream(chat, model=model, max_output_tokens=max_output_tokens):
            if isinstance(item, Reply):
                return item
        raise AssertionError

    async def chat_stream(self, chat: Chat, *, model: str, max_output_tokens: int) -> AsyncGenerator[Piece | Reply, None]:
        self.calls["chat"] += 1
        self.chats.append((chat, max_output_tokens))
        draft = Draft(chat, model, max_output_tokens)
        try:
            for place, word in enumerate([*self.words, None]):
                if place == self.breaks_at and self.then != "ends":
                    await self._breaks()
                if word is None:
                    break
                if self.gates is not None:
                    await self.gates.acquire()
                self.said += 1
                piece = draft.add(content=word)
                assert piece is not None
                yield piece
        except (asyncio.CancelledError, GeneratorExit):
            self.hung_up.set()
            raise
        draft.finish = self.finish
        reply = draft.reply()
        yield reply if self.usage is None else Reply(reply.message, reply.finish, self.usage)

    async def _breaks(self) -> None:
        if self.then == "down":
            raise ProviderDown("It broke off.")
        if self.then == "refuses":
            raise trouble.refused(self.refusal)
        if self.then == "bug":
            raise ZeroDivisionError
        await asyncio.Event().wait()


class Chatting(House):
    """A house that sells conversations too."""

    agent: Talker

    def __init__(self, db: Database, clock: ManualClock, agent: Talker | None = None, street: Database | None = None) -> None:
        super().__init__(db, clock, agent=agent or Talker(), street=street)
        oracle = BtcOracle((), fallback_cents=100_000_00, max_age_seconds=3_600, clock=clock, fetch=_no_fetch)
        self.completions = Completions(db, clock, self.bell, system_random, self.agent, RATES, oracle, CHAT_TERMS)
        handlers = {**self.sessions.handlers, **self.completions.handlers}
        self.worker = Worker(db, clock, self.bell, handlers, concurrency=1)

    async def aclose(self) -> None:
        await self.completions.aclose(5.0)
        await super().aclose()

    def key(self, view: SessionView, *caveats: str) -> Macaroon:
        assert view.macaroon is not None
        macaroon = decode(view.macaroon)
        for caveat in caveats:
            macaroon = macaroon.with_caveat(caveat)
        return macaroon

    def use(self, path: str = V1) -> Use:
        return Use("chat", path, self.clock.now_ms())

    async def complete(self, view: SessionView, *caveats: str, **wants: Any) -> CompletionView:
        return await self.completions.complete(self.key(view, *caveats), self.use(), wanted(**wants))

    async def stream(self, view: SessionView, *caveats: str, **wants: Any) -> LiveCompletion:
        live = await self.completions.stream(self.key(view, *caveats), self.use(), wanted(stream=True, **wants))
        assert not isinstance(live, CompletionView)
        return live

    async def check(self) -> None:
        await super().check()
        assert [check for check in await self.db.read(audit) if not check.holds] == []

    async def stands_still(self) -> None:
        """Nothing is reserved any more, for anybody."""
        assert {account: held for account, (_, held) in (await self.books()).items() if held} == {}


def wanted(
    messages: list[dict[str, Any]] | None = None,
    *,
    stream: bool = False,
    model: str = "timmy-demo",
    max_tokens: int | None = None,
    max_cost: Msats | None = None,
    retry: bool = False,
    key: str | None = None,
    **options: Any,
) -> Wanted:
    messages = messages or HELLO
    body = hashlib.sha256(json.dumps([messages, model, max_tokens, options]).encode()).hexdigest()
    chat = Chat.of(messages, options)
    return Wanted(chat, model, max_tokens, max_cost, stream, body, retry, Key(key, body) if key else None)


async def read_all(live: LiveCompletion, most: int | None = None) -> str:
    """The text of a stream, to its end or until `most` pieces were taken."""
    texts: list[str] = []
    while (most is None or len(texts) < most) and (batch := await live.take()):
        texts += [piece.text for piece in batch]
    return "".join(texts)


async def at_home(db: Database, clock: ManualClock) -> AsyncIterator[Chatting]:
    house = Chatting(db, clock)
    await house.wallet.balance()
    yield house
    await house.aclose()
    await house.check()
    await house.stands_still()


async def _no_fetch(_: str) -> bytes:
    raise AssertionError("there are no price sources")
