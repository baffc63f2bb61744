"""A wallet over Nostr (Nostr Wallet Connect, NIP-47): whatever wallet a person has, asked through a relay.

What the specification leaves open, and is decided here:

- A question may reach the wallet late, and its answer never reach us. Every question carries its own end (`expiration`), and until that has
  passed a payment that was asked for is `Unknown`, also when the wallet says that it has never heard of it.
- Wallets say no to a second try of what the first one has paid, each in its own words. So no refusal is believed before the payment has
  been looked up.
- One look-up finds an invoice or a payment, and says which. A payment to oneself has both: of the other one it says nothing.
- `state` is younger than the protocol: without it `settled_at`, and for a payment the preimage, says that it has ended well.
- No parameter bounds a routing fee, so this wallet does not cap fees.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import suppress
from typing import Any, Self

import aiohttp
from yarl import URL

from timmy.clock import SECOND_MS, Clock
from timmy.identity.nostr import HEX_32
from timmy.ids import RandomBytes, system_random
from timmy.lightning import bolt11
from timmy.lightning.wallets.calls import NoAnswer, NotSent
from timmy.lightning.wallets.facts import NodeFacts, Reading, certificate_of
from timmy.lightning.wallets.nwc_line import Told, WalletLine
from timmy.lightning.wallets.nwc_uri import parse_uri
from timmy.lightning.wallets.protocol import (
    Failed,
    InFlight,
    InvoiceLookup,
    Network,
    NeverSent,
    NewInvoice,
    NoSuchInvoice,
    PaymentOutcome,
    Settled,
    Succeeded,
    Unknown,
    Unpaid,
    WalletDown,
)
from timmy.money import MSATS_MAX, Msats, Sats

TIMEOUT_SECONDS, PAY_TIMEOUT_SECONDS = 15.0, 60.0
PROBE, PROBE_SECONDS = Sats(1).msats, 60
RECONNECT_SECONDS_MIN, RECONNECT_SECONDS_MAX = 1, 60
REASON_CHARS_MAX = 200
DOUBT_GRACE_MS = 30 * SECOND_MS  # the wallet's clock may be behind ours when it looks at a question's end
TO_BUY = ("pay_invoice", "lookup_invoice")
TO_SELL = (*TO_BUY, "make_invoice", "get_balance")
NETWORKS = {
    "mainnet": Network.MAINNET,
    "bitcoin": Network.MAINNET,
    "testnet": Network.TESTNET,
    "signet": Network.SIGNET,
    "regtest": Network.REGTEST,
}
NOT_ALLOWED = ("RESTRICTED", "UNAUTHORIZED", "NOT_IMPLEMENTED", "UNSUPPORTED_ENCRYPTION", "RATE_LIMITED")  # said before anything is tried
SURE = ("PAYMENT_FAILED", "INSUFFICIENT_BALANCE", "QUOTA_EXCEEDED")


class NwcWallet:
    """See `Wallet`. `uri` is the wallet's connection string; its secret appears in no error, log or repr."""

    name = "nwc"
    caps_fees = False

    def __init__(
        self,
        uri: str,
        clock: Clock,
        *,
        network: Network,
        random_bytes: RandomBytes = system_random,
        session: aiohttp.ClientSession | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        pay_timeout_seconds: float = PAY_TIMEOUT_SECONDS,
    ) -> None:
        """ValueError when `uri` is none, without quoting it."""
        self.network = network
        self.uri = parse_uri(uri)
        self._clock = clock
        self._line = WalletLine(self.uri, clock, random_bytes, session, timeout_seconds=timeout_seconds)
        self._pay_timeout_seconds = pay_timeout_seconds
        self._allowed: frozenset[str] | None = None  # not asked yet
        self._in_doubt: dict[str, list[int]] = {}  # payment hash → for each question without an answer, until when it may be acted upon

    def __repr__(self) -> str:
        return f"The wallet {self.mark} over Nostr"

    @property
    def mark(self) -> str:
        """Which connection it is, without its secret: the same wallet may have made several, each of which sees its own payments only."""
        return hashlib.sha256(f"{self.uri.wallet_pubkey} {self.uri.pubkey}".encode()).hexdigest()[:8]

    @classmethod
    async def connect(
        cls,
        uri: str,
        clock: Clock,
        *,
        needs: Collection[str] = TO_SELL,
        random_bytes: RandomBytes = system_random,
        session: aiohttp.ClientSession | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> Self:
        """Learn what it may do, and its network. WalletDown when it does not answer, or may not do what is needed."""
        wallet = cls(uri, clock, network=Network.MAINNET, random_bytes=random_bytes, session=session, timeout_seconds=timeout_seconds)
        try:
            await wallet._introduce(needs)
        except BaseException:
            await wallet.aclose()
            raise
        return wallet

    async def _introduce(self, needs: Collection[str]) -> None:
        try:
            methods = await self._line.methods()
        except NotSent as problem:
            raise WalletDown(f"{self} is not answering ({problem}).") from None
        info: Mapping[str, Any] = {}
        if "get_info" in methods:
            told = await self._ask("get_info", {})
            info = told.result if told.code is None else {}
        allowed = info.get("methods")  # of this very connection; what was announced is of the wallet as a whole
        if isinstance(allowed, list):
            methods = frozenset(each for each in allowed if isinstance(each, str))
        self._allowed = methods
        missing = [method for method in needs if method not in methods]
        if missing:
            raise WalletDown(f"{self} does not allow {' and '.join(missing)} on this connection. Make one in the wallet that does.")
        network = NETWORKS.get(str(info.get("network")))
        if network is None:
            if "make_invoice" not in methods:
                raise WalletDown(f"{self} does not say which network it is on. Make a connection that allows get_info.")
            network = (await self._invoice(PROBE, "Which network is this?", PROBE_SECONDS)).network
        self.network = network

    def allows(self, method: str) -> bool:
        """Whether this connection may do it, as far as was said when it was made."""
        return self._allowed is None or method in self._allowed

    # Money in ------------------------------------------------------------------------------------------

    async def create_invoice(self, amount: Msats, *, memo: str, expiry_seconds: int, label: str) -> NewInvoice:
        """`label` is not sent: the protocol has no place that all wallets keep."""
        invoice = await self._invoice(amount, memo, expiry_seconds)
        if invoice.network is not self.network:
            raise WalletDown(f"{self} made an invoice for {invoice.network.name.lower()}, and said it was on {self.network.name.lower()}.")
        return NewInvoice(invoice.payment_hash, invoice.payment_request, invoice.expires_at_ms)

    async def _invoice(self, amount: Msats, memo: str, expiry_seconds: int) -> bolt11.Invoice:
        if not amount:
            raise ValueError("An invoice asks for something")
        told = await self._ask("make_invoice", {"amount": amount.value, "description": memo, "expiry": expiry_seconds})
        if told.code is not None:
            raise self._refusal(told)
        text = told.result.get("invoice")
        try:
            invoice = bolt11.decode(text if isinstance(text, str) else "")
        except bolt11.InvalidInvoice as problem:
            raise WalletDown(f"{self} made an invoice that cannot be read: {problem.message}") from None
        if invoice.amount != amount:
            raise WalletDown(f"{self} made an invoice for {invoice.amount}, and was asked for {amount}; it is not handed out.")
        return invoice

    async def lookup_invoice(self, payment_hash: str) -> InvoiceLookup:
        found = await self._find(payment_hash)
        if found is None or found.get("type") == "outgoing":
            return NoSuchInvoice()
        state = found.get("state")
        if state == "settled" or (state is None and found.get("settled_at")):
            preimage = _preimage(found.get("preimage"), payment_hash)
            return Settled(self._msats(found.get("amount")), preimage)
        return Unpaid()

    async def settlements(self) -> AsyncIterator[str]:
        """What the wallet says was paid, if it says so at all. A lost connection is made again, more and more patiently."""
        wait_seconds = RECONNECT_SECONDS_MIN
        while not self._line.is_closed:
            with suppress(NotSent):  # nobody there: tried again below, and the poll goes on
                async for payment_hash in self._line.hints():
                    wait_seconds = RECONNECT_SECONDS_MIN
                    yield payment_hash
            if self._line.is_closed:
                return
            await asyncio.sleep(wait_seconds)
            wait_seconds = min(2 * wait_seconds, RECONNECT_SECONDS_MAX)

    # Money out -----------------------------------------------------------------------------------------

    async def pay_invoice(self, payment_request: str, *, amount: Msats, fee_limit: Msats) -> PaymentOutcome:
        """`fee_limit` cannot be passed on (`caps_fees` is False). After `pay_timeout_seconds` without an answer: Unknown."""
        try:
            invoice = bolt11.decode(payment_request)
        except bolt11.InvalidInvoice as problem:
            return Failed(problem.message)
        if invoice.amount != amount:
            return Failed(f"The invoice asks for {invoice.amount}, and {amount} was to be paid. Nothing was sent.")
        payment_hash = invoice.payment_hash
        until_ms = self._clock.now_ms() + int(self._pay_timeout_seconds * SECOND_MS) + DOUBT_GRACE_MS
        doubts = self._in_doubt.setdefault(payment_hash, [])
        doubts.append(until_ms)
        try:
            told = await self._line.ask("pay_invoice", {"invoice": invoice.payment_request}, timeout_seconds=self._pay_timeout_seconds)
        except NotSent as problem:
            _strike(doubts, until_ms)
            raise WalletDown(f"{self} is not answering ({problem}).") from None
        except NoAnswer as problem:
            return Unknown(f"{self} did not say how the payment ended ({problem}).")
        _strike(doubts, until_ms)
        if told.code is None:
            return Succeeded(_preimage(told.result.get("preimage"), payment_hash), _fee(told.result.get("fees_paid")))
        return await self._refused(payment_hash, told)

    async def _refused(self, payment_hash: str, told: Told) -> PaymentOutcome:
        """A no is also the answer to a second try after a first one that is on its way, or has arrived."""
        try:
            seen = await self.lookup_payment(payment_hash)
        except WalletDown:
            if told.code in NOT_ALLOWED and not self._is_in_doubt(payment_hash):
                raise self._refusal(told) from None
            return Unknown(f"{self} refused the payment ({told.code}), and does not say what became of it.")
        if not isinstance(seen, NeverSent | Failed):
            return seen
        if told.code in NOT_ALLOWED:
            raise self._refusal(told)
        if told.code in SURE or isinstance(seen, Failed):
            return Failed(told.words or f"The wallet says {told.code}.")
        return Unknown(f"{self} says {told.code}: {told.words}")

    async def lookup_payment(self, payment_hash: str) -> PaymentOutcome:
        found = await self._find(payment_hash)
        if found is None:
            if self._is_in_doubt(payment_hash):
                return Unknown(f"{self} has not heard of it, and may yet: the question may still be on its way.")
            return NeverSent()
        if found.get("type") == "incoming":
            return Unknown(f"{self} tells of the invoice, which is its own, and not of the payment.")
        state, preimage = found.get("state"), _preimage(found.get("preimage"), payment_hash)
        if state == "settled" or (state is None and (preimage is not None or found.get("settled_at"))):
            return Succeeded(preimage, _fee(found.get("fees_paid")))
        if state == "failed":
            if self._is_in_doubt(payment_hash):
                return Unknown(f"{self} calls an earlier try failed, and may yet hear of the last one.")
            return Failed("The wallet calls the payment failed.")
        return InFlight() if state in (None, "pending", "accepted") else Unknown(f"{self} calls the payment {str(state)[:20]!r}.")

    def _is_in_doubt(self, payment_hash: str) -> bool:
        """Whether a question to pay it may still be on its way to the wallet. Others' that are over are forgotten."""
        now_ms = self._clock.now_ms()
        for known, doubts in list(self._in_doubt.items()):
            doubts[:] = [until_ms for until_ms in doubts if until_ms > now_ms]
            if not doubts:
                del self._in_doubt[known]
        return payment_hash in self._in_doubt

    # The whole -----------------------------------------------------------------------------------------

    async def balance(self) -> Msats:
        told = await self._ask("get_balance", {})
        if told.code is not None:
            raise self._refusal(told)
        return self._msats(told.result.get("balance"))

    async def diagnose(self) -> NodeFacts:
        """See `Diagnosable`. The certificate is the relay's. What passes over it is sealed, so a relay without TLS gives nothing away."""
        read = Reading()
        told = await self._ask("get_info", {}) if self.allows("get_info") else Told()
        info = told.result if told.code is None else {}
        return NodeFacts(
            software="Nostr Wallet Connect",
            alias=read.words("alias", info.get("alias")),
            height=read.height("block height", info.get("block_height")),
            certificate=await certificate_of(URL(self.uri.relays[0])),
            nonsense=read.told(),
        )

    async def aclose(self) -> None:
        await self._line.aclose()

    # How it is asked -----------------------------------------------------------------------------------

    async def _find(self, payment_hash: str) -> Mapping[str, Any] | None:
        if not HEX_32.fullmatch(payment_hash):
            return None
        told = await self._ask("lookup_invoice", {"payment_hash": payment_hash})
        if told.code == "NOT_FOUND":
            return None
        if told.code is not None:
            raise self._refusal(told)
        if told.result.get("payment_hash") not in (payment_hash, None) or told.result.get("type") not in ("incoming", "outgoing"):
            raise WalletDown(f"{self} answered with something that makes no sense.")
        return told.result

    async def _ask(self, method: str, params: Mapping[str, object]) -> Told:
        try:
            return await self._line.ask(method, params)
        except (NotSent, NoAnswer) as problem:
            raise WalletDown(f"{self} is not answering ({problem}).") from None

    def _refusal(self, told: Told) -> WalletDown:
        if told.code in NOT_ALLOWED[:4]:
            return WalletDown(f"{self} does not allow that on this connection ({told.code}): {told.words[:REASON_CHARS_MAX]}")
        return WalletDown(f"{self} answered with {told.code}: {told.words[:REASON_CHARS_MAX]}")

    def _msats(self, value: object) -> Msats:
        if type(value) is int and 0 <= value <= MSATS_MAX:
            return Msats(value)
        raise WalletDown(f"{self} named an amount that makes no sense.")


def _strike(doubts: list[int], until_ms: int) -> None:
    if until_ms in doubts:  # it is gone already where the answer came after its time
        doubts.remove(until_ms)


def _preimage(value: object, payment_hash: str) -> str | None:
    """Only what proves the payment: BOLT 11's payment hash is its SHA-256."""
    if not isinstance(value, str) or not HEX_32.fullmatch(value):
        return None
    return value if hashlib.sha256(bytes.fromhex(value)).hexdigest() == payment_hash else None


def _fee(value: object) -> Msats | None:
    return Msats(value) if type(value) is int and 0 <= value <= MSATS_MAX else None
