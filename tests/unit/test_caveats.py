"""What a macaroon may be used for: each caveat narrows, what is not known refuses, and of two of a kind both hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timmy.identity.caveats import CaveatUnknown, Grant, MacaroonExpired, NotAllowed, Use, check
from timmy.identity.macaroons import Macaroon, mint
from timmy.money import MSATS_MAX, Msats, Sats

ROOT = b"\x09" * 32
NOW_MS = 1_700_000_000_000
USE = Use("session", "/api/sessions/ses_1/request", NOW_MS)


def macaroon(*caveats: str, ours: bool = True) -> Macaroon:
    return mint(ROOT, b"\x01" * 66, "timmy", ("services=timmy:0", *caveats) if ours else caveats)


def grant(*caveats: str, use: Use = USE) -> Grant:
    return check(macaroon(*caveats), ROOT, use)


def test_a_macaroon_for_us_with_nothing_else_to_say_allows_everything() -> None:
    assert grant() == Grant((), None)


@pytest.mark.parametrize("caveats", [(), ("timmy_capabilities=session",), ("services=other:0",), ("services=",), ("services=timmy2",)])
def test_a_macaroon_that_is_not_for_us_is_not_for_us(caveats: tuple[str, ...]) -> None:
    with pytest.raises(NotAllowed) as caught:
        check(macaroon(*caveats, ours=False), ROOT, USE)
    assert caught.value.status == 403


@pytest.mark.fault("E08")
@pytest.mark.parametrize(
    "caveat",
    [
        "timmy_colour=blue",
        "Services=timmy:0",
        "services",
        "",
        "=",
        "=5",
        "timmy_max_msat",
        "timmy_max_msat=",
        "timmy_max_msat=-1",
        "timmy_max_msat=1_000",
        "timmy_max_msat=1e9",
        "timmy_max_msat=1.5",
        "timmy_max_msat=٣",
        "timmy_max_msat=0x10",
        "timmy_max_msat=" + "9" * 19,
        "timmy_valid_until=tomorrow",
        "expires_before=",
        "max_sats=ten",
        "agent_valid_until=1900000000",
        "only=",
        "only=v1/chat",
        "\x00=1",
    ],
)
def test_a_condition_that_is_not_understood_refuses(caveat: str) -> None:
    with pytest.raises(CaveatUnknown) as caught:
        grant(caveat)
    assert caught.value.status == 401


@pytest.mark.fault("E08")
def test_a_condition_that_is_not_text_refuses() -> None:
    true = macaroon()
    with pytest.raises(CaveatUnknown):
        check(Macaroon(true.location, true.identifier, (*true.caveats, b"only=\xff"), true.signature), ROOT, USE)


@pytest.mark.fault("E08")
@pytest.mark.parametrize(
    ("caveats", "refusal"),
    [
        (("timmy_valid_until=1700000001", "timmy_valid_until=1600000000"), MacaroonExpired),
        (("timmy_valid_until=1600000000", "timmy_valid_until=1800000000"), MacaroonExpired),
        (("timmy_valid_until=1800000000", "expires_before=1600000000"), MacaroonExpired),
        (("timmy_capabilities=session", "timmy_capabilities=chat"), NotAllowed),
        (("timmy_capabilities=chat", "timmy_capabilities=session,chat"), NotAllowed),
        (("services=timmy:0", "services=other:0"), NotAllowed),
        (("only=/api", "only=/v1"), NotAllowed),
        (("only=/v1", "only=/api"), NotAllowed),
    ],
)
def test_of_two_conditions_of_a_kind_both_must_hold(caveats: tuple[str, ...], refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        grant(*caveats)


@pytest.mark.fault("E08")
def test_of_two_limits_per_request_the_smaller_holds_in_either_order() -> None:
    for caveats in (("5", "9"), ("9", "5")):
        assert grant(*(f"timmy_max_msat_per_request={amount}" for amount in caveats)).per_request == Msats(5)


@pytest.mark.fault("E08")
def test_of_two_purses_both_are_to_be_asked() -> None:
    budgets = grant("timmy_max_msat=5000", "max_sats=3", "timmy_max_msat=9000").budgets
    assert [budget.most for budget in budgets] == [Msats(5_000), Sats(3).msats, Msats(9_000)]
    assert len({budget.id for budget in budgets}) == 3


def test_whoever_narrows_a_macaroon_further_spends_from_the_same_purse() -> None:
    parent = macaroon("timmy_max_msat=5000")
    children = [parent.with_caveat("only=/api"), parent.with_caveat("timmy_max_msat=100"), parent.with_caveat("timmy_max_msat=200")]
    purse = check(parent, ROOT, USE).budgets[0]
    own = set()
    for child in children:
        assert child.is_signed_with(ROOT)
        first, *rest = check(child, ROOT, USE).budgets
        assert first == purse
        own |= {budget.id for budget in rest}
    assert len(own) == 2, "and two that were handed out with budgets of their own have two purses beneath it"
    assert check(macaroon("timmy_max_msat=5000", "only=/api"), ROOT, USE).budgets == (purse,)


def test_purses_of_two_tokens_are_two() -> None:
    other = mint(ROOT, b"\x02" * 66, "timmy", ("services=timmy:0", "timmy_max_msat=5000"))
    assert check(other, ROOT, USE).budgets != grant("timmy_max_msat=5000").budgets


def test_it_expires_with_its_second() -> None:
    for condition in ("timmy_valid_until", "expires_before"):
        assert grant(f"{condition}=1700000000", use=Use("session", "/", NOW_MS - 1)) == Grant((), None)
        with pytest.raises(MacaroonExpired):
            grant(f"{condition}=1700000000")


def test_what_it_may_be_used_for_is_a_list() -> None:
    grant("timmy_capabilities=chat, session")
    for wrong in ("chat", "", "sessions", "SESSION", "session:0"):
        with pytest.raises(NotAllowed):
            grant(f"timmy_capabilities={wrong}")


@pytest.mark.parametrize("prefix", ["/", "/api", "/api/", "/api/sessions/ses_1", "/api/sessions/ses_1/request"])
def test_a_path_that_it_is_for_is_allowed(prefix: str) -> None:
    grant(f"only={prefix}")


@pytest.mark.parametrize("prefix", ["/ap", "/api/sessions/ses_", "/api/sessions/ses_1/request/", "/API", "/api/sessions/ses_2", "/v1"])
def test_a_path_that_only_begins_alike_is_not(prefix: str) -> None:
    with pytest.raises(NotAllowed):
        grant(f"only={prefix}")


def test_a_budget_beyond_all_coins_is_all_coins() -> None:
    assert grant("max_sats=" + "9" * 18).budgets[0].most == Msats(MSATS_MAX // 1_000 * 1_000)


@pytest.mark.fault("E08")
@given(st.text(max_size=80))
def test_a_caveat_that_is_added_never_widens(caveat: str) -> None:
    before = ("timmy_capabilities=session", "only=/api", "timmy_max_msat=5", "timmy_max_msat_per_request=3")
    try:
        narrowed = grant(*before, caveat.encode(errors="replace").decode())
    except (CaveatUnknown, NotAllowed, MacaroonExpired):
        return
    true = grant(*before)
    assert narrowed.budgets[:1] == true.budgets
    assert narrowed.per_request is not None
    assert narrowed.per_request <= Msats(3)
