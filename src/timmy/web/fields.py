"""The fields of a body, checked one by one: each way to be wrong has a code of its own and a sentence that says what would be right."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from starlette.requests import Request

from timmy.jobs.protocol import Destination, Key, ToInvoice, ToLightningAddress, ToLnurl
from timmy.money import Sats
from timmy.sessions import protocol as sessions
from timmy.sessions.refusals import AmountOutOfBounds
from timmy.web.bodies import check_texts, sha256_of
from timmy.web.headers import sent
from timmy.web.refusals import (
    DestinationAmbiguous,
    DestinationMissing,
    FieldEmpty,
    FieldMissing,
    FieldRepeated,
    FieldTooLong,
    FieldUnknown,
    FieldWrongType,
    IdempotencyKeyInvalid,
    RequestEmpty,
    RequestMissing,
    RequestTooLong,
    RequestWrongType,
    SatsOutOfRange,
)

INVOICE_CHARS_MAX = 4_096  # BOLT 11 sets no limit; the longest in use are below 2,000
LNURL_CHARS_MAX = 2_000  # LUD-01: an encoded URL, and no URL of use is longer
ADDRESS_CHARS_MAX = 320  # RFC 5321 section 4.5.3.1: 64 before the @, 255 after it
DEV_INVOICE_SATS_MAX = 1_000_000
PUBKEY_CHARS_MAX = 64  # hex; an npub has 63
MODEL_CHARS_MAX = 200
UNKNOWN_FIELDS_TOLD = 10
UNKNOWN_FIELD_CHARS = 64

PRINTABLE = re.compile(r"[ -~]{1,255}")


@dataclass(frozen=True, slots=True)
class NewJob:
    request: str
    refund_to: str | None
    nostr_token: str | None


def new_job(document: Mapping[str, object], *, request_chars_max: int) -> NewJob:
    only(document, ("request", "refundTo", "nostr_token"))
    text = _request(document, request_chars_max)
    return NewJob(text, optional_text(document, "refundTo", ADDRESS_CHARS_MAX), nostr_token(document))


def nostr_token(document: Mapping[str, object]) -> str | None:
    """As it stands there, an empty one included: that one is no token of ours, and not the same as none."""
    token = document.get("nostr_token")
    if token is not None and not isinstance(token, str):
        raise FieldWrongType("nostr_token must be a text in quotation marks.", field="nostr_token")
    return token


@dataclass(frozen=True, slots=True)
class Login:
    event: Mapping[str, object]
    pubkey: str | None


def login(document: Mapping[str, object]) -> Login:
    """Whether the event is any good is for the identity room to say."""
    only(document, ("event", "pubkey"))
    if "event" not in document:
        raise FieldMissing("event is missing: the signed Nostr event that carries the challenge.", field="event")
    event = document["event"]
    if not isinstance(event, dict):
        raise FieldWrongType("event must be a Nostr event, which is a JSON object.", field="event")
    return Login(event, optional_text(document, "pubkey", PUBKEY_CHARS_MAX))


@dataclass(frozen=True, slots=True)
class EstimateWanted:
    request: str
    model: str | None
    nostr_token: str | None


def estimate_wanted(document: Mapping[str, object], *, request_chars_max: int) -> EstimateWanted:
    only(document, ("request", "model", "nostr_token"))
    text = _request(document, request_chars_max)
    return EstimateWanted(text, optional_text(document, "model", MODEL_CHARS_MAX), nostr_token(document))


def query(request: Request, known: Iterable[str]) -> dict[str, object]:
    """The query as a body of texts, with a body's strictness. A token has no place in it: access logs keep queries."""
    pairs = request.query_params.multi_items()
    found: dict[str, object] = dict(pairs)
    only(found, known)
    if len(found) < len(pairs):
        raise FieldRepeated("A field is given twice in the query; it is not clear which of the two is meant.")
    check_texts(found)
    return found


def destination(document: Mapping[str, object]) -> Destination:
    """Exactly one of `invoice`, `lightningAddress`, `lnurl`; whether it is any good is for the jobs room to say."""
    only(document, ("invoice", "lightningAddress", "lnurl"))
    invoice = optional_text(document, "invoice", INVOICE_CHARS_MAX)
    address = optional_text(document, "lightningAddress", ADDRESS_CHARS_MAX)
    lnurl = optional_text(document, "lnurl", LNURL_CHARS_MAX)
    match invoice, address, lnurl:
        case None, None, None:
            raise DestinationMissing("Say where the refund should go: give invoice, lightningAddress or lnurl.")
        case str(), None, None:
            return ToInvoice(invoice)
        case None, str(), None:
            return ToLightningAddress(address)
        case None, None, str():
            return ToLnurl(lnurl)
        case _:
            raise DestinationAmbiguous("Give only one of invoice, lightningAddress and lnurl.")


