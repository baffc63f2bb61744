"""What a wallet's backend tells of itself, for its operator. What it does not tell is None, and nobody guesses it.

Whatever a backend says is somebody else's words: a number must be one, a name is cut short and loses its control characters, and what
makes no sense is noted by its name and left out. None of it decides about money.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any, Protocol, runtime_checkable

from yarl import URL

from timmy.clock import SECOND_MS
from timmy.money import MSATS_MAX, MSATS_PER_SAT, Msats

WORDS_CHARS_MAX = 60
HEIGHT_MAX = 10_000_000  # of a block; two hundred years away
COUNT_MAX = 1_000_000
CERTIFICATE_SECONDS = 4.0
EXPIRED = 10  # OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED


@dataclass(frozen=True, slots=True)
class Channels:
    """How many can be used, how many are open and cannot (the peer is away), how many are being opened or closed."""

    active: int
    inactive: int
    pending: int


@dataclass(frozen=True, slots=True)
class Certificate:
    """Of a backend that is reached over TLS. `trouble`: why it is not trusted, in OpenSSL's words."""

    ends_at_ms: int | None
    has_ended: bool = False
    trouble: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """`spendable` and `receivable` are what the channels could move right now, reserves left out."""

    software: str | None = None
    version: str | None = None
    alias: str | None = None
    connected: bool | None = None  # to the network that it learns of blocks from
    synced: bool | None = None
    height: int | None = None  # the newest block that it knows
    chain_height: int | None = None  # the newest block that its server knows
    channels: Channels | None = None
    spendable: Msats | None = None
    receivable: Msats | None = None
    skew_ms: int | None = None  # its clock less ours; to the second
    certificate: Certificate | None = None
    in_the_clear: bool | None = None  # True: over plain HTTP to another machine, for all on the way to read
    listening: bool | None = None  # whether it can push news of payments to us right now
    nonsense: tuple[str, ...] = ()  # names of what it told and nobody can understand
    key_excess: tuple[str, ...] = ()  # what the key that we hold allows, and we never need


@runtime_checkable
class Diagnosable(Protocol):
    """Optional: a wallet that can tell more of its node than its balance."""

    async def diagnose(self) -> NodeFacts:
        """One look, without changing anything. WalletDown when it does not answer."""
        ...


@dataclass(slots=True)
class Reading:
    """Reads what a backend said, one member at a time, and keeps the names of those that make no sense."""

    nonsense: list[str] = field(default_factory=list)

    def whole(self, name: str, value: object, most: int = COUNT_MAX) -> int | None:
        if value is None:
            return None
        if type(value) is int and 0 <= value <= most:
            return value
        self.nonsense.append(name)
        return None

    def height(self, name: str, value: object) -> int | None:
        return self.whole(name, value, HEIGHT_MAX) or None  # zero is what is said before anything is known

    def sats(self, name: str, value: object) -> Msats | None:
        found = self.whole(name, value, MSATS_MAX // MSATS_PER_SAT)
        return None if found is None else Msats(found * MSATS_PER_SAT)

    def truth(self, name: str, value: object) -> bool | None:
        if value is None or isinstance(value, bool):
            return value
        self.nonsense.append(name)
        return None

    def words(self, name: str, value: object) -> str | None:
        if value is None or isinstance(value, str):
            return printable(value or "", WORDS_CHARS_MAX) or None
        self.nonsense.append(name)
        return None

    def objects(self, name: str, value: object) -> list[dict[str, Any]] | None:
        if isinstance(value, list) and all(isinstance(each, dict) for each in value):
            return value
        if value is not None:
            self.nonsense.append(name)
        return None

    def told(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.nonsense))


def printable(text: str, chars_max: int) -> str:
    """Without what could move a terminal's cursor or turn a line around, and no longer than that."""
    kept = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * chars_max])
    kept = " ".join(kept.split())
    return kept if len(kept) <= chars_max else kept[: chars_max - 1] + "…"


def skew_of(date: str | None, asked_at_ms: int, answered_at_ms: int) -> int | None:
    """How far the other clock is ahead of ours, by the `Date` of an answer (RFC 9110 section 6.6.1, whole seconds); None: it has none.
    What the way there and back, or the missing part of a second, may explain is none."""
    try:
        theirs_ms = int(parsedate_to_datetime(date or "").timestamp()) * SECOND_MS
    except (ValueError, TypeError, OverflowError):
        return None
    if theirs_ms + SECOND_MS < asked_at_ms:
        return theirs_ms + SECOND_MS - asked_at_ms
    return max(0, theirs_ms - answered_at_ms)


def is_in_the_clear(url: URL) -> bool:
    """Plain HTTP to another machine by its public name. Names without a dot are neighbours in a container's network."""
    if url.scheme in ("https", "wss"):
        return False
    host = url.host or ""
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host.rstrip(".") and not host.endswith((".local", ".internal", ".localhost", ".onion"))


async def certificate_of(url: URL, context: ssl.SSLContext | None = None) -> Certificate | None:
    """The certificate of whoever answers there; an empty one when nobody does in time. None: not over TLS."""
    if url.scheme not in ("https", "wss") or not url.host:
        return None
    try:
        async with asyncio.timeout(CERTIFICATE_SECONDS):
            trusted = context or await asyncio.to_thread(ssl.create_default_context)
            _, writer = await asyncio.open_connection(url.host, url.port, ssl=trusted)
    except ssl.SSLCertVerificationError as problem:
        return Certificate(None, problem.verify_code == EXPIRED, printable(problem.verify_message, WORDS_CHARS_MAX))
    except (OSError, TimeoutError, ValueError):
        return Certificate(None)
    shown = writer.get_extra_info("peercert") or {}
    writer.close()
    try:
        return Certificate(int(ssl.cert_time_to_seconds(shown["notAfter"])) * SECOND_MS)
    except (KeyError, ValueError):
        return Certificate(None)


def added(amounts: Sequence[Msats | None]) -> Msats | None:
    """None when one of them is not known, or all together are more than there is."""
    known = [amount.value for amount in amounts if amount is not None]
    return Msats(sum(known)) if len(known) == len(amounts) and sum(known) <= MSATS_MAX else None
