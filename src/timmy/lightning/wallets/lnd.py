"""A wallet on an LND node over its REST interface.

It was written from LND's own interface files and source, and is tested against a stand-in made from the same: no running LND was met.

What was read there, and is built on here:

- A payment is on LND's disk before anything of it leaves, and one hash is paid once: asked again, LND says that it is paid or in
  transition. Only one that has failed may be tried anew. So no refusal is believed before the payment has been looked up.
- `FAILED` is said when no part of a payment is on its way any more and none will follow. While parts are, it is `IN_FLIGHT`, whatever
  else has happened (the table in LND's `payments/db/payment_status.go`).
- A look-up is a stream that stays open until the payment has ended. Its first word is how things stand now, and all that is read.
- "payment isn't initiated" is also said when somebody has deleted LND's records of payments (`lncli deletepayments`).
- 64-bit numbers are text in JSON, and bytes are base64; but a payment's hash and preimage are hex there, and so is an invoice's hash in
  a path.
- What closing a channel would cost the one who opened it is taken off their balance, and changes with the fees on the chain.
- A fee limit is kept to for all parts together, so this wallet caps fees. Zero is a limit, too.
- The subscription to invoices begins at any `settle_index`, so what was settled while nobody listened is told afterwards.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self

import aiohttp
import structlog
from yarl import URL

from timmy.clock import Clock
from timmy.lightning import bolt11
from timmy.lightning.wallets import lnd_facts
from timmy.lightning.wallets.calls import Answer, NoAnswer, NotSent
from timmy.lightning.wallets.facts import NodeFacts, added, certificate_of, skew_of
from timmy.lightning.wallets.lnd_line import NOT_FOUND, LndLine, Refused, Silence, tls_of
from timmy.lightning.wallets.lnd_macaroon import COMMAND, TO_SELL, rights_of
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
from timmy.money import MSATS_MAX, Msats

NETWORKS = {
    "mainnet": Network.MAINNET,
    "testnet": Network.TESTNET,
    "testnet4": Network.TESTNET,
    "signet": Network.SIGNET,
    "regtest": Network.REGTEST,
}
ATTEMPTS_SECONDS = 60  # after which LND begins no new attempt at a payment
PARTS_MAX = 16
TIMEOUT_SECONDS, PAY_TIMEOUT_SECONDS = 15.0, 75.0  # the second: longer than the attempts
SILENCE_SECONDS = 300.0  # of the subscription; then it is made anew, in case the line is dead
RECONNECT_SECONDS_MIN, RECONNECT_SECONDS_MAX = 1, 60
NEVER_SENT = "payment isn't initiated"
NO_INVOICE = ("unable to locate invoice", "there are no existing invoices")
# Codes that LND gives to a request that it has read to its end. With others (a deadline, an unavailable service) it may still be at it; and
# with 6 (already exists) it says that there is a payment, which a look-up that finds none does not undo.
SAID_NO = (2, 3, 5, 9, 11)
FAILURES = {
    "FAILURE_REASON_TIMEOUT": "no route was found in time",
    "FAILURE_REASON_NO_ROUTE": "there is no route within the fee limit",
    "FAILURE_REASON_ERROR": "LND met an error",
    "FAILURE_REASON_INCORRECT_PAYMENT_DETAILS": "the recipient does not know the invoice, or takes no more for it",
    "FAILURE_REASON_INSUFFICIENT_BALANCE": "not enough sats in the channels",
    "FAILURE_REASON_CANCELED": "it was cancelled",
}
_HASH = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"[0-9]{1,19}")

log = structlog.get_logger("timmy.lnd")


class LndWallet:
    """See `Wallet`. `macaroon` is hex; it appears in no error, log or repr. `certificate`: the file that is trusted, instead of whom this
    machine trusts."""

    name = "lnd"
    caps_fees = True
    pays_amountless = True

    def __init__(
        self,
        url: str,
        macaroon: str,
        clock: Clock,
        *,
        network: Network,
        certificate: Path | None = None,
        session: aiohttp.ClientSession | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        pay_timeout_seconds: float = PAY_TIMEOUT_SECONDS,
    ) -> None:
        """ValueError when `url` or `macaroon` is none, WalletDown when the certificate cannot be read."""
        address = URL(url.rstrip("/") + "/")
        if address.scheme not in ("http", "https") or not address.host or address.user or address.query:
            raise ValueError("The URL of an LND's REST looks like https://127.0.0.1:8080")
        self.network = network
        self.rights = rights_of(macaroon)
        self._tls = tls_of(certificate) if certificate is not None and address.scheme == "https" else None
        self._clock = clock
        self._line = LndLine(address, macaroon, tls=self._tls, session=session, timeout_seconds=timeout_seconds)
        self._timeout_seconds, self._pay_timeout_seconds = timeout_seconds, pay_timeout_seconds
        self._listening: bool | None = None  # None: LND has not said a word yet, and it says none before the first payment

    def __repr__(self) -> str:
        return f"LndWallet({self._line.url})"

    @classmethod
    async def connect(
        cls,
        url: str,
        macaroon: str,
        clock: Clock,
        *,
        certificate: Path | None = None,
        needs: Collection[str] = TO_SELL,
        session: aiohttp.ClientSession | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> Self:
        """See that the macaroon allows what is needed (calls of `lnd_macaroon`), and learn the network. WalletDown when it does not, or
        when LND does not answer."""
        wallet = cls(
            url, macaroon, clock, network=Network.MAINNET, certificate=certificate, session=session, timeout_seconds=timeout_seconds
        )
        try:
            if missing := wallet.rights.missing(needs):
                raise WalletDown(f"LND_MACAROON does not allow {', '.join(missing)}. Make one that does: {COMMAND}")
            wallet.network = wallet._network((await wallet._ask("GET", "v1/getinfo")).body)
            if more := wallet.rights.excess():
                log.warning("lnd.macaroon_can_do_more", allows=list(more), make_another=COMMAND)
        except BaseException:
            await wallet.aclose()
            raise
        return wallet

    def _network(self, info: dict[str, Any]) -> Network:
        chains = info.get("chains")
        name = chains[0].get("network") if isinstance(chains, list) and chains and isinstance(chains[0], dict) else None
        if not isinstance(name, str) or name not in NETWORKS:
            raise WalletDown(f"{self} does not say which network it is on, or one that is not known here.")
        return NETWORKS[name]

    # Money in ------------------------------------------------------------------------------------------

    async def create_invoice(self, amount: Msats, *, memo: str, expiry_seconds: int, label: str) -> NewInvoice:
        """LND keeps the memo; `label` stays ours. Private channels are hinted at, since without that nobody finds the way to a node that
        has no others."""
        if not amount:
            raise ValueError("An invoice without an amount could be paid with anything")
        body = {"value_msat": str(amount.value), "memo": memo, "expiry": str(expiry_seconds), "private": True}
        text = (await self._ask("POST", "v1/invoices", body)).member("payment_request")
        try:
            invoice = bolt11.decode(text if isinstance(text, str) else "")
        except bolt11.InvalidInvoice as problem:
            raise WalletDown(f"{self} made an invoice that cannot be read: {problem.message}") from None
        if invoice.amount != amount or invoice.network is not self.network:
            raise WalletDown(f"{self} made another invoice than it was asked for; it is not handed out.")
        return NewInvoice(invoice.payment_hash, invoice.payment_request, invoice.expires_at_ms)

    async def lookup_invoice(self, payment_hash: str) -> InvoiceLookup:
        """What is accepted and not settled (a hold invoice's state) has not arrived."""
        if not _HASH.fullmatch(payment_hash):
            return NoSuchInvoice()
        try:
            invoice = (await self._call("GET", f"v1/invoice/{payment_hash}")).body
        except Refused as refused:
            if refused.code in (NOT_FOUND, 2) and any(words in refused.words for words in NO_INVOICE):  # 2: older ones
                return NoSuchInvoice()
            raise refused.down(self) from None
        if _hex(invoice.get("r_hash")) != payment_hash:
            raise WalletDown(f"{self} answered about another invoice than it was asked for.")
        match invoice.get("state"):
            case "SETTLED":
                preimage = _hex(invoice.get("r_preimage"))
                fits = preimage is not None and bolt11.fits(preimage, payment_hash)
                return Settled(self._msats(invoice.get("amt_paid_msat")), preimage if fits else None)
            case "OPEN" | "CANCELED" | "ACCEPTED":
                return Unpaid()
            case _:
                raise WalletDown(f"{self} names a state of an invoice that is not known here.")

    async def settlements(self) -> AsyncGenerator[str, None]:
        """What the subscription tells. A lost line is made again, more and more patiently, and goes on where it was."""
        wait_seconds, index = RECONNECT_SECONDS_MIN, 0
        while True:
            query = {"settle_index": str(index)} if index else None
            try:
                frames = self._line.frames("GET", "v1/invoices/subscribe", query=query, silent_seconds=SILENCE_SECONDS)
                async with aclosing(frames):
                    async for invoice in frames:
                        wait_seconds, self._listening = RECONNECT_SECONDS_MIN, True
                        payment_hash = _hex(invoice.get("r_hash"))
                        if invoice.get("state") == "SETTLED" and payment_hash is not None:
                            index = max(index, _whole(invoice.get("settle_index")) or 0)
                            yield payment_hash
                self._listening = False
            except Silence:
                wait_seconds, self._listening = RECONNECT_SECONDS_MIN, None  # nobody paid, or the line is dead: a new one will tell
            except (NotSent, NoAnswer):
                self._listening = False
            except Refused as refused:
                self._listening = False
                log.info("lnd.subscription_refused", why=refused.words, status=refused.status)
            if self._line.closed:
                return
            await asyncio.sleep(wait_seconds)
            wait_seconds = min(2 * wait_seconds, RECONNECT_SECONDS_MAX)

    # Money out -----------------------------------------------------------------------------------------

    async def pay_invoice(self, payment_request: str, *, amount: Msats, fee_limit: Msats) -> PaymentOutcome:
        """Waits until it has ended, or for `pay_timeout_seconds`; LND goes on without us."""
        try:
            invoice = bolt11.decode(payment_request)
        except bolt11.InvalidInvoice as problem:
            return Failed(problem.message)
        if invoice.amount not in (None, amount) or not amount:
            return Failed(f"The invoice asks for {invoice.amount}, and {amount} was to be paid. Nothing was sent.")
        body: dict[str, object] = {
            "payment_request": invoice.payment_request,
            "fee_limit_msat": str(fee_limit.value),
            "timeout_seconds": ATTEMPTS_SECONDS,
            "max_parts": PARTS_MAX,
            "no_inflight_updates": True,
            # Not `cancelable`: the payment must not end with this connection. That is the default, and an LND before 0.18 refuses the word.
        }
        if invoice.amount is None:
            body["amt_msat"] = str(amount.value)
        begun = False
        frames = self._line.frames("POST", "v2/router/send", body, total_seconds=self._pay_timeout_seconds)
        try:
            async with aclosing(frames):
                async for payment in frames:
                    begun = True
                    outcome = self._outcome(payment, invoice.payment_hash)
                    if not isinstance(outcome, InFlight):
                        return outcome
        except NotSent as problem:
            raise WalletDown(f"{self} is not answering ({problem}).") from None
        except NoAnswer as problem:
            return Unknown(f"{self} did not say how the payment ended ({problem}).")
        except Refused as refused:
            if refused.turned_away and not begun:
                raise refused.down(self) from None
            return await self._refused(invoice.payment_hash, refused, begun)
        return Unknown(f"{self} ended its answer before the payment had ended.")

    async def _refused(self, payment_hash: str, refused: Refused, begun: bool) -> PaymentOutcome:
        """A no is also the answer to a second try after a first one that is on its way, or has arrived."""
        try:
            outcome = await self.lookup_payment(payment_hash)
        except WalletDown:
            return Unknown(f"{self} stopped answering right after the payment.")
        if not isinstance(outcome, NeverSent | Failed):
            return outcome
        if begun or refused.code not in SAID_NO:
            return Unknown(f"{self} broke off the payment ({refused.words or f'HTTP {refused.status}'}).")
        return Failed(refused.words or "LND refused it")

    async def lookup_payment(self, payment_hash: str) -> PaymentOutcome:
        if not _HASH.fullmatch(payment_hash):
            return NeverSent()
        name = base64.urlsafe_b64encode(bytes.fromhex(payment_hash)).decode()
        frames = self._line.frames("GET", f"v2/router/track/{name}", total_seconds=self._timeout_seconds)
        try:
            async with aclosing(frames):
                async for payment in frames:
                    return self._outcome(payment, payment_hash)
        except (NotSent, NoAnswer) as problem:
            raise WalletDown(f"{self} is not answering ({problem}).") from None
        except Refused as refused:
            if refused.code == NOT_FOUND and NEVER_SENT in refused.words:
                return NeverSent()
            raise refused.down(self) from None
        raise WalletDown(f"{self} said nothing about the payment.")

    def _outcome(self, payment: dict[str, Any], payment_hash: str) -> PaymentOutcome:
        if payment.get("payment_hash") != payment_hash:
            return Unknown(f"{self} answered about another payment than it was asked for.")
        match payment.get("status"):
            case "SUCCEEDED":
                preimage, fee_msat = payment.get("payment_preimage"), _whole(payment.get("fee_msat"))
                proof = preimage if isinstance(preimage, str) and _HASH.fullmatch(preimage) else None
                return Succeeded(proof, Msats(fee_msat) if fee_msat is not None and fee_msat <= MSATS_MAX else None)
            case "FAILED":
                reason = payment.get("failure_reason")
                return Failed(FAILURES.get(reason, "LND calls it failed") if isinstance(reason, str) else "LND calls it failed")
            case "IN_FLIGHT" | "INITIATED":
                return InFlight()
            case _:
                return Unknown(f"{self} names a state of a payment that is not known here.")

    # The whole -----------------------------------------------------------------------------------------

    async def balance(self) -> Msats:
        """Ours in all open channels, with their reserves, with those whose peer is away, with what LND has set aside of it to close them,
        and with what is on its way out and may come back: what belongs to the wallet. What could leave now is less; see `diagnose`."""
        told = await self._ask("GET", "v1/balance/channels")
        # On its way is also what the node passes on for others, and their sats have not come in yet: without it, they would be missing.
        ours = [self._balance(told.member("local_balance")), self._balance(told.member("unsettled_remote_balance") or {"msat": "0"})]
        whole = added([*ours, lnd_facts.set_aside((await self._ask("GET", "v1/channels")).member("channels"))])
        if whole is None:
            raise WalletDown(f"{self} named an amount that makes no sense.")
        return whole

    def _balance(self, told: object) -> Msats:
        return self._msats(told.get("msat") if isinstance(told, dict) else None)

    async def diagnose(self) -> NodeFacts:
        """See `Diagnosable`."""
        certificate = await certificate_of(self._line.url, self._tls)
        if certificate is not None and certificate.trouble is not None:
            return NodeFacts(software=lnd_facts.SOFTWARE, certificate=certificate)  # nobody who must not be trusted is asked anything
        asked_at_ms = self._clock.now_ms()
        info = await self._ask("GET", "v1/getinfo")
        skew_ms = skew_of(info.date, asked_at_ms, self._clock.now_ms())
        channels = await self._ask("GET", "v1/channels")
        return lnd_facts.facts_of(
            info.body,
            channels.member("channels"),
            url=self._line.url,
            certificate=certificate,
            skew_ms=skew_ms,
            listening=self._listening,
            key_excess=self.rights.excess(),
        )

    async def aclose(self) -> None:
        await self._line.aclose()

    # How it is asked -----------------------------------------------------------------------------------

    async def _ask(self, method: str, path: str, body: object = None) -> Answer:
        try:
            return await self._call(method, path, body)
        except Refused as refused:
            raise refused.down(self) from None

    async def _call(self, method: str, path: str, body: object = None) -> Answer:
        """Raises Refused, too, for those who can make something of a no."""
        try:
            return await self._line.ask(method, path, body)
        except NotSent as problem:
            hint = " See LND_CERT, and that LND_URL has a name that its certificate is for." if "Cert" in str(problem) else ""
            raise WalletDown(f"{self} is not answering ({problem}).{hint}") from None
        except NoAnswer as problem:
            raise WalletDown(f"{self} is not answering ({problem}).") from None

    def _msats(self, value: object) -> Msats:
        number = _whole(value)
        if number is not None and number <= MSATS_MAX:
            return Msats(number)
        raise WalletDown(f"{self} named an amount that makes no sense.")


def _whole(value: object) -> int | None:
    """A number as the gateway writes it: 64 bits as text, 32 as a number."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    return value if type(value) is int and value >= 0 else None


def _hex(value: object) -> str | None:
    """32 bytes in base64, as hex; None for anything else."""
    try:
        raw = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except ValueError:
        return None
    return raw.hex() if len(raw) == 32 else None
