"""What visitors say, and what Timmy answers: written down as events, so that every process shows both, and a restart keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from timmy import events
from timmy.clock import SECOND_MS, Clock, iso
from timmy.db import Database, DatabaseDown, Tx
from timmy.errors import Outage
from timmy.events import NewEvent
from timmy.ids import RandomBytes
from timmy.models.visitors import visitor_prompt
from timmy.tasks import Bell
from timmy.world import store, uses
from timmy.world.crowd import POLICY, STRIKES_MAX, Crowd, Viewer
from timmy.world.free_words import FreeWords
from timmy.world.plain import one_line, spoken
from timmy.world.terms import MESSAGE_CHARS_MAX, REPLY_CHARS_MAX, Terms
from timmy.world.told import CHAT, WORLD, Told
from timmy.world.uses import Right

REPLY_TOKENS_MAX = 400  # of which a reasoning model may think most; what is said is cut to REPLY_CHARS_MAX
SPEAKING_MAX = 64  # messages on their way to the database at once
SAID_MAX = 1_000  # words whose speaker is remembered; of what has not come back by then, nobody is told that it was theirs
KEPT_MAX = 1_000  # words that stay in the database, whoever said them
THIN_OUT_EVERY = 50  # of what this process wrote
TOLD_OFF_EVERY_MS = 1 * SECOND_MS
MOMENT = "I need a moment…"
CLOUDED = "My crystal ball has clouded over. Ask me again in a little while."
SPEECHLESS = "Hm. To that I have nothing to say."

log = structlog.get_logger("timmy.world")


@dataclass(frozen=True, slots=True)
class Words:
    """What somebody has said, on its way to everybody."""

    text: str
    by: str  # a tag of this message, which its sender's process knows and nobody else
    address: str
    at_ms: int


class Talk:
    def __init__(
        self, db: Database, clock: Clock, bell: Bell, random_bytes: RandomBytes, free_words: FreeWords, crowd: Crowd, terms: Terms
    ) -> None:
        self._db = db
        self._clock = clock
        self._bell = bell
        self._random_bytes = random_bytes
        self._free_words = free_words
        self._crowd = crowd
        self._per_minute = Right("chat", uses.MINUTE_MS, terms.replies_per_minute)
        self._per_day = Right("chat_day", uses.DAY_MS, terms.replies_per_day)
        self._speaking = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._unthinned = THIN_OUT_EVERY  # the last process may have died before it came to it
        self._said: dict[str, Viewer] = {}  # by tag: whose words they are, until they have come back from the log

    def hear(self, viewer: Viewer, given: str | bytes) -> None:
        """One message of a viewer, of a size that was checked. Never waits, and never raises."""
        now_ms = self._clock.now_ms()
        if not viewer.frames.take(now_ms):
            return self._tell_off(viewer, now_ms)
        if isinstance(given, bytes):
            return self._error(viewer, "binary", 'Send text, not binary: a JSON object such as {"type": "ping"}.')
        try:
            message = orjson.loads(given)
        except orjson.JSONDecodeError:
            return self._error(viewer, "not_json", 'Send a JSON object such as {"type": "visitor_message", "text": "Hello"}.')
        if not isinstance(message, dict):
            return self._error(viewer, "not_json", "Send a JSON object, with a type.")
        match message.get("type"):
            case "ping":
                viewer.push({"type": "pong", "at": iso(now_ms)})
            case "visitor_message":
                self._hear_words(viewer, message.get("text"), now_ms)
            case _:
                self._error(viewer, "type_unknown", "type must be visitor_message or ping.")

    def _hear_words(self, viewer: Viewer, given: object, now_ms: int) -> None:
        if not isinstance(given, str):
            return self._error(viewer, "text_missing", 'Say something: {"type": "visitor_message", "text": "Hello"}.')
        if len(given) > MESSAGE_CHARS_MAX:
            return self._error(viewer, "message_too_long", f"Say it in at most {MESSAGE_CHARS_MAX} characters; this has {len(given)}.")
        text = one_line(given)
        if not text:
            return self._error(viewer, "message_empty", "There is nothing in it that could be shown. Say something.")
        if not (viewer.words.take(now_ms) and self._crowd.may_speak(viewer.address, now_ms)):
            return self._tell_off(viewer, now_ms)
        if self._speaking >= SPEAKING_MAX or not self._crowd.may_be_heard(now_ms):
            return self._error(viewer, "too_busy", "Everybody is talking at once. Say it again in a moment.")
        by = self._random_bytes(8).hex()
        self._speaking += 1
        self._said[by] = viewer
        if len(self._said) > SAID_MAX:
            del self._said[next(iter(self._said))]
        self._spawn(self._speak(viewer, Words(text, by, viewer.address, now_ms)))

    def whose(self, told: Told) -> Viewer | None:
        """Who of those in front of this process has said it. Asked once: after that it is nobody's."""
        return self._said.pop(told.by, None) if told.by is not None and told.is_a_visitors else None

    def forget(self, viewer: Viewer) -> None:
        """It has left: nobody is to be told any more that these words are their own."""
        for by in [by for by, speaker in self._said.items() if speaker is viewer]:
            del self._said[by]

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # said --------------------------------------------------------------------------------------------------

    async def _speak(self, viewer: Viewer, words: Words) -> None:
        is_written = False
        try:
            answered = await self._db.write_grouped(self._say_together, words)
            is_written = True
        except DatabaseDown:
            return self._error(viewer, "not_said", "That could not be written down just now. Say it again in a moment.")
        finally:
            self._speaking -= 1
            if not is_written:  # it will never come back
                self._said.pop(words.by, None)
        self._bell.ring()
        if answered:
            self._spawn(self._answer(viewer, words))
        elif self._per_minute.most:
            self._whisper(viewer, MOMENT)
        self._unthinned += 1
        if self._unthinned >= THIN_OUT_EVERY:
            self._unthinned = 0
            await self._thin_out()

    async def _thin_out(self) -> None:
        """Many addresses together may say much: what has long scrolled by goes."""
        try:
            await self._db.write(events.keep_last, WORLD, KEPT_MAX)
        except DatabaseDown as down:
            log.warning("world.not_thinned_out", why=down.message)

    def _say_together(self, tx: Tx, said: Sequence[Words]) -> list[bool]:
        """Write them down; which of them will be answered."""
        answered = [self._is_due(tx, words) for words in said]
        news = [
            NewEvent(WORLD, CHAT, {"agentId": "visitor", "text": words.text, "by": words.by, "answered": due})
            for words, due in zip(said, answered, strict=True)
        ]
        events.append(tx, said[0].at_ms, news)
        return answered

    def _is_due(self, tx: Tx, words: Words) -> bool:
        """The day's row first, always: whoever holds it is alone, and nobody waits in a circle."""
        of_the_day = uses.use(tx, self._per_day, uses.EVERYBODY, words.at_ms)
        if not of_the_day.granted:
            return False
        if uses.use(tx, self._per_minute, words.address, words.at_ms).granted:
            return True
        store.give_back(tx, self._per_day.what, uses.EVERYBODY, of_the_day.since_ms)
        return False

    async def _answer(self, viewer: Viewer, words: Words) -> None:
        answer = NewEvent(WORLD, CHAT, {"agentId": "timmy", "text": await self._reply(words), "by": words.by})
        try:
            await self._db.write(events.append, self._clock.now_ms(), [answer])
        except DatabaseDown as down:
            log.warning("world.answer_lost", why=down.message)
            return self._whisper(viewer, CLOUDED)
        self._bell.ring()

    async def _reply(self, words: Words) -> str:
        """What is said in any case: a visitor who was promised an answer gets one."""
        try:
            completion = await self._free_words.say(visitor_prompt(words.text), max_output_tokens=REPLY_TOKENS_MAX)
        except Outage as outage:
            log.warning("world.no_answer", code=outage.code, why=outage.message)
            return CLOUDED
        except Exception:  # a fault of ours, or of an adapter: for the operator to read, and nothing a visitor could do about
            log.exception("world.no_answer", code="fault")
            return CLOUDED
        return spoken(completion.text, REPLY_CHARS_MAX) or SPEECHLESS

    def _whisper(self, viewer: Viewer, text: str) -> None:
        """To one visitor, and kept by nobody."""
        viewer.push({"type": CHAT, "agentId": "timmy", "text": text, "at": iso(self._clock.now_ms())})

    # refused -----------------------------------------------------------------------------------------------

    def _tell_off(self, viewer: Viewer, now_ms: int) -> None:
        viewer.strikes += 1
        if viewer.strikes > STRIKES_MAX:
            viewer.line.close(POLICY, "too many messages")
        elif now_ms - viewer.told_off_at_ms >= TOLD_OFF_EVERY_MS:
            viewer.told_off_at_ms = now_ms
            self._error(viewer, "too_many_messages", "That was too much at once. Wait a few seconds, and say it again.")

    def _error(self, viewer: Viewer, code: str, error: str) -> None:
        viewer.push({"type": "error", "code": code, "error": error, "at": iso(self._clock.now_ms())})

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("world.talk_stumbled", exc_info=task.exception())
