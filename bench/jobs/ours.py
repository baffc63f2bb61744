"""Ours: one server process without its HTTP, and the customers of its share of the jobs.

A customer hands in a job, pays to have it judged, pays for the work, and when that is done hands in the next. Any process may judge and
work on any job: the customer's next move is made by whichever process has just moved the job, so the processes' shares are one pile.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

from bench.jobs.instant import InstantModel, InstantWallet
from bench.stopwatch import Stopwatch, wait_for_go, wait_to_leave
from timmy import logs
from timmy.app.garbage import look_for_it_rarely
from timmy.app.house import job_rules
from timmy.clock import SystemClock
from timmy.db import Database, open_database
from timmy.ids import system_random
from timmy.jobs import Jobs, Terms, Workshop, on_lapsed, on_paid
from timmy.jobs.machine import EVALUATE, EXECUTE
from timmy.lightning import payouts
from timmy.lightning.lnurl import LnurlClient
from timmy.lightning.paying import Paying
from timmy.lightning.receiving import Receiving
from timmy.money import NanoUsd, Sats
from timmy.pricing import BtcOracle, RateBook
from timmy.settings import Settings
from timmy.tasks import Bell, Task, Worker

EVAL_FEE = Sats(10)
TERMS = Terms(
    eval_model="timmy-demo-small",
    work_model="timmy-demo",
    max_output_tokens=400,
    margin_bp=4_000,
    infra=NanoUsd(0),
    pool_credit_bp=1_000,
    patience_seconds=300,
)
PAYOUTS = payouts.Terms(
    network=InstantWallet.network,
    caps_fees=True,
    enabled=True,
    fee_limit_bp=100,
    fee_limit_min=Sats(5),
    uncapped_max=Sats(1_000),
    per_hour_max=Sats(100_000),
    per_day_max=Sats(500_000),
)

RULES = job_rules(Settings.load({}, dotenv=None))


class House:
    """The rooms as the app furnishes them, with the instant wallet and model."""

    def __init__(self, db: Database, lnurl: LnurlClient, stopwatch: Stopwatch, street: asyncio.TaskGroup, concurrency: int) -> None:
        clock, bell, wallet = SystemClock(), Bell(), InstantWallet()
        self.wallet = wallet
        self.began: dict[str, float] = {}
        self.street = street
        self.stopwatch = stopwatch
        self.receiving = Receiving(db, clock, wallet, bell, ttl_seconds=600, on_paid=on_paid(RULES), on_lapsed=on_lapsed(RULES))
        paying = Paying(db, clock, wallet, lnurl, bell, PAYOUTS, system_random)
        self.jobs = Jobs(db, clock, bell, system_random, self.receiving, paying, eval_fee=EVAL_FEE.msats, trust_terms=RULES.trust)
        oracle = BtcOracle((), fallback_cents=10_000_000, max_age_seconds=60, clock=clock, fetch=_no_price)
        self.workshop = Workshop(db, clock, bell, system_random, self.receiving, paying, InstantModel(), RateBook(), oracle, TERMS, RULES)
        handlers = {**self.workshop.handlers, EVALUATE: self._evaluate, EXECUTE: self._execute}
        self.worker = Worker(db, clock, bell, handlers, concurrency=concurrency)

    async def hand_in(self) -> None:
        if not self.stopwatch.running:
            return
        began = time.perf_counter()
        view = await self.jobs.submit("what is 6 times 7?")
        self.began[view.id] = began
        await self._pay(f"Timmy: judging {view.id}")

    async def _evaluate(self, task: Task) -> None:
        await self.workshop.evaluate(task)
        self.street.create_task(self._pay(f"Timmy: work on {task.subject}"))

    async def _execute(self, task: Task) -> None:
        await self.workshop.execute(task)
        self.stopwatch.finished(self.began.pop(task.subject, None))
        self.street.create_task(self.hand_in())

    async def _pay(self, memo: str) -> None:
        """A KeyError here means that the job took another way than the one that is measured."""
        payment_hash, amount = self.wallet.asked.pop(memo)
        await self.receiving.report(payment_hash, amount)


async def _no_price(url: str) -> bytes:
    raise OSError("no source is asked here")


async def measure(order: dict[str, Any], db: Database, lnurl: LnurlClient) -> None:
    wait_for_go()
    stopwatch = Stopwatch(order["warm_seconds"], order["seconds"])
    async with asyncio.TaskGroup() as street:
        house = House(db, lnurl, stopwatch, street, order["concurrency"])
        work = street.create_task(house.worker.run())
        for _ in range(order["callers"]):
            street.create_task(house.hand_in())
        await stopwatch.watch()
        await asyncio.sleep(order["linger_seconds"])  # what is under way is finished, by us or by a neighbour
        work.cancel()


async def main(order: dict[str, Any]) -> None:
    logs.configure(level="warning", style="console", secrets=[])
    db, lnurl = open_database(order["url"]), LnurlClient()
    look_for_it_rarely()  # as `timmy serve` does
    await measure(order, db, lnurl)
    wait_to_leave()
    await lnurl.aclose()
    await db.aclose()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as `timmy serve` does
        runner.run(main(json.loads(sys.argv[1])))
