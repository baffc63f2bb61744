"""A wallet in an LNbits (1.x) over its HTTP interface.

What was read in LNbits' source and seen of a running one, and is built on here:

- HTTP 520 with `{"detail", "status"}` is LNbits refusing a payment. It says `failed` for an invoice that this wallet itself paid a
  moment ago, too, so no refusal is believed before the payment has been looked up.
- A look-up with a key that LNbits does not know is answered for everybody's payments: 404, or an answer without `details`. Neither says
  anything about ours.
- One look-up finds both sides of a payment between two of its wallets, and the payer's side first: the sign of `amount` tells them apart.
- A routing fee is bounded by the whole server's fee reserve and not by any parameter, so this wallet does not cap fees.
- Webhooks are not signed and arrive twice, WebSocket messages too: both are hints, the look-up is the truth.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any, Self

import aiohttp
from yarl import URL

from timmy.clock import Clock
from timmy.lightning import bolt11
from timmy.lightning.wallets.calls import Answer, JsonCalls, NoAnswer, NotSent
from timmy.lightning.wallets.facts import Channels, NodeFacts, Reading, certificate_of, is_in_the_clear, skew_of
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
from timmy.money import MSATS_MAX, MSATS_PER_SAT, Msats, Sats

PAYMENTS = "api/v1/payments"
NODE_PAGE = "node/public/api/v1/info"
CHANNEL_STATES = ("active", "inactive", "pending")
REFUSED = 520  # LNbits' PaymentError and InvoiceError; also what one large proxy says when it has no answer, but that is no JSON
NOT_FOUND = "Payment does not exist."
PROBE = Sats(1).msats
PROBE_SECONDS = 60
REASON_CHARS_MAX = 200
RECONNECT_SECONDS_MIN, RECONNECT_SECONDS_MAX = 1, 60
HEARTBEAT_SECONDS = 30.0
HINT_BYTES_MAX = 64 * 1024
_HASH = re.compile(r"[0-9a-f]{64}")


class LnbitsWallet:
    """See `Wallet`. `api_key` is the wallet's admin key; it appears in no error, log or repr.

    `webhook_url` is handed to LNbits with every invoice; whoever answers it must treat it as a hint.
    """

    name = "lnbits"
    caps_fees = False

    def __init__(
        self,
        url: str,
        api_key: str,
        clock: Clock,
        *,
        network: Network,
        session: aiohttp.ClientSession | None = None,
        timeout_seconds: float = 15.0,
        pay_timeout_seconds: float = 60.0,
        webhook_url: str | None = None,
    ) -> None:
        address = URL(url.rstrip("/") + "/")
        if address.scheme not in ("http", "https") or not address.host:
            raise ValueError("The URL of an LNbits looks like https://lnbits.example.com")
        self.network = network
        self._url = address
        self._api_key = api_key
        self._clock = clock
        self._webhook_url = webhook_url
        self._calls = JsonCalls(session, timeout_seconds=timeout_seconds)
        self._pay_timeout_seconds = pay_timeout_seconds
        self._listening: bool | None = None  # None: nobody has listened yet

    def __repr__(self) -> str:
        return f"LnbitsWallet({self._url.with_user(None)})"

    @classmethod
    async def connect(
        cls,
        url: str,
        api_key: str,
        clock: Clock,
        *,
        session: aiohttp.ClientSession | None = None,
        timeout_seconds: float = 15.0,
        webhook_url: str | None = None,
    ) -> Self:
        """Learn the network from an invoice for one sat, which nobody is told about. Raises `WalletDown` when none is made.

        LNbits names its network nowhere, and older invoices do not either: those that it settles in its own books carry mainnet's prefix.
        """
        wallet = cls(
            url, api_key, clock, network=Network.MAINNET, session=session, timeout_seconds=timeout_seconds, webhook_url=webhook_url
        )
        try:
            wallet.network = (await wallet._ask_for(PROBE, memo="Which network is this?", expiry_seconds=PROBE_SECONDS, extra={})).network
        except WalletDown:
            await wallet.aclose()
            raise
        return wallet

    # Money in ------------------------------------------------------------------------------------------

    async def create_invoice(self, amount: Msats, *, memo: str, expiry_seconds: int, label: str) -> NewInvoice:
        """Whole sats only: another amount is a ValueError. `label` is kept in the invoice's `extra`."""
        invoice = await self._ask_for(amount, memo=memo, expiry_seconds=expiry_seconds, extra={"label": label})
        if invoice.network is not self.network:
            raise WalletDown(f"{self} made an invoice for {invoice.network.name.lower()}, and is set up for {self.network.name.lower()}.")
        return NewInvoice(invoice.payment_hash, invoice.payment_request, invoice.expires_at_ms)

    async def _ask_for(self, amount: Msats, *, memo: str, expiry_seconds: int, extra: dict[str, str]) -> bolt11.Invoice:
        sats, rest = divmod(amount.value, MSATS_PER_SAT)
        if rest or not sats:
            raise ValueError(f"LNbits asks for whole sats, not for {amount}")
        body: dict[str, object] = {"out": False, "unit": "sat", "amount": sats, "memo": memo, "expiry": expiry_seconds, "extra": extra}
        if self._webhook_url is not None:
            body["webhook"] = self._webhook_url
        answer = await self._ask("POST", PAYMENTS, body)
        if answer.status != 201:
            raise self._down(answer)
        text = answer.member("bolt11") or answer.member("payment_request")  # the second: before LNbits 1.0
        try:
            invoice = bolt11.decode(text if isinstance(text, str) else "")
        except bolt11.InvalidInvoice as problem:
            raise WalletDown(f"{self} made an invoice that cannot be read: {problem.message}") from None
        if invoice.amount != amount:
            raise WalletDown(f"{self} made an invoice for {invoice.amount}, and was asked for {amount}; it is not handed out.")
        return invoice

    async def lookup_invoice(self, payment_hash: str) -> InvoiceLookup:
        details = await self._details(payment_hash, incoming=True)
        if details is None:
            return NoSuchInvoice()
        if details.get("status") != "success":
            return Unpaid()  # LNbits calls an expired invoice failed
        return Settled(self._msats(details.get("amount")), _preimage(details.get("preimage")))

    async def settlements(self) -> AsyncIterator[str]:
        """What the WebSocket says was paid. A lost connection is made again, more and more patiently."""
        wait_seconds = RECONNECT_SECONDS_MIN
        while True:
            try:
                url = self._url.joinpath("api", "v1", "ws", self._api_key)
                async with self._calls.session().ws_connect(url, heartbeat=HEARTBEAT_SECONDS, max_msg_size=HINT_BYTES_MAX) as socket:
                    wait_seconds, self._listening = RECONNECT_SECONDS_MIN, True
                    async for message in socket:
                        if message.type is aiohttp.WSMsgType.TEXT and (payment_hash := _hinted(message.data)):
                            yield payment_hash
            except NotSent:
                return  # closed
            except (aiohttp.ClientError, TimeoutError, OSError):
                wait_seconds = min(2 * wait_seconds, RECONNECT_SECONDS_MAX)  # not logged: the address holds the key, and the poll goes on
            self._listening = False
            await asyncio.sleep(wait_seconds)

    # Money out -----------------------------------------------------------------------------------------

    async def pay_invoice(self, payment_request: str, *, amount: Msats, fee_limit: Msats) -> PaymentOutcome:
        """`fee_limit` cannot be passed on (`caps_fees` is False). LNbits answers after some seconds even if the payment has not ended."""
        try:
            invoice = bolt11.decode(payment_request)
        except bolt11.InvalidInvoice as problem:
            return Failed(problem.message)
        if invoice.amount != amount:
            return Failed(f"The invoice asks for {invoice.amount}, and {amount} was to be paid. Nothing was sent.")
        body = {"out": True, "bolt11": invoice.payment_request}
        try:
            answer = await self._call("POST", PAYMENTS, body, timeout_seconds=self._pay_timeout_seconds)
        except NotSent as problem:
            raise WalletDown(f"{self} is not answering ({problem}).") from None
        except NoAnswer as problem:
            return Unknown(f"{self} did not say how the payment ended ({problem}).")
        if answer.status in (401, 403, 404, 429):  # before any payment: the key, the right, the address, the rate
            raise self._down(answer)
        if answer.status == 201 and isinstance(answer.body, dict):
            return self._outcome(answer.body)
        if answer.status not in (400, REFUSED) or not isinstance(answer.member("detail"), str):
            return Unknown(f"{self} answered the payment with HTTP {answer.status}.")
        return await self._refused(invoice.payment_hash, str(answer.member("detail"))[:REASON_CHARS_MAX], answer.member("status"))

    async def _refused(self, payment_hash: str, detail: str, status: object) -> PaymentOutcome:
        """A no is also the answer to a second try after a first one that is on its way, or has arrived."""
        try:
            outcome = await self.lookup_payment(payment_hash)
        except WalletDown:
            return Unknown(f"{self} stopped answering right after the payment.")
        if isinstance(outcome, NeverSent) and status in ("pending", "success"):
            return Unknown(f"{self} calls the payment {status}, and does not know it.")
        return Failed(detail) if isinstance(outcome, NeverSent | Failed) else outcome

    async def lookup_payment(self, payment_hash: str) -> PaymentOutcome:
        details = await self._details(payment_hash, incoming=False)
        return NeverSent() if details is None else self._outcome(details)

    def _outcome(self, payment: dict[str, Any]) -> PaymentOutcome:
        status = payment.get("status")
        if status == "success":
            fee_msat = payment.get("fee")
            fee_msat = abs(fee_msat) if type(fee_msat) is int else None  # a fee is a negative number there
            proof = _preimage(payment.get("preimage"))
            return Succeeded(proof, Msats(fee_msat) if fee_msat is not None and fee_msat <= MSATS_MAX else None)
        if status == "failed":
            return Failed("LNbits calls the payment failed.")
        if status == "pending":
            return InFlight()
        return Unknown(f"{self} calls the payment {status!r}.")

    # The whole -----------------------------------------------------------------------------------------

    async def balance(self) -> Msats:
        """A wallet that fees have pushed below zero can spend nothing."""
        answer = await self._ask("GET", "api/v1/wallet")
        balance_msat = answer.member("balance")
        if answer.status != 200:
            raise self._down(answer)
        return self._msats(max(0, balance_msat) if type(balance_msat) is int else balance_msat)

    async def diagnose(self) -> NodeFacts:
        """See `Diagnosable`. A wallet's key is told no version; of the node behind it LNbits tells what its public node page shows, if that
        is switched on."""
        certificate = await certificate_of(self._url)
        if certificate is not None and certificate.trouble is not None:
            return NodeFacts(software="LNbits", certificate=certificate)  # nobody who must not be trusted is asked anything
        asked_at_ms = self._clock.now_ms()
        health = await self._ask("GET", "api/v1/health")
        skew_ms = skew_of(health.date, asked_at_ms, self._clock.now_ms())
        page = await self._ask("GET", NODE_PAGE)
        read = Reading()
        channels = None
        if page.status == 200:
            stats = page.member("channel_stats")
            counts = stats.get("counts") if isinstance(stats, dict) else None
            found = [read.whole("channels", counts.get(state, 0)) for state in CHANNEL_STATES] if isinstance(counts, dict) else [None]
            channels = Channels(*(count for count in found if count is not None)) if None not in found else None
        return NodeFacts(
            software="LNbits",
            alias=read.words("alias", page.member("alias")) if page.status == 200 else None,
            height=read.height("block height", page.member("blockheight")) if page.status == 200 else None,
            channels=channels,
            skew_ms=skew_ms,
            certificate=certificate,
            in_the_clear=is_in_the_clear(self._url),
            listening=self._listening,
            nonsense=read.told(),
        )

    async def aclose(self) -> None:
        await self._calls.aclose()

    # How it is asked -----------------------------------------------------------------------------------

    async def _details(self, payment_hash: str, *, incoming: bool) -> dict[str, Any] | None:
        """Our side of a payment: the one that came in, or the one that went out. None when LNbits has no such side of ours."""
        if not _HASH.fullmatch(payment_hash):
            return None
        answer = await self._ask("GET", f"{PAYMENTS}/{payment_hash}")
        if answer.status == 404 and answer.member("detail") == NOT_FOUND:
            await self.balance()  # with a key that it does not know LNbits says the same; then this raises
            return None
        details = answer.member("details")
        if details is None and answer.member("paid") is not None:
            await self.balance()  # an answer for everybody, because the key is nobody's; then this raises
        if answer.status != 200 or not isinstance(details, dict):
            raise self._down(answer)
        if _is_incoming(details, self) is incoming:
            return details
        return await self._other_side(payment_hash, incoming=incoming)

    async def _other_side(self, payment_hash: str, *, incoming: bool) -> dict[str, Any] | None:
        answer = await self._ask("GET", PAYMENTS, query={"payment_hash[eq]": payment_hash})
        if answer.status != 200 or not isinstance(answer.body, list):
            raise self._down(answer)
        sides = [each for each in answer.body if isinstance(each, dict) and each.get("payment_hash") == payment_hash]
        return next((each for each in sides if _is_incoming(each, self) is incoming), None)

    async def _ask(self, method: str, path: str, body: object = None, query: dict[str, str] | None = None) -> Answer:
        try:
            return await self._call(method, path, body, query=query)
        except (NotSent, NoAnswer) as problem:
            raise WalletDown(f"{self} is not answering ({problem}).") from None

    async def _call(
        self, method: str, path: str, body: object, *, query: dict[str, str] | None = None, timeout_seconds: float | None = None
    ) -> Answer:
        url = self._url.joinpath(*path.split("/")).with_query(query)
        return await self._calls.ask(method, url, body=body, headers={"X-Api-Key": self._api_key}, timeout_seconds=timeout_seconds)

    def _down(self, answer: Answer) -> WalletDown:
        if answer.status in (401, 403, 404):
            return WalletDown(f"{self} does not accept LNBITS_API_KEY as an admin key, or LNBITS_URL is not an LNbits.")
        if answer.status == 429:
            return WalletDown(f"{self} limits how often it may be asked. Raise its LNBITS_RATE_LIMIT_NO.")
        if answer.status == 200:
            return WalletDown(f"{self} answered with something that makes no sense.")
        detail = answer.member("detail")
        return WalletDown(
            f"{self} answered with HTTP {answer.status}{f': {detail[:REASON_CHARS_MAX]}' if isinstance(detail, str) else ''}."
        )

    def _msats(self, value: object) -> Msats:
        if type(value) is int and 0 <= value <= MSATS_MAX:
            return Msats(value)
        raise WalletDown(f"{self} named an amount that makes no sense.")


def _is_incoming(payment: dict[str, Any], wallet: LnbitsWallet) -> bool:
    amount_msat = payment.get("amount")
    if type(amount_msat) is not int or amount_msat == 0:
        raise WalletDown(f"{wallet} named an amount that makes no sense.")
    return amount_msat > 0


def _preimage(value: object) -> str | None:
    return value if isinstance(value, str) and _HASH.fullmatch(value) else None


def _hinted(text: str) -> str | None:
    """The payment hash in a WebSocket message about money that came in; None for everything else that may be in there."""
    try:
        payment = json.loads(text)["payment"]
        payment_hash, amount_msat = payment["payment_hash"], payment["amount"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(payment_hash, str) or not _HASH.fullmatch(payment_hash) or type(amount_msat) is not int:
        return None
    return payment_hash if amount_msat > 0 else None
