"""nginx and Caddy as Debian ships them, unpacked beside the system, with the examples of deploy/ before a house on this machine.

What an example says is kept; what it cannot have here is put in its place: ports, a certificate, and where files lie.
"""

from __future__ import annotations

import asyncio
import datetime
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.node.debian_tools import part
from tests.tidy.tree import ROOT
from timmy.regtest.processes import free_ports

DEPLOY = ROOT / "deploy"
NAME = "timmy.example"
SUITE = "bookworm"  # its programs run on what is newer, too
OPENS_WITHIN_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Proxy:
    """One running: where it listens, and what it said."""

    port: int
    log: Path


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """Each of them must be there: an example that has changed is to be looked at again."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def certificate(folder: Path) -> tuple[Path, Path]:
    """(the chain, the key), for NAME and by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    chain, private = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return chain, private


def nginx(folder: Path, port: int, house_port: int) -> list[str]:
    chain, key = certificate(folder)
    site = replaced(
        (DEPLOY / "nginx.conf").read_text(),
        ("server 127.0.0.1:8402;", f"server 127.0.0.1:{house_port};"),
        ("    listen 80;\n    listen [::]:80;\n", f"    listen unix:{folder}/plain.sock;\n"),
        ("    listen 443 ssl http2;\n    listen [::]:443 ssl http2;\n", f"    listen 127.0.0.1:{port} ssl http2;\n"),
        ("/etc/letsencrypt/live/timmy.example/fullchain.pem", str(chain)),
        ("/etc/letsencrypt/live/timmy.example/privkey.pem", str(key)),
    )
    folders = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf = folder / "all.conf"
    conf.write_text(
        f"pid {folder}/pid; error_log stderr info; daemon off; master_process off; events {{}}\n"
        f"http {{ access_log off; {folders}\n{site}\n}}\n"
    )
    return [str(part("nginx", SUITE) / "usr/sbin/nginx"), "-p", str(folder), "-c", str(conf)]


def caddy(folder: Path, port: int, house_port: int) -> list[str]:
    chain, key = certificate(folder)
    site = replaced(
        (DEPLOY / "Caddyfile").read_text(),
        ("timmy.example {\n", f"https://timmy.example:{port} {{\n\tbind 127.0.0.1\n\ttls {chain} {key}\n"),
        ("127.0.0.1:8402", f"127.0.0.1:{house_port}"),
    )
    conf = folder / "Caddyfile"
    conf.write_text(f"{{\n\tadmin off\n\tauto_https off\n\tstorage file_system {folder}\n}}\n{site}")
    return [str(part("caddy", SUITE) / "usr/bin/caddy"), "run", "--config", str(conf), "--adapter", "caddyfile"]


PROXIES: dict[str, Callable[[Path, int, int], list[str]]] = {"nginx": nginx, "caddy": caddy}


@asynccontextmanager
async def before(name: str, folder: Path, house_port: int) -> AsyncIterator[Proxy]:
    """`name` is one of PROXIES."""
    (port,) = free_ports(1)
    command = await asyncio.to_thread(PROXIES[name], folder, port, house_port)
    log = folder / "log"
    with log.open("wb") as said:
        begin = partial(subprocess.Popen, command, cwd=folder, stdout=said, stderr=said, stdin=subprocess.DEVNULL)
        running = await asyncio.to_thread(begin, env={"HOME": str(folder)})
    try:
        async with asyncio.timeout(OPENS_WITHIN_SECONDS):
            while not await _listens(port):
                assert running.poll() is None, log.read_text()
                await asyncio.sleep(0.05)
        yield Proxy(port, log)
    finally:
        running.kill()
        await asyncio.to_thread(running.wait)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
