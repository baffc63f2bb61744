"""What somebody brings to spend from a session, and what they are offered who bring nothing or too little.

A macaroon comes as `Authorization: Bearer <macaroon>`, as programs send an API key, or with the proof of its payment:
`L402 <macaroon>:<preimage>`, formerly `LSAT` (L402 protocol specification, "HTTP Specification"). Clients that grew up with gRPC send it in
hex instead, as `Macaroon` or `Grpc-Metadata-Macaroon`, with the preimage as a caveat of their own. Where it has to be paid for, the 402
carries a session that opens when its invoice is paid, in both words, because each has clients that know only one of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.requests import Request

from timmy.clock import iso
from timmy.errors import Refusal
from timmy.identity.caveats import HASH_AT, PREIMAGE
from timmy.identity.macaroons import IDENTIFIER_BYTES, Macaroon, decode, unpack
from timmy.money import Msats, Sats
from timmy.sessions.protocol import Offer
from timmy.sessions.refusals import NotOpenYet
from timmy.web.headers import sent
from timmy.web.house import WebHouse
from timmy.web.payment_scheme import INTENTS, wanted_intents
from timmy.web.payment_scheme import challenges as payment_challenges
from timmy.web.v1_refusals import CredentialMalformed, PreimageWrong

BEARER = "bearer "
# The word twice: there is a client that keeps its credential with the word, and writes it before it again when it uses it once more.
# `++`: a run of blanks is one run. Split in every way, a header full of them would hold everybody up for half a minute.
PAID = re.compile(r"(?:L402|LSAT)[ \t]++(?:(?:L402|LSAT)[ \t]++)?([A-Za-z0-9+/=_,\- ]++):([0-9a-fA-F]{64})[ \t]*", re.IGNORECASE)
PAYING = re.compile(r"(?:L402|LSAT)\b", re.IGNORECASE)
IN_HEX = (b"grpc-metadata-macaroon", b"macaroon")
HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")
SHOWS = b"preimage="
LOOK_AGAIN_SECONDS = (0.0, 0.3, 1.0, 2.0)  # who shows a preimage has paid; our wallet may hear of it a moment later

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Credential:
    text: str = field(repr=False)  # the macaroon, as it came
    payment_hash: str | None  # proven to be paid: the preimage was shown

    @property
    def macaroon(self) -> Macaroon:
        """MacaroonMalformed (401)."""
        return decode(self.text)


def credential(request: Request) -> Credential | None:
    """None: there is none of ours. CredentialMalformed, MacaroonMalformed, PreimageWrong, all 401."""
    given = sent(request, b"authorization")
    if not given:
        return _in_hex(request)
    if len(given) > 1:
        raise CredentialMalformed("Send one Authorization header.")
    if given[0][: len(BEARER)].lower() == BEARER:
        return Credential(given[0][len(BEARER) :].strip(), None)
    if PAYING.match(given[0]) is None:
        return _in_hex(request)
    paid = PAID.fullmatch(given[0])
    if paid is None:
        raise CredentialMalformed("L402 wants `<macaroon in base64>:<preimage in 64 hex digits>`.")
    text = paid[1].partition(",")[0].strip()
    return Credential(text, _proven(decode(text), paid[2]))


def hex_given(request: Request) -> list[str]:
    return [value for name in IN_HEX for value in sent(request, name)]


def _in_hex(request: Request) -> Credential | None:
    given = hex_given(request)
    if not given:
        return None
    if len(set(given)) > 1:
        raise CredentialMalformed("Send one macaroon.")
    if HEX.fullmatch(given[0]) is None:
        raise CredentialMalformed("The header Macaroon wants a macaroon in hex.")
    known = unpack(bytes.fromhex(given[0]))
    shown = [caveat.removeprefix(SHOWS) for caveat in known.caveats if caveat.startswith(SHOWS)]
    return Credential(known.encode(), _proven(known, shown[-1].decode("latin-1")) if shown else None)


def _proven(macaroon: Macaroon, preimage_hex: str) -> str:
    """The payment hash that the preimage proves to be paid. CredentialMalformed, PreimageWrong."""
    if PREIMAGE.fullmatch(preimage_hex) is None:
        raise CredentialMalformed("A preimage is 64 hex digits.")
    identifier, preimage = macaroon.identifier, bytes.fromhex(preimage_hex)
    if len(identifier) != IDENTIFIER_BYTES or identifier[:2] != b"\0\0":
        raise CredentialMalformed("The macaroon's identifier is not of L402's version 0.")
    if not hmac.compare_digest(hashlib.sha256(preimage).digest(), identifier[HASH_AT]):
        raise PreimageWrong("The preimage does not belong to the macaroon's invoice. Your wallet shows the right one.")
    return identifier[HASH_AT].hex()


async def paid_for(house: WebHouse, known: Credential, act: Callable[[], Awaitable[T]]) -> T:
    """`act`, and again where a payment that was proven has not been seen by us yet."""
    for pause_seconds in LOOK_AGAIN_SECONDS if known.payment_hash else ():
        try:
            return await act()
        except NotOpenYet:
            await asyncio.sleep(pause_seconds)
            await house.wallet_hint(known.payment_hash or "")
    return await act()


async def with_offer(
    house: WebHouse,
    request: Request,
    refusal: Refusal,
    intents: Sequence[str] = INTENTS,
    *,
    amount: Sats | None = None,
    into: str | None = None,
    pubkey: str | None = None,
) -> tuple[dict[str, object], list[tuple[str, str]]]:
    """What a 402 says besides why: the invoice of a fresh offer, and its challenges, LSAT first: older clients read only that line. Who
    says by `Accept-Payment` that it wants the `Payment` scheme's gets these alone: there are clients that can read nothing else.

    `amount`: for how much, where the refusal's `neededMsat` does not say it. `into`: the session that the payment adds to, which a top-up
    does by its L402 challenge alone. `pubkey`: whose a new one is.
    RateLimited: this address had too many of them. SessionNotFound, SessionEnded of `into`.
    """
    needed = refusal.extra.get("neededMsat")
    if amount is None:
        amount = Msats(needed).ceil_sats() if isinstance(needed, int) else Sats(0)
    with house.offers.passing(request):
        offer = await (house.sessions.offer(amount, pubkey=pubkey) if into is None else house.sessions.offer_into(into, amount))
    if not offer.opens:
        return _members(offer), challenges(offer)
    wanted = [intent for intent in wanted_intents(request) if intent in intents]
    offered = payment_challenges(offer, house.settings.public_url, wanted or intents)
    return _members(offer), offered if wanted else [*challenges(offer), *offered]


def _members(offer: Offer) -> dict[str, object]:
    invoice = offer.invoice
    return {
        "invoice": invoice.payment_request,
        "amountSats": invoice.amount.value,
        "paymentHash": invoice.payment_hash,
        "expiresAt": iso(invoice.expires_at_ms),
    }


def challenges(offer: Offer) -> list[tuple[str, str]]:
    pair = f'macaroon="{offer.macaroon}", invoice="{offer.invoice.payment_request}"'
    return [("WWW-Authenticate", f"LSAT {pair}"), ("WWW-Authenticate", f'L402 {pair}, version="0", token="{offer.macaroon}"')]
