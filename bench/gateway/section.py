"""(d) The gateway: metered /v1/chat/completions over HTTP, beside the bare upstream, LiteLLM's proxy and the naive design."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from bench import contest, machine
from bench.books import BooksWrong
from bench.cluster import Cluster
from bench.contest import Board, Patience, Turn, Variant, compete
from bench.gateway import accounts, gateways, held, venv
from bench.gateway.gateways import Gateway
from bench.gateway.wire import ANSWER_TOKENS, AT_ONCE, STREAM_TOKENS, charge_msat
from bench.runners import run_together

CALLERS = (1, 64, 256)
STREAMS = 200
# LiteLLM and the naive design are slower: in a shorter window they would finish too little, or not be warm yet.
SLOW_WARM_SECONDS, SLOW_SECONDS = 4.0, 8.0
SLOW_STREAM_WARM_SECONDS, SLOW_STREAM_SECONDS = 10.0, 20.0  # two hundred streams take LiteLLM about that long to go round once
STREAM_SECONDS = 6.0  # of anybody's streams: two hundred that began together end together, for a while
DATABASE = "bench_gateway"

BARE, PG, LITE, LITELLM, NAIVE = "the bare upstream", "Timmy, PostgreSQL", "Timmy, SQLite", "LiteLLM", "naive: FastAPI, httpx, FOR UPDATE"
PG_TWICE = "Timmy, PostgreSQL, two processes"
WHOLE = (BARE, PG, PG_TWICE, LITE, LITELLM, NAIVE)
ON_POSTGRES = (PG, PG_TWICE, NAIVE)
STREAMING = (BARE, PG, LITE, LITELLM)
OPEN_STREAMS = (PG, LITE, LITELLM)


@dataclass(frozen=True, slots=True)
class House:
    """What a turn needs. `bin`: of the rivals' venv."""

    cluster: Cluster
    folder: Path
    bin: Path
    patience: Patience


def name(who: str, callers: int) -> str:
    return f"{who}, {callers} caller{'s' if callers > 1 else ''}"


def run(cluster: Cluster, folder: Path, out: Path, patience: Patience, *, quick: bool) -> dict[str, Any]:
    house = House(cluster, folder, venv.folder_of(out), patience)
    whole = [
        Variant(name(who, callers), partial(_turn, house, who, callers))
        for callers in CALLERS
        for who in WHOLE
        if callers > 1 or who != PG_TWICE
    ]
    streams = [Variant(who, partial(_turn, house, who, STREAMS, stream=True)) for who in STREAMING]
    print(f"  {STREAMS} streams: tokens a second, and the time to the first token", flush=True)
    return {
        "whole": contest.as_json(compete(whole, patience)),
        "streams": contest.as_json(compete(streams, patience)),
        "open": {who: _open_streams(house, who, held.STREAMS_QUICK if quick else held.STREAMS) for who in OPEN_STREAMS},
    }


def boards(result: Mapping[str, Any]) -> tuple[Board, Board]:
    return contest.from_json(result["whole"]), contest.from_json(result["streams"])


def _turn(house: House, who: str, callers: int, *, stream: bool = False) -> Turn:
    warm_seconds, seconds = house.patience.warm_seconds, max(house.patience.seconds, STREAM_SECONDS if stream else 0)
    if who in (LITELLM, NAIVE):
        least = (SLOW_STREAM_WARM_SECONDS, SLOW_STREAM_SECONDS) if stream else (SLOW_WARM_SECONDS, SLOW_SECONDS)
        warm_seconds, seconds = max(warm_seconds, least[0]), max(seconds, least[1])
    with _placed(house) as place:
        tally = place / "tally"
        with _opened(house, who, place) as (gateway, url):
            order = {"ports": list(gateway.ports), "keys": gateway.keys, "model": AT_ONCE, "stream": stream, "callers": callers}
            order |= {"warm_seconds": warm_seconds, "seconds": seconds, "tally": str(tally)}
            server_pid = house.cluster.pid if who in ON_POSTGRES else None
            turn = run_together("bench.gateway.callers", [order], server_pid=server_pid, more_pids=gateway.pids)
        _check(who, url, int(tally.read_text()), charge_msat(STREAM_TOKENS if stream else ANSWER_TOKENS))
    return turn


def _check(who: str, url: str, answered: int, each_msat: int) -> None:
    """Raises BooksWrong. Of the upstream and of LiteLLM there are no books."""
    if who in (PG, PG_TWICE, LITE):
        accounts.check(url, answered, each_msat)
    elif who == NAIVE:
        _check_naive(url, answered, each_msat)


def _check_naive(url: str, answered: int, each_msat: int) -> None:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT SUM(balance_msat)::bigint, SUM(held_msat)::bigint, COUNT(*) FROM keys").fetchone()
        calls = connection.execute("SELECT COUNT(*), COALESCE(SUM(charged_msat), 0)::bigint FROM calls").fetchone()
    assert row is not None, "an aggregate has a row"
    spent_msat = gateways.DEPOSIT.msats.value * row[2] - row[0]
    if row[1] or calls != (answered, answered * each_msat) or spent_msat != answered * each_msat:
        raise BooksWrong(f"{answered} answers at {each_msat} msat: {calls} calls and their charge, {spent_msat} msat spent, {row[1]} held")


def _open_streams(house: House, who: str, streams: int) -> dict[str, float]:
    with _placed(house) as place:
        with _opened(house, who, place) as (gateway, url):
            found = asyncio.run(held.measure(gateway, partial(machine.rss_kib, gateway.pids[0]), streams))
        if who in (PG, LITE):
            accounts.check(url, held.FIRST_STREAMS + streams, None)
    print(f"  {who}: {found}", flush=True)
    return found


@contextmanager
def _placed(house: House) -> Iterator[Path]:
    place = house.folder / "gateway"
    place.mkdir()
    try:
        yield place
    finally:
        shutil.rmtree(place)
        house.cluster.drop(DATABASE)


@contextmanager
def _opened(house: House, who: str, place: Path) -> Iterator[tuple[Gateway, str]]:
    """The gateway, and the URL of its database; both it and its upstream are gone when the block ends."""
    url = house.cluster.fresh(DATABASE, empty=who == NAIVE) if who in ON_POSTGRES else f"sqlite://{place / 'timmy.db'}"
    with ExitStack() as stack:
        upstream = stack.enter_context(gateways.upstream())
        if who in (PG, PG_TWICE, LITE):
            gateway = stack.enter_context(gateways.timmy(url, place, upstream.ports[0], processes=2 if who == PG_TWICE else 1))
        elif who == LITELLM:
            gateway = stack.enter_context(gateways.litellm(house.bin, place, upstream.ports[0]))
        elif who == NAIVE:
            gateway = stack.enter_context(gateways.naive(house.bin, place, url, upstream.ports[0]))
        else:
            gateway = upstream
        yield gateway, url
