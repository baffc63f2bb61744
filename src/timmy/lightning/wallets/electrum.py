"""A wallet on an Electrum daemon (4.8 and later) over its JSON-RPC.

What was read in Electrum's `commands.py` and `lnworker.py`, and is built on here:

- `lnpay` answers when the payment has ended; its own `timeout` has no effect over RPC, so the limit is ours, and what happens after it is
  `Unknown`. `max_fee_msat` is obeyed, so this wallet caps fees.
- A payment's states `in flight` and `failed` live in the daemon's memory; after a restart, a payment that is still on its way is called
  unpaid. So what an unpaid or expired invoice means is read from the HTLCs of the channels, which are on disk before anything is sent.
- Amounts of requests are whole sats.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Self

import aiohttp
from yarl import URL

from timmy.clock import Clock
from timmy.lightning import bolt11
from timmy.lightning.wallets.calls import JsonCalls, NoAnswer, NotSent
from timmy.lightning.wallets.electrum_facts import facts_of
from timmy.lightning.wallets.facts import NodeFacts, certificate_of, is_in_the_clear, skew_of
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
from timmy.money import MSATS_MAX, MSATS_PER_SAT, SATS_PER_BTC, Msats

NETWORKS = {
    "mainnet": Network.MAINNET,
    "testnet": Network.TESTNET,
    "testnet4": Network.TESTNET,
    "signet": Network.SIGNET,
    "regtest": Network.REGTEST,
}
UNPAID, EXPIRED, PAID, IN_FLIGHT, FAILED = 0, 1, 3, 4, 5  # Electrum's invoices.py: PR_*
NOT_FOUND = "Request not found"  # what Electrum says of a request and of an invoice that it does not have
FEE_LIMIT_FREE_MSAT = 1_000_000  # lnpay insists: max_fee_msat < max(amount / 2, this)
REASON_CHARS_MAX = 200
HINT_SECONDS = 0.5
HINTS_MAX = 1_000  # invoices watched for a hint; older ones are left to the poll


class _Refused(Exception):
    """Electrum understood and said no; the text is Electrum's."""


@dataclass(frozen=True, slots=True)
class _Htlcs:
    """What the channels know of an outgoing payment hash: how many parts are in which state."""

    settled: int
    in_flight: int
    failed: int
    removed_for_good: bool


