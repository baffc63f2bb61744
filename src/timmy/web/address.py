"""Whose request is this? The peer's, or what a proxy that the operator trusts reports; never what a client claims."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

from starlette.types import Scope

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
HOPS_MAX = 20


def networks(trusted: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks as the settings give them, already checked there."""
    return tuple(ipaddress.ip_network(text) for text in trusted)


def client_address(scope: Scope, trusted: Sequence[Network]) -> str:
    """X-Forwarded-For is walked from the right, as long as the one who added an entry is trusted.

    Read from the left it would be whatever the client wrote into it: each client could pretend to be any other, or a thousand.
    """
    peer = scope.get("client")
    address = _parse(peer[0]) if peer else None
    if address is None:
        return "unknown"
    hops = _forwarded(scope)
    while hops and _is_trusted(address, trusted):
        claimed = _parse(hops.pop())
        if claimed is None:
            break
        address = claimed
    return str(address)


def _forwarded(scope: Scope) -> list[str]:
    headers: Iterable[tuple[bytes, bytes]] = scope.get("headers", ())
    lines = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    return ",".join(lines).split(",")[-HOPS_MAX:] if lines else []


@lru_cache(maxsize=4096)
def _parse(text: str) -> Address | None:
    text = text.strip()
    if text.startswith("["):  # [2001:db8::1]:443
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # 192.0.2.1:443
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)
