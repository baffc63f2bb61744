"""A stranger's name leads to an invoice for exactly the amount, or nowhere."""

from __future__ import annotations

import lnurl as lnurl_library
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.lnurl_server import OWED, Alice, alice, client, invoice, strict

from timmy.lightning.lnurl import (
    AmountOutOfRange,
    DestinationInvoiceWrong,
    DestinationRefused,
    LightningAddressMalformed,
    LnurlClient,
    LnurlMalformed,
    is_lightning_address,
    parse_lnurl,
)
from timmy.money import Msats, Sats

__all__ = ["alice", "client", "strict"]  # fixtures

# From a name to an invoice -----------------------------------------------------------------------------


async def test_a_lightning_address_gives_an_invoice_for_exactly_the_amount(alice: Alice, client: LnurlClient) -> None:
    assert await client.fetch_invoice(alice.address, OWED) == invoice()
    assert alice.asked == ["/.well-known/lnurlp/alice", "/callback?k=7&amount=21000"]


@pytest.mark.parametrize("form", ["upper", "lower", "uri", "lnurlp"])
async def test_every_form_of_an_lnurl_leads_to_the_same_invoice(alice: Alice, client: LnurlClient, form: str) -> None:
    encoded = str(lnurl_library.encode(alice.url("/.well-known/lnurlp/alice")).bech32)
    forms = {
        "upper": encoded.upper(),
        "lower": encoded.lower(),
        "uri": f"lightning:{encoded}",
        "lnurlp": alice.url("/.well-known/lnurlp/alice").replace("http://", "lnurlp://"),
    }
    assert await client.fetch_invoice(forms[form], OWED) == invoice()


@pytest.mark.parametrize(("allowed", "sent"), [(6, True), (5, False), (None, False), ("9", False)])
async def test_a_comment_goes_where_it_is_taken(alice: Alice, client: LnurlClient, allowed: object, sent: bool) -> None:
    alice.offer["commentAllowed"] = allowed
    await client.fetch_invoice(alice.address, OWED, "refund")
    assert alice.asked[1].endswith("&comment=refund") is sent


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("alice@example.com", True),
        ("Alice@Example.com", True),
        ("a.b-c_d+tag@pay.example.com", True),
        ("lightning:alice@example.com", True),
        ("alice@127.0.0.1:8080", True),
        ("alice@localhost:8080", True),
        ("alice@example", False),
        ("alice@", False),
        ("@example.com", False),
        ("alice@@example.com", False),
        ("alice@-example.com", False),
        ("alice@example..com", False),
        ("alice@example.com/x", False),
        ("al/ice@example.com", False),
        ("älice@example.com", False),
        ("lnbc1", False),
        ("", False),
    ],
)
def test_the_form_of_a_lightning_address_is_known_without_asking(text: str, yes: bool) -> None:
    assert is_lightning_address(text) is yes


def test_an_lnurl_is_read_as_the_library_writes_it() -> None:
    url = "https://service.com/api?q=3fc3645b439ce8e7f2553a69e5267081d96dcd340693afabe04be7b0ccd178df"
    assert parse_lnurl(str(lnurl_library.encode(url).bech32)) == url
    assert parse_lnurl("lnurlp://service.com/api?q=1") == "https://service.com/api?q=1"
    assert parse_lnurl("lightning:LNURLP:service.com/api") == "https://service.com/api"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=100) | st.text(alphabet="lnur1qpzy9x8gf2tvdw0s3j54khce6ma7:/@.", max_size=100))
def test_any_text_is_an_lnurl_or_is_refused(text: str) -> None:
    try:
        assert "://" in parse_lnurl(text) or text
    except LnurlMalformed as refused:
        assert (refused.code, refused.status) == ("lnurl_malformed", 422)  # noqa: PT017  either ending is right


