"""BOLT11: what an invoice says, and whether it is the one we may pay.

Read and written here, over `bech32` for the alphabet and `coincurve` (libsecp256k1) for the signature. The `bolt11` library is the
oracle of the tests instead: it takes 10 ms and more for an invoice, on the event loop that serves everybody, and it is lenient where
money cannot be (it lower-cases mixed case, cuts fractions of a millisat off, takes an unreadable prefix for "no amount", lets the first
of two payment hashes win). Feature bits are left to the wallet that pays: only it knows which of them it speaks.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from bech32 import CHARSET, bech32_decode, bech32_encode, convertbits
from coincurve import PrivateKey, PublicKey

from timmy.clock import SECOND_MS
from timmy.errors import Refusal
from timmy.lightning.wallets.protocol import Network
from timmy.money import MSATS_MAX, Msats

INVOICE_CHARS_MAX = 4_096
DESCRIPTION_BYTES_MAX = 639  # BOLT 11: 1023 words of five bits
EXPIRY_SECONDS_MAX = 100 * 366 * 86_400  # "never" is written as a century by those who mean it; beyond, sums of times overflow
EXPIRY_SECONDS_DEFAULT = 3_600
MIN_FINAL_CLTV_MAX = 2_016  # blocks, two weeks: a payee that asks for more wants our sats locked up, not paid
MIN_FINAL_CLTV_DEFAULT = 18
FEATURES = 1 << 8 | 1 << 14 | 1 << 17  # BOLT 9: onion of variable length and payment secret needed, several parts welcome

_PREFIX = re.compile(r"ln(bcrt|bc|tbs|tb)(?:([1-9][0-9]{0,19})([munp]?))?")
_PICO_BTC = {"": 10**12, "m": 10**9, "u": 10**6, "n": 10**3, "p": 1}  # BOLT 11, "Human-Readable Part"
_PICO_BTC_PER_MSAT = 10
_URI = re.compile(r"lightning:(?://)?", re.IGNORECASE)
_TIMESTAMP_WORDS, _SIGNATURE_WORDS = 7, 104
_ONCE = frozenset("pshdnxc")  # readers disagree on which of two counts, so two are none
_WORDS = {"p": 52, "h": 52, "s": 52, "n": 53}  # BOLT 11: of another length they are skipped

Fields = dict[str, Sequence[int]]


class InvalidInvoice(Refusal):
    status = 422
    code = "invoice_malformed"
    title = "That is not a Lightning invoice which can be paid"


class InvoiceWrongNetwork(Refusal):
    status = 422
    code = "invoice_wrong_network"
    title = "The invoice is for another network"


class InvoiceExpired(Refusal):
    status = 422
    code = "invoice_expired"
    title = "The invoice has expired, or is about to"


class InvoiceAmountless(Refusal):
    status = 422
    code = "invoice_amountless"
    title = "The invoice names no amount"


class InvoiceAmountMismatch(Refusal):
    status = 422
    code = "invoice_amount_mismatch"
    title = "The invoice is for another amount than is owed"


@dataclass(frozen=True, slots=True)
class Invoice:
    """What a BOLT11 invoice says. Its signature was checked; `payee` is the node that made it (33 bytes in hex)."""

    network: Network
    payment_hash: str
    amount: Msats | None
    created_at_ms: int
    expires_at_ms: int
    payee: str
    description: str
    description_hash: str | None
    has_payment_secret: bool
    min_final_cltv: int
    payment_request: str = field(repr=False)  # lower case, no scheme. Whoever can read it in a log, can pay it or claim to be it

    def expired(self, now_ms: int) -> bool:
        return now_ms >= self.expires_at_ms


def normalise(payment_request: str) -> str:
    """Lower case, without blanks around it and without `lightning:`. Mixed case is a refusal (BIP 173: MUST NOT be accepted)."""
    if len(payment_request) > INVOICE_CHARS_MAX:
        raise InvalidInvoice(f"An invoice has at most {INVOICE_CHARS_MAX:,} characters, this one has {len(payment_request):,}.")
    text = payment_request.strip()
    scheme = _URI.match(text)
    text = text[scheme.end() :] if scheme else text
    if not text.isascii():
        raise InvalidInvoice("An invoice is letters and digits, beginning with `ln`. Copy it again from your wallet.")
    if text not in (text.lower(), text.upper()):
        raise InvalidInvoice("The invoice mixes capital and small letters, so it was changed on its way. Copy it again from your wallet.")
    return text.lower()


def decode(payment_request: str) -> Invoice:
    """Read an invoice and check its checksum and signature (BOLT 11). Whatever is wrong with it raises `InvalidInvoice`."""
    return _decode(normalise(payment_request))


@lru_cache(maxsize=1_024)  # the same invoice is read by check, wallet and look-up
def _decode(text: str) -> Invoice:
    prefix, words = bech32_decode(text)
    if prefix is None or words is None:
        raise InvalidInvoice(
            "The invoice is incomplete or has a typing error: its checksum does not match. Copy it again from your wallet."
        )
    network, amount = _read_prefix(prefix)
    if len(words) < _TIMESTAMP_WORDS + _SIGNATURE_WORDS:
        raise InvalidInvoice("The invoice is too short to be signed. Copy it again from your wallet.")
    fields = _read_fields(words[_TIMESTAMP_WORDS:-_SIGNATURE_WORDS])
    payee = _payee(prefix, words, fields.get("n"))
    if "p" not in fields:
        raise InvalidInvoice("The invoice has no payment hash. Make a new one in your wallet.")
    if "s" not in fields:
        raise InvalidInvoice("The invoice has no payment secret, so its payment could be stolen on the way. Use a wallet made after 2020.")
    expiry_seconds = _number(fields["x"]) if "x" in fields else EXPIRY_SECONDS_DEFAULT
    if not 1 <= expiry_seconds <= EXPIRY_SECONDS_MAX:
        raise InvalidInvoice("The invoice's expiry is not a sensible time. Make a new one with an expiry of hours or days.")
    min_final_cltv = _number(fields["c"]) if "c" in fields else MIN_FINAL_CLTV_DEFAULT
    if not 1 <= min_final_cltv <= MIN_FINAL_CLTV_MAX:
        raise InvalidInvoice(f"The invoice would lock the payment for no sensible time; {MIN_FINAL_CLTV_MAX:,} blocks are the limit here.")
    created_at_seconds = _number(words[:_TIMESTAMP_WORDS])
    return Invoice(
        network=network,
        payment_hash=_octets(fields["p"]).hex(),
        amount=amount,
        created_at_ms=created_at_seconds * SECOND_MS,
        expires_at_ms=(created_at_seconds + expiry_seconds) * SECOND_MS,
        payee=payee,
        description=_description(fields.get("d", ())),
        description_hash=_octets(fields["h"]).hex() if "h" in fields else None,
        has_payment_secret=True,
        min_final_cltv=min_final_cltv,
        payment_request=text,
    )


def _read_prefix(prefix: str) -> tuple[Network, Msats | None]:
    match = _PREFIX.fullmatch(prefix)
    if match is None:
        raise InvalidInvoice(
            "An invoice begins with `lnbc` (or `lntb`, `lntbs`, `lnbcrt`) and a whole amount. Make a new one in your wallet."
        )
    network = Network(match[1])
    if match[2] is None:
        return network, None
    msats, rest = divmod(int(match[2]) * _PICO_BTC[match[3]], _PICO_BTC_PER_MSAT)
    if rest:  # BOLT 11: with `p` the last digit MUST be 0
        raise InvalidInvoice("The invoice asks for a fraction of a millisat. Make a new one in your wallet.")
    if msats > MSATS_MAX:
        raise InvalidInvoice("The invoice asks for more bitcoin than there is. Make a new one in your wallet.")
    return network, Msats(msats)


def _read_fields(words: Sequence[int]) -> Fields:
    """They fill exactly the space between time stamp and signature, and what may stand once stands once."""
    fields: Fields = {}
    at = 0
    while at < len(words):
        if at + 3 > len(words) or (end := at + 3 + _number(words[at + 1 : at + 3])) > len(words):
            raise InvalidInvoice("The invoice is cut off in the middle of a field. Make a new one in your wallet.")
        letter, value = CHARSET[words[at]], words[at + 3 : end]
        at = end
        if letter not in _ONCE or len(value) != _WORDS.get(letter, len(value)):
            continue
        if letter in fields:
            # Without this refusal, Timmy could check and record one payment hash while the wallet pays the other.
            raise InvalidInvoice(f"The invoice has its field `{letter}` twice. Make a new one in your wallet.")
        fields[letter] = value
    return fields


def _payee(prefix: str, words: Sequence[int], named: Sequence[int] | None) -> str:
    """The key that made the signature, which must be the one that the invoice names, if it names one."""
    signature = _octets(words[-_SIGNATURE_WORDS:])
    try:
        key: bytes = PublicKey.from_signature_and_message(signature, _signed(prefix, words[:-_SIGNATURE_WORDS])).format(compressed=True)
    except ValueError:
        raise InvalidInvoice("The invoice's signature is not one. Make a new one in your wallet.") from None
    if named is not None and key != _octets(named):
        raise InvalidInvoice("The invoice is not signed by the node that it names. Make a new one in your wallet.")
    return key.hex()


def _description(words: Sequence[int]) -> str:
    try:
        return _octets(words).decode()
    except UnicodeDecodeError:
        raise InvalidInvoice("The invoice's description is not text. Make a new one in your wallet.") from None


def _signed(prefix: str, words: Iterable[int]) -> bytes:
    """What the signature is over: the prefix, and the words filled up to whole bytes with zeros."""
    return prefix.encode() + bytes(convertbits(words, 5, 8, True) or ())


def _number(words: Iterable[int]) -> int:
    number = 0
    for word in words:
        number = number << 5 | word
    return number


def _octets(words: Sequence[int]) -> bytes:
    """The whole bytes in these words; the bits that are left over are filling."""
    return bytes(convertbits(words, 5, 8, True) or ())[: len(words) * 5 // 8]


def encode(
    *,
    network: Network,
    private_key: bytes,
    payment_hash: str,
    payment_secret: bytes,
    amount: Msats | None,
    description: str,
    created_at_ms: int,
    expiry_seconds: int,
    min_final_cltv: int = MIN_FINAL_CLTV_DEFAULT,
    description_hash: str | None = None,
) -> str:
    """Sign an invoice with `private_key` (32 bytes): what a node does, and the built-in wallet with it (BOLT 11).

    A description that is too long is cut at the last whole character. ValueError: an amount of zero, an expiry out of range, or a hash
    or secret that is not 32 bytes.
    """
    if not 1 <= expiry_seconds <= EXPIRY_SECONDS_MAX:
        raise ValueError(f"an invoice cannot expire after {expiry_seconds} seconds")
    if description_hash is None:
        described = _field("d", _words(description.encode()[:DESCRIPTION_BYTES_MAX].decode(errors="ignore").encode()))
    else:
        described = _field("h", _words(_exactly_32(bytes.fromhex(description_hash))))
    prefix = f"ln{network.value}{_shortest(amount)}"
    words = [
        *_number_words(created_at_ms // SECOND_MS, at_least=_TIMESTAMP_WORDS),
        *_field("p", _words(_exactly_32(bytes.fromhex(payment_hash)))),
        *_field("s", _words(_exactly_32(payment_secret))),
        *described,
        *_field("x", _number_words(expiry_seconds)),
        *_field("c", _number_words(min_final_cltv)),
        *_field("9", _number_words(FEATURES)),
    ]
    signature = PrivateKey(private_key).sign_recoverable(_signed(prefix, words))
    return bech32_encode(prefix, [*words, *_words(signature)])


def _shortest(amount: Msats | None) -> str:
    """BOLT 11: a writer MUST use the shortest representation, with the largest multiplier that leaves no fraction."""
    if amount is None:
        return ""
    if not amount:
        raise ValueError("an invoice cannot ask for nothing")
    pico_btc = amount.value * _PICO_BTC_PER_MSAT
    return next(f"{pico_btc // size}{multiplier}" for multiplier, size in _PICO_BTC.items() if pico_btc % size == 0)


def _field(letter: str, words: Sequence[int]) -> list[int]:
    return [CHARSET.index(letter), *divmod(len(words), 32), *words]


def _number_words(number: int, at_least: int = 1) -> list[int]:
    words: list[int] = []
    while number or len(words) < at_least:
        number, word = divmod(number, 32)
        words.append(word)
    return words[::-1]


def _words(octets: bytes) -> list[int]:
    return convertbits(octets, 8, 5, True) or []


def _exactly_32(octets: bytes) -> bytes:
    if len(octets) != 32:
        raise ValueError(f"a hash or secret has 32 bytes, not {len(octets)}")
    return octets


def fits(preimage: str, payment_hash: str) -> bool:
    """Whether the preimage proves that this payment arrived (BOLT 11: the hash is its SHA-256)."""
    try:
        found = hashlib.sha256(bytes.fromhex(preimage)).hexdigest()
    except ValueError:
        return False
    return hmac.compare_digest(found, payment_hash)


def check_refund_invoice(
    invoice: Invoice, *, network: Network, amount: Msats, now_ms: int, margin_seconds: int, amountless: bool = False
) -> None:
    """Refuse an invoice that must not be paid with what we owe (its terms are those of BOLT 11).

    It must be for our network, live for at least `margin_seconds` more (a payment takes time), and ask for exactly `amount`; with
    `amountless` it may leave the amount to us.
    Raises InvoiceWrongNetwork, InvoiceExpired, InvoiceAmountless or InvoiceAmountMismatch (with `owedSats`), in this order.
    """
    owed = _in_words(amount)
    if invoice.network is not network:
        ours, theirs = network.name.lower(), invoice.network.name.lower()
        raise InvoiceWrongNetwork(f"The invoice is for {theirs}, but Timmy pays on {ours}. Make one for {owed} on {ours}.")
    if invoice.expired(now_ms):
        raise InvoiceExpired(f"The invoice has expired. Make a new one for {owed}.")
    if invoice.expired(now_ms + margin_seconds * SECOND_MS):
        raise InvoiceExpired(f"The invoice expires within {margin_seconds} seconds, too soon to pay it. Make a new one for {owed}.")
    owed_sats = amount.floor_sats().value
    if invoice.amount is None and amountless:
        return
    if invoice.amount is None:
        raise InvoiceAmountless(f"The invoice names no amount. Make one for exactly {owed}.", owedSats=owed_sats)
    if invoice.amount != amount:
        size = "too large" if invoice.amount > amount else "too small"
        asked = _in_words(invoice.amount)
        raise InvoiceAmountMismatch(f"The invoice is {size}: it asks for {asked}. Make one for exactly {owed}.", owedSats=owed_sats)


def _in_words(amount: Msats) -> str:
    sats = amount.floor_sats()
    return f"{sats.value} sats" if sats.msats == amount else f"{amount.value} millisats"
