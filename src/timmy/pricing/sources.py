"""Public prices of a bitcoin: where each is asked, and how its answer is read. No keys, no accounts.

A reader takes parsed JSON and returns what stands for the price; anything unexpected in an answer is an error of that source alone. Numbers
are read as decimals, so that no float ever stands between an exchange and an invoice.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

import aiohttp

CENTS_MIN = 1_000_00
CENTS_MAX = 10_000_000_00
ANSWER_BYTES_MAX = 65_536

Fetch = Callable[[str], Awaitable[bytes]]


class SourceDown(Exception):
    """No answer, or no price in it."""


@dataclass(frozen=True, slots=True)
class Source:
    name: str
    url: str
    read: Callable[[Any], object]


SOURCES = {
    source.name: source
    for source in (
        Source("bitfinex", "https://api-pub.bitfinex.com/v2/ticker/tBTCUSD", lambda answer: answer[6]),
        Source("bitstamp", "https://www.bitstamp.net/api/v2/ticker/btcusd/", lambda answer: answer["last"]),
        Source("blockchain", "https://blockchain.info/ticker", lambda answer: answer["USD"]["last"]),
        Source("coinbase", "https://api.coinbase.com/v2/prices/BTC-USD/spot", lambda answer: answer["data"]["amount"]),
        Source(
            "coingecko",
            "https://api.coingecko.com/api/v3/simple/price?ids=bitcoin&vs_currencies=usd",
            lambda answer: answer["bitcoin"]["usd"],
        ),
        Source("gemini", "https://api.gemini.com/v1/pubticker/btcusd", lambda answer: answer["last"]),
        Source(
            "kraken", "https://api.kraken.com/0/public/Ticker?pair=XBTUSD", lambda answer: next(iter(answer["result"].values()))["c"][0]
        ),
        Source("mempool", "https://mempool.space/api/v1/prices", lambda answer: answer["USD"]),
    )
}


def read_cents(source: Source, body: bytes) -> int:
    """The price in whole cents, rounded down. SourceDown when there is none in the answer, or none that a bitcoin can have."""
    try:
        answer = json.loads(body, parse_float=Decimal, parse_constant=_no_number)
        found = source.read(answer)
        if isinstance(found, bool) or not isinstance(found, (str, int, Decimal)):
            raise TypeError(type(found).__name__)
        cents = Decimal(found) * 100
        # The band comes before int(): the integer of 1e999999999 would be the last thing that this process does.
        if not CENTS_MIN <= cents <= CENTS_MAX:
            raise ValueError("outside what a bitcoin can cost")
        return int(cents)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, StopIteration, RecursionError) as error:
        raise SourceDown(f"{source.name}: no price in its answer ({type(error).__name__})") from None


def fetch_with(session: aiohttp.ClientSession) -> Fetch:
    """Over HTTPS, no redirects, at most 64 KiB. How long it may take is the oracle's to say."""

    async def fetch(url: str) -> bytes:
        try:
            async with session.get(url, allow_redirects=False, headers={"Accept": "application/json"}) as response:
                if response.status != 200:
                    raise SourceDown(f"HTTP {response.status}")
                body = b""
                while chunk := await response.content.read(ANSWER_BYTES_MAX + 1 - len(body)):
                    body += chunk
                if len(body) > ANSWER_BYTES_MAX:
                    raise SourceDown("an answer of more than 64 KiB")
                return body
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise SourceDown(type(error).__name__) from None

    return fetch


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no price")
