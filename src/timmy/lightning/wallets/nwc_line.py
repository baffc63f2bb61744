"""Asking a wallet over Nostr (NIP-47): one sealed question, the one answer to it, and the hints in between.

The relay carries, and is believed nothing: an answer counts when the wallet's key has signed it, it names our question, and it opens. What
a relay loses, keeps back, delays or says twice is therefore silence or repetition, and never another answer. As in calls.py, `NotSent`
says that no question left this machine, and `NoAnswer` that the wallet may have heard it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from timmy.clock import SECOND_MS, Clock
from timmy.identity import nostr
from timmy.identity.nostr import NostrEvent
from timmy.identity.sealing import Nip04, Nip44, Seal, SealBroken
from timmy.ids import RandomBytes
from timmy.lightning.wallets.calls import JsonCalls, NoAnswer, NotSent
from timmy.lightning.wallets.nwc_uri import WalletUri

INFO, REQUEST, ANSWER = 13_194, 23_194, 23_195
NOTIFICATIONS = {Nip44.name: 23_197, Nip04.name: 23_196}
AUTHENTICATION = 22_242  # NIP-42
AUX_BYTES = 32
MESSAGE_BYTES_MAX = 256 * 1024  # "NWC relays SHOULD allow at least a payload size of 64KB"
CONTENT_CHARS_MAX = 128 * 1024
RELAY_WORDS_CHARS_MAX = 200
HEARTBEAT_SECONDS = 30.0
SKEW_SECONDS = 3_600  # how far the wallet's clock may be behind ours before a relay keeps its answers from us
HINTS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Told:
    """The wallet's answer: `result`, or an error's `code` (NIP-47, "Error codes") with a few words for a person."""

    result: Mapping[str, Any] = field(default_factory=dict, repr=False)
    code: str | None = None
    words: str = ""


@dataclass(slots=True)
class _Asked:
    method: str
    message: str  # as it was sent
    told: asyncio.Future[Told]
    repeated: bool = False


class WalletLine:
    """Questions to one wallet, over whichever of its relays can be reached and knows it. A lost connection is made again at the next
    question. `clock` is the machine's: relays compare times with theirs."""

    def __init__(
        self,
        uri: WalletUri,
        clock: Clock,
        random_bytes: RandomBytes,
        session: aiohttp.ClientSession | None = None,
        *,
        timeout_seconds: float,
    ) -> None:
        self.uri = uri
        self._clock = clock
        self._random_bytes = random_bytes
        self._calls = JsonCalls(session, timeout_seconds=timeout_seconds)
        self._timeout_seconds = timeout_seconds
        self._opening = asyncio.Lock()
        self._link: _Link | None = None
        self.is_closed = False

    async def methods(self) -> frozenset[str]:
        """What the wallet says it can do. Raises NotSent."""
        return (await self._open()).methods

    async def ask(self, method: str, params: Mapping[str, object], *, timeout_seconds: float | None = None) -> Told:
        """One question. It ends by itself when we stop waiting: the wallet is told until when it may act on it."""
        patience_seconds = timeout_seconds or self._timeout_seconds
        ends_at = self._now() + int(patience_seconds)
        link = await self._open()
        now = self._now()
        if now > ends_at:
            raise NotSent("it took too long to reach a relay")
        request = json.dumps({"method": method, "params": dict(params)}, ensure_ascii=False)
        tags = [["p", self.uri.wallet_pubkey], ["expiration", str(ends_at + 1)]]
        if link.seal.name != Nip04.name:  # as a wallet that knows only NIP-04 knows it
            tags.append(["encryption", link.seal.name])
        return await link.ask(method, self._sign(REQUEST, tags, link.seal.seal(request), now), patience_seconds)

    async def hints(self) -> AsyncIterator[str]:
        """Hashes of payments that the wallet says it has received, until the connection ends. NotSent: there is none."""
        link = await self._open()
        async with link.listening() as heard:
            while (payment_hash := await heard.get()) is not None:
                yield payment_hash

    async def aclose(self) -> None:
        self.is_closed = True
        await self._calls.aclose()  # first: nothing opens a new connection after this
        if self._link is not None:
            await self._link.aclose()

    async def _open(self) -> _Link:
        async with self._opening:
            if self._link is not None and self._link.is_open:
                return self._link
            if self._link is not None:
                await self._link.aclose()
                self._link = None
            session, troubles = self._calls.session(), list[str]()
            for relay in self.uri.relays:
                try:
                    async with asyncio.timeout(self._timeout_seconds):
                        self._link = await self._connect(session, relay)
                    return self._link
                except NotSent as problem:
                    troubles.append(str(problem))
                except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
                    troubles.append(type(problem).__name__)  # its text may quote the address
            raise NotSent(", ".join(dict.fromkeys(troubles)))

    async def _connect(self, session: aiohttp.ClientSession, relay: str) -> _Link:
        socket = await session.ws_connect(relay, heartbeat=HEARTBEAT_SECONDS, max_msg_size=MESSAGE_BYTES_MAX)
        link = _Link(self, socket, relay)
        try:
            await link.begin()
        except BaseException:
            await link.aclose()
            raise
        return link

    def _now(self) -> int:
        return self._clock.now_ms() // SECOND_MS

    def _sign(self, kind: int, tags: list[list[str]], content: str, at: int) -> NostrEvent:
        return nostr.sign(self.uri.secret, created_at=at, kind=kind, tags=tags, content=content, aux=self._random_bytes(AUX_BYTES))

    def seal(self, offered: str | None) -> Seal | None:
        """The newest form that both know. Without an `encryption` tag a wallet knows only NIP-04 (NIP-47, "Encryption")."""
        forms = (offered or Nip04.name).split()
        kind = next((each for each in (Nip44, Nip04) if each.name in forms), None)
        return kind(self.uri.secret, self.uri.wallet_pubkey, self._random_bytes) if kind else None

    def authentication(self, relay: str, challenge: str) -> NostrEvent:
        return self._sign(AUTHENTICATION, [["relay", relay], ["challenge", challenge]], "", self._now())

    def filters(self) -> tuple[dict[str, object], dict[str, object]]:
        """The wallet's word about itself, and what it says to us."""
        info: dict[str, object] = {"kinds": [INFO], "authors": [self.uri.wallet_pubkey], "limit": 1}
        kinds = [ANSWER, *NOTIFICATIONS.values()]
        to_us = {"kinds": kinds, "authors": [self.uri.wallet_pubkey], "#p": [self.uri.pubkey], "since": self._now() - SKEW_SECONDS}
        return info, to_us


