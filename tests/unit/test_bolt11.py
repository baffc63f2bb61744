"""An invoice is read exactly, or refused with a reason; it never breaks the reader."""

from __future__ import annotations

import hashlib
from typing import Any

import bolt11 as library
import pytest
from bech32 import CHARSET, bech32_decode, bech32_encode
from hypothesis import given, settings
from hypothesis import strategies as st

from timmy.errors import Refusal
from timmy.lightning.bolt11 import (
    EXPIRY_SECONDS_MAX,
    INVOICE_CHARS_MAX,
    InvalidInvoice,
    Invoice,
    InvoiceAmountless,
    InvoiceAmountMismatch,
    InvoiceExpired,
    InvoiceWrongNetwork,
    check_refund_invoice,
    decode,
    encode,
)
from timmy.lightning.wallets.protocol import Network
from timmy.money import Msats, Sats

NOW_MS = 1_700_000_000_000
OWED = Sats(21).msats
KEY = bytes(range(1, 33))
SECRET = bytes(range(32))
HASH = hashlib.sha256(b"a preimage").hexdigest()

# The examples of BOLT 11 that have a payment secret, and those that it calls invalid.
SPEC_COFFEE_BEANS = (
    "lnbc25m1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5vdhkven9v5sxyetpdeessp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3"
    "zyg3zyg3zyg3zygs9q5sqqqqqqqqqqqqqqqpqsq67gye39hfg3zd8rgc80k32tvy9xk2xunwm5lzexnvpx6fd77en8qaq424dxgt56cag2dpt359k3ssyhetktkpqh24jqnjyw"
    "6uqd08sgptq44qu"
)
SPEC_PAYEE = "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad"
SPEC_INVALID = {
    "checksum": (
        "typing error",
        "lnbc2500u1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpquwpc4curk03c9wlrswe78q4eyqc7d8d0xqzpuyk0sg5g70me25"
        "alkluzd2x62aysf2pyy8edtjeevuv4p2d5p76r4zkmneet7uvyakky2zr4cusd45tftc9c5fh0nnqpnl2jfll544esqchsrnt",
    ),
    "no separator": (
        "typing error",
        "pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpquwpc4curk03c9wlrswe78q4eyqc7d8d0xqzpuyk0sg5g70me25alkluzd2x6"
        "2aysf2pyy8edtjeevuv4p2d5p76r4zkmneet7uvyakky2zr4cusd45tftc9c5fh0nnqpnl2jfll544esqchsrny",
    ),
    "mixed case": (
        "capital and small",
        "LNBC2500u1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpquwpc4curk03c9wlrswe78q4eyqc7d8d0xqzpuyk0sg5g70me25"
        "alkluzd2x62aysf2pyy8edtjeevuv4p2d5p76r4zkmneet7uvyakky2zr4cusd45tftc9c5fh0nnqpnl2jfll544esqchsrny",
    ),
    "signature": (
        "signature is not one",
        "lnbc2500u1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpuaxtrnwngzn3kdzw5hydlzf03q"
        "dgm2hdq27cqv3agm2awhz5se903vruatfhq77w3ls4evs3ch9zw97j25emudupq63nyw24cg27h2rspk28uwq",
    ),
    "too short": (
        "too short to be signed",
        "lnbc1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6na6hlh",
    ),
    "multiplier": (
        "begins with",
        "lnbc2500x1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpujr6jxr9gq9pv6g46y7d20jfke"
        "gkg4gljz2ea2a3m9lmvvr95tq2s0kvu70u3axgelz3kyvtp2ywwt0y8hkx2869zq5dll9nelr83zzqqpgl2zg",
    ),
    "fraction of a millisat": (
        "fraction of a millisat",
        "lnbc2500000001p1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu7hqtk93pkf7sw55rdv4"
        "k9z2vj050rxdr6za9ekfs3nlt5lr89jqpdmxsmlj9urqumg0h9wzpqecw7th56tdms40p2ny9q4ddvjsedzcplva53s",
    ),
    "no payment secret": (
        "no payment secret",
        "lnbc2500u1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpuaztrnwngzn3kdzw5hydlzf03q"
        "dgm2hdq27cqv3agm2awhz5se903vruatfhq77w3ls4evs3ch9zw97j25emudupq63nyw24cg27h2rspfj9srp",
    ),
}


