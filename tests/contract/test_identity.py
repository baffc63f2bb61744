"""Logging in, and what a key has earned, on both databases."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import nostr_sdk
import pytest

from timmy.clock import ManualClock
from timmy.db import Database, Tx
from timmy.errors import Refusal
from timmy.identity import Identity, SignedRequest, Standing, Tier, Tokens, nostr, trust
from timmy.identity.login import (
    CHALLENGE_SECONDS,
    HEADER_CHARS_MAX,
    TOKEN_SECONDS,
    ChallengeExpired,
    ChallengeUnknown,
    EventNotForThis,
    EventReplayed,
    EventStale,
)
from timmy.identity.nostr import NostrEvent, NostrEventInvalid
from timmy.identity.tokens import TokenExpired, TokenInvalid
from timmy.ids import system_random
from timmy.money import Msats

SECRET, OTHER = bytes(31) + b"\x07", bytes(31) + b"\x08"
SITE = "https://timmy.example"
TERMS = trust.Terms(established=10, trusted=50, elite=200, success=2, setback=1, decay_after_days=30, decay_per_day=1)
KEYS = nostr_sdk.Keys.parse(SECRET.hex())
ME = KEYS.public_key().to_hex()


@pytest.fixture
def identity(db: Database, clock: ManualClock) -> Identity:
    return house(db, clock)


def house(db: Database, clock: ManualClock, public_url: str = SITE) -> Identity:
    return Identity(db, clock, system_random, Tokens(b"the same on every process"), TERMS, public_url=public_url)


def event(
    clock: ManualClock, tags: Sequence[Sequence[str]] = (), *, kind: int = 22_242, content: str = "", later: int = 0, secret: bytes = SECRET
) -> dict[str, Any]:
    at = clock.now_ms() // 1_000 + later
    made = nostr.sign(secret, created_at=at, kind=kind, tags=tags, content=content, aux=system_random(32))
    return document(made)


def document(made: NostrEvent) -> dict[str, Any]:
    fields = {name: getattr(made, name) for name in ("id", "pubkey", "created_at", "kind", "content", "sig")}
    return {**fields, "tags": [list(tag) for tag in made.tags]}


def header(document: object) -> str:
    return base64.b64encode(json.dumps(document).encode()).decode()


# a nonce to sign ---------------------------------------------------------------------------------------


async def test_a_signed_nonce_opens_a_login_and_its_token_says_who_it_is(identity: Identity, clock: ManualClock) -> None:
    challenge = await identity.challenge()
    assert challenge.expires_at_ms == clock.now_ms() + CHALLENGE_SECONDS * 1_000
    signed = event(clock, [["relay", "wss://timmy.example"], ["challenge", challenge.nonce]])
    login = await identity.verify(signed, pubkey=nostr.npub(ME))
    assert login.standing == Standing(ME, 0, Tier.NEW, 0, 0, 0, Msats(0), None)
    assert login.expires_at_ms == clock.now_ms() + TOKEN_SECONDS * 1_000
    assert await identity.who(login.token) == login.standing
    clock.advance(seconds=TOKEN_SECONDS)
    with pytest.raises(TokenExpired):
        await identity.who(login.token)
    with pytest.raises(TokenInvalid):
        await identity.who(login.token[:-1])


async def test_what_a_browser_extension_and_nostr_sdk_sign_is_a_login(identity: Identity, clock: ManualClock) -> None:
    challenge = await identity.challenge()
    tags = [nostr_sdk.Tag.parse(["relay", "wss://timmy.example/"]), nostr_sdk.Tag.parse(["challenge", challenge.nonce])]
    made = nostr_sdk.EventBuilder(nostr_sdk.Kind(22_242), "").tags(tags)
    signed = made.custom_created_at(nostr_sdk.Timestamp.from_secs(clock.now_ms() // 1_000)).finalize(KEYS)
    assert (await identity.verify(json.loads(signed.as_json()))).standing.pubkey == ME


@pytest.mark.parametrize("in_content", [True, False])
async def test_an_http_auth_event_may_carry_the_nonce_too(identity: Identity, clock: ManualClock, in_content: bool) -> None:
    nonce = (await identity.challenge()).nonce
    tags = [["u", f"{SITE}/api/identity/verify"], ["method", "POST"]]
    signed = event(clock, tags if in_content else [*tags, ["challenge", nonce]], kind=27_235, content=nonce if in_content else "")
    assert (await identity.verify(signed)).standing.pubkey == ME


@pytest.mark.fault("B16", "E10")
async def test_of_many_who_use_one_challenge_at_once_one_gets_in(db: Database, clock: ManualClock) -> None:
    doors = [house(db, clock) for _ in range(4)]
    for _ in range(5):
        nonce = (await doors[0].challenge()).nonce
        signed = [event(clock, [["challenge", nonce]], content=str(n), secret=(SECRET, OTHER)[n % 2]) for n in range(20)]
        answers = await asyncio.gather(*(doors[n % 4].verify(one) for n, one in enumerate(signed)), return_exceptions=True)
        refusals = [answer for answer in answers if isinstance(answer, BaseException)]
        assert len(refusals) == 19
        assert {type(refusal) for refusal in refusals} == {ChallengeUnknown}


@pytest.mark.fault("E10")
async def test_a_challenge_is_used_up_by_the_login_that_it_opened_and_by_nothing_else(identity: Identity, clock: ManualClock) -> None:
    nonce = (await identity.challenge()).nonce
    with pytest.raises(NostrEventInvalid):
        await identity.verify({**event(clock, [["challenge", nonce]]), "content": "changed"})
    signed = event(clock, [["challenge", nonce]])
    with pytest.raises(EventNotForThis):
        await identity.verify(signed, pubkey="00" * 32)
    await identity.verify(signed)
    for again in (signed, event(clock, [["challenge", nonce]], content="another")):
        with pytest.raises(ChallengeUnknown):
            await identity.verify(again)


async def test_one_event_does_not_open_a_second_login_with_a_second_challenge(identity: Identity, clock: ManualClock) -> None:
    nonce = (await identity.challenge()).nonce
    tags = [["u", f"{SITE}/api/jobs"], ["method", "POST"], ["challenge", nonce]]
    signed = event(clock, tags, kind=27_235)
    await identity.who_signed(header(signed), SignedRequest("POST", "/api/jobs", b""))
    with pytest.raises(EventReplayed):
        await identity.verify(signed)


async def test_a_challenge_expires(identity: Identity, clock: ManualClock) -> None:
    nonce = (await identity.challenge()).nonce
    clock.advance(seconds=CHALLENGE_SECONDS)
    with pytest.raises(ChallengeExpired):
        await identity.verify(event(clock, [["challenge", nonce]]))


@pytest.mark.parametrize("nonce", ["00" * 32, "", "x" * 65, "\x00", "é", "' OR TRUE --"])
async def test_a_challenge_that_was_never_given_is_unknown(identity: Identity, clock: ManualClock, nonce: str) -> None:
    await identity.challenge()
    with pytest.raises(ChallengeUnknown):
        await identity.verify(event(clock, [["challenge", nonce]]))


async def test_an_event_without_a_challenge_is_no_login(identity: Identity, clock: ManualClock) -> None:
    nonce = (await identity.challenge()).nonce
    for signed in (event(clock), event(clock, content=nonce), event(clock, [["Challenge", nonce]]), event(clock, [["challenge"]])):
        with pytest.raises(ChallengeUnknown):
            await identity.verify(signed)


@pytest.mark.parametrize("kind", [0, 1, 3, 4, 22_241, 27_234, 30_382])
async def test_a_note_or_any_other_kind_is_no_login(identity: Identity, clock: ManualClock, kind: int) -> None:
    nonce = (await identity.challenge()).nonce
    with pytest.raises(EventNotForThis, match="kind 22242"):
        await identity.verify(event(clock, [["challenge", nonce]], kind=kind))


@pytest.mark.fault("E10")
@pytest.mark.parametrize(("kind", "most"), [(22_242, 600), (27_235, 60)])
async def test_an_event_is_fresh_within_so_many_seconds_either_way(identity: Identity, clock: ManualClock, kind: int, most: int) -> None:
    for later in (-most, most):
        await identity.verify(event(clock, [["challenge", (await identity.challenge()).nonce]], kind=kind, later=later))
    for later in (-most - 1, most + 1, -clock.now_ms() // 1_000, 10**9):
        nonce = (await identity.challenge()).nonce
        with pytest.raises(EventStale):
            await identity.verify(event(clock, [["challenge", nonce]], kind=kind, later=later))


@pytest.mark.fault("E10")
@pytest.mark.parametrize(
    "tag",
    [
        ["relay", "wss://other.example"],
        ["u", "https://other.example/api/identity/verify"],
        ["relay", "wss://timmy.example:8443"],
        ["relay", "wss://timmy.example.evil.example"],
        ["relay", "wss://timmy.example@evil.example"],
        ["relay", "timmy.example"],
        ["relay", ""],
        ["relay", "wss://["],
        ["u", "https://timmy.example]"],
    ],
)
async def test_an_event_that_another_site_asked_for_is_no_login_here(identity: Identity, clock: ManualClock, tag: list[str]) -> None:
    nonce = (await identity.challenge()).nonce
    with pytest.raises(EventNotForThis, match="names another site"):
        await identity.verify(event(clock, [tag, ["challenge", nonce]]))


async def test_two_tags_of_a_kind_are_refused(identity: Identity, clock: ManualClock) -> None:
    nonce = (await identity.challenge()).nonce
    for name, value in (("challenge", nonce), ("relay", "wss://timmy.example")):
        with pytest.raises(NostrEventInvalid, match="it may have one"):
            await identity.verify(event(clock, [["challenge", nonce], [name, value], [name, value]]))


async def test_whatever_is_no_event_is_refused(identity: Identity) -> None:
    nothing: list[object] = [None, [], "x", 5, {}, {"id": 1}, {"kind": 22_242}]
    for document in nothing:
        with pytest.raises(Refusal) as caught:
            await identity.verify(document)
        assert caught.value.status == 401


async def test_what_is_old_is_swept(identity: Identity, db: Database, clock: ManualClock) -> None:
    for _ in range(3):
        await identity.challenge()
        await identity.verify(event(clock, [["challenge", (await identity.challenge()).nonce]]))
        clock.advance(seconds=3_600)
    await identity.verify(event(clock, [["challenge", (await identity.challenge()).nonce]]))
    assert await db.read(_count, "challenges") == 0
    assert await db.read(_count, "burned_events") == 1


# a signed request (NIP-98) -----------------------------------------------------------------------------

TARGET, BODY = "/api/jobs?a=1&b=%20", b'{"request":"hello"}'
REQUEST = SignedRequest("POST", TARGET, BODY)


def request_event(clock: ManualClock, *, later: int = 0, kind: int = 27_235, **changed: str | None) -> dict[str, Any]:
    tags = {"u": SITE + TARGET, "method": "POST", "payload": hashlib.sha256(BODY).hexdigest(), **changed}
    return event(clock, [[name, value] for name, value in tags.items() if value is not None], kind=kind, later=later)


async def test_a_signed_request_says_who_sent_it(identity: Identity, clock: ManualClock) -> None:
    for signed in (request_event(clock), request_event(clock, payload=None)):
        assert (await identity.who_signed(header(signed), REQUEST)).pubkey == ME


@pytest.mark.fault("E10")
@pytest.mark.parametrize(
    "changed",
    [
        {"u": SITE + "/api/jobs"},
        {"u": SITE + "/api/jobs?a=1&b= "},
        {"u": SITE + "/api/jobs?b=%20&a=1"},
        {"u": "http://timmy.example" + TARGET},
        {"u": "https://TIMMY.example" + TARGET},
        {"u": "https://evil.example" + TARGET},
        {"u": None},
        {"method": "GET"},
        {"method": "post"},
        {"method": None},
        {"payload": hashlib.sha256(b"other").hexdigest()},
        {"payload": hashlib.sha256(BODY).hexdigest().upper()},
        {"payload": ""},
        {"payload": "é"},
        {"kind": 22_242},
        {"kind": 1},
    ],
)
async def test_a_request_signed_for_something_else_is_refused(identity: Identity, clock: ManualClock, changed: dict[str, Any]) -> None:
    with pytest.raises(EventNotForThis) as caught:
        await identity.who_signed(header(request_event(clock, **changed)), REQUEST)
    assert caught.value.status == 401


@pytest.mark.fault("E10")
@pytest.mark.parametrize("name", ["payload", "u", "method", "challenge"])
async def test_half_a_character_in_a_tag_is_refused_and_not_a_crash(identity: Identity, clock: ManualClock, name: str) -> None:
    signed = request_event(clock)
    signed["tags"] = [[tag, value] for tag, value in signed["tags"] if tag != name] + [[name, "\ud800"]]
    with pytest.raises((NostrEventInvalid, EventNotForThis)):
        await identity.who_signed(header(signed), REQUEST)


@pytest.mark.fault("E10")
async def test_a_signed_request_counts_once_however_many_bring_it_at_once(db: Database, clock: ManualClock) -> None:
    doors = [house(db, clock) for _ in range(4)]
    signed = header(request_event(clock))
    answers = await asyncio.gather(*(doors[n % 4].who_signed(signed, REQUEST) for n in range(40)), return_exceptions=True)
    assert [type(answer) for answer in answers if not isinstance(answer, Standing)] == [EventReplayed] * 39


@pytest.mark.fault("E10")
async def test_a_signed_request_cannot_be_replayed_for_as_long_as_it_is_fresh(identity: Identity, clock: ManualClock) -> None:
    signed = header(request_event(clock, later=60))
    await identity.who_signed(signed, REQUEST)
    for seconds in (1, 59, 60):
        clock.advance(seconds=seconds)
        await identity.who_signed(header(request_event(clock, later=-1)), REQUEST)  # sweeps
        with pytest.raises(EventReplayed):
            await identity.who_signed(signed, REQUEST)
    clock.advance(seconds=1)
    with pytest.raises(EventStale):
        await identity.who_signed(signed, REQUEST)


@pytest.mark.fault("E10")
@pytest.mark.parametrize("later", [-61, 61, 10**9])
async def test_a_signed_request_is_fresh_for_a_minute_either_way(identity: Identity, clock: ManualClock, later: int) -> None:
    for fresh in (-60, 60):
        await identity.who_signed(header(request_event(clock, later=fresh)), REQUEST)
    with pytest.raises(EventStale):
        await identity.who_signed(header(request_event(clock, later=later)), REQUEST)


async def test_a_request_that_was_refused_does_not_burn_somebody_elses_event(identity: Identity, clock: ManualClock) -> None:
    """Whoever overhears an id could otherwise make its owner's request fail."""
    signed = request_event(clock)
    with pytest.raises(NostrEventInvalid):
        await identity.who_signed(header({**signed, "sig": "00" * 64}), REQUEST)
    assert (await identity.who_signed(header(signed), REQUEST)).pubkey == ME


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "é",
        "####",
        header([]),
        header("x"),
        "W1s=" * 10,
        base64.b64encode(b"[" * 9_000).decode(),
        base64.b64encode(b"\xff").decode(),
    ],
)
async def test_a_header_that_holds_no_event_is_refused(identity: Identity, text: str) -> None:
    with pytest.raises(NostrEventInvalid):
        await identity.who_signed(text, REQUEST)


async def test_a_header_has_its_limit(identity: Identity, clock: ManualClock) -> None:
    huge = event(clock, [["u", SITE + TARGET], ["method", "POST"]], kind=27_235, content="x" * HEADER_CHARS_MAX)
    with pytest.raises(NostrEventInvalid, match="characters"):
        await identity.who_signed(header(huge), REQUEST)


async def test_the_address_is_the_configured_one_and_its_last_slash_does_not_matter(db: Database, clock: ManualClock) -> None:
    """What a client says in Host is not asked: a house does not even see it."""
    inside = house(db, clock, "https://other.example/")
    with pytest.raises(EventNotForThis):
        await inside.who_signed(header(request_event(clock)), REQUEST)
    signed = request_event(clock, u="https://other.example" + TARGET)
    assert (await inside.who_signed(header(signed), REQUEST)).pubkey == ME


def _count(tx: Tx, table: str) -> int:
    row = tx.one(f"SELECT COUNT(*) AS n FROM {table}")
    assert row is not None
    return int(row["n"])
