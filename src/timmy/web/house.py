"""What the web room needs from the rest of the house, and nothing more. `app.py` fills it in; tests fill it with small honest stand-ins.

    house = WebHouse(settings=settings, jobs=jobs, sessions=sessions, identity=identity, …)
    app = create_app(house)

Everything that may be absent is `None`, and an absent part has no routes: without `dev` there are no development routes at all,
without `hook_secret` there is no webhook.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from timmy.bootstrap.protocol import BootstrapDesk
from timmy.clock import Clock
from timmy.completions import CompletionsDesk
from timmy.generosity.status import PoolStatus
from timmy.identity import SignedRequest, Standing
from timmy.identity.login import Challenge, Login
from timmy.identity.signing import SigningKey
from timmy.identity.trust import Terms as TrustTerms
from timmy.jobs.estimate import Estimate
from timmy.jobs.protocol import JobsDesk
from timmy.lightning.wallets.protocol import InvoiceLookup, NoSuchInvoice
from timmy.money import Msats, Sats
from timmy.sessions.protocol import SessionsDesk
from timmy.settings import Secret
from timmy.web.address import networks
from timmy.web.building import BUILT
from timmy.web.operator.keys import OperatorKeys
from timmy.web.operator.protocol import NodeStatus, OperatorsDesk
from timmy.web.turnstile import Turnstile
from timmy.world.crowd import Crowd, Viewer
from timmy.world.demo import Answer
from timmy.world.talk import Talk
from timmy.world.uses import Right


class Condition(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"  # it works, but worse than it should: a stand-in price, a slow wallet
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that Timmy depends on. `stand_in` says in a sentence that this is not the real thing, and what would be."""

    name: str  # "database", "wallet", "provider", "price"
    condition: Condition
    kind: str  # "sqlite", "builtin", "lnbits", "median of 5", …
    detail: str | None = None  # for a person, without secrets
    stand_in: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    parts: tuple[Part, ...]

    @property
    def condition(self) -> Condition:
        """The worst of the parts."""
        conditions = {part.condition for part in self.parts}
        return next((c for c in (Condition.DOWN, Condition.DEGRADED) if c in conditions), Condition.OK)


class WebSettings(Protocol):
    """The settings that the web room reads. `timmy.settings.Settings` has them; nothing else of it is used here."""

    @property
    def public_url(self) -> str: ...

    @property
    def cors_origins(self) -> Sequence[str]: ...

    @property
    def trusted_proxies(self) -> Sequence[str]: ...  # addresses or networks

    @property
    def admin_token(self) -> Secret | None: ...

    @property
    def offers_per_minute(self) -> int: ...

    @property
    def logins_per_minute(self) -> int: ...

    @property
    def max_request_chars(self) -> int: ...

    @property
    def max_body_bytes(self) -> int: ...

    @property
    def max_v1_body_bytes(self) -> int: ...

    @property
    def session_min(self) -> Sats: ...

    @property
    def session_max(self) -> Sats: ...