def invoice(
    *,
    network: Network = Network.REGTEST,
    amount: Msats | None = OWED,
    description: str = "a walk on the beach",
    expiry_seconds: int = 600,
    min_final_cltv: int = 18,
    payment_hash: str = HASH,
    payment_secret: bytes = SECRET,
) -> str:
    return encode(
        network=network,
        private_key=KEY,
        payment_hash=payment_hash,
        payment_secret=payment_secret,
        amount=amount,
        description=description,
        created_at_ms=NOW_MS,
        expiry_seconds=expiry_seconds,
        min_final_cltv=min_final_cltv,
    )


def resealed(request: str, *, prefix: str | None = None, insert: tuple[int, ...] = ()) -> str:
    """The same words under another prefix, or with a field put in after the time stamp; the checksum is right again."""
    old_prefix, words = bech32_decode(request)
    assert old_prefix is not None
    assert words is not None
    return bech32_encode(prefix or old_prefix, [*words[:7], *insert, *words[7:]])


def outcome(text: str) -> Invoice | InvalidInvoice:
    """Anything else that is raised is what these tests look for."""
    try:
        return decode(text)
    except InvalidInvoice as refused:
        return refused


def as_the_library_reads(text: str) -> library.Bolt11 | None:
    try:
        return library.decode(text, ignore_exceptions=True)
    except (ValueError, IndexError, KeyError, library.Bolt11Exception):  # a fallback address or route hint, which we do not read
        return None


def test_what_is_signed_is_what_is_read() -> None:
    made = decode(invoice())
    assert made == Invoice(
        network=Network.REGTEST,
        payment_hash=HASH,
        amount=Msats(21_000),
        created_at_ms=NOW_MS,
        expires_at_ms=NOW_MS + 600_000,
        payee=made.payee,
        description="a walk on the beach",
        description_hash=None,
        has_payment_secret=True,
        min_final_cltv=18,
        payment_request=invoice(),
    )


@pytest.mark.parametrize("network", Network)
@pytest.mark.parametrize("msats", [1, 9, 10, 999, 1_000, 2_100_001, 10**8, 123_456_789_012, 10**13, 10**14, 10**15])
def test_every_network_and_every_amount_come_back_exactly(network: Network, msats: int) -> None:
    made = decode(invoice(network=network, amount=Msats(msats)))
    assert (made.network, made.amount) == (network, Msats(msats))


def test_an_invoice_may_name_no_amount() -> None:
    assert decode(invoice(amount=None)).amount is None


