"""What the adapters make of what a backend says of itself, and of the certificate that it shows."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.unit.backends import as_json, as_text, hang_up, listening, never_answer
from yarl import URL

from timmy.clock import SystemClock
from timmy.lightning.wallets.electrum import ElectrumWallet
from timmy.lightning.wallets.facts import Certificate, Channels, NodeFacts, certificate_of
from timmy.lightning.wallets.lnbits import LnbitsWallet
from timmy.lightning.wallets.protocol import Network, WalletDown
from timmy.money import Sats
from timmy.regtest.processes import free_ports

DATED = {"Date": "Sun, 06 Nov 1994 08:49:37 GMT"}


# LNbits ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def lnbits(answers: Mapping[str, web.Response]) -> AsyncIterator[LnbitsWallet]:
    """By the end of the path; what is not there is not found."""

    async def answer(request: web.Request) -> web.Response:
        found = next((response for end, response in answers.items() if request.path.endswith(end)), as_text("", 404))
        return web.Response(body=found.body, status=found.status, headers=found.headers)

    async with listening(answer) as url:
        wallet = LnbitsWallet(url, "5ecret", SystemClock(), network=Network.REGTEST, timeout_seconds=2)
        yield wallet
        await wallet.aclose()


async def test_lnbits_without_its_node_page_tells_little_and_nothing_is_invented() -> None:
    async with lnbits({"/health": as_json({"server_time": 1, "up_time": "1 h"})}) as wallet:
        found = await wallet.diagnose()
    assert found == replace(NodeFacts(software="LNbits", in_the_clear=False), skew_ms=found.skew_ms)
    assert found.skew_ms is not None
    assert abs(found.skew_ms) < 30_000


async def test_lnbits_with_its_node_page_tells_of_the_channels_behind_it() -> None:
    page = {"alias": "bob", "blockheight": 800_000, "channel_stats": {"counts": {"active": 2, "closed": 7, "inactive": 1}}}
    async with lnbits({"/health": as_json({}), "/node/public/api/v1/info": as_json(page)}) as wallet:
        found = await wallet.diagnose()
    assert (found.alias, found.height, found.channels, found.nonsense) == ("bob", 800_000, Channels(2, 1, 0), ())


@pytest.mark.parametrize(
    ("page", "named"),
    [
        ({"alias": 7}, "alias"),
        ({"blockheight": "800000"}, "block height"),
        ({"channel_stats": {"counts": {"active": -1}}}, "channels"),
        ({"channel_stats": {"counts": {"active": True}}}, "channels"),
    ],
)
async def test_nonsense_of_lnbits_is_named_and_left_out(page: Mapping[str, object], named: str) -> None:
    async with lnbits({"/health": as_json({}), "/info": as_json(page)}) as wallet:
        found = await wallet.diagnose()
    assert (found.nonsense, found.alias, found.height, found.channels) == ((named,), None, None, None)


@pytest.mark.parametrize("page", [[], {"channel_stats": 5}, {"channel_stats": {"counts": []}}, None], ids=str)
async def test_a_page_of_another_shape_tells_nothing(page: object) -> None:
    async with lnbits({"/health": as_json({}), "/info": as_json(page)}) as wallet:
        assert (await wallet.diagnose()).channels is None


async def test_a_clock_that_is_wrong_shows_in_the_answer() -> None:
    wrong = web.Response(text="{}", content_type="application/json", headers=DATED)
    async with lnbits({"/health": wrong}) as wallet:
        skew_ms = (await wallet.diagnose()).skew_ms
    assert skew_ms is not None
    assert skew_ms < -365 * 86_400_000


@pytest.mark.parametrize("handler", [hang_up, never_answer])
async def test_an_lnbits_that_does_not_answer_is_down(handler: object) -> None:
    async with listening(handler) as url:  # type: ignore[arg-type]
        wallet = LnbitsWallet(url, "5ecret", SystemClock(), network=Network.REGTEST, timeout_seconds=0.3)
        with pytest.raises(WalletDown) as down:
            await wallet.diagnose()
        assert "5ecret" not in str(down.value)
        await wallet.aclose()


# Electrum --------------------------------------------------------------------------------------------------


async def test_electrum_tells_of_chain_channels_and_both_sides() -> None:
    channel = {
        "state": "OPEN", "peer_state": "GOOD", "local_balance": 5_000, "remote_balance": 9_000, "local_reserve": 100, "remote_reserve": 200,
    }  # fmt: skip
    answers = {
        "getinfo": {"version": "4.8.4", "connected": True, "blockchain_height": 120, "server_height": 121, "path": "/var/lib/electrum"},
        "is_synchronized": True,
        "list_channels": [channel],
    }

    async def answer(request: web.Request) -> web.Response:
        return as_json({"id": 1, "jsonrpc": "2.0", "result": answers[json.loads(await request.text())["method"]]})

    async with listening(answer) as url:
        wallet = ElectrumWallet(url.replace("http://", "http://me:5ecret@"), SystemClock(), network=Network.REGTEST)
        found = await wallet.diagnose()
        await wallet.aclose()
    assert (found.version, found.height, found.chain_height, found.synced, found.connected) == ("4.8.4", 120, 121, True, True)
    assert (found.channels, found.spendable, found.receivable) == (Channels(1, 0, 0), Sats(4_900).msats, Sats(8_800).msats)
    assert "5ecret" not in repr(found)
    assert "/var/lib" not in repr(found)


# Certificates ----------------------------------------------------------------------------------------------


def made(folder: Path, ends: datetime) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=90))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "both.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@asynccontextmanager
async def showing(pem: Path) -> AsyncIterator[URL]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        yield URL(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")


def trusting(pem: Path) -> ssl.SSLContext:
    shown = x509.load_pem_x509_certificate(pem.read_bytes())
    return ssl.create_default_context(cadata=shown.public_bytes(serialization.Encoding.PEM).decode())


async def test_when_a_certificate_ends_is_read_from_it(tmp_path: Path) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=5)
    async with showing(pem := made(tmp_path, ends)) as url:
        assert await certificate_of(url, trusting(pem)) == Certificate(int(ends.timestamp()) * 1_000)


async def test_one_that_has_ended_is_told_from_one_that_is_strange(tmp_path: Path) -> None:
    async with showing(pem := made(tmp_path, datetime.now(UTC) - timedelta(days=1))) as url:
        ended = await certificate_of(url, trusting(pem))
        strange = await certificate_of(url)
    assert ended is not None
    assert (ended.has_ended, ended.trouble) == (True, "certificate has expired")
    assert strange is not None
    assert strange.trouble is not None


async def test_who_must_not_be_trusted_is_asked_nothing(tmp_path: Path) -> None:
    async with showing(made(tmp_path, datetime.now(UTC) + timedelta(days=5))) as url:
        for wallet in (
            LnbitsWallet(str(url), "5ecret", SystemClock(), network=Network.REGTEST),
            ElectrumWallet(str(url.with_user("me").with_password("5ecret")), SystemClock(), network=Network.REGTEST),
        ):
            found = await wallet.diagnose()
            await wallet.aclose()
            assert found.certificate is not None
            assert "self-signed" in (found.certificate.trouble or "")
            assert found.skew_ms is None


async def test_without_tls_there_is_no_certificate_and_without_an_answer_it_is_not_known() -> None:
    assert await certificate_of(URL("http://127.0.0.1:1")) is None
    assert await certificate_of(URL(f"https://127.0.0.1:{free_ports(1)[0]}")) == Certificate(None)
