"""One server process without its HTTP: a caller's macaroon is checked, the request is judged, worked on, charged and answered, and the
caller asks again.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import cycle
from typing import Any

from bench.jobs.instant import InstantModel, InstantWallet
from bench.jobs.ours import PAYOUTS
from bench.stopwatch import Stopwatch, closed_loop, wait_for_go, wait_to_leave
from timmy import logs
from timmy.app.house import session_terms
from timmy.clock import SystemClock
from timmy.db import Database, open_database
from timmy.identity.caveats import Use
from timmy.ids import system_random
from timmy.lightning.lnurl import LnurlClient
from timmy.lightning.receiving import Receiving
from timmy.money import Sats
from timmy.pricing import BtcOracle, RateBook
from timmy.sessions import ON_LAPSED, ON_PAID, RequestState, Sessions
from timmy.settings import Settings
from timmy.tasks import Bell

DEPOSIT = Sats(100_000_000)  # more than a run can spend
TERMS = replace(session_terms(Settings.load({}, dotenv=None)), max_deposit=DEPOSIT)
PATH = "/api/sessions/any/request"


async def furnish(db: Database, lnurl: LnurlClient) -> tuple[Sessions, Receiving]:
    """The rooms as the app furnishes them, with the instant wallet and model."""
    clock, bell = SystemClock(), Bell()
    receiving = Receiving(db, clock, InstantWallet(), bell, ttl_seconds=600, on_paid=ON_PAID, on_lapsed=ON_LAPSED)
    oracle = BtcOracle((), fallback_cents=10_000_000, max_age_seconds=60, clock=clock, fetch=_no_price)
    desk = Sessions(
        db, clock, bell, system_random, receiving, lnurl, InstantModel(), RateBook(), oracle, TERMS, PAYOUTS, location="http://127.0.0.1"
    )
    return desk, receiving


async def open_sessions(desk: Sessions, receiving: Receiving, number: int) -> list[tuple[str, str]]:
    """The ids and macaroons of new sessions, their deposits paid."""
    opened = []
    for _ in range(number):
        asked = await desk.open(DEPOSIT)
        await receiving.report(asked.deposit.payment_hash, DEPOSIT.msats)
        view = await desk.view(asked.id)
        assert view.macaroon is not None
        opened.append((view.id, view.macaroon))
    return opened


def asking(desk: Sessions, sessions: list[tuple[str, str]]) -> Callable[[], Awaitable[None]]:
    turns, clock = cycle(sessions), SystemClock()

    async def once() -> None:
        session_id, macaroon = next(turns)
        permit = await desk.authorize(macaroon, Use("session", PATH, clock.now_ms()), session_id=session_id)
        answer = await desk.request(permit, "what is 6 times 7?")
        assert answer.state is RequestState.COMPLETE, answer
        assert answer.debited, answer

    return once


async def _no_price(url: str) -> bytes:
    raise OSError("no source is asked here")


async def main(order: dict[str, Any]) -> None:
    logs.configure(level="warning", style="console", secrets=[])
    db, lnurl = open_database(order["url"]), LnurlClient()
    desk, receiving = await furnish(db, lnurl)
    once = asking(desk, await open_sessions(desk, receiving, order["sessions"]))
    await once()
    wait_for_go()
    await closed_loop(Stopwatch(order["warm_seconds"], order["seconds"]), order["callers"], once)
    wait_to_leave()
    await desk.aclose()
    await lnurl.aclose()
    await db.aclose()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