class ElectrumWallet:
    """See `Wallet`. `url` is `http://user:password@host:port`; the password appears in no error, log or repr."""

    name = "electrum"
    caps_fees = True

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        network: Network,
        session: aiohttp.ClientSession | None = None,
        timeout_seconds: float = 15.0,
        pay_timeout_seconds: float = 90.0,
    ) -> None:
        address = URL(url)
        if address.scheme not in ("http", "https") or not address.host or not address.user or not address.password:
            raise ValueError("The URL of an Electrum daemon looks like http://user:password@127.0.0.1:7777")
        self.network = network
        credentials = base64.b64encode(f"{address.user}:{address.password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {credentials}"}
        self._url = address.with_user(None)
        self._clock = clock
        self._calls = JsonCalls(session, timeout_seconds=timeout_seconds)
        self._pay_timeout_seconds = pay_timeout_seconds
        self._date: str | None = None  # of the last answer
        self._watched: dict[str, int] = {}  # payment hash -> when the invoice expires

    def __repr__(self) -> str:
        return f"ElectrumWallet({self._url})"

    @classmethod
    async def connect(cls, url: str, clock: Clock, *, session: aiohttp.ClientSession | None = None, timeout_seconds: float = 15.0) -> Self:
        """Ask the daemon which network it is on. Raises `WalletDown` when it does not say."""
        wallet = cls(url, clock, network=Network.MAINNET, session=session, timeout_seconds=timeout_seconds)
        try:
            wallet.network = NETWORKS[(await wallet._ask("getinfo"))["network"]]
            await wallet.balance()  # fails here, and not with the first customer, when no wallet is loaded
        except (KeyError, TypeError):
            await wallet.aclose()
            raise WalletDown(f"{wallet} does not say which network it is on. Is it an Electrum daemon?") from None
        except WalletDown:
            await wallet.aclose()
            raise
        return wallet

    # Money in ------------------------------------------------------------------------------------------

    async def create_invoice(self, amount: Msats, *, memo: str, expiry_seconds: int, label: str) -> NewInvoice:
        """Whole sats only: another amount is a ValueError. Electrum keeps the memo; `label` stays ours."""
        sats, rest = divmod(amount.value, MSATS_PER_SAT)
        if rest or not sats:
            raise ValueError(f"Electrum asks for whole sats, not for {amount}")
        bitcoin = f"{sats // SATS_PER_BTC}.{sats % SATS_PER_BTC:08d}"  # text, exact: as a JSON number it would become a float over there
        request = await self._ask("add_request", amount=bitcoin, memo=memo, expiry=expiry_seconds, lightning=True)
        text = request.get("lightning_invoice") if isinstance(request, dict) else None
        if not isinstance(text, str):
            raise WalletDown(f"{self} made no Lightning invoice. Does its wallet have Lightning enabled?")
        invoice = _read_own(text, self)
        if invoice.amount != amount or invoice.network is not self.network:
            raise WalletDown(f"{self} made another invoice than it was asked for; it is not handed out.")
        self._watch(invoice.payment_hash, invoice.expires_at_ms)
        return NewInvoice(invoice.payment_hash, invoice.payment_request, invoice.expires_at_ms)

    async def lookup_invoice(self, payment_hash: str) -> InvoiceLookup:
        request = await self._find("get_request", request_id=payment_hash)
        if request is None:
            return NoSuchInvoice()
        if request.get("status") != PAID:
            return Unpaid()
        asked = _msats(request.get("amount_msat"), self)
        received = await self._received(payment_hash)
        if received is None:
            received = asked  # its channel was deleted, and the history with it; Electrum called it paid, so at least this arrived
        # A payment in parts is claimed part by part: until all of it is ours, it is not settled.
        return Settled(received, await self._shown(payment_hash)) if received >= asked else Unpaid()

    async def _shown(self, payment_hash: str) -> str | None:
        """The preimage of what has arrived. It has arrived whether Electrum shows it or not."""
        try:
            return await self._preimage(payment_hash)
        except WalletDown:
            return None

    async def _received(self, payment_hash: str) -> Msats | None:
        for item in await self._history():
            if item.get("payment_hash") == payment_hash and item.get("type") == "payment":
                amount_msat = item.get("amount_msat")
                return _msats(abs(amount_msat) if type(amount_msat) is int else amount_msat, self)
        return None

    def _watch(self, payment_hash: str, expires_at_ms: int) -> None:
        self._watched[payment_hash] = expires_at_ms
        while len(self._watched) > HINTS_MAX:
            self._watched.pop(next(iter(self._watched)))

    async def settlements(self) -> AsyncIterator[str]:
        """Electrum tells nobody. So: whenever a channel has moved, the invoices made since the start are looked at."""
        seen: object = None
        while True:
            try:
                now = await self._commitments()
                moved, seen = now != seen, now
                for payment_hash in [*self._watched] if moved else []:
                    if isinstance(await self.lookup_invoice(payment_hash), Settled):
                        self._watched.pop(payment_hash, None)
                        yield payment_hash
                    elif self._watched.get(payment_hash, 0) < self._clock.now_ms():
                        self._watched.pop(payment_hash, None)  # a late payment is the poll's
            except WalletDown:
                seen = None  # a hint may lag; the poll is what counts
            await asyncio.sleep(HINT_SECONDS)

    async def _commitments(self) -> list[object]:
        """Changes with every step of every payment in a channel."""
        channels = _objects(await self._ask("list_channels"), self)
        return [(each.get("channel_id"), each.get("local_ctn"), each.get("remote_ctn"), each.get("local_balance")) for each in channels]

    # Money out -----------------------------------------------------------------------------------------

    async def pay_invoice(self, payment_request: str, *, amount: Msats, fee_limit: Msats) -> PaymentOutcome:
        """Blocks until the payment has ended, or for `pay_timeout_seconds`; then `Unknown`."""
        try:
            invoice = bolt11.decode(payment_request)
        except bolt11.InvalidInvoice as problem:
            return Failed(problem.message)
        if invoice.amount != amount:
            return Failed(f"The invoice asks for {invoice.amount}, and {amount} was to be paid. Nothing was sent.")
        # Above its own bound, lnpay refuses the payment instead of lowering the limit.
        most_msat = max(amount.value // 2, FEE_LIMIT_FREE_MSAT) - 1
        refusal = "No attempt reached the recipient."
        try:
            await self._call(
                "lnpay", self._pay_timeout_seconds, invoice=invoice.payment_request, max_fee_msat=min(fee_limit.value, most_msat)
            )
        except NotSent as problem:
            raise self._down(problem) from None
        except NoAnswer as problem:
            return Unknown(f"{self} did not say how the payment ended ({problem}).")
        except _Refused as problem:
            refusal = str(problem)
        # Whatever lnpay says, how it ended is what the daemon has written down: "no" is also its answer to a second try
        # while the first one is still on its way, and after the first one arrived.
        try:
            outcome = await self.lookup_payment(invoice.payment_hash)
        except WalletDown:
            return Unknown(f"{self} stopped answering right after the payment.")
        return Failed(refusal) if isinstance(outcome, NeverSent | Failed) else outcome

    async def lookup_payment(self, payment_hash: str) -> PaymentOutcome:
        invoice = await self._find("get_invoice", invoice_id=payment_hash)
        if invoice is None:
            return NeverSent()  # lnpay writes the invoice down before it looks for a way
        status = invoice.get("status")
        if status == IN_FLIGHT:
            return InFlight()
        if status == FAILED:
            return Failed("No attempt reached the recipient.")
        if status == PAID:
            htlcs = await self._htlcs(payment_hash)
            return await self._succeeded(payment_hash, parts_on_their_way=htlcs.in_flight)
        if status in (UNPAID, EXPIRED):
            return await self._after_a_restart(payment_hash)
        return Unknown(f"{self} calls the payment {status!r}.")

    async def _after_a_restart(self, payment_hash: str) -> PaymentOutcome:
        """The daemon has forgotten that it was paying; its channels have not."""
        htlcs = await self._htlcs(payment_hash)
        preimage = await self._preimage(payment_hash)
        if htlcs.settled:
            return await self._succeeded(payment_hash, parts_on_their_way=htlcs.in_flight)
        if htlcs.in_flight:
            return InFlight()
        if htlcs.failed == 0:
            return NeverSent()
        if preimage is not None or not htlcs.removed_for_good:
            # The recipient has shown the preimage, or could still take the HTLC from a commitment transaction that holds it.
            # Calling this failed would let the same debt be paid a second time.
            return InFlight()
        return Failed("No attempt reached the recipient.")

    async def _succeeded(self, payment_hash: str, *, parts_on_their_way: int) -> Succeeded:
        preimage = await self._preimage(payment_hash)
        if parts_on_their_way:
            return Succeeded(preimage, None)  # Electrum counts parts that are still on their way as fees
        for item in await self._history():
            if item.get("payment_hash") == payment_hash:
                fee_msat = item.get("fee_msat")
                return Succeeded(preimage, _msats(fee_msat, self) if fee_msat is not None else None)
        return Succeeded(preimage, None)

    async def _htlcs(self, payment_hash: str) -> _Htlcs:
        counted = {"settled": 0, "inflight": 0, "failed": 0}
        removed_for_good = True
        for channel in _objects(await self._ask("list_channels"), self):
            folders = await self._ask("list_channel_htlcs", channel_point=channel.get("channel_point"))
            if not isinstance(folders, dict) or not counted.keys() <= folders.keys():
                raise self._nonsense("list_channel_htlcs")
            ours = {
                state: sum(
                    each.get("payment_hash") == payment_hash and each.get("direction") == "OUT" for each in _objects(folders[state], self)
                )
                for state in counted
            }
            for state, count in ours.items():
                counted[state] += count
            if ours["failed"] and channel.get("local_unsettled_sent") != 0:
                removed_for_good = False
        return _Htlcs(counted["settled"], counted["inflight"], counted["failed"], removed_for_good)

    async def _preimage(self, payment_hash: str) -> str | None:
        preimage = await self._ask("export_lightning_preimage", payment_hash=payment_hash)
        return preimage if isinstance(preimage, str) else None

    # The whole -----------------------------------------------------------------------------------------

    async def balance(self) -> Msats:
        """Our side of the channels, to the nearest sat (Electrum shows no finer), the channel reserves included."""
        balances = await self._ask("getbalance")
        try:
            bitcoin = Decimal(balances.get("lightning", "0"))
            return Msats(int(bitcoin * SATS_PER_BTC * MSATS_PER_SAT))
        except (AttributeError, TypeError, ValueError, ArithmeticError):
            raise self._nonsense("getbalance") from None

    async def diagnose(self) -> NodeFacts:
        """See `Diagnosable`."""
        certificate = await certificate_of(self._url)
        if certificate is not None and certificate.trouble is not None:
            return NodeFacts(software="Electrum", certificate=certificate)  # nobody who must not be trusted is asked anything
        asked_at_ms = self._clock.now_ms()
        info = await self._ask("getinfo")
        skew_ms = skew_of(self._date, asked_at_ms, self._clock.now_ms())
        told = facts_of(info, await self._ask("is_synchronized"), await self._ask("list_channels"))
        return replace(told, skew_ms=skew_ms, certificate=certificate, in_the_clear=is_in_the_clear(self._url))

    async def aclose(self) -> None:
        await self._calls.aclose()

    # How it is asked -----------------------------------------------------------------------------------

    async def _history(self) -> list[dict[str, Any]]:
        return _objects(await self._ask("lightning_history"), self)

    async def _find(self, method: str, **named: object) -> dict[str, Any] | None:
        """A record, or None when Electrum says that it has none. Any other "no" is a wallet that does not work."""
        try:
            found = await self._call(method, None, **named)
        except (NotSent, NoAnswer) as problem:
            raise self._down(problem) from None
        except _Refused as problem:
            if str(problem) == NOT_FOUND:
                return None
            raise WalletDown(f"{self} refuses to look: {problem}") from None
        if not isinstance(found, dict):
            raise self._nonsense(method)
        return found

    async def _ask(self, method: str, **named: object) -> Any:
        try:
            return await self._call(method, None, **named)
        except (NotSent, NoAnswer) as problem:
            raise self._down(problem) from None
        except _Refused as problem:
            raise WalletDown(f"{self} refuses {method}: {problem}") from None

    async def _call(self, method: str, timeout_seconds: float | None, **named: object) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": named}
        answer = await self._calls.ask("POST", self._url, body=body, headers=self._headers, timeout_seconds=timeout_seconds)
        self._date = answer.date
        if answer.status in (401, 403):
            raise WalletDown(f"{self} does not accept the user and password in ELECTRUM_URL.")
        error = answer.member("error")
        if isinstance(error, dict):
            raise _refusal(error, self)
        if answer.status != 200 or not isinstance(answer.body, dict) or "result" not in answer.body:
            raise NoAnswer(f"HTTP {answer.status}")
        return answer.body["result"]

    def _down(self, problem: Exception) -> WalletDown:
        return WalletDown(f"{self} is not answering ({problem}).")

    def _nonsense(self, method: str) -> WalletDown:
        return WalletDown(f"{self} answered {method} with something that makes no sense.")


def _refusal(error: dict[str, Any], wallet: ElectrumWallet) -> Exception:
    """An internal error carries the exception and a traceback; the exception's own text is enough for anyone."""
    data = error.get("data")
    text = data.get("exception") if isinstance(data, dict) else None
    said = str(text or error.get("message") or "no reason given")[:REASON_CHARS_MAX]
    if said == "wallet not loaded" or said.startswith("Password required"):
        return WalletDown(f"{wallet} has no open wallet: run `electrum load_wallet` (with the password, if it has one).")
    return _Refused(said)


def _read_own(text: str, wallet: ElectrumWallet) -> bolt11.Invoice:
    try:
        return bolt11.decode(text)
    except bolt11.InvalidInvoice as problem:
        raise WalletDown(f"{wallet} made an invoice that cannot be read: {problem.message}") from None


def _msats(value: object, wallet: ElectrumWallet) -> Msats:
    if type(value) is not int or not 0 <= value <= MSATS_MAX:
        raise WalletDown(f"{wallet} named an amount that makes no sense.")
    return Msats(value)


def _objects(value: object, wallet: ElectrumWallet) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise WalletDown(f"{wallet} answered with something that makes no sense.")
    return value
