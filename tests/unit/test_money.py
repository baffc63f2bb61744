"""Money is whole, in range, never mixed, and rounds the way it was promised."""

from __future__ import annotations

import doctest
import operator
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timmy import money
from timmy.money import MSATS_MAX, NANO_USD_MAX, Msats, NanoUsd, Sats

UNITS = (Msats, Sats, NanoUsd)
msats = st.integers(0, MSATS_MAX)
cents = st.integers(1, 10**12)


def test_the_examples_in_the_module_are_true() -> None:
    assert doctest.testmod(money) == doctest.TestResults(failed=0, attempted=3)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("value", [1.0, 0.5, True, False, "1", None, Decimal(1), float("nan"), float("inf"), b"1"])
def test_only_an_int_is_money(unit: Any, value: object) -> None:
    with pytest.raises(TypeError):
        unit(value)


@pytest.mark.parametrize("value", [-1, MSATS_MAX + 1, 10**30, -(2**63)])
def test_money_is_never_negative_and_never_more_than_there_is(value: int) -> None:
    for unit in (Msats, Sats):
        with pytest.raises(ValueError, match="out of range"):
            unit(value)


def test_the_limits_themselves_are_money() -> None:
    assert Msats(0).value == 0
    assert Msats(MSATS_MAX).floor_sats() == Msats(MSATS_MAX).ceil_sats() == Sats(21_000_000 * 100_000_000)
    assert Sats(21_000_000 * 100_000_000).msats == Msats(MSATS_MAX)
    assert NanoUsd(NANO_USD_MAX).value == 2**63 - 1
    with pytest.raises(ValueError, match="out of range"):
        NanoUsd(NANO_USD_MAX + 1)
    with pytest.raises(ValueError, match="out of range"):
        _ = Sats(MSATS_MAX).msats


@pytest.mark.parametrize("other", [Sats(1), NanoUsd(1), 1, 1.0, None])
def test_units_are_never_mixed(other: Any) -> None:
    for operation in (operator.add, operator.sub, operator.lt, operator.ge):
        with pytest.raises(TypeError):
            operation(Msats(5), other)
    assert Msats(1) != other


@given(msats, msats)
def test_sums_are_exact_or_refused(a: int, b: int) -> None:
    if a + b <= MSATS_MAX:
        assert (Msats(a) + Msats(b)).value == a + b
    else:
        with pytest.raises(ValueError, match="out of range"):
            Msats(a) + Msats(b)
    if a >= b:
        assert (Msats(a) - Msats(b)).value == a - b
    else:
        with pytest.raises(ValueError, match="out of range"):
            Msats(a) - Msats(b)
    assert (Msats(a) < Msats(b), Msats(a) == Msats(b), bool(Msats(a))) == (a < b, a == b, a != 0)


@pytest.mark.fault("A03")
@pytest.mark.parametrize(
    ("msat", "asked", "given_back"),
    [
        (0, 0, 0),
        (1, 1, 0),
        (999, 1, 0),
        (1_000, 1, 1),
        (1_001, 2, 1),
        (2_000, 2, 2),
        (MSATS_MAX - 1, MSATS_MAX // 1000, MSATS_MAX // 1000 - 1),
    ],
)
def test_what_we_ask_rounds_up_and_what_we_give_back_rounds_down(msat: int, asked: int, given_back: int) -> None:
    assert (Msats(msat).ceil_sats(), Msats(msat).floor_sats()) == (Sats(asked), Sats(given_back))


@pytest.mark.fault("A03")
@given(msats)
def test_rounding_moves_less_than_a_sat_and_whole_sats_not_at_all(msat: int) -> None:
    assert 0 <= Msats(msat).ceil_sats().value * 1000 - msat < 1000
    assert 0 <= msat - Msats(msat).floor_sats().value * 1000 < 1000
    whole = Msats(msat).floor_sats()
    assert whole.msats.floor_sats() == whole.msats.ceil_sats() == whole


@pytest.mark.parametrize(
    ("dollars", "nano"),
    [
        ("0", 0),
        ("0.0042", 4_200_000),
        ("12.50", 12_500_000_000),
        ("0.000000001", 1),
        ("1e-9", 1),
        (Decimal("0.1"), 100_000_000),
        (" 1 ", 1_000_000_000),
    ],
)
def test_dollars_are_read_exactly(dollars: str | Decimal, nano: int) -> None:
    assert NanoUsd.parse(dollars) == NanoUsd(nano)


@pytest.mark.parametrize(
    "dollars", ["", "free", "NaN", "sNaN", "Infinity", "-Infinity", "-0.01", "1e-10", "0.0000000001", "1e30", "1,5", "$1"]
)
def test_what_is_not_an_amount_in_dollars_is_refused(dollars: str) -> None:
    with pytest.raises(ValueError):
        NanoUsd.parse(dollars)


@given(st.integers(0, NANO_USD_MAX))
def test_dollars_read_what_they_wrote(nano: int) -> None:
    assert NanoUsd.parse(str(NanoUsd(nano))) == NanoUsd(nano)
    assert len(str(NanoUsd(nano)).partition(".")[2]) >= 2


@pytest.mark.parametrize(
    ("nano", "text"), [(0, "0.00"), (1, "0.000000001"), (12_500_000_000, "12.50"), (4_200_000, "0.0042"), (10**9, "1.00")]
)
def test_dollars_are_written_plainly(nano: int, text: str) -> None:
    assert str(NanoUsd(nano)) == text


@pytest.mark.parametrize(
    ("nano", "cents_per_btc", "msat"),
    [
        (10**9, 10_000_000, 1_000_000),  # a dollar at 100,000 dollars a bitcoin is a thousand sats
        (4_200_000, 10_000_000, 4_200),
        (1, 10_000_000, 1),  # not even a thousandth of a millisat, and still never less than cost
        (0, 10_000_000, 0),
        (1_001, 10_000_000, 2),
    ],
)
def test_dollars_become_bitcoin_at_the_rate(nano: int, cents_per_btc: int, msat: int) -> None:
    assert NanoUsd(nano).at(cents_per_btc=cents_per_btc) == Msats(msat)


@given(st.integers(0, 10**15), cents)
def test_the_house_never_sells_below_cost_nor_a_millisat_above(nano: int, cents_per_btc: int) -> None:
    exact = Fraction(nano, 10**9) / Fraction(cents_per_btc, 100) * 10**11  # dollars, by dollars for a bitcoin, in millisats
    if exact > MSATS_MAX:
        with pytest.raises(ValueError, match="out of range"):
            NanoUsd(nano).at(cents_per_btc=cents_per_btc)
        return
    assert exact <= NanoUsd(nano).at(cents_per_btc=cents_per_btc).value < exact + 1


@pytest.mark.parametrize("cents_per_btc", [0, -1])
def test_a_bitcoin_that_costs_nothing_has_no_rate(cents_per_btc: int) -> None:
    with pytest.raises(ValueError):
        NanoUsd(1).at(cents_per_btc=cents_per_btc)


@pytest.mark.parametrize("unit", UNITS)
def test_an_amount_says_what_it_is_cannot_be_changed_and_survives_a_copy(unit: Any) -> None:
    amount = unit(21)
    assert repr(amount) == f"{unit.__name__}(21)"
    with pytest.raises(AttributeError):
        amount.value = 22
    assert pickle.loads(pickle.dumps(amount)) == amount
    assert {amount, unit(21)} == {amount}
