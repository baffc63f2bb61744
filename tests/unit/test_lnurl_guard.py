"""A stranger's name never leads into our own network, and a server that misbehaves costs us little."""

from __future__ import annotations

import asyncio
import gzip
import socket

import lnurl as lnurl_library
import pytest
from aiohttp import web
from tests.unit.lnurl_server import OWED, Alice, alice, client, strict

from timmy.lightning.lnurl import (
    BODY_BYTES_MAX,
    DestinationDown,
    DestinationForbidden,
    DestinationRefused,
    LightningAddressMalformed,
    LnurlClient,
    LnurlMalformed,
    LnurlRefused,
    is_public,
)

__all__ = ["alice", "client", "strict"]  # fixtures

# Where Timmy does not go -------------------------------------------------------------------------------

NOT_PUBLIC = [
    "127.0.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "192.0.0.8", "192.0.2.1",
    "192.88.99.1", "198.18.0.1",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8",
    "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "fc00::1", "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1", "127.1", "2130706433", "nonsense", "",
]  # fmt: skip


@pytest.mark.fault("F05")
@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_of_inside_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "2a00:1450:4001::1"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.fault("F05")
@pytest.mark.parametrize(
    "destination",
    [
        "alice@inside.example.com",
        "alice@mixed.example.com",  # one public address and one of ours: an answer made to slip through
        "alice@127.0.0.1",
        "alice@localhost",
        "alice@192.168.1.1",
        "alice@abcdefghijklmnop.onion",
        "alice@abcdefghijklmnop.onion.",
        "lnurlp://[::ffff:127.0.0.1]/x",
        "lnurlp://[::1]/x",
        "lnurlp://169.254.169.254/latest/meta-data",
        "lnurlp://2130706433/x",
        "lnurlp://127.1/x",
        "lnurlp://user:password@example.com/x",
        str(lnurl_library.encode("https://127.0.0.1/x").bech32),
        str(lnurl_library.helpers.url_encode("http://example.com/x")),
        str(lnurl_library.helpers.url_encode("file:///etc/passwd")).upper(),
        str(lnurl_library.helpers.url_encode("gopher://example.com/x")),
    ],
)
async def test_a_name_that_leads_inside_is_refused(strict: LnurlClient, destination: str) -> None:
    with pytest.raises((DestinationForbidden, LnurlMalformed, LightningAddressMalformed)) as refused:
        await strict.fetch_invoice(destination, OWED)
    assert refused.value.status == 422


@pytest.mark.fault("F05")
async def test_loopback_is_closed_unless_it_was_opened(alice: Alice, strict: LnurlClient) -> None:
    with pytest.raises(DestinationForbidden):
        await strict.fetch_invoice(alice.address, OWED)
    assert alice.asked == []


@pytest.mark.fault("F05")
@pytest.mark.parametrize(
    "place", ["http://10.0.0.1/cb", "https://169.254.169.254/cb", "https://user@example.com/cb", "ftp://example.com/", "https://x.onion/"]
)
async def test_a_callback_is_guarded_like_the_first_address(alice: Alice, client: LnurlClient, place: str) -> None:
    alice.offer["callback"] = place
    with pytest.raises(DestinationForbidden):
        await client.fetch_invoice(alice.address, OWED)


@pytest.mark.fault("F05")
async def test_a_name_that_changes_its_address_is_caught(alice: Alice) -> None:
    """DNS rebinding: harmless when it is looked at first, ours a moment later. Each connection goes where its one look-up said."""
    answers = [["127.0.0.1"], ["10.0.0.1"], ["127.0.0.1"]]
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    alice.offer["callback"] = alice.url("/callback", host="localhost")
    client = LnurlClient(allow_loopback_http=True, resolve=rebinding)
    with pytest.raises(DestinationForbidden):
        await client.fetch_invoice(f"alice@localhost:{alice.server.port}", OWED)
    assert asked == ["localhost", "localhost"]
    assert alice.asked == ["/.well-known/lnurlp/alice"]
    await client.aclose()


