"""What a buyer pays with. A purse pays one invoice, and can say later what became of it; it keeps no accounts and retries nothing.

The wallets of `timmy.lightning.wallets` serve here too: the same adapters, seen from the other side of the counter.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from yarl import URL

from timmy.client import answers
from timmy.client.errors import InvoiceNotAsOffered, NoWallet, ServerDown, ServerRefused
from timmy.client.http import TimmyHttp
from timmy.clock import SECOND_MS, SystemClock
from timmy.lightning import bolt11
from timmy.lightning.wallets.nwc_uri import SCHEME
from timmy.lightning.wallets.protocol import Network, NeverSent, PaymentOutcome, Succeeded, Unknown, Wallet, WalletDown
from timmy.money import Msats, Sats

REFUND_INVOICE_SECONDS = 3_600
DEVELOPMENT = "dev"
BY_HAND = "a wallet of yours, by hand"  # the name of whatever a person pays with, of which no program can ask anything
KIND_CHARS_SHOWN = 30  # a wallet's address that was pasted wrong may have its key near
WAYS = (
    "dev (a server that is tried out), nostr+walletconnect://… (Nostr Wallet Connect), lnbits+https://:KEY@host,"
    " electrum+http://user:password@127.0.0.1:7777, or lnd+https://127.0.0.1:8080?macaroon=FILE&cert=FILE"
)


class Purse(Protocol):
    """`name` is shown, and is kept beside each payment: two purses with one name are taken for the same. No secret is in it.
    `network` None: it pays whatever it is given."""

    name: str
    network: Network | None
    adds_fees: bool  # False: routing costs nothing, or comes out of another pocket than this one

    async def pay(self, payment_request: str, *, amount: Msats, fee_limit: Msats) -> PaymentOutcome:
        """Pay. Called twice with one invoice it pays at most once. WalletDown: nothing was sent."""
        ...

    async def lookup(self, payment_hash: str) -> PaymentOutcome:
        """What became of it. WalletDown: it cannot be asked."""
        ...

    async def invoice(self, amount: Sats, memo: str) -> str | None:
        """An invoice of exactly this amount, for what comes back. None: this purse can only pay."""
        ...

    async def aclose(self) -> None: ...


class WalletPurse:
    """A purse out of any wallet adapter. `name` must tell this wallet from the person's others; `asks`: it may make invoices, too."""

    adds_fees = True

    def __init__(self, wallet: Wallet, name: str, *, asks: bool = True) -> None:
        self.name = name
        self.network: Network | None = wallet.network
        self._wallet = wallet
        self._asks = asks

    async def pay(self, payment_request: str, *, amount: Msats, fee_limit: Msats) -> PaymentOutcome:
        return await self._wallet.pay_invoice(payment_request, amount=amount, fee_limit=fee_limit)

    async def lookup(self, payment_hash: str) -> PaymentOutcome:
        return await self._wallet.lookup_payment(payment_hash)

    async def invoice(self, amount: Sats, memo: str) -> str | None:
        if not self._asks:
            return None
        made = await self._wallet.create_invoice(amount.msats, memo=memo, expiry_seconds=REFUND_INVOICE_SECONDS, label=memo)
        return made.payment_request

    async def aclose(self) -> None:
        await self._wallet.aclose()


class DevelopmentPurse:
    """The pretend customer of a server in development. Its sats are nobody's; saying "pay" twice is paying once."""

    network: Network | None = None
    adds_fees = False

    def __init__(self, url: str) -> None:
        self._http = TimmyHttp(url)
        self.name = f"the pretend customer of {self._http.url}"

    async def pay(self, payment_request: str, *, amount: Msats, fee_limit: Msats) -> PaymentOutcome:
        payment_hash = bolt11.decode(payment_request).payment_hash
        try:
            await self._http.post(f"/api/dev/stub/pay/{payment_hash}", {})
        except ServerDown as down:
            return Unknown(down.message)
        except ServerRefused as refused:
            if refused.answer_status == 404:
                raise WalletDown("This server has no pretend customer, or the invoice is not its own. Name a wallet.") from None
            return Unknown(refused.message)
        return Succeeded(None, Msats(0))

    async def lookup(self, payment_hash: str) -> PaymentOutcome:
        return NeverSent()  # it cannot be asked, and need not be: asked to pay again, it says that it has

    async def invoice(self, amount: Sats, memo: str) -> str | None:
        try:
            return answers.text(await self._http.post("/api/dev/stub/invoice", {"amountSats": amount.value}), "paymentRequest")
        except ServerRefused:
            return None  # a real wallet on a server in development: it has no customer

    async def aclose(self) -> None:
        await self._http.aclose()


