"""The price of a bitcoin: no single feed can break it, no request waits for it, and its source is always told."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from aiohttp import web

from timmy.clock import ManualClock
from timmy.money import NanoUsd, Sats
from timmy.pricing import BtcOracle, Rate, fetch_with, make_quote
from timmy.pricing.oracle import REFRESH_SECONDS, weigh
from timmy.pricing.sources import ANSWER_BYTES_MAX, SOURCES, SourceDown, read_cents

FALLBACK = 100_000_00
PRICE = 64_000_00
FIVE = ("bitstamp", "coinbase", "gemini", "kraken", "mempool")


def answer(name: str, price: object) -> bytes:
    """What the source of that name says when a bitcoin costs `price` (JSON, as it would stand there)."""
    shapes: dict[str, Callable[[], object]] = {
        "bitfinex": lambda: [1, 2, 3, 4, 5, 6, price, 8],
        "bitstamp": lambda: {"last": price},
        "blockchain": lambda: {"USD": {"last": price}, "EUR": {"last": 1}},
        "coinbase": lambda: {"data": {"amount": price, "base": "BTC"}},
        "coingecko": lambda: {"bitcoin": {"usd": price}},
        "gemini": lambda: {"last": price},
        "kraken": lambda: {"error": [], "result": {"XXBTZUSD": {"c": [price, "0.1"]}}},
        "mempool": lambda: {"time": 1, "USD": price},
    }
    return json.dumps(shapes[name]()).encode()


class Street:
    """All price sources, as a test wants them: a price, an exception, or silence."""

    def __init__(self, **prices: object) -> None:
        self.prices = prices
        self.asked: list[str] = []

    async def __call__(self, url: str) -> bytes:
        name = next(source.name for source in SOURCES.values() if source.url == url)
        self.asked.append(name)
        price = self.prices.get(name, SourceDown("HTTP 503"))
        if isinstance(price, Exception):
            raise price
        if price is ...:
            await asyncio.Event().wait()
        return price if isinstance(price, bytes) else answer(name, price)


def oracle(street: Street, clock: ManualClock | None = None, *, sources: tuple[str, ...] = FIVE, max_age_seconds: int = 3_600) -> BtcOracle:
    return BtcOracle(sources, fallback_cents=FALLBACK, max_age_seconds=max_age_seconds, clock=clock or ManualClock(), fetch=street)


async def test_the_median_of_those_who_answer() -> None:
    it = oracle(Street(bitstamp="64000.00", coinbase="64010.10", gemini="63990", kraken="64020.5"))
    await it.refresh()
    assert (it.price().cents_per_btc, it.price().source) == (64_005_05, "median of 4: bitstamp, coinbase, gemini, kraken")
    assert it.status.silent == {"mempool": "HTTP 503"}


async def test_before_anybody_answered_it_is_the_fallback_and_says_so() -> None:
    it = oracle(Street())
    assert (it.price().cents_per_btc, it.price().source) == (FALLBACK, "fallback")
    await it.refresh()
    assert it.price().source == "fallback"


async def test_without_sources_nobody_is_asked() -> None:
    street = Street()
    it = oracle(street, sources=())
    it.start()
    await it.refresh()
    await it.stop()
    assert street.asked == []
    assert it.price().source == "fallback"


@pytest.mark.fault("D27")
@pytest.mark.parametrize("name", sorted(SOURCES))
@pytest.mark.parametrize(
    "nonsense",
    [
        0,
        "0",
        -1,
        "-64000",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e12",
        "1e999999999",
        10**30,
        "",
        "n/a",
        None,
        True,
        [],
        {},
        999.99,
        10_000_000.01,
        1e-9,
    ],
)
def test_nonsense_from_a_source_is_thrown_out(name: str, nonsense: object) -> None:
    with pytest.raises(SourceDown):
        read_cents(SOURCES[name], answer(name, nonsense))


@pytest.mark.fault("D27")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b"{}",
        b'"64000"',
        b"64000",
        b'{"last": NaN}',
        b'{"USD": Infinity}',
        b"[" * 60_000,
        b"\xff\xfe",
        b"9" * 60_000,
    ],
)
@pytest.mark.parametrize("name", sorted(SOURCES))
def test_an_answer_of_another_shape_is_no_price(name: str, body: bytes) -> None:
    with pytest.raises(SourceDown):
        read_cents(SOURCES[name], body)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_source_is_read_exactly(name: str) -> None:
    assert read_cents(SOURCES[name], answer(name, "64000.019")) == 64_000_01
    assert read_cents(SOURCES[name], answer(name, 64000)) == 64_000_00
    assert SOURCES[name].url.startswith("https://")


@pytest.mark.fault("D27")
@pytest.mark.parametrize("liar", ["1000", "9999999", "0", "NaN", "64", "70000"])
async def test_one_broken_feed_among_five_moves_nothing(liar: str) -> None:
    it = oracle(Street(bitstamp="64000", coinbase="64000", gemini="64000", kraken="64000", mempool=liar))
    await it.refresh()
    assert it.price().cents_per_btc == PRICE
    assert "mempool" not in it.price().source


@pytest.mark.fault("D27")
async def test_the_last_good_price_serves_until_it_is_too_old() -> None:
    clock, street = ManualClock(), Street(bitstamp="64000", coinbase="64000", gemini="64000")
    it = oracle(street, clock)
    await it.refresh()
    street.prices = {}
    clock.advance(seconds=REFRESH_SECONDS)
    await it.refresh()
    assert it.price().source.startswith("median of 3")  # one missed round is nothing to speak of
    clock.advance(seconds=12 * 60 - REFRESH_SECONDS)
    await it.refresh()
    assert (it.price().cents_per_btc, it.price().source) == (PRICE, "last good, 12 min old")
    clock.advance(seconds=48 * 60)
    assert it.price().source == "last good, 60 min old"
    clock.advance(ms=1)
    assert (it.price().cents_per_btc, it.price().source) == (FALLBACK, "fallback")
    street.prices = {"kraken": "65000", "gemini": "65000"}
    await it.refresh()
    assert it.price().source == "median of 2: gemini, kraken"


@pytest.mark.fault("D28")
async def test_two_that_disagree_are_settled_by_the_last_good_price() -> None:
    street = Street(bitstamp="64000", coinbase="64000", gemini="64000")
    it = oracle(street)
    await it.refresh()
    street.prices = {"bitstamp": "64000", "coinbase": "90000"}
    await it.refresh()
    assert it.price().cents_per_btc == PRICE
    assert it.status.verdict == "bitstamp, coinbase disagree"


@pytest.mark.fault("D28")
def test_two_that_disagree_from_the_start_give_the_lower_one_unless_it_is_absurd() -> None:
    assert weigh({"a": 90_000_00, "b": 64_000_00}, None).cents == 64_000_00
    assert weigh({"a": 90_000_00, "b": 64_000_00}, None).why == "the lower of a, b, which disagree"
    assert weigh({"a": 90_000_00, "b": 1_000_00}, None).cents is None
    assert weigh({"a": 64_000_00, "b": 64_000_00 * 105 // 100}, None).why == "median of 2: a, b"


@pytest.mark.fault("D28")
def test_half_against_half_is_no_majority() -> None:
    told = {"a": 64_000_00, "b": 64_000_00, "c": 90_000_00, "d": 90_000_00}
    assert weigh(told, 64_000_00).cents is None
    assert weigh(told, None).cents == 64_000_00


@pytest.mark.fault("D27")
def test_a_lone_source_cannot_jump() -> None:
    assert weigh({"a": 64_000_00}, None).cents == 64_000_00
    assert weigh({"a": 70_000_00}, 64_000_00).cents == 70_000_00
    assert weigh({"a": 640_00 * 10}, 64_000_00).cents is None
    assert weigh({"a": 640_000_00}, 64_000_00).cents is None


@pytest.mark.fault("D27")
@pytest.mark.parametrize(
    ("dollars", "believed"), [("9500000", False), ("1000.00", False), ("64000", True), ("1000000", True), ("10000", True)]
)
async def test_a_lone_source_is_held_to_the_fallback_where_there_is_nothing_else(dollars: str, believed: bool) -> None:
    """Four are down at the start, and the fifth tells cents for dollars."""
    it = oracle(Street(kraken=dollars))
    await it.refresh()
    assert it.price().source == ("kraken" if believed else "fallback")
    assert believed or it.price().cents_per_btc == FALLBACK


@pytest.mark.fault("D27")
async def test_a_lone_source_is_held_to_the_fallback_when_the_last_good_price_is_too_old() -> None:
    street, clock = Street(bitstamp="64000", kraken="64000"), ManualClock()
    it = oracle(street, clock)
    await it.refresh()
    street.prices = {"kraken": "6400000"}
    clock.advance(seconds=3_601)
    await it.refresh()
    assert it.price().source == "fallback"


def test_a_move_that_all_see_is_believed_however_large() -> None:
    assert weigh({"a": 30_000_00, "b": 30_100_00, "c": 29_900_00}, 64_000_00).cents == 30_000_00


def test_the_order_of_the_answers_does_not_matter() -> None:
    told = {"a": 64_000_00, "b": 64_500_00, "c": 90_000_00, "d": 63_000_00}
    opinions = {weigh(dict(order), None) for order in itertools.permutations(told.items())}
    assert len(opinions) == 1


@pytest.mark.fault("D27")
@pytest.mark.parametrize("cents", [1_000_00, PRICE, 10_000_000_00])
async def test_no_price_of_a_feed_makes_an_absurd_invoice(cents: int) -> None:
    """Three cents of work: at the edge of what a bitcoin can cost it is dear, or cheap, but never one sat because a feed said so."""
    it = oracle(Street(bitstamp=f"{cents}e-2", coinbase="64000", gemini="64000", kraken="1e12", mempool="0"))
    await it.refresh()
    offered = make_quote(
        model="m", rate=Rate(0, 30_000_000_000, 0), btc=it.price(), margin_bp=0, infra=NanoUsd(0), input_tokens=0, output_tokens=1_000
    )
    assert offered.price == Sats(47)


async def test_a_source_that_never_answers_is_given_up_and_costs_nobody_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timmy.pricing.oracle.SOURCE_TIMEOUT_SECONDS", 0)
    it = oracle(Street(bitstamp="64000", coinbase="64000", kraken=...))
    silences: list[str] = []
    it._on_silence = silences.append
    await it.refresh()
    assert it.status.silent["kraken"] == "no answer within 0 s"
    assert "kraken" in silences


async def test_the_background_task_survives_a_bug_in_a_round_and_ends_when_told() -> None:
    street = Street(bitstamp="64000", coinbase=RuntimeError("a bug"), gemini="64000")
    it = oracle(street)
    it.start()
    it.start()
    for _ in range(50):  # turns of the loop: enough for one round without any waiting in it
        await asyncio.sleep(0)
    assert sorted(street.asked) == sorted(FIVE)
    task = it._task
    assert task is not None
    assert not task.done()
    assert it.price().source == "fallback"
    await it.stop()
    await it.stop()
    assert task.cancelled()


# Over HTTP -------------------------------------------------------------------------------------------------


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """A price source on loopback that answers well, badly, and too much."""

    async def good(_request: web.Request) -> web.Response:
        return web.json_response({"last": "64000.5"})

    async def moved(_request: web.Request) -> web.Response:
        raise web.HTTPFound("/good")

    async def down(_request: web.Request) -> web.Response:
        return web.json_response({"last": "64000.5"}, status=503)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(ANSWER_BYTES_MAX // 1_024 + 64):
            await response.write(b" " * 1_024)
        return response

    app = web.Application()
    for path, handler in (("/good", good), ("/moved", moved), ("/down", down), ("/endless", endless)):
        app.router.add_get(path, handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_good_answer_arrives_as_it_was_sent(site: str) -> None:
    async with aiohttp.ClientSession() as session:
        assert read_cents(SOURCES["bitstamp"], await fetch_with(session)(f"{site}/good")) == 64_000_50


@pytest.mark.parametrize(
    ("path", "reason"), [("/moved", "HTTP 302"), ("/down", "HTTP 503"), ("/endless", "64 KiB"), ("/absent", "HTTP 404")]
)
async def test_redirects_errors_and_floods_are_silence(site: str, path: str, reason: str) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(SourceDown, match=reason):
            await fetch_with(session)(f"{site}{path}")


async def test_a_closed_port_is_silence() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(SourceDown, match="ClientConnectorError"):
            await fetch_with(session)("http://127.0.0.1:1/")
