"""The client's address is the server's to know."""

from __future__ import annotations

import pytest

from timmy.web.address import client_address, networks

PROXIES = networks(("10.0.0.0/8", "2001:db8::/32"))


def seen(peer: str | None, *forwarded: str) -> str:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    return client_address({"type": "http", "client": (peer, 1) if peer else None, "headers": headers}, PROXIES)


@pytest.mark.fault("E14")
@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.7", (), "192.0.2.7"),
        ("192.0.2.7", ("203.0.113.9",), "192.0.2.7"),  # not from a proxy: a claim
        ("10.0.0.1", ("203.0.113.9",), "203.0.113.9"),
        ("10.0.0.1", ("198.51.100.1, 203.0.113.9",), "203.0.113.9"),  # the client's own words stand on the left
        ("10.0.0.1", ("198.51.100.1", "203.0.113.9"), "203.0.113.9"),
        ("10.0.0.1", ("203.0.113.9, 10.0.0.2",), "203.0.113.9"),  # two proxies
        ("10.0.0.1", ("10.0.0.3, 10.0.0.2",), "10.0.0.3"),
        ("10.0.0.1", ("203.0.113.9, nonsense",), "10.0.0.1"),
        ("10.0.0.1", ("",), "10.0.0.1"),
        ("10.0.0.1", ("203.0.113.9:4711",), "203.0.113.9"),
        ("10.0.0.1", ("[2001:db9::1]:4711",), "2001:db9::1"),
        ("::ffff:10.0.0.1", ("203.0.113.9",), "203.0.113.9"),
        ("2001:db8::1", ("203.0.113.9",), "203.0.113.9"),
        ("10.0.0.1", (", ".join(["203.0.113.9"] * 10_000),), "203.0.113.9"),
        (None, ("203.0.113.9",), "unknown"),
        ("testclient", ("203.0.113.9",), "unknown"),
    ],
)
def test_a_forwarded_address_is_believed_from_a_trusted_proxy_only(peer: str | None, forwarded: tuple[str, ...], client: str) -> None:
    assert seen(peer, *forwarded) == client