@pytest.mark.parametrize(
    "nonsense",
    [
        {"amount": Msats(0)},
        {"expiry_seconds": 0},
        {"expiry_seconds": EXPIRY_SECONDS_MAX + 1},
        {"payment_hash": "00"},
        {"payment_secret": b""},
    ],
)
def test_nonsense_is_not_signed(nonsense: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        invoice(**nonsense)


def same(read: Invoice, theirs: library.Bolt11) -> bool:
    """Whether the library reads the same out of an invoice."""
    assert theirs.payment_secret is not None
    return (
        (read.network.value, None if read.amount is None else read.amount.value, read.created_at_ms, read.expires_at_ms)
        == (theirs.currency, theirs.amount_msat, theirs.date * 1_000, theirs.expiry_time * 1_000)
    ) and (read.payment_hash, read.payee, read.description, read.description_hash, read.min_final_cltv) == (
        theirs.payment_hash,
        theirs.payee,
        theirs.description or "",
        theirs.description_hash,
        theirs.min_final_cltv_expiry,
    )


@pytest.mark.parametrize("network", Network)
@pytest.mark.parametrize("amount", [None, Msats(1), Msats(999), Msats(210_000), Msats(10**8), Msats(5 * 10**11)])
@pytest.mark.parametrize("description", ["", "1 cup of coffee", "ナンセンス 1杯", "x" * 639])
def test_the_library_reads_what_we_write(network: Network, amount: Msats | None, description: str) -> None:
    written = invoice(network=network, amount=amount, description=description, expiry_seconds=86_400, min_final_cltv=144)
    assert same(decode(written), library.decode(written, strict=True))


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("amount", [None, 1, 999, 210_000, 10**8, 5 * 10**11])
def test_we_read_what_the_library_writes(amount: int | None, named: bool) -> None:
    tags = library.Tags()
    tags.add(library.TagChar.payment_hash, HASH)
    tags.add(library.TagChar.payment_secret, SECRET.hex())
    tags.add(library.TagChar.description, "1 cup of coffee")
    tags.add(library.TagChar.min_final_cltv_expiry, 40)
    if named:
        tags.add(library.TagChar.payee, decode(invoice()).payee)
    draft = library.Bolt11("bcrt", NOW_MS // 1_000, tags, None if amount is None else library.MilliSatoshi(amount))
    written = library.encode(draft, KEY.hex(), keep_payee=True)
    assert same(decode(written), library.decode(written))
    assert decode(written).payee == decode(invoice()).payee


@pytest.mark.fault("F04")
def test_an_invoice_that_names_another_node_than_signed_it_is_refused() -> None:
    with pytest.raises(InvalidInvoice, match="not signed by the node that it names"):  # the field `n`, with nobody's key
        decode(resealed(invoice(), insert=(19, 1, 21, *([0] * 53))))


def test_a_description_that_is_too_long_is_cut_at_a_whole_character() -> None:
    assert decode(invoice(description="é" * 400)).description == "é" * 319


def test_the_examples_of_the_specification_are_read() -> None:
    beans = decode(SPEC_COFFEE_BEANS)
    assert (beans.network, beans.amount, beans.description, beans.payee) == (
        Network.MAINNET,
        Msats(2_500_000_000),
        "coffee beans",
        SPEC_PAYEE,
    )
    assert beans.payment_hash == "0001020304050607080900010203040506070809000102030405060708090102"
    assert beans.expires_at_ms == (1_496_314_658 + 3_600) * 1_000
    assert decode(SPEC_COFFEE_BEANS.upper()) == beans


@pytest.mark.fault("F04")
@pytest.mark.parametrize(("because", "text"), SPEC_INVALID.values(), ids=SPEC_INVALID.keys())
def test_what_the_specification_calls_invalid_is_refused(because: str, text: str) -> None:
    with pytest.raises(InvalidInvoice, match=because) as refused:
        decode(text)
    assert (refused.value.code, refused.value.status) == ("invoice_malformed", 422)


@pytest.mark.parametrize("field", [(1, 1, 19, *([0] * 51)), (1, 1, 21, *([0] * 53)), (16, 1, 21, *([0] * 53)), (10, 0, 3, 0, 0, 0)])
def test_fields_that_a_reader_must_skip_are_skipped(field: tuple[int, ...]) -> None:
    """BOLT 11: `p`, `h`, `s` and `n` of another length than theirs, and unknown fields."""
    assert decode(resealed(invoice(), insert=field)).payment_hash == HASH


@pytest.mark.parametrize("wrapped", ["lightning:{}", "LIGHTNING:{}", "lightning://{}", "  {}\n"])
def test_a_uri_and_blanks_around_an_invoice_are_taken_off(wrapped: str) -> None:
    assert decode(wrapped.format(invoice())).payment_request == invoice()
    assert decode(wrapped.format(invoice().upper())).payment_request == invoice()


@pytest.mark.fault("F04")
@pytest.mark.parametrize(
    ("broken", "because"),
    [
        ("", "incomplete"),
        ("lnbc", "incomplete"),
        (invoice()[:-1], "incomplete"),
        (invoice()[:40].upper() + invoice()[40:], "capital and small"),
        ("lnbc1" + "q" * INVOICE_CHARS_MAX, "at most 4,096"),
        ("ln\u0131bc1", "letters and digits"),
        (resealed(invoice(), prefix="lnxy210n"), "begins with"),
        (resealed(invoice(), prefix="lnbc-21"), "begins with"),  # the library takes this for an invoice without an amount
        (resealed(invoice(), prefix="lnbc0"), "begins with"),
        (resealed(invoice(), prefix="lnbc021u"), "begins with"),
        (resealed(invoice(), prefix="lnbc15p"), "fraction of a millisat"),  # the library takes this for 1 millisat
        (resealed(invoice(), prefix="lnbc21000001"), "more bitcoin than there is"),
        (resealed(invoice(), insert=(1, 1, 20, *([0] * 52))), "`p` twice"),
        (resealed(invoice(), insert=(1, 31, 31)), "cut off"),
        (invoice(min_final_cltv=2_017), "lock the payment"),
        (invoice(min_final_cltv=0), "lock the payment"),
    ],
)
def test_a_broken_invoice_is_refused_with_its_reason(broken: str, because: str) -> None:
    with pytest.raises(InvalidInvoice, match=because):
        decode(broken)


@pytest.mark.fault("F04")
def test_an_expiry_beyond_all_sense_is_refused() -> None:
    century = decode(invoice(expiry_seconds=EXPIRY_SECONDS_MAX))
    assert century.expires_at_ms == NOW_MS + EXPIRY_SECONDS_MAX * 1_000
    prefix, words = bech32_decode(invoice())
    assert prefix is not None
    assert words is not None
    at = "".join(CHARSET[word] for word in words).index("xqzjc")  # expiry, two words long, then its value 600
    for field in ((6, 0, 12, *([31] * 12)), (6, 31, 31, *([31] * 1023)), (6, 0, 0), (6, 0, 1, 0)):
        with pytest.raises(InvalidInvoice):
            decode(bech32_encode(prefix, [*words[:at], *field, *words[at + 5 :]]))


def test_a_payment_request_is_not_shown_by_accident() -> None:
    assert invoice() not in repr(decode(invoice()))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300) | st.text(alphabet="lnbcrt1" + CHARSET, max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert isinstance(outcome(text), Invoice | InvalidInvoice)


@pytest.mark.fault("F04")
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_change_of_an_invoice_is_noticed_or_harmless(data: st.DataObject) -> None:
    """Characters are changed with the checksum left wrong: never accepted as another invoice."""
    original = invoice()
    place = data.draw(st.integers(0, len(original) - 1))
    letter = data.draw(st.characters(min_codepoint=1, max_codepoint=0x2FF))
    changed = original[:place] + letter + original[place + 1 :]
    read = outcome(changed)
    assert isinstance(read, InvalidInvoice) or read == decode(original)


@pytest.mark.fault("F04")
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_bits_under_a_right_checksum_are_read_or_refused(data: st.DataObject) -> None:
    prefix, words = bech32_decode(invoice())
    assert prefix is not None
    assert words is not None
    word = st.integers(0, 31)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(words) - 1))
        replacement = data.draw(st.lists(word, max_size=3) | st.lists(word, min_size=40, max_size=60))
        words = [*words[:place], *replacement, *words[place + data.draw(st.integers(0, 3)) :]]
        if not words:
            return
    amount = data.draw(st.from_regex(r"[0-9]{0,25}[munpx]?", fullmatch=True))
    read = outcome(bech32_encode(data.draw(st.sampled_from([prefix, f"lnbc{amount}", f"lntbs{amount}"])), words))
    if isinstance(read, Invoice):
        theirs = as_the_library_reads(read.payment_request)
        assert theirs is None or same(read, theirs)
        assert 0 <= read.created_at_ms < read.expires_at_ms < 2**63
    else:
        assert read.message


