"""What work costs: rates per model, the price of a bitcoin, and quotes whose rates are frozen when they are made.

This room promises that a price is never below what the estimate costs, that the margin is in it exactly once, that a broken price feed
makes no absurd invoice, and that `Quote.output_tokens_within` bounds work by what is reserved for it. It moves no money and keeps nothing.
"""

from timmy.pricing.book import RateBook, UnknownModel
from timmy.pricing.estimate import TokenEstimate, estimate_tokens, most_input_tokens
from timmy.pricing.oracle import BtcOracle, OracleStatus
from timmy.pricing.quote import BtcPrice, Quote, Rate, make_quote
from timmy.pricing.sources import fetch_with

__all__ = [
    "BtcOracle",
    "BtcPrice",
    "OracleStatus",
    "Quote",
    "Rate",
    "RateBook",
    "TokenEstimate",
    "UnknownModel",
    "estimate_tokens",
    "fetch_with",
    "make_quote",
    "most_input_tokens",
]