@pytest.mark.fault("F05")
async def test_the_connection_goes_to_the_address_that_was_checked(alice: Alice) -> None:
    """The name exists nowhere: only an address handed over by our own check can have led to the server."""

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    greeted = asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await reader.read(1_024)
        if b"pay.name-that-is-nowhere.example" in hello:  # the name in TLS's first message
            greeted.set()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    client = LnurlClient(allow_loopback_http=True, resolve=resolve)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(DestinationDown):
        await client.fetch_invoice(f"alice@pay.name-that-is-nowhere.example:{port}", OWED)
    assert greeted.is_set()
    await client.aclose()
    server.close()
    await server.wait_closed()


@pytest.mark.fault("F05")
async def test_a_redirect_is_not_followed(alice: Alice, client: LnurlClient) -> None:
    async def elsewhere(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(alice.url("/callback"))

    alice.page = elsewhere
    with pytest.raises(DestinationForbidden, match="redirects are not followed"):
        await client.fetch_invoice(alice.address, OWED)
    assert alice.asked == ["/.well-known/lnurlp/alice"]


# Servers that misbehave --------------------------------------------------------------------------------


@pytest.mark.fault("F05")
@pytest.mark.parametrize("declared", [True, False])
async def test_a_huge_answer_is_cut_off(alice: Alice, client: LnurlClient, declared: bool) -> None:
    async def huge(request: web.Request) -> web.StreamResponse:
        if declared:
            return web.Response(body=b" " * (BODY_BYTES_MAX + 1))
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(BODY_BYTES_MAX):
            await response.write(b" " * 1_024)
        return response

    alice.page = huge
    with pytest.raises(DestinationDown, match="more than 65,536 bytes"):
        await client.fetch_invoice(alice.address, OWED)


@pytest.mark.fault("F05")
async def test_a_slow_answer_is_not_waited_for(alice: Alice) -> None:
    let_go = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await let_go.wait()
        return response

    alice.page = slow
    client = LnurlClient(allow_loopback_http=True, timeout_seconds=0.1)
    with pytest.raises(DestinationDown, match=r"within 0\.1 seconds"):
        await client.fetch_invoice(alice.address, OWED)
    let_go.set()
    await client.aclose()


async def _zipped(request: web.Request) -> web.StreamResponse:
    return web.Response(body=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})


async def _nested(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"[" * 60_000)


@pytest.mark.parametrize(
    "page",
    [_zipped, _nested, 503, 500, "<html>", "[]", "{}", "null", '"x"', '{"tag": "payRequest"}', "\ud800".encode(errors="surrogatepass")],
)
async def test_nonsense_means_that_the_destination_is_down_or_refuses(alice: Alice, client: LnurlClient, page: object) -> None:
    async def nonsense(request: web.Request) -> web.StreamResponse:
        if isinstance(page, int):
            return web.Response(status=page)
        return web.Response(body=page if isinstance(page, bytes) else str(page).encode())

    alice.page = page if callable(page) else nonsense
    with pytest.raises((DestinationDown, DestinationRefused)):
        await client.fetch_invoice(alice.address, OWED)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("minSendable", "1000"), ("minSendable", True), ("maxSendable", 1e9), ("maxSendable", None), ("callback", 7), ("callback", None),
        ("metadata", None), ("metadata", {}),
    ],
)  # fmt: skip
async def test_an_offer_with_a_field_of_another_kind_is_not_used(alice: Alice, client: LnurlClient, field: str, value: object) -> None:
    alice.offer[field] = value
    with pytest.raises(DestinationDown, match=field):
        await client.fetch_invoice(alice.address, OWED)


@pytest.mark.parametrize("callback", ["", "\ud800", "not a url", "https://", "http://[", "https://exa mple.com/"])
async def test_a_callback_that_is_no_url_is_refused(alice: Alice, client: LnurlClient, callback: str) -> None:
    alice.offer["callback"] = callback
    with pytest.raises(LnurlRefused):
        await client.fetch_invoice(alice.address, OWED)


async def test_a_server_that_is_not_there_is_down(client: LnurlClient) -> None:
    with socket.socket() as taken:  # bound and not listening: the port refuses
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(DestinationDown):
            await client.fetch_invoice(f"alice@127.0.0.1:{taken.getsockname()[1]}", OWED)


async def test_a_name_that_cannot_be_resolved_is_down(strict: LnurlClient) -> None:
    with pytest.raises(DestinationDown) as down:
        await strict.fetch_invoice("alice@unknown.example.com", OWED)
    assert down.value.code == "destination_down"
