"""A credential in a header: read in the time that its length takes, whatever is in it."""

from __future__ import annotations

import pytest

from timmy.web.credentials import PAID

PREIMAGE = "0" * 64
MANY = 300_000  # where blanks were split in every way, these would take an hour


@pytest.mark.parametrize("start", ["L402", "LSAT", "L402 L402"])
@pytest.mark.parametrize("end", ["x!", ":", f"x:{PREIMAGE}!", ""])
def test_a_credential_of_many_blanks_is_refused_at_once(start: str, end: str) -> None:
    assert PAID.fullmatch(start + " " * MANY + end) is None


@pytest.mark.parametrize("given", ["L402 {}", "lsat\t {}", "L402 L402 {}", "LSAT  L402 {}", "L402 {} "])
@pytest.mark.parametrize("macaroon", ["AgEF+/==", "AgEF-_", "AgEF,Bgd="])
def test_every_form_of_it_is_read(given: str, macaroon: str) -> None:
    found = PAID.fullmatch(given.format(f"{macaroon}:{PREIMAGE}"))
    assert found is not None
    assert (found[1], found[2]) == (macaroon, PREIMAGE)