async def open_purse(address: str, server_url: str) -> Purse:
    """A purse from one line of text (see WAYS). Raises NoWallet when the line makes no sense, WalletDown when nobody answers there.

    Of the adapters only the one that is wanted is imported: all of them take longer than the purchase.
    """
    if not address:
        raise NoWallet(f"None was named. A wallet is {WAYS}.")
    if address == DEVELOPMENT:
        return DevelopmentPurse(server_url)
    kind, plus, rest = address.partition("+")
    try:
        if address.startswith(f"{SCHEME}:"):
            return await _open_nwc(address)
        url = URL(rest)
        if plus and not url.host:
            raise NoWallet(f"After {kind[:KIND_CHARS_SHOWN]}+ stands where the wallet is. A wallet is {WAYS}.")
        if kind == "lnbits" and plus:
            from timmy.lightning.wallets.lnbits import LnbitsWallet

            if not url.password:
                raise NoWallet("The admin key of the LNbits wallet stands before the host: lnbits+https://:KEY@host")
            bare = str(url.with_user(None))
            return WalletPurse(await LnbitsWallet.connect(bare, url.password, SystemClock()), f"LNbits {_mark(bare, url.password)}")
        if kind == "electrum" and plus:
            from timmy.lightning.wallets.electrum import ElectrumWallet

            place = str(url.with_user(None))
            return WalletPurse(await ElectrumWallet.connect(rest, SystemClock()), f"Electrum {_mark(place, '')}")
        if kind == "lnd" and plus:
            return await _open_lnd(url)
    except ValueError as trouble:
        raise NoWallet(f"{trouble}. A wallet is {WAYS}.") from None
    raise NoWallet(f"{address.partition(':')[0][:KIND_CHARS_SHOWN]} is none that is known here. A wallet is {WAYS}.")


async def _open_nwc(address: str) -> Purse:
    from timmy.lightning.wallets.nwc import TO_BUY, NwcWallet

    wallet = await NwcWallet.connect(address, SystemClock(), needs=TO_BUY)
    return WalletPurse(wallet, f"NWC {wallet.mark}", asks=wallet.allows("make_invoice"))


async def _open_lnd(url: URL) -> Purse:
    """`macaroon` and `cert` in the query are files of LND's; without `cert`, LND shows a certificate that this machine trusts."""
    from timmy.lightning.wallets.lnd import LndWallet
    from timmy.lightning.wallets.lnd_macaroon import TO_ASK_FOR, TO_BUY
    from timmy.settings.files import read_macaroon

    if not url.query.get("macaroon"):
        raise NoWallet(f"After LND's address stands the file of its macaroon: ?macaroon=FILE. A wallet is {WAYS}.")
    place, certificate = str(url.with_query(None)), url.query.get("cert")
    try:
        macaroon = read_macaroon(url.query.get("macaroon", ""))
    except ValueError as trouble:
        raise NoWallet(f"The macaroon's file: {trouble}. A wallet is {WAYS}.") from None
    trusted = Path(certificate) if certificate else None
    wallet = await LndWallet.connect(place, macaroon, SystemClock(), certificate=trusted, needs=TO_BUY)
    return WalletPurse(wallet, f"LND {_mark(place, macaroon)}", asks=not wallet.rights.missing(TO_ASK_FOR))


def _mark(place: str, key: str) -> str:
    """Which wallet it is, without its key: the address, and enough of a hash to tell two wallets of one address apart."""
    return f"at {place} ({hashlib.sha256(f'{place} {key}'.encode()).hexdigest()[:8]})"


def check(offer: answers.Offer, network: Network | None, now_ms: int) -> None:
    """The invoice is what the server called it, can still be paid, and is of the purse's network. What is paid is the invoice, not what
    was said of it."""
    try:
        invoice = bolt11.decode(offer.payment_request)
    except bolt11.InvalidInvoice as problem:
        raise InvoiceNotAsOffered(f"{problem.message} Nothing was paid.") from None
    if invoice.amount != offer.amount.msats or invoice.payment_hash != offer.payment_hash:
        raise InvoiceNotAsOffered(f"It says {offer.amount.value} sats, and the invoice {invoice.amount}. Nothing was paid.")
    if network is not None and invoice.network is not network:
        raise InvoiceNotAsOffered(
            f"It is for {invoice.network.name.lower()}, and your wallet is on {network.name.lower()}. Nothing was paid."
        )
    if invoice.expired(now_ms + SECOND_MS):
        raise InvoiceNotAsOffered("It has expired. Nothing was paid; ask again for a new one.")