def amount_sats(document: Mapping[str, object]) -> Sats:
    only(document, ("amountSats",))
    value = _whole_sats(document, 1, DEV_INVOICE_SATS_MAX)
    if not 1 <= value <= DEV_INVOICE_SATS_MAX:
        raise SatsOutOfRange(f"amountSats must be from 1 to {DEV_INVOICE_SATS_MAX}.", minSats=1, maxSats=DEV_INVOICE_SATS_MAX)
    return Sats(value)


def deposit(document: Mapping[str, object], least: Sats, most: Sats) -> Sats:
    """What goes into a session. The bounds are the session room's; they are held here too, because not every int is an amount at all."""
    value = _whole_sats(document, least.value, most.value)
    if not least.value <= value <= most.value:
        raise AmountOutOfBounds(f"amountSats must be from {least.value} to {most.value}.", minSats=least, maxSats=most)
    return Sats(value)


def _whole_sats(document: Mapping[str, object], least: int, most: int) -> int:
    right = f"a whole number of sats from {least} to {most}"
    if "amountSats" not in document:
        raise FieldMissing(f"amountSats is missing: {right}.", field="amountSats", minSats=least, maxSats=most)
    value = document["amountSats"]
    if type(value) is not int:  # neither True nor 1.0 nor "1" is a number of sats
        raise FieldWrongType(f"amountSats must be {right}, without quotation marks.", field="amountSats", minSats=least, maxSats=most)
    return value


def session_request(document: Mapping[str, object], *, request_chars_max: int) -> str:
    only(document, ("request",))
    return _request(document, request_chars_max)


def payout_destination(document: Mapping[str, object]) -> sessions.Destination:
    """Where the rest of a session goes: exactly one of `invoice`, `lightningAddress`."""
    only(document, ("invoice", "lightningAddress"))
    invoice = optional_text(document, "invoice", INVOICE_CHARS_MAX)
    address = optional_text(document, "lightningAddress", ADDRESS_CHARS_MAX)
    match invoice, address:
        case None, None:
            raise DestinationMissing("Say where the rest should go: give invoice or lightningAddress.")
        case str(), None:
            return sessions.ToInvoice(invoice)
        case None, str():
            return sessions.ToLightningAddress(address)
        case _:
            raise DestinationAmbiguous("Give only one of invoice and lightningAddress.")


def idempotency_key(request: Request, document: dict[str, object], *, principal: str = "anonymous") -> Key | None:
    """The header, if there is one. `principal` says whose key it is: two principals may use the same key for different things."""
    given = sent(request, b"idempotency-key")
    if not given:
        return None
    if len(given) > 1 or PRINTABLE.fullmatch(given[0]) is None:
        raise IdempotencyKeyInvalid("Idempotency-Key must be one header of 1 to 255 printable ASCII characters, such as a random UUID.")
    return Key(given[0], sha256_of(document), principal)


def owned(key: Key | None, principal: str) -> Key | None:
    """The same key, now that it is known whose it is."""
    return key and replace(key, principal=principal)


def only(document: Mapping[str, object], known: Iterable[str]) -> None:
    """A field that is silently ignored may be a misspelt `refundTo`, and somebody's sats."""
    known = list(known)
    unknown = sorted(name[:UNKNOWN_FIELD_CHARS] for name in document if name not in known)
    if unknown:
        told = unknown[:UNKNOWN_FIELDS_TOLD]
        raise FieldUnknown(f"Not known here: {', '.join(told)}. Known: {', '.join(known)}.", fields=told, allowed=known)


def _request(document: Mapping[str, object], chars_max: int) -> str:
    if "request" not in document:
        raise RequestMissing('Say what should be done: {"request": "…"}.', maxChars=chars_max)
    text = document["request"]
    if not isinstance(text, str):
        raise RequestWrongType("request must be a text in quotation marks.", maxChars=chars_max)
    if not text.strip():
        raise RequestEmpty("request is empty: say what should be done.", maxChars=chars_max)
    if len(text) > chars_max:
        raise RequestTooLong(
            f"request may have at most {chars_max} characters; this one has {len(text)}.", maxChars=chars_max, chars=len(text)
        )
    return text


def optional_text(document: Mapping[str, object], name: str, chars_max: int) -> str | None:
    """`null` is the same as leaving it out: many programs write all the fields that they have."""
    text = document.get(name)
    if text is None:
        return None
    if not isinstance(text, str):
        raise FieldWrongType(f"{name} must be a text in quotation marks.", field=name)
    text = text.strip()
    if not text:
        raise FieldEmpty(f"{name} is empty: fill it in or leave it out.", field=name)
    if len(text) > chars_max:
        raise FieldTooLong(f"{name} may have at most {chars_max} characters; this one has {len(text)}.", field=name, maxChars=chars_max)
    return text
