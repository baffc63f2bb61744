"""The call home: how a machine that we ordered says that its node answers. It is the only thing that makes an order `ready`.

    POST {PUBLIC_URL}/api/bootstrap/{bootstrapJobId}/call-home
    Authorization: Bearer {token}
    {"bitcoind": true, "lnd": true, "lnbits": true, "tailscaleName": "timmy-….tail1234.ts.net", "message": "…"}

The three say whether each has just answered on the machine itself. All three: the order is ready, and the token is used up. Not yet all:
the report is progress, shown to whoever waits, and the machine calls again. The answer is `{"state": "provisioning" | "ready"}` with 200 in
both cases, so a machine that never saw the answer asks again without harm; 401 for a token that is not this order's, 410 once the order
has failed and the machine is being taken away. `tailscaleName` and `message` (at most 200 characters) may be left out.

The token is derived from the house's own secret and the order's id: an order that is begun again after a crash gives its machine the same
one, and nothing of it lies in the database.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass

CALL_HOME_PREFIX = "home_"
CLAIM_PREFIX = "claim_"
TOKEN_BYTES = 20


@dataclass(frozen=True, slots=True)
class Report:
    """What a machine says of itself."""

    bitcoind: bool
    lnd: bool
    lnbits: bool
    tailscale_name: str | None = None
    message: str | None = None

    @property
    def is_up(self) -> bool:
        return self.bitcoind and self.lnd and self.lnbits

    @property
    def words(self) -> str:
        """For whoever waits."""
        parts = {"Bitcoin": self.bitcoind, "Lightning": self.lnd, "LNbits": self.lnbits}
        up = [name for name, answers in parts.items() if answers]
        said = f"{' and '.join(up)} answered." if up else "The machine is up; nothing on it answers yet."
        return f"{said} {self.message}" if self.message else said


class OrderTokens:
    """The two tokens of an order: the machine's, and that of whoever ordered it."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def call_home(self, order_id: str) -> str:
        return CALL_HOME_PREFIX + self._made("call home", order_id)

    def claim(self, order_id: str) -> str:
        return CLAIM_PREFIX + self._made("claim", order_id)

    def is_call_home(self, order_id: str, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.call_home(order_id).encode())

    def is_claim(self, order_id: str, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.claim(order_id).encode())

    def _made(self, what: str, order_id: str) -> str:
        mac = hmac.new(self._secret, f"timmy bootstrap {what} {order_id}".encode(), hashlib.sha256).digest()
        return base64.b32encode(mac[:TOKEN_BYTES]).decode().lower()
