"""The call home: how a machine that we ordered says that its node answers. It is the only thing that makes an order `ready`.

    POST {PUBLIC_URL}/api/bootstrap/{bootstrapJobId}/call-home
    Authorization: Bearer {token}
    {"state": "ready", "tailscaleName": "timmy-….tail1234.ts.net", "lnbitsUrl": "http://…:5000", "bitcoin": {…}, "lnd": {…}, …}

`bitcoin` and `lnd` are what the two have just said of themselves on the machine, and `lnbitsUrl` is where LNbits answered: without all
three there is no call. 200 with `{"state": "ready"}`, the second time as the first, so a machine that never saw the answer asks again
without harm; 401 for a token that is not this order's, 410 once the order has failed and the machine is being taken away.

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
    """What a machine says of itself: all three have answered, and where LNbits does."""

    lnbits_url: str
    tailscale_name: str | None = None


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
