"""Lightning addresses and LNURL-pay: from a name that a customer gave to an invoice that may be paid.

The name is a stranger's, and fetching it is a request that a stranger makes from inside our network. So: https only, the host is
resolved once and must be public in every address it has, the connection goes to the very addresses that were checked, redirects are not
followed, and time and size are bounded. What comes back is believed only as far as it can be checked: the invoice must ask for exactly
the amount.

LUD-01 (bech32), LUD-06 (pay), LUD-12 (comment), LUD-16 (address) and LUD-17 (lnurlp://) of https://github.com/lnurl/luds.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from bech32 import bech32_decode, convertbits
from yarl import URL

from timmy.errors import Outage, Refusal
from timmy.lightning.bolt11 import InvalidInvoice, decode
from timmy.money import MSATS_MAX, Msats

TIMEOUT_SECONDS = 5.0  # for everything: names, both requests, both answers
BODY_BYTES_MAX = 64 * 1024
DESTINATION_CHARS_MAX = 2_048
REASON_CHARS_MAX = 200

Resolve = Callable[[str, int], Awaitable[list[str]]]  # (host, port) -> its addresses, as text

_ADDRESS = re.compile(r"([a-z0-9._+-]{1,64})@([a-z0-9.-]{1,253}(?::[0-9]{1,5})?)")  # LUD-16; a port only ever helps the regtest demo
_LABELS = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))*(?::[0-9]{1,5})?")
_URI = re.compile(r"lightning:(?://)?", re.IGNORECASE)
_SPECIAL_V4 = [IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24")]  # protocol assignments, 6to4 relays: "global" to Python 3.11
_GLOBAL_V6 = IPv6Network("2000::/3")  # leaves out mapped (::ffff:), NAT64 (64:ff9b::), link-local, unique-local, multicast
_SPECIAL_V6 = [
    IPv6Network("2001::/23"),
    IPv6Network("2001:db8::/32"),
    IPv6Network("2002::/16"),
    IPv6Network("3fff::/20"),
]  # Teredo, 6to4, …


class LnurlRefused(Refusal):
    status = 422
    code = "lnurl_refused"
    title = "That address cannot be paid to"


class LightningAddressMalformed(LnurlRefused):
    code = "lightning_address_malformed"
    title = "That is not a Lightning address"


class LnurlMalformed(LnurlRefused):
    code = "lnurl_malformed"
    title = "That is not an LNURL"


class DestinationForbidden(LnurlRefused):
    code = "destination_forbidden"
    title = "Timmy does not connect to that place"


class DestinationRefused(LnurlRefused):
    code = "destination_refused"
    title = "The address does not take this payment"


class AmountOutOfRange(LnurlRefused):
    code = "amount_out_of_range"
    title = "The address does not take an amount of this size"


class DestinationInvoiceWrong(LnurlRefused):
    code = "destination_invoice_wrong"
    title = "The address answered with an invoice that was not asked for"


class DestinationDown(Outage):
    status = 502
    code = "destination_down"
    title = "The server behind that address is not answering"


def is_lightning_address(text: str) -> bool:
    """Whether `text` has the form of a Lightning address (LUD-16); nothing is asked of the network."""
    return _address(text) is not None


def check_lightning_address(text: str, field: str) -> None:
    """LightningAddressMalformed, where it has not the form of one: what was meant for one is not to be read as an LNURL."""
    if not is_lightning_address(text):
        raise LightningAddressMalformed(f"{field} must be a Lightning address, like name@example.com.")


def parse_lnurl(text: str) -> str:
    """The URL inside `lnurl1…` (LUD-01) or `lnurlp://…` (LUD-17), with or without `lightning:`. Raises LnurlMalformed."""
    if len(text) > DESTINATION_CHARS_MAX:
        raise LnurlMalformed(f"An LNURL has at most {DESTINATION_CHARS_MAX:,} characters. Copy it again from your wallet.")
    bare = _without_scheme(text)
    if bare.lower().startswith("lnurlp:"):
        rest = bare[len("lnurlp:") :].removeprefix("//")
        return f"{'http' if _is_loopback_host(_host_of(rest)) else 'https'}://{rest}"
    prefix, words = bech32_decode(bare)
    octets = convertbits(words, 5, 8, False) if prefix == "lnurl" and words else None
    if octets is None:
        raise LnurlMalformed("An LNURL begins with `lnurl1` or `lnurlp://`, and this one is incomplete. Copy it again from your wallet.")
    try:
        return bytes(octets).decode()
    except UnicodeDecodeError:
        raise LnurlMalformed("The LNURL holds no address of a page. Copy it again from your wallet.") from None


def url_of(destination: str) -> str:
    """The page behind a Lightning address (LUD-16) or an LNURL. Raises LightningAddressMalformed, LnurlMalformed."""
    address = _address(destination)
    if address is not None:
        name, host = address
        scheme = "http" if _is_loopback_host(_host_of(host)) else "https"
        return f"{scheme}://{host}/.well-known/lnurlp/{name}"
    if "@" in destination:
        raise LightningAddressMalformed("A Lightning address looks like `name@example.com`.")
    return parse_lnurl(destination)


def place_of(destination: str) -> str:
    """What tells one place from another, however it is written: a digest, so that a list of payouts does not tell where people are.

    Raises like `url_of`."""
    return hashlib.sha256(url_of(destination).encode()).hexdigest()


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the open internet: the only place where a stranger's name may send us."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return ip.is_global and not ip.is_multicast and not any(ip in special for special in _SPECIAL_V4)
    return ip in _GLOBAL_V6 and not any(ip in special for special in _SPECIAL_V6)


class LnurlClient:
    """Asks for invoices. `allow_loopback_http` is for tests and the regtest demo: http, and this machine, become reachable."""

    def __init__(
        self, *, allow_loopback_http: bool = False, resolve: Resolve | None = None, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._allow_loopback_http = allow_loopback_http
        self._resolve = resolve or _resolve
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def fetch_invoice(self, destination: str, amount: Msats, comment: str | None = None) -> str:
        """An invoice of `destination` (a Lightning address or an LNURL) for exactly `amount`, in lower case.

        Network and expiry are not looked at: `check_refund_invoice` does that for every invoice. A comment is sent where it is taken, and
        left out otherwise. Raises LnurlRefused (another destination or amount would work) and DestinationDown (later may work).
        """
        url = self._guarded(url_of(destination))
        try:
            async with asyncio.timeout(self._timeout_seconds):
                offer = await self._get(url)
                return await self._take(offer, amount, comment)
        except TimeoutError:
            raise DestinationDown(f"{url.host} did not answer within {self._timeout_seconds:g} seconds.") from None

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _take(self, offer: dict[str, object], amount: Msats, comment: str | None) -> str:
        """LUD-06, steps 3 to 8: from the offer to the invoice."""
        if offer.get("tag") != "payRequest":
            raise DestinationRefused("The address is not one that receives payments (its tag is not `payRequest`). Give another one.")
        least, most = _whole(offer, "minSendable"), _whole(offer, "maxSendable")
        if not least <= amount.value <= most:
            low, high = Msats(least).ceil_sats().value, Msats(most).floor_sats().value
            raise AmountOutOfRange(
                f"The address takes from {low} to {high} sats, not {amount.floor_sats().value}. Give another one, or an invoice.",
                minSats=low,
                maxSats=high,
            )
        callback, metadata = _text(offer, "callback"), _text(offer, "metadata")
        query = {"amount": str(amount.value)}
        if comment and _comment_chars(offer) >= len(comment):
            query["comment"] = comment
        answer = await self._get(self._guarded(callback).update_query(query))
        return _exact_invoice(_text(answer, "pr"), amount, metadata)

    def _guarded(self, text: str) -> URL:
        """What may be asked for. Names are checked again when they are resolved; addresses are not resolved, so they are checked here."""
        try:
            url = URL(text)
            host = url.raw_host
        except ValueError:
            host = None
        if not host:
            raise LnurlMalformed("The address leads to nothing that can be fetched.")
        if url.user is not None or url.password is not None:
            raise DestinationForbidden("An address with a user name or password in it is not fetched.")
        if host.rstrip(".").endswith(".onion"):
            raise DestinationForbidden("Addresses in the Tor network are not reachable from here. Give another one, or an invoice.")
        if url.scheme != "https" and not (url.scheme == "http" and self._allow_loopback_http and _is_loopback_host(host)):
            raise DestinationForbidden("Only https addresses are fetched.")
        if ":" in host or host.replace(".", "").isdigit():
            self._check_address(host, host)
        elif not _LABELS.fullmatch(host.rstrip(".").lower()):
            raise LnurlMalformed("The address names no host that could exist.")
        return url.with_fragment(None)

    def _check_address(self, host: str, address: str) -> None:
        if is_public(address) or (self._allow_loopback_http and _is_loopback(address)):
            return
        raise DestinationForbidden(f"{host} is not on the public internet. Give another address, or an invoice.")

    async def checked_addresses(self, host: str, port: int) -> list[str]:
        """Resolve once, for the connection that follows. One address out of bounds refuses them all: nobody honest mixes them."""
        addresses = await self._resolve(host, port)
        for address in addresses:
            self._check_address(host, address)
        if not addresses:
            raise OSError(f"{host} has no address")
        return addresses

    async def _get(self, url: URL) -> dict[str, object]:
        if self._session is None:
            # No cache and no kept connections: each request goes to addresses that were checked for it.
            connector = aiohttp.TCPConnector(resolver=_Pinned(self.checked_addresses), use_dns_cache=False, force_close=True)
            self._session = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        try:
            # allow_redirects=False: with it, the one check of the host would be worth nothing.
            async with self._session.get(url, allow_redirects=False, headers={"Accept-Encoding": "identity"}) as response:
                body = await _bounded(response)
        except aiohttp.ClientError as trouble:
            raise DestinationDown(f"{url.host} could not be asked ({type(trouble).__name__}).") from None
        except (OSError, ValueError) as trouble:  # a name that no resolver takes
            raise DestinationDown(f"{url.host} could not be found ({type(trouble).__name__}).") from None
        return _read(url, response.status, body)


class _Pinned(AbstractResolver):
    """Hands aiohttp the addresses that were checked, so that nothing is resolved a second time between check and use (DNS rebinding)."""

    def __init__(self, checked: Resolve) -> None:
        self._checked = checked

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=_family(address), proto=0, flags=socket.AI_NUMERICHOST)
            for address in await self._checked(host, port)
        ]

    async def close(self) -> None:
        """Nothing is held open."""


async def _resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for _, _, _, _, address in found]


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise DestinationDown(f"{response.url.host} answered with more than {BODY_BYTES_MAX:,} bytes.")
    return body


def _read(url: URL, status: int, body: bytes) -> dict[str, object]:
    if 300 <= status < 400:
        raise DestinationForbidden(f"{url.host} sends us elsewhere, and redirects are not followed. Give the address that it leads to.")
    if status >= 500 or status < 200:
        raise DestinationDown(f"{url.host} answered with {status}.")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and str(answer.get("status")).upper() == "ERROR":
        reason = "".join(letter for letter in str(answer.get("reason", "")) if letter.isprintable())[:REASON_CHARS_MAX]
        raise DestinationRefused(f"{url.host} says no: {reason or 'without a reason'}. Give another address, or an invoice.")
    if status >= 400:
        raise DestinationRefused(f"{url.host} does not know this address ({status}). Check its spelling, or give an invoice.")
    if not isinstance(answer, dict):
        raise DestinationDown(f"{url.host} did not answer in JSON.")
    return answer


def _exact_invoice(payment_request: str, amount: Msats, metadata: str) -> str:
    try:
        invoice = decode(payment_request)
    except InvalidInvoice as broken:
        raise DestinationInvoiceWrong(f"The address gave no usable invoice: {broken.message}") from None
    if invoice.amount != amount:
        raise DestinationInvoiceWrong("The address gave an invoice for another amount than was asked for. Give another address.")
    described = hashlib.sha256(metadata.encode(errors="surrogatepass")).hexdigest()
    if invoice.description_hash is not None and invoice.description_hash != described:
        raise DestinationInvoiceWrong("The address gave an invoice that belongs to another description. Give another address.")
    return invoice.payment_request


def _text(answer: dict[str, object], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str):
        raise DestinationDown(f"The address's server left out `{name}`.")
    return value


def _whole(answer: dict[str, object], name: str) -> int:
    value = answer.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise DestinationDown(f"The address's server left out `{name}`.")
    return max(0, min(value, MSATS_MAX))


def _comment_chars(offer: dict[str, object]) -> int:
    allowed = offer.get("commentAllowed", 0)  # LUD-12
    return allowed if isinstance(allowed, int) else 0


def _without_scheme(text: str) -> str:
    text = text.strip()
    scheme = _URI.match(text)
    return text[scheme.end() :] if scheme else text


def _address(text: str) -> tuple[str, str] | None:
    match = _ADDRESS.fullmatch(_without_scheme(text).lower())
    if match is None or not _LABELS.fullmatch(match[2]):
        return None
    dotted = "." in match[2] or _is_loopback_host(_host_of(match[2]))
    return (match[1], match[2]) if dotted else None


def _host_of(rest: str) -> str:
    try:
        return URL(f"https://{rest}").host or ""
    except ValueError:
        return ""


def _is_loopback_host(host: str) -> bool:
    return host == "localhost" or _is_loopback(host)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if isinstance(ip_address(address), IPv6Address) else socket.AF_INET
