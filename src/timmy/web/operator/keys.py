"""Who may sit at the operator's desk: whoever has the ADMIN_TOKEN, or signed in with it not long ago.

A browser that signed in holds a cookie, which is a proof made with the token and not the token: it ends by itself, and all of them end
when the token is changed. It alone moves nothing. A form brings a word along that only a page of ours could know, and programs, which have
no cookies, can look and not act (H08).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from timmy.clock import SECOND_MS, Clock
from timmy.settings import Secret
from timmy.web.address import Network, client_address
from timmy.web.refusals import AdminTokenWanted, FormStale, RateLimited
from timmy.web.turnstile import MINUTE_MS, Turnstile

COOKIE = "timmy_operator"
SIGNED_IN_SECONDS = 8 * 3_600
WRONG_PER_MINUTE = 5  # from one address
WRONG_PER_MINUTE_IN_ALL = 300  # from everywhere; addresses that were right before are not kept out by it
RIGHT_ADDRESSES_MAX = 1_000
NONCE_BYTES = 16
BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class SignedIn:
    """`word` stands in every form of whoever is signed in."""

    word: str = field(repr=False)


class _Right(Exception):
    """The token was right: the attempt does not count."""


class OperatorKeys:
    def __init__(self, token: Secret, clock: Clock, trusted: tuple[Network, ...]) -> None:
        self._token = token
        self._clock = clock
        self._trusted = trusted
        self._wrong = Turnstile(WRONG_PER_MINUTE, clock, trusted, "wrong tokens")
        self._wrong_in_all = (0, 0)  # in which minute, how many
        self._right: dict[str, None] = {}  # addresses; the latest is last

    # the token -------------------------------------------------------------------------------------------

    def check(self, request: Request, given: str) -> None:
        """AdminTokenWanted (401), RateLimited (429): then not even the right one is looked at, from this address."""
        address = client_address(request.scope, self._trusted)
        self._check_all(address)
        right = hmac.compare_digest(hashlib.sha256(given.encode("utf-8", "replace")).digest(), self._digest())
        try:
            with self._wrong.passing(request):
                if right:
                    raise _Right
        except _Right:
            self._right.pop(address, None)
            self._right[address] = None
            if len(self._right) > RIGHT_ADDRESSES_MAX:
                del self._right[next(iter(self._right))]
            return
        minute, count = self._now()
        self._wrong_in_all = (minute, count + 1)
        raise AdminTokenWanted("That is not the ADMIN_TOKEN of this server.")

    def _check_all(self, address: str) -> None:
        minute, count = self._now()
        if count >= WRONG_PER_MINUTE_IN_ALL and address not in self._right:
            seconds = -(-((minute + 1) * MINUTE_MS - self._clock.now_ms()) // SECOND_MS)
            raise RateLimited(f"Too many wrong tokens came in. Try again in {seconds} seconds.", retry_after_seconds=seconds)

    def _now(self) -> tuple[int, int]:
        minute = self._clock.now_ms() // MINUTE_MS
        return (minute, self._wrong_in_all[1] if self._wrong_in_all[0] == minute else 0)

    def _digest(self) -> bytes:
        return hashlib.sha256(self._token.reveal().encode()).digest()

    # by whom a request comes -----------------------------------------------------------------------------

    def reader(self, request: Request) -> None:
        """Whoever may look: with the token, or signed in. AdminTokenWanted, RateLimited."""
        if self.signed_in(request) is None:
            self.program(request)

    def program(self, request: Request) -> None:
        """With the token. AdminTokenWanted, RateLimited."""
        given = request.headers.get("authorization", "")
        if given[: len(BEARER)].lower() != BEARER:
            raise AdminTokenWanted("Send Authorization: Bearer with the ADMIN_TOKEN of this server.")
        self.check(request, given[len(BEARER) :].strip())

    def signed_in(self, request: Request) -> SignedIn | None:
        """None: with no cookie, or with one that is over or none of ours."""
        ends, _, rest = request.cookies.get(COOKIE, "").partition(".")
        nonce, _, proof = rest.partition(".")
        if not (
            ends.isascii()
            and ends.isdigit()
            and len(ends) <= 15
            and hmac.compare_digest(proof.encode(), self._made("cookie", ends, nonce).encode())
        ):
            return None
        return SignedIn(self._made("form", ends, nonce)) if int(ends) > self._clock.now_ms() else None

    def check_word(self, who: SignedIn, given: str) -> None:
        """FormStale (403): the form was not made for whoever sends it."""
        if not hmac.compare_digest(who.word.encode(), given.encode("utf-8", "replace")):
            raise FormStale(
                "This form is from before you signed in, or was not made by this server. Open the desk anew, and send it from there."
            )

    def sign_in(self, answer: Response, *, secure: bool) -> None:
        ends, nonce = str(self._clock.now_ms() + SIGNED_IN_SECONDS * SECOND_MS), secrets.token_hex(NONCE_BYTES)
        value = f"{ends}.{nonce}.{self._made('cookie', ends, nonce)}"
        answer.set_cookie(COOKIE, value, max_age=SIGNED_IN_SECONDS, path="/", httponly=True, samesite="strict", secure=secure)

    def sign_out(self, answer: Response, *, secure: bool) -> None:
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict", secure=secure)

    def _made(self, what: str, ends: str, nonce: str) -> str:
        """Of the token by way of a key of its own, so that no cookie says anything about the token."""
        key = hmac.digest(self._token.reveal().encode(), b"timmy operator's desk", hashlib.sha256)
        return hmac.digest(key, f"{what} {ends} {nonce}".encode("utf-8", "replace"), hashlib.sha256).hex()