# May this invoice be paid with what we owe? ------------------------------------------------------------


def check(request: str, *, now_ms: int = NOW_MS) -> Refusal | None:
    try:
        check_refund_invoice(decode(request), network=Network.REGTEST, amount=OWED, now_ms=now_ms, margin_seconds=60)
    except Refusal as refused:
        return refused
    return None


def test_the_exact_invoice_may_be_paid() -> None:
    assert check(invoice()) is None


@pytest.mark.fault("F04")
def test_an_invoice_of_another_network_is_refused() -> None:
    refused = check(invoice(network=Network.MAINNET))
    assert isinstance(refused, InvoiceWrongNetwork)
    assert refused.code == "invoice_wrong_network"
    assert "is for mainnet, but Timmy pays on regtest" in refused.message


@pytest.mark.fault("F04")
@pytest.mark.parametrize(("seconds", "payable"), [(0, True), (539, True), (540, False), (600, False), (6_000, False)])
def test_an_expired_invoice_is_refused_and_so_is_one_about_to(seconds: int, payable: bool) -> None:
    refused = check(invoice(), now_ms=NOW_MS + seconds * 1_000)
    assert (refused is None) is payable
    assert payable or isinstance(refused, InvoiceExpired)


@pytest.mark.fault("A10")
def test_an_invoice_without_an_amount_is_refused_with_the_amount_to_ask_for() -> None:
    refused = check(invoice(amount=None))
    assert isinstance(refused, InvoiceAmountless)
    assert (refused.code, refused.status, refused.extra) == ("invoice_amountless", 422, {"owedSats": 21})
    assert "exactly 21 sats" in refused.message


@pytest.mark.fault("A09", "A11")
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Sats(22).msats, "too large: it asks for 22 sats"),
        (Msats(21_001), "too large: it asks for 21001 millisats"),
        (Msats(20_999), "too small: it asks for 20999 millisats"),
        (Sats(1).msats, "too small: it asks for 1 sats"),
    ],
)
def test_an_invoice_for_another_amount_is_refused_with_the_amount_to_ask_for(asked: Msats, words: str) -> None:
    refused = check(invoice(amount=asked))
    assert isinstance(refused, InvoiceAmountMismatch)
    assert (refused.code, refused.status, refused.extra) == ("invoice_amount_mismatch", 422, {"owedSats": 21})
    assert words in refused.message
    assert "exactly 21 sats" in refused.message