class WebMetrics(Protocol):
    """Counts requests and prints what has been counted."""

    def http_request(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """`route` is a template (`/api/jobs/{jobId}`), never a path: a path may hold an id or a secret, and would have no end of values."""
        ...

    def exposition(self) -> tuple[bytes, str]:
        """The text for Prometheus, and its content type."""
        ...


class IdentityDesk(Protocol):
    """Who somebody is. `timmy.identity.Identity` is the one that knows."""

    @property
    def terms(self) -> TrustTerms: ...

    async def challenge(self) -> Challenge: ...

    async def verify(self, document: object, *, pubkey: str | None = None) -> Login:
        """Refusals, all 401: of identity/login.py, and NostrEventInvalid."""
        ...

    async def who(self, token: str) -> Standing:
        """TokenInvalid, TokenExpired."""
        ...

    async def who_signed(self, header: str, request: SignedRequest) -> Standing:
        """`header` is what follows `Authorization: Nostr `."""
        ...


@dataclass(frozen=True, slots=True)
class Profile:
    """What belongs to a key besides how it stands."""

    reasons: Sequence[Mapping[str, Any]]  # the latest changes of the score: why, change, score, at_ms
    day: str  # UTC
    budget: Msats  # what its tier may have of the pool in a day
    left: Msats  # what of it is left today


class Giving(Protocol):
    """What the pool would do. Looking changes nothing."""

    async def estimate(self, request: str, *, model: str | None = None, who: Standing | None = None) -> Estimate:
        """UnknownModel (400)."""
        ...

    async def pool(self) -> tuple[PoolStatus, Mapping[str, Msats]]:
        """How it stands, and what each tier may have of it in a day."""
        ...


class WorldDesk(Protocol):
    """What visitors see, and what they say. `timmy.world.World` is the one that knows."""

    @property
    def crowd(self) -> Crowd: ...

    @property
    def talk(self) -> Talk: ...

    async def state(self) -> Mapping[str, object]:
        """All of it. DatabaseDown."""
        ...

    async def join(self, viewer: Viewer) -> None:
        """It gets the whole state, and then whatever happens. DatabaseDown."""
        ...

    def leave(self, viewer: Viewer) -> None: ...

    async def aclose(self) -> None: ...


class DemoDesk(Protocol):
    """Free answers. `timmy.world.demo.Demo` gives them."""

    @property
    def per_address(self) -> Right: ...

    async def ask(self, request: str, address: str) -> Answer:
        """DemoClosed, DemoUsedUp, TooBusy, ProviderDown, ProviderRefused, DatabaseDown. What the model answered counts, usable or not."""
        ...


class DevDesk(Protocol):
    """What only a server in development may do."""

    async def pay(self, payment_hash: str) -> bool:
        """Pay an invoice of ours. True: paid now or before. False: there is no such invoice."""
        ...

    async def preimage(self, payment_hash: str) -> str | None:
        """What proves that an invoice of the built-in wallet was paid, for L402. None: it was not; or the wallet is a real one, whose
        payers alone have theirs."""
        ...

    async def customer_invoice(self, amount: Sats) -> str:
        """A BOLT11 invoice of the built-in customer, so that a refund has somewhere to go. Refusal: this wallet has no customer."""
        ...


async def _nothing() -> None: ...


async def _no_hint(_payment_hash: str) -> None: ...


async def _no_look(_payment_hash: str) -> InvoiceLookup:
    return NoSuchInvoice()


@dataclass(slots=True)
class WebHouse:
    settings: WebSettings
    jobs: JobsDesk
    sessions: SessionsDesk
    identity: IdentityDesk
    profile: Callable[[Standing], Awaitable[Profile]]
    giving: Giving
    pool_frozen: Callable[[], Awaitable[bool]]
    clock: Clock
    metrics: WebMetrics
    health: Callable[[], Awaitable[Health]]  # what is known about each part, without asking them anew; must be quick
    ready: Callable[[], Awaitable[Health]]  # whether a job could be taken right now; may look
    version: str
    wallet_hint: Callable[[str], Awaitable[None]] = _no_hint  # "have a look at this payment hash": believed only after a look
    receipt_key: SigningKey | None = None  # None: no receipts
    look: Callable[[str], Awaitable[InvoiceLookup]] = _no_look  # what the wallet says of an invoice; WalletDown
    hook_secret: str | None = None  # the last segment of the webhook's path; None: no webhook
    completions: CompletionsDesk | None = None  # None: no /v1
    operator: OperatorsDesk | None = None  # its addresses exist where ADMIN_TOKEN is set besides
    node_status: Callable[[], Awaitable[NodeStatus]] | None = None  # how the wallet's node is; as with the desk, with ADMIN_TOKEN only
    world: WorldDesk | None = None  # None: nothing to be seen
    demo: DemoDesk | None = None  # None: nothing for nothing
    bootstrap: BootstrapDesk | None = None  # None: no nodes
    dev: DevDesk | None = None  # None: no development routes
    built_pages: Path = BUILT  # where the landing page and the workshop lie; without them plain pages are served
    start: Callable[[], Awaitable[None]] = _nothing  # before the first request
    stop: Callable[[], Awaitable[None]] = _nothing  # after the last one
    closing: asyncio.Event = field(default_factory=asyncio.Event)  # set when the server begins to stop: open streams end then
    offers: Turnstile = field(init=False)  # for whatever makes an invoice
    logins: Turnstile = field(init=False)
    operator_keys: OperatorKeys | None = field(init=False)

    def __post_init__(self) -> None:
        trusted = networks(self.settings.trusted_proxies)
        token = self.settings.admin_token
        self.operator_keys = OperatorKeys(token, self.clock, trusted) if token is not None else None
        self.offers = Turnstile(self.settings.offers_per_minute, self.clock, trusted, "unpaid orders")
        self.logins = Turnstile(self.settings.logins_per_minute, self.clock, trusted, "beginnings of a login")
