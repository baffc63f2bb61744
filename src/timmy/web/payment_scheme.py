"""The `Payment` scheme on the wire: challenges written, credentials read, receipts (draft-ryan-httpauth-payment-01, "The Payment
Authentication Scheme"; draft-lightning-charge-00; draft-lightning-session-00).

A challenge's id is an HMAC over everything else in it, so nothing has to be kept of those that nobody answers. One invoice stands behind
all the challenges of an answer, L402's too: whichever of them its payer understands, the payment is the balance of one session.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from starlette.requests import Request

from timmy.clock import SECOND_MS, iso
from timmy.identity.caveats import PREIMAGE
from timmy.sessions.protocol import Offer
from timmy.web.headers import sent
from timmy.web.payment_refusals import ChallengeUnknown, PaymentMalformed, PaymentMethodUnsupported, PreimageInvalid

SCHEME = "payment "
METHOD = "lightning"
CHARGE, SESSION = "charge", "session"
INTENTS = (CHARGE, SESSION)  # in this order: there are clients that look at the first only, and know nothing but charges
HASH = re.compile(r"[0-9a-f]{64}")
CREDENTIAL_CHARS_MAX = 16_384
BOUND = ("realm", "method", "intent", "request", "expires", "digest", "opaque")  # what the id is over, in this order
NETWORKS = (("lnbcrt", "regtest"), ("lnbc", "mainnet"), ("lntbs", "signet"))  # BOLT 11, "Human-Readable Part"; the longer ones first
UNIT = {"amount": "1", "unitType": "sat"}  # a session is charged by the token, in thousandths of a sat: /v1/models has the prices
RANGE = re.compile(r"\s*([a-z*-]+)/([a-z*-]+)\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{1,3})?)\s*)?", re.IGNORECASE)

Document = dict[str, object]


@dataclass(frozen=True, slots=True)
class Presented:
    """A credential, read and not yet checked. `payment_hash`: of the payment that its challenge asks for."""

    challenge: Mapping[str, str]
    payload: Mapping[str, object] = field(repr=False)
    payment_hash: str
    expires_at_ms: int

    @property
    def id(self) -> str:
        return self.challenge["id"]

    @property
    def intent(self) -> str:
        return self.challenge["intent"]

    @property
    def action(self) -> str:
        """ "charge", or what is to be done with a session: "open", "bearer", "topUp", "close"."""
        return CHARGE if self.intent == CHARGE else self.text("action")

    def text(self, name: str) -> str:
        """A member of the payload. PaymentMalformed."""
        value = self.payload.get(name)
        if not isinstance(value, str):
            raise PaymentMalformed(f"The payload needs `{name}`, a text.")
        return value

    def proves(self, payment_hash: str, name: str = "preimage") -> None:
        """That it shows the preimage of this payment. PaymentMalformed, PreimageInvalid."""
        preimage = self.text(name)
        if PREIMAGE.fullmatch(preimage) is None:
            raise PaymentMalformed(f"{name} must be 64 hex digits.")
        if not hmac.compare_digest(hashlib.sha256(bytes.fromhex(preimage)).hexdigest(), payment_hash):
            raise PreimageInvalid(f"{name} is not the preimage of the invoice that this is about. Your wallet shows the right one.")

    def is_sealed_with(self, seals: Sequence[bytes]) -> bool:
        """Whether its challenge is one of ours, unchanged."""
        ids = [challenge_id(self.challenge, seal) for seal in seals]
        return sum(hmac.compare_digest(self.id.encode(), id.encode()) for id in ids) > 0  # all are looked at, so the time says nothing


# challenges ------------------------------------------------------------------------------------------


def challenges(offer: Offer, public_url: str, intents: Sequence[str]) -> list[tuple[str, str]]:
    """A header for each intent. None holds a comma within a value: where fetch() joins the headers, simple clients split at each."""
    return [("WWW-Authenticate", _challenge(offer, public_url, intent)) for intent in intents]


def _challenge(offer: Offer, public_url: str, intent: str) -> str:
    asked = _charge(offer) if intent == CHARGE else _session(offer)
    params = {
        "realm": urlsplit(public_url).netloc,
        "method": METHOD,
        "intent": intent,
        "request": encoded(asked),
        "expires": iso(offer.invoice.expires_at_ms),
    }
    told = {"id": challenge_id(params, offer.seal), **params}
    return "Payment " + ", ".join(f'{name}="{value}"' for name, value in told.items())


def _charge(offer: Offer) -> Document:
    invoice = offer.invoice
    details: Document = {"invoice": invoice.payment_request, "paymentHash": invoice.payment_hash}
    network = next((name for prefix, name in NETWORKS if invoice.payment_request.lower().startswith(prefix)), None)
    return {
        "amount": str(invoice.amount.value),
        "currency": "sat",
        "methodDetails": {**details, "network": network} if network else details,
    }


def _session(offer: Offer) -> Document:
    invoice = offer.invoice
    return {
        **UNIT,
        "currency": "sat",
        "depositInvoice": invoice.payment_request,
        "paymentHash": invoice.payment_hash,
        "depositAmount": str(invoice.amount.value),
        "idleTimeout": str(offer.idle_seconds),
    }


def challenge_id(params: Mapping[str, str], seal: bytes) -> str:
    bound = "|".join(params.get(name, "") for name in BOUND)
    return _base64url(hmac.digest(seal, bound.encode(), hashlib.sha256))


def encoded(document: Mapping[str, object]) -> str:
    """JCS (RFC 8785), which for ASCII texts and whole numbers is JSON with sorted keys; base64url without padding."""
    return _base64url(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def wanted_intents(request: Request) -> list[str]:
    """What `Accept-Payment` asks for, the dearest first; empty: it says nothing that we have."""
    found: list[tuple[float, str]] = []
    for part in ",".join(request.headers.getlist("accept-payment")).split(","):
        matched = RANGE.fullmatch(part)
        if matched is None or matched[1].lower() not in (METHOD, "*"):
            continue
        weight = float(matched[3] or 1)
        found += [(weight, intent) for intent in INTENTS if matched[2].lower() in (intent, "*") and weight > 0]
    ranked = sorted(found, key=lambda one: -one[0])
    return list(dict.fromkeys(intent for _, intent in ranked))


# credentials -----------------------------------------------------------------------------------------


def presented(request: Request) -> Presented | None:
    """None: the request brings no Payment credential. PaymentMalformed, PaymentMethodUnsupported, ChallengeUnknown."""
    given = sent(request, b"authorization")
    mine = [text for text in given if text[: len(SCHEME)].lower() == SCHEME]
    if not mine:
        return None
    if len(given) > 1:
        raise PaymentMalformed("Send one Authorization header.")
    document = _document(mine[0][len(SCHEME) :].strip(), "The credential")
    challenge, payload = document.get("challenge"), document.get("payload")
    if not isinstance(challenge, dict) or not isinstance(payload, dict):
        raise PaymentMalformed("The credential needs `challenge` and `payload`, two objects.")
    echo = {name: value for name, value in challenge.items() if isinstance(value, str)}
    if missing := [name for name in ("id", "realm", "method", "intent", "request") if name not in echo]:
        raise PaymentMalformed(f"The challenge must be echoed whole; it lacks {', '.join(missing)}.")
    if echo["method"] != METHOD:
        raise PaymentMethodUnsupported("Only the method `lightning` is taken here.")
    if echo["intent"] not in INTENTS:
        raise ChallengeUnknown("That challenge was not made here: it has another intent than ours.")
    return Presented(echo, payload, _payment_hash(echo), _expires_at_ms(echo.get("expires", "")))


def _payment_hash(echo: Mapping[str, str]) -> str:
    asked = _document(echo["request"], "The challenge's request")
    details = asked.get("methodDetails") if echo["intent"] == CHARGE else asked
    found = details.get("paymentHash") if isinstance(details, dict) else None
    if not isinstance(found, str) or HASH.fullmatch(found) is None:
        raise ChallengeUnknown("That challenge was not made here. Echo it as it was sent.")
    return found


def _expires_at_ms(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp() * SECOND_MS) if text else 0
    except (ValueError, OverflowError):
        return 0  # ours can be read; what it says is seen when its id is checked


def _document(text: str, what: str) -> dict[str, object]:
    """PaymentMalformed."""
    if not text.isascii() or len(text) > CREDENTIAL_CHARS_MAX:
        raise PaymentMalformed(f"{what} must be at most {CREDENTIAL_CHARS_MAX} characters of base64url.")
    try:
        raw = base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
        document = json.loads(raw)
        json.dumps(document, ensure_ascii=False).encode()  # a lone surrogate is no text
    except (binascii.Error, ValueError, RecursionError):
        raise PaymentMalformed(f"{what} must be JSON in base64url.") from None
    if not isinstance(document, dict):
        raise PaymentMalformed(f"{what} must be a JSON object.")
    return document


def receipt(known: Presented, session_hash: str, at_ms: int, **more: object) -> Document:
    """What was paid with. `session_hash`: the session's, where it is not the payment's own."""
    told: Document = {"method": METHOD, "reference": session_hash, "status": "success", "timestamp": iso(at_ms), **more}
    return {**told, "challengeId": known.id}
