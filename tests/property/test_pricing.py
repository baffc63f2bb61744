"""Prices, for any rates, margins, tokens and prices of a bitcoin."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from timmy.money import Msats, NanoUsd
from timmy.pricing import BtcPrice, Quote, Rate, estimate_tokens, make_quote, most_input_tokens
from timmy.pricing.quote import OUTPUT_TOKENS_MAX
from timmy.pricing.sources import CENTS_MAX, CENTS_MIN

nano_per_mtok = st.one_of(st.just(0), st.integers(1, 10), st.integers(10**6, 10**12))
tokens = st.one_of(st.integers(0, 20), st.integers(0, 200_000))
budgets = st.one_of(st.integers(0, 10_000), st.integers(0, 10**10)).map(Msats)


@st.composite
def rates(draw: st.DrawFn) -> Rate:
    dollars_in = draw(nano_per_mtok)
    return Rate(dollars_in, draw(nano_per_mtok), draw(st.integers(0, dollars_in)))


@st.composite
def quotes(draw: st.DrawFn) -> Quote:
    return make_quote(
        model=draw(st.text(min_size=1, max_size=20)),
        rate=draw(rates()),
        btc=BtcPrice(draw(st.integers(CENTS_MIN, CENTS_MAX)), draw(st.text(max_size=30)), draw(st.integers(0, 2**41))),
        margin_bp=draw(st.one_of(st.just(0), st.just(4_000), st.integers(0, 1_000_000))),
        infra=NanoUsd(draw(st.one_of(st.just(0), st.integers(0, 10**9)))),
        input_tokens=draw(tokens),
        output_tokens=draw(tokens),
    )


def exact_charge_msat(quote: Quote, input_tokens: int, output_tokens: int, cached_tokens: int) -> Fraction:
    """The same sum as a fraction, written down another way: dollars, then bitcoin, then millisats."""
    dollars = (
        Fraction((input_tokens - cached_tokens) * quote.rate.input_nano_usd_per_mtok, 10**15)
        + Fraction(cached_tokens * quote.rate.cached_nano_usd_per_mtok, 10**15)
        + Fraction(output_tokens * quote.rate.output_nano_usd_per_mtok, 10**15)
        + Fraction(quote.infra.value, 10**9)
    )
    with_margin = dollars * (1 + Fraction(quote.margin_bp, 10_000))
    bitcoin = with_margin / Fraction(quote.btc.cents_per_btc, 100)
    return bitcoin * 10**11


@given(quotes())
def test_the_price_is_never_below_what_the_estimate_costs(quote: Quote) -> None:
    cost_msat = quote.estimated_cost.at(cents_per_btc=quote.btc.cents_per_btc)
    assert quote.price.msats >= cost_msat
    assert quote.price.msats >= quote.charge(quote.estimated_input_tokens, quote.estimated_output_tokens)
    assert quote.price.value >= 1


@given(quotes(), tokens, tokens, st.data())
def test_a_charge_is_the_exact_sum_and_less_than_a_millisat_and_a_nano_dollar_more(
    quote: Quote, input_tokens: int, output_tokens: int, data: st.DataObject
) -> None:
    cached = data.draw(st.integers(0, input_tokens))
    exact = exact_charge_msat(quote, input_tokens, output_tokens, cached)
    one_nano_dollar = Fraction(10_000 + quote.margin_bp, quote.btc.cents_per_btc)
    assert exact <= quote.charge(input_tokens, output_tokens, cached).value < exact + one_nano_dollar + 1


@given(quotes(), budgets, tokens)
def test_work_is_bounded_by_what_is_reserved_for_it(quote: Quote, budget: Msats, input_tokens: int) -> None:
    most = quote.output_tokens_within(budget, input_tokens)
    assert 0 <= most <= OUTPUT_TOKENS_MAX
    if most:
        assert quote.charge(input_tokens, most) <= budget
    if quote.rate.output_nano_usd_per_mtok and most < OUTPUT_TOKENS_MAX:
        assert quote.charge(input_tokens, most + 1) > budget


@given(quotes())
def test_what_was_estimated_fits_into_what_was_asked(quote: Quote) -> None:
    assume(quote.estimated_output_tokens > 0)
    assert quote.output_tokens_within(quote.price.msats, quote.estimated_input_tokens) >= quote.estimated_output_tokens


@given(quotes(), budgets, tokens, st.data())
def test_fewer_tokens_or_more_from_the_cache_never_cost_more(quote: Quote, budget: Msats, input_tokens: int, data: st.DataObject) -> None:
    most = quote.output_tokens_within(budget, input_tokens)
    assume(most)
    used_in, used_out = data.draw(st.integers(0, input_tokens)), data.draw(st.integers(0, most))
    assert quote.charge(used_in, used_out, data.draw(st.integers(0, used_in))) <= budget


@pytest.mark.fault("D29", "D30")
@given(quotes())
def test_a_quote_comes_back_from_its_json_exactly(quote: Quote) -> None:
    assert Quote.from_json(quote.as_json()) == quote


@pytest.mark.fault("E18")
@given(st.text(max_size=500), st.text(max_size=200), st.integers(1, 10_000))
def test_any_text_has_an_estimate_and_the_most_is_the_most(request: str, system: str, max_output_tokens: int) -> None:
    estimate = estimate_tokens(request, system=system, max_output_tokens=max_output_tokens)
    assert 0 < estimate.output <= max_output_tokens
    assert len(request) // 4 <= estimate.input <= most_input_tokens(request, system)


@given(st.text(max_size=300), st.text(max_size=50))
def test_a_longer_text_is_never_estimated_as_shorter(text: str, more: str) -> None:
    shorter, longer = estimate_tokens(text, max_output_tokens=4_096), estimate_tokens(text + more, max_output_tokens=4_096)
    assert longer.input >= shorter.input
    assert most_input_tokens(text + more) >= most_input_tokens(text)
