"""What every wallet can do, and the few words it may answer with.

A wallet adapter translates and nothing else: it keeps no accounts, decides no refund, retries no payment. Amounts are `Msats`;
times are milliseconds since 1970. Hashes and preimages are lower-case hex of 32 bytes.

When the backend cannot be asked (connection refused, time-out, 5xx, an answer that makes no sense) an adapter raises `WalletDown`, with
one exception: `pay_invoice` after the request may have left this machine answers `Unknown`, because the payment may be on its way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from timmy.errors import Outage
from timmy.money import Msats


class Network(StrEnum):
    """The chain that a BOLT11 prefix names (BOLT 11, "Human-Readable Part")."""

    MAINNET = "bc"
    TESTNET = "tb"
    SIGNET = "tbs"
    REGTEST = "bcrt"


class WalletDown(Outage):
    code = "wallet_down"
    title = "The Lightning wallet is not answering"


@dataclass(frozen=True, slots=True)
class NewInvoice:
    payment_hash: str
    payment_request: str
    expires_at_ms: int


# What became of an invoice of ours -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unpaid:
    """Open, expired or cancelled: no sats arrived (so far)."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Paid, irrevocably. `received` is what arrived, which may differ from what was asked. `preimage`: None where it is not shown."""

    received: Msats
    preimage: str | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class NoSuchInvoice:
    """The backend does not know this payment hash. Not a proof that nobody paid it."""


InvoiceLookup = Unpaid | Settled | NoSuchInvoice


# What became of a payment of ours --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NeverSent:
    """The backend says that it has never tried this payment hash. Right after a send this may still be wrong."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """Tried, and neither settled nor failed yet."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The recipient has it. `preimage` proves it (None: the backend says so but shows none); `fee` None: not told."""

    preimage: str | None = field(repr=False)
    fee: Msats | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The backend says that the payment will never happen. Believed only as `payouts` describes."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can tell right now: ask again, never pay again."""

    reason: str


PaymentOutcome = NeverSent | InFlight | Succeeded | Failed | Unknown


class Wallet(Protocol):
    """A node, or a wallet service, that receives and sends over Lightning."""

    name: str  # "builtin", "lnbits", "electrum": shown by /api/healthz
    network: Network  # invoices of another network are refused before any payment
    caps_fees: bool  # True: `fee_limit` is enforced by the backend. False: payouts stay small (see payouts.py)

    async def create_invoice(self, amount: Msats, *, memo: str, expiry_seconds: int, label: str) -> NewInvoice:
        """A new invoice for exactly `amount`. `label` is our invoice id, kept by backends that can."""
        ...

    async def lookup_invoice(self, payment_hash: str) -> InvoiceLookup: ...

    async def pay_invoice(self, payment_request: str, *, amount: Msats, fee_limit: Msats) -> PaymentOutcome:
        """Pay. May block until settled (bounded by the adapter). Called twice with one invoice it pays at most once."""
        ...

    async def lookup_payment(self, payment_hash: str) -> PaymentOutcome: ...

    def settlements(self) -> AsyncIterator[str]:
        """Payment hashes that may just have been paid: a hint, may repeat, lag, lie or end. Looked up before believed."""
        ...

    async def balance(self) -> Msats:
        """What the wallet could spend."""
        ...

    async def aclose(self) -> None: ...


@runtime_checkable
class PaysItself(Protocol):
    """Optional: the development route can pay an invoice of ours with it (`POST /api/dev/stub/pay/{hash}`)."""

    async def pay_own_invoice(self, payment_hash: str) -> bool:
        """True: paid now or before. False: no such invoice."""
        ...


@runtime_checkable
class PaysAmountless(Protocol):
    """Optional: `pay_invoice` can pay an invoice that leaves the amount to the payer."""

    pays_amountless: bool