class _Link:
    """One open connection to one relay."""

    seal: Seal
    methods: frozenset[str]

    def __init__(self, line: WalletLine, socket: aiohttp.ClientWebSocketResponse, relay: str) -> None:
        self._line = line
        self._socket = socket
        self._relay = relay
        self._ready: dict[str, asyncio.Event] = {"info": asyncio.Event(), "answers": asyncio.Event()}
        self._asked: dict[str, _Asked] = {}
        self._listeners: set[asyncio.Queue[str | None]] = set()
        self._info: NostrEvent | None = None
        self._reading = asyncio.create_task(self._read())

    @property
    def is_open(self) -> bool:
        return not self._socket.closed and not self._reading.done()

    async def begin(self) -> None:
        """Answers are ephemeral: who is not listening when they come has missed them. So nothing is asked before the relay says that it
        listens for us."""
        await self._subscribe()
        ready = asyncio.gather(*(event.wait() for event in self._ready.values()))
        try:
            await asyncio.wait((ready, self._reading), return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                raise NotSent("the relay hung up")
        finally:
            ready.cancel()
            with suppress(asyncio.CancelledError):
                await ready
        if self._info is None:
            raise NotSent("no wallet has introduced itself at the relay")
        seal = self._line.seal(self._info.tag("encryption"))
        if seal is None:
            raise NotSent("the wallet speaks neither NIP-44 nor NIP-04")
        self.seal = seal
        self.methods = frozenset(self._info.content.split())

    async def _subscribe(self) -> None:
        for name, wanted in zip(self._ready, self._line.filters(), strict=True):
            await self._socket.send_str(json.dumps(["REQ", name, wanted]))

    async def ask(self, method: str, event: NostrEvent, patience_seconds: float) -> Told:
        asked = _Asked(method, json.dumps(["EVENT", nostr.document(event)], ensure_ascii=False), asyncio.get_running_loop().create_future())
        self._asked[event.id] = asked
        try:
            async with asyncio.timeout(patience_seconds):
                await self._socket.send_str(asked.message)
                return await asked.told
        except (TimeoutError, aiohttp.ClientError, OSError) as problem:
            raise NoAnswer(type(problem).__name__) from None
        finally:
            self._asked.pop(event.id, None)
            asked.told.cancel()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[asyncio.Queue[str | None]]:
        heard: asyncio.Queue[str | None] = asyncio.Queue(HINTS_MAX)
        self._listeners.add(heard)
        if not self.is_open:
            heard.put_nowait(None)
        try:
            yield heard
        finally:
            self._listeners.discard(heard)

    async def aclose(self) -> None:
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading
        await self._socket.close()

    # What comes ------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            with suppress(aiohttp.ClientError, OSError):  # as a connection that ended
                async for message in self._socket:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        await self._take(message.data)
        finally:
            for asked in self._asked.values():
                _fail(asked, "the connection was lost")
            for heard in self._listeners:
                _put(heard, None)

    async def _take(self, text: str) -> None:
        match _parsed(text):
            case ["EVENT", str(name), dict(document)]:
                self._event(name, document)
            case ["EOSE", str(name)] if name in self._ready:
                self._ready[name].set()
            case ["OK", str(id), False, str(words), *_] if id in self._asked:
                await self._refused(self._asked[id], words)
            case ["AUTH", str(challenge)]:
                signed = self._line.authentication(self._relay, challenge)
                await self._socket.send_str(json.dumps(["AUTH", nostr.document(signed)]))
                await self._subscribe()  # what was asked before may have been turned away
            case _:
                pass  # a notice, a yes, or something newer

    async def _refused(self, asked: _Asked, words: str) -> None:
        if words.startswith("auth-required:") and not asked.repeated:
            asked.repeated = True
            await self._socket.send_str(asked.message)  # the same event: taken twice, it is still one question
            return
        # The relay's word for it that the wallet never heard of it is not enough: whoever paid on a false no would pay twice.
        _fail(asked, f"the relay says: {words[:RELAY_WORDS_CHARS_MAX]}")

    def _event(self, name: str, document: dict[str, Any]) -> None:
        with suppress(nostr.NostrEventInvalid):  # as if it had not come: a relay can forge nothing, and only waste our time
            event = nostr.parse(document, content_chars_max=CONTENT_CHARS_MAX)
            if event.pubkey != self._line.uri.wallet_pubkey:
                return
            nostr.verify(event)
            if event.kind == INFO and name == "info":
                if self._info is None or event.created_at > self._info.created_at:
                    self._info = event
            elif event.tag("p") not in (None, self._line.uri.pubkey):
                return
            elif event.kind == ANSWER:
                self._answer(event)
            elif hasattr(self, "seal") and event.kind == NOTIFICATIONS[self.seal.name]:
                self._notification(event)

    def _answer(self, event: NostrEvent) -> None:
        asked = self._asked.get(event.tag("e") or "")
        if asked is None or asked.told.done():
            return  # not ours, too late, or told before
        document = self._opened(event)
        told = _told(document, asked.method)
        if told is None:
            _fail(asked, "the wallet's answer makes no sense")
        else:
            asked.told.set_result(told)

    def _notification(self, event: NostrEvent) -> None:
        document = self._opened(event)
        told = document.get("notification")
        payment_hash = told.get("payment_hash") if isinstance(told, dict) else None
        if (
            document.get("notification_type") == "payment_received"
            and isinstance(payment_hash, str)
            and nostr.HEX_32.fullmatch(payment_hash)
        ):
            for heard in self._listeners:
                _put(heard, payment_hash)

    def _opened(self, event: NostrEvent) -> dict[str, Any]:
        try:
            document = _parsed(self.seal.open(event.content))
        except SealBroken:
            return {}
        return document if isinstance(document, dict) else {}


def _told(document: dict[str, Any], method: str) -> Told | None:
    error, result = document.get("error"), document.get("result")
    if isinstance(error, dict):
        code, words = error.get("code"), error.get("message")
        words = words[:RELAY_WORDS_CHARS_MAX] if isinstance(words, str) else ""
        return Told(code=code if isinstance(code, str) and code else "OTHER", words=words)
    if error is not None or not isinstance(result, dict) or document.get("result_type") != method:
        return None
    return Told(result)


def _fail(asked: _Asked, why: str) -> None:
    if not asked.told.done():
        asked.told.set_exception(NoAnswer(why))


def _put(heard: asyncio.Queue[str | None], what: str | None) -> None:
    if heard.full():
        heard.get_nowait()  # a hint may be lost; the look-up is the truth
    heard.put_nowait(what)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