@pytest.mark.parametrize("text", ["", "nonsense", "lnurl1qqqq", "LNURL1dp68gurn8ghj7", "x" * 3_000, "https://example.com/x"])
async def test_what_is_no_lnurl_is_refused(strict: LnurlClient, text: str) -> None:
    with pytest.raises(LnurlMalformed):
        await strict.fetch_invoice(text, OWED)


async def test_what_is_no_address_is_refused(strict: LnurlClient) -> None:
    with pytest.raises(LightningAddressMalformed) as refused:
        await strict.fetch_invoice("alice@nowhere", OWED)
    assert refused.value.code == "lightning_address_malformed"


@pytest.mark.parametrize(("amount", "fits"), [(999, False), (1_000, True), (100_000_000, True), (100_000_001, False)])
async def test_an_amount_out_of_range_is_refused_with_the_range(alice: Alice, client: LnurlClient, amount: int, fits: bool) -> None:
    alice.answer["pr"] = invoice(Msats(amount))
    if fits:
        assert await client.fetch_invoice(alice.address, Msats(amount)) == invoice(Msats(amount))
        return
    with pytest.raises(AmountOutOfRange, match="from 1 to 100000 sats") as refused:
        await client.fetch_invoice(alice.address, Msats(amount))
    assert (refused.value.code, refused.value.extra) == ("amount_out_of_range", {"minSats": 1, "maxSats": 100_000})


@pytest.mark.parametrize("tag", ["withdrawRequest", None, 7])
async def test_a_page_that_pays_out_is_not_paid_to(alice: Alice, client: LnurlClient, tag: object) -> None:
    alice.offer["tag"] = tag
    with pytest.raises(DestinationRefused):
        await client.fetch_invoice(alice.address, OWED)


async def test_what_the_server_refuses_is_passed_on_in_its_words(alice: Alice, client: LnurlClient) -> None:
    alice.answer = {"status": "ERROR", "reason": "closed\x1b[2J on Sundays" + "!" * 1_000}
    with pytest.raises(DestinationRefused, match=r"says no: closed\[2J on Sundays") as refused:
        await client.fetch_invoice(alice.address, OWED)
    assert len(refused.value.message) < 400


async def test_an_address_that_does_not_exist_is_refused(alice: Alice, client: LnurlClient) -> None:
    async def missing(request: web.Request) -> web.StreamResponse:
        return web.Response(status=404)

    alice.page = missing
    with pytest.raises(DestinationRefused, match="404"):
        await client.fetch_invoice(alice.address, OWED)


@pytest.mark.fault("A09", "A10", "A11")
@pytest.mark.parametrize("asked", [Msats(21_001), Msats(20_999), Sats(2_100).msats, None])
async def test_an_invoice_for_another_amount_is_not_taken(alice: Alice, client: LnurlClient, asked: Msats | None) -> None:
    alice.answer["pr"] = invoice(asked)
    with pytest.raises(DestinationInvoiceWrong, match="another amount"):
        await client.fetch_invoice(alice.address, OWED)


@pytest.mark.parametrize("given_", ["", "lnbc1", invoice()[:-1], "\ud800", "x" * 60_000])
async def test_an_invoice_that_is_none_is_not_taken(alice: Alice, client: LnurlClient, given_: str) -> None:
    alice.answer["pr"] = given_
    with pytest.raises(DestinationInvoiceWrong, match="no usable invoice"):
        await client.fetch_invoice(alice.address, OWED)


async def test_an_invoice_of_another_description_is_not_taken(alice: Alice, client: LnurlClient) -> None:
    alice.answer["pr"] = invoice(described="sats for mallory")
    with pytest.raises(DestinationInvoiceWrong, match="another description"):
        await client.fetch_invoice(alice.address, OWED)


async def test_an_invoice_with_its_description_in_plain_is_taken(alice: Alice, client: LnurlClient) -> None:
    alice.answer["pr"] = invoice(described=None)
    assert await client.fetch_invoice(alice.address, OWED) == invoice(described=None)
