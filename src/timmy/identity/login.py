"""Logging in with a key: a nonce to sign, or a signed request (NIP-98). Each nonce and each event counts once."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from timmy.clock import SECOND_MS, Clock
from timmy.errors import Refusal
from timmy.identity import nostr, store, trust
from timmy.identity.nostr import NostrEvent, NostrEventInvalid
from timmy.identity.tokens import Tokens
from timmy.identity.trust import Standing
from timmy.ids import RandomBytes

if TYPE_CHECKING:  # a buyer signs here too, and has no use for a database driver
    from timmy.db import Database, Tx

CHALLENGE_SECONDS = 300
TOKEN_SECONDS = 7 * 24 * 3_600
HTTP_AUTH, CLIENT_AUTH = 27_235, 22_242  # NIP-98, NIP-42
HTTP_AUTH_SECONDS, CLIENT_AUTH_SECONDS = 60, 600  # how far an event's clock may be from ours, either way
BURN_SECONDS = 2 * CLIENT_AUTH_SECONDS
HEADER_CHARS_MAX = 16_384
NONCE_BYTES = 32


class ChallengeUnknown(Refusal):
    status = 401
    code = "challenge_unknown"
    title = "That challenge was not given, or was used before"


class ChallengeExpired(Refusal):
    status = 401
    code = "challenge_expired"
    title = "That challenge has expired"


class EventStale(Refusal):
    status = 401
    code = "nostr_event_stale"
    title = "The event's time is too far from ours"


class EventReplayed(Refusal):
    status = 401
    code = "nostr_event_replayed"
    title = "That event was used before"


class EventNotForThis(Refusal):
    status = 401
    code = "nostr_event_not_for_this"
    title = "The event was signed for something else"


@dataclass(frozen=True, slots=True)
class Challenge:
    nonce: str
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class Login:
    token: str
    standing: Standing
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """The request that a NIP-98 event is to be for. `target` is path and query as sent; `body` the whole body."""

    method: str
    target: str
    body: bytes


class Identity:
    def __init__(
        self, db: Database, clock: Clock, random_bytes: RandomBytes, tokens: Tokens, terms: trust.Terms, *, public_url: str
    ) -> None:
        self._db = db
        self._clock = clock
        self._random_bytes = random_bytes
        self._tokens = tokens
        self._public_url = public_url.rstrip("/")
        self.terms = terms

    async def challenge(self) -> Challenge:
        challenge = Challenge(self._random_bytes(NONCE_BYTES).hex(), self._clock.now_ms() + CHALLENGE_SECONDS * SECOND_MS)
        await self._db.write(store.insert_challenge, challenge.nonce, challenge.expires_at_ms)
        return challenge

    async def verify(self, document: object, *, pubkey: str | None = None) -> Login:
        """A token for the key that signed a nonce of ours. Raises the refusals of this file and NostrEventInvalid, all 401."""
        event = nostr.parse(document)
        if event.kind not in (HTTP_AUTH, CLIENT_AUTH):
            # A kind that means something else (a note, a list) could be tricked out of its owner by another application.
            raise EventNotForThis(f"Sign an event of kind {CLIENT_AUTH} (or {HTTP_AUTH}), not {event.kind}.")
        nostr.verify(event)
        if pubkey is not None and nostr.pubkey_of(pubkey) != event.pubkey:
            raise EventNotForThis("The event was signed by another key than the one that is named.")
        self._check_fresh(event)
        self._check_site(event)
        nonce = event.tag("challenge") or (event.content if event.kind == HTTP_AUTH else None)
        if not nonce or not nostr.HEX_32.fullmatch(nonce):  # the form of ours; others (a NUL, say) a database may choke on
            raise ChallengeUnknown(
                "The event carries no challenge of ours: put the nonce of /api/identity/challenge into a `challenge` tag."
            )
        await self._db.write(self._use, nonce, event.id)
        return await self._login(event.pubkey)

    async def who(self, token: str) -> Standing:
        """Raises TokenInvalid or TokenExpired."""
        return await self.standing(self._tokens.read(token, self._clock.now_ms()))

    async def who_signed(self, header: str, request: SignedRequest) -> Standing:
        """Who sent this request, by its `Authorization: Nostr …` (NIP-98). The event counts once."""
        event = self._from_header(header)
        if event.kind != HTTP_AUTH:
            raise EventNotForThis(f"A signed request is an event of kind {HTTP_AUTH} (NIP-98).")
        self._check_fresh(event)
        # Built from the configured address: behind a proxy, Host is whatever the client says, and a signature for another site would do.
        if event.tag("u") != self._public_url + request.target:
            raise EventNotForThis(f"The event's `u` tag must be {self._public_url}{urlsplit(request.target).path}, with the query as sent.")
        if event.tag("method") != request.method:
            raise EventNotForThis("The event's `method` tag is not this request's method.")
        payload = event.tag("payload")
        if payload is not None and not hmac.compare_digest(
            payload.encode(errors="replace"), hashlib.sha256(request.body).hexdigest().encode()
        ):
            raise EventNotForThis("The event's `payload` tag is not the SHA-256 of this body.")
        nostr.verify(event)
        await self._db.write(self._burn, event.id)
        return await self.standing(event.pubkey)

    async def standing(self, pubkey: str) -> Standing:
        found = await self._db.read(trust.standings, [pubkey], self.terms, self._clock.now_ms())
        return found[pubkey]

    def _from_header(self, header: str) -> NostrEvent:
        if len(header) > HEADER_CHARS_MAX:
            raise NostrEventInvalid(f"The Authorization header has more than {HEADER_CHARS_MAX:,} characters.")
        try:
            document = json.loads(base64.b64decode(header.strip(), validate=True))
        except (binascii.Error, ValueError, RecursionError):
            raise NostrEventInvalid("`Authorization: Nostr` takes the base64 of an event's JSON.") from None
        return nostr.parse(document)

    def _check_fresh(self, event: NostrEvent) -> None:
        most_seconds = HTTP_AUTH_SECONDS if event.kind == HTTP_AUTH else CLIENT_AUTH_SECONDS
        away_ms = abs(self._clock.now_ms() - event.created_at * SECOND_MS)
        if away_ms > most_seconds * SECOND_MS:
            raise EventStale(f"The event's created_at is {away_ms // SECOND_MS} s from this server's clock; {most_seconds} s are allowed.")

    def _check_site(self, event: NostrEvent) -> None:
        """An event that says which site it is for must say ours: one that another site asked for is no login here."""
        ours = urlsplit(self._public_url)
        for name in ("relay", "u"):
            value = event.tag(name)
            if value is not None and _site(value) != ours.netloc:
                raise EventNotForThis(f"The event's `{name}` tag names another site than {ours.netloc}.")
        if event.kind == HTTP_AUTH and event.tag("method") not in (None, "POST"):
            raise EventNotForThis("The event's `method` tag must be POST.")

    def _use(self, tx: Tx, nonce: str, event_id: str) -> None:
        now_ms = self._clock.now_ms()
        expires_at_ms = store.take_challenge(tx, nonce)
        if expires_at_ms is None:
            raise ChallengeUnknown("That challenge was not given by this server, or was used before. Ask for a new one.")
        if now_ms >= expires_at_ms:
            raise ChallengeExpired("That challenge has expired. Ask for a new one.")
        self._burn(tx, event_id)

    def _burn(self, tx: Tx, event_id: str) -> None:
        now_ms = self._clock.now_ms()
        store.sweep(tx, now_ms)
        if not store.burn(tx, event_id, now_ms + BURN_SECONDS * SECOND_MS):
            raise EventReplayed("That event was used before. Sign a new one.")

    async def _login(self, pubkey: str) -> Login:
        expires_at_ms = self._clock.now_ms() + TOKEN_SECONDS * SECOND_MS
        return Login(self._tokens.issue(pubkey, expires_at_ms), await self.standing(pubkey), expires_at_ms)


def _site(url: str) -> str | None:
    """Host and port as written; None if it is no URL at all."""
    try:
        return urlsplit(url).netloc
    except ValueError:  # brackets that do not match
        return None
