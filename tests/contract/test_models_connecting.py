"""How a provider is reached: by which address, over TLS with whom, and by nobody else."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.contract.model_servers.asking import TIMEOUTS, ask, received, upstream_of
from tests.contract.model_servers.wire import Run, Then, WireServer, chunked, whole

from timmy.models import ProviderDown, connections
from timmy.models.openai import OpenAICompatible
from timmy.models.upstream import Timeouts, Upstream

LATE = Timeouts(connect_seconds=0.05, first_byte_seconds=0.05, idle_seconds=0.05, total_seconds=0.1)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost and 127.0.0.1 by itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = made.add_extension(names, critical=False).sign(key, hashes.SHA256())
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return file


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST"])
def test_https_is_spoken_with_whom_the_system_trusts(run: Run, keys: Path, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(keys))

    async def scenario() -> None:
        named: list[str | None] = []
        tls = serving(keys)
        tls.sni_callback = lambda _, name, __: named.append(name)
        large = b'{"x": "%s"}' % (b"y" * 3_000_000)
        async with WireServer((whole(),), (whole(large),), (chunked(b"data: a\n\n", end=b""), Then.WAIT)).running(tls) as server:
            upstream = Upstream(f"https://{host}:{server.port}", timeouts=TIMEOUTS)
            assert await ask(upstream) == {"ok": True}
            assert await upstream.post("/chat", {}, {"x": "y" * 3_000_000}) == {"x": "y" * 3_000_000}
            assert server.connections == 1
            assert named == [None if host[0].isdigit() else "localhost"]
            async with aclosing(upstream.events("/chat", {}, {}, is_last=lambda _: False)) as items:
                assert (await anext(items)).data == "a"
            await asyncio.wait_for(server.left.wait(), 60)
            await upstream.aclose()

    run(scenario())


def serving(keys: Path) -> ssl.SSLContext:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(keys)
    return tls


@pytest.mark.fault("G10")
@pytest.mark.parametrize("host", ["localhost", "127.0.0.2"])
def test_whoever_cannot_prove_who_they_are_is_told_nothing(run: Run, keys: Path, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that nobody vouches for, and one that is of another name."""
    if host == "127.0.0.2":
        monkeypatch.setenv("SSL_CERT_FILE", str(keys))

    async def scenario() -> None:
        async with WireServer((whole(),)).running(serving(keys), host="127.0.0.1" if host == "localhost" else host) as server:
            upstream = Upstream(f"https://{host}:{server.port}", timeouts=TIMEOUTS)
            assert await ask(upstream) == "unreachable"
            assert not server.heard
            await upstream.aclose()

    run(scenario())


def test_plain_text_where_tls_is_expected_is_nobody_there(run: Run) -> None:
    async def scenario() -> None:
        async with WireServer((whole(),)).running() as server:
            upstream = Upstream(f"https://127.0.0.1:{server.port}", timeouts=Timeouts(1, 20, 20, 20))
            assert await ask(upstream) in {"unreachable", "timed_out"}
            assert not server.heard
            await upstream.aclose()

    run(scenario())


def test_a_handshake_that_never_ends_is_given_up_and_closed(run: Run) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            upstream = Upstream(f"https://127.0.0.1:{silent.getsockname()[1]}", timeouts=LATE)
            assert await ask(upstream) == "timed_out"
            heard, _ = silent.accept()
            with heard:
                heard.settimeout(60)
                while await asyncio.to_thread(received, heard):
                    continue
            await upstream.aclose()

    run(scenario())


def test_what_uvloop_says_instead_of_an_os_error_is_nobody_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """aiohappyeyeballs hands a RuntimeError on where every address has failed with one."""

    async def refused(*_: object, **__: object) -> socket.socket:
        raise RuntimeError("unable to perform operation on a closed handle")

    async def scenario() -> None:
        monkeypatch.setattr("aiohappyeyeballs.start_connection", refused)
        upstream = Upstream("http://127.0.0.1:1")
        assert await ask(upstream) == "unreachable"
        await upstream.aclose()

    run(scenario())


def test_an_address_of_ipv6_is_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async def addresses(host: str, port: int) -> list[object]:
            assert host == "::1"
            return [at(socket.AF_INET, "127.0.0.1", port)]  # not every machine has IPv6

        monkeypatch.setattr(connections, "resolved", addresses)
        async with WireServer((whole(),)).running() as server:
            upstream = Upstream(f"http://[::1]:{server.port}/v1", timeouts=TIMEOUTS)
            assert await ask(upstream) == {"ok": True}
            assert b"Host: [::1]:%d\r\n" % server.port in server.heard[0][1]
            await upstream.aclose()

    run(scenario())


def at(family: socket.AddressFamily, host: str, port: int) -> object:
    """As `getaddrinfo` tells it."""
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port) if family is socket.AF_INET else (host, port, 0, 0))


def test_of_the_addresses_of_a_name_the_one_that_answers_is_taken(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the name is looked up once for all who come at once."""

    async def scenario() -> None:
        looked_up: list[str] = []

        async def addresses(host: str, port: int) -> list[object]:
            looked_up.append(host)
            await asyncio.sleep(0)
            return [at(socket.AF_INET6, "::1", port), at(socket.AF_INET, "127.0.0.1", port)]

        monkeypatch.setattr(connections, "resolved", addresses)
        async with WireServer((whole(),)).running() as server:
            upstream = Upstream(f"http://two.example:{server.port}", timeouts=TIMEOUTS)
            assert await asyncio.gather(*(ask(upstream) for _ in range(5))) == [{"ok": True}] * 5
            assert looked_up == ["two.example"]
            await upstream.aclose()

    run(scenario())


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 64 + ".example", "127.0.0.1:1"])
def test_nobody_there_is_told_without_the_name(run: Run, host: str) -> None:
    async def scenario() -> None:
        upstream = Upstream(f"http://{host}/v1", timeouts=TIMEOUTS)
        with pytest.raises(ProviderDown) as down:
            await upstream.post("/chat", {}, {})
        assert down.value.extra == {"reason": "unreachable"}
        assert down.value.__cause__ is None
        assert down.value.__suppress_context__
        await upstream.aclose()

    run(scenario())


def test_a_proxy_that_the_environment_names_is_not_told_the_key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with WireServer((whole(),)).running() as server, WireServer((whole(),)).running() as proxy:
            for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            upstream = upstream_of(server)
            assert await ask(upstream) == {"ok": True}
            assert not proxy.heard
            await upstream.aclose()

    run(scenario())


@pytest.mark.parametrize("url", ["http://h:99999", "http://h:x", "http://[::1", "https://:p@h", "file:///v1", "https:///v1"])
def test_an_address_that_cannot_be_one_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="base URL") as refused:
        OpenAICompatible(url, "k")
    assert url not in str(refused.value)
