"""What is read in a macaroon of LND's, and what is made of it."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.lnd_keys import ADMIN, EXACT, PERMISSIONS, Bakery

from timmy.lightning.wallets.lnd_macaroon import CALLS, COMMAND, TO_SELL, rights_of

# As LND bakes `info:read` with the caveat `time-before 2030-…`; nonce and signature are nobody's.
BY_HAND = (
    "02" "0103" "6c6e64" "0224" "03" "0a10" + "11" * 16 + "120130" "1a0c" "0a04" "696e666f" "1204" "72656164" "00"
    "0215" + b"time-before 2030-01-01".hex()[:42] + "00" "00" "0620" + "22" * 32
)  # fmt: skip


def test_a_macaroon_as_lnd_writes_it_is_read() -> None:
    assert rights_of(BY_HAND).ops == frozenset({("info", "read")})


@pytest.mark.fault("G09")
def test_what_is_needed_is_what_the_calls_need_in_lnds_own_table() -> None:
    assert {call: ":".join(pair) for call, pair in CALLS.items()} == PERMISSIONS


@pytest.mark.fault("G09")
def test_the_command_makes_a_macaroon_with_nothing_missing_and_nothing_too_much() -> None:
    lncli, bake, where, *permissions = shlex.split(COMMAND)
    assert (lncli, bake, where) == ("lncli", "bakemacaroon", "--save_to=timmy.macaroon")
    rights = rights_of(Bakery().bake(*permissions))
    assert (rights.missing(TO_SELL), rights.excess()) == ((), ())


@pytest.mark.fault("G09")
@pytest.mark.parametrize(
    ("permissions", "excess"),
    [
        (ADMIN, {one for one in ADMIN if one not in ("info:read", "invoices:read", "invoices:write", "offchain:read")}),
        ((*EXACT, "uri:/lnrpc.Lightning/SendCoins"), {"uri:/lnrpc.Lightning/SendCoins"}),
        ((*EXACT, "info:write"), {"info:write"}),
        (("info:read", "invoices:read", "invoices:write", "offchain:read", "offchain:write"), {"offchain:write"}),
        (("info:read", "invoices:read", "invoices:write", "offchain:read", "uri:/routerrpc.Router/SendPaymentV2"), set()),
        (("future:power",), {"future:power"}),
    ],
)
def test_whatever_is_beyond_that_is_named(permissions: tuple[str, ...], excess: set[str]) -> None:
    assert set(rights_of(Bakery().bake(*permissions)).excess()) == excess


def test_the_broader_right_does_for_a_call() -> None:
    assert rights_of(Bakery().bake(*ADMIN)).missing(TO_SELL) == ()
    assert rights_of(Bakery().bake("offchain:write")).missing(("/routerrpc.Router/SendPaymentV2",)) == ()


@pytest.mark.parametrize("broken", ["", "zz", "00", BY_HAND[2:], "01" + BY_HAND[2:], BY_HAND[:40], BY_HAND.replace("022403", "022402")])
def test_what_is_no_macaroon_of_lnds_is_said_without_quoting_it(broken: str) -> None:
    with pytest.raises(ValueError, match=r"^That is no macaroon of LND's$"):
        rights_of(broken)


@given(st.binary(max_size=80))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    try:
        rights_of((b"\x02" + raw).hex())
    except ValueError as problem:
        assert str(problem) == "That is no macaroon of LND's"  # noqa: PT017  anything else it raises fails this test
