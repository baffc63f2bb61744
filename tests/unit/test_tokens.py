"""Login tokens, and the secret that they hang on."""

from __future__ import annotations

import base64
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timmy.identity import Tokens, kept_secret
from timmy.identity.tokens import TOKEN_CHARS_MAX, TokenExpired, TokenInvalid
from timmy.ids import system_random

PUBKEY = "ab" * 32
UNTIL_MS = 1_700_000_000_000
TOKENS = Tokens(b"a secret of the server")
TOKEN = TOKENS.issue(PUBKEY, UNTIL_MS)


def test_a_token_is_good_until_its_moment_and_says_whose_it_is() -> None:
    assert TOKENS.read(TOKEN, UNTIL_MS - 1) == PUBKEY
    with pytest.raises(TokenExpired) as caught:
        TOKENS.read(TOKEN, UNTIL_MS)
    assert caught.value.status == 401


def test_a_token_of_another_secret_is_refused_expired_or_not() -> None:
    for now_ms in (0, UNTIL_MS + 1):
        with pytest.raises(TokenInvalid):
            Tokens(b"another secret").read(TOKEN, now_ms)


def test_no_part_of_a_token_can_be_changed() -> None:
    version, pubkey, expiry, mac = TOKEN.split(".")
    for wrong in (
        f"{version}.{'cd' * 32}.{expiry}.{mac}",
        f"{version}.{pubkey.upper()}.{expiry}.{mac}",
        f"{version}.{pubkey}.{UNTIL_MS + 1}.{mac}",
        f"{version}.{pubkey}.0{expiry}.{mac}",
        f"{version}.{pubkey}.+{expiry}.{mac}",
        f"{version}.{pubkey}. {expiry}.{mac}",
        f"{version}.{pubkey}.{expiry[:1]}_{expiry[1:]}.{mac}",
        f"{version}.{pubkey}.{expiry}.{mac}=",
        f"{version}.{pubkey}.{expiry}.{mac[:-1]}",
        f"{version}.{pubkey}.{expiry}.",
        f"{version}.{pubkey}.{expiry}",
        f"{version}.{pubkey}.{expiry}.{mac}.",
        f"tmy2.{pubkey}.{expiry}.{mac}",
        f" {TOKEN}",
        f"{TOKEN}\n",
        TOKEN + "x" * TOKEN_CHARS_MAX,
        "",
        "...",
    ):
        with pytest.raises(TokenInvalid):
            TOKENS.read(wrong, 0)


def test_a_token_cut_anywhere_is_refused() -> None:
    for end in range(len(TOKEN)):
        with pytest.raises(TokenInvalid):
            TOKENS.read(TOKEN[:end], 0)


def test_digits_of_other_scripts_are_no_other_spelling_of_an_expiry() -> None:
    version, pubkey, expiry, mac = TOKEN.split(".")
    for zero in ("٠", "०", "０", "𝟎"):
        foreign = "".join(chr(ord(zero) + int(digit)) for digit in expiry)
        assert int(foreign) == UNTIL_MS, "Python would read it"
        with pytest.raises(TokenInvalid):
            TOKENS.read(f"{version}.{pubkey}.{foreign}.{mac}", 0)


def test_an_expiry_that_was_never_signed_is_not_told_apart_from_a_forgery() -> None:
    """-1 stands for an expiry that cannot be read; a token that claims it would be one of ours only if we had made it."""
    with pytest.raises(TokenInvalid):
        TOKENS.read(f"tmy1.{PUBKEY}.x.{TOKEN.split('.')[3]}", 0)


@pytest.mark.parametrize("text", ["\ud800", "é", "\x00"])
def test_a_mac_that_is_not_even_ascii_is_refused_and_not_a_crash(text: str) -> None:
    with pytest.raises(TokenInvalid):
        TOKENS.read(f"tmy1.{PUBKEY}.{UNTIL_MS}.{text}", 0)


@pytest.mark.fault("G07")
@given(st.binary(min_size=32, max_size=32))
def test_a_guessed_mac_is_refused(mac: bytes) -> None:
    guess = base64.urlsafe_b64encode(mac).decode().rstrip("=")
    with pytest.raises(TokenInvalid):
        TOKENS.read(f"tmy1.{PUBKEY}.{UNTIL_MS}.{guess}", 0)


@pytest.mark.fault("G07")
def test_secrets_are_compared_in_constant_time() -> None:
    """Every comparison of a MAC, a signature or a hash in the room goes through `hmac.compare_digest`, and none through `==`."""
    room = Path(__file__).parents[2] / "src" / "timmy" / "identity"
    for file, names in {"tokens.py": ["mac"], "macaroons.py": ["signature"], "login.py": ["payload"]}.items():
        source = (room / file).read_text()
        assert "hmac.compare_digest(" in source
        assert not [name for name in names for sign in ("==", "!=") if f"{name} {sign}" in source or f"{sign} {name}" in source]


def test_a_secret_is_not_shown() -> None:
    assert "secret of the server" not in repr(TOKENS)
    assert "secret of the server" not in str(TOKENS)


def test_a_secret_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "data" / "token_secret"
    made = kept_secret(path, system_random)
    assert len(made) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert kept_secret(path, lambda _: b"never asked") == made
    assert [file.name for file in path.parent.iterdir()] == ["token_secret"], "and no draft of it is left"


def test_processes_that_make_the_secret_at_once_agree_on_one(tmp_path: Path) -> None:
    for n in range(30):
        path, start = tmp_path / f"{n}", threading.Barrier(8)

        def make(path: Path = path, start: threading.Barrier = start) -> bytes:
            start.wait()
            return kept_secret(path, system_random)

        with ThreadPoolExecutor(8) as pool:
            assert len({future.result() for future in [pool.submit(make) for _ in range(8)]}) == 1


@pytest.mark.parametrize("text", ["", "short", "zz" * 32, "AB" * 32])
def test_a_file_that_holds_no_secret_stops_the_start_and_says_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token_secret"
    path.write_text(text)
    with pytest.raises(ValueError, match="remove it and start again") as caught:
        kept_secret(path, system_random)
    assert not text or text not in str(caught.value)
