"""The world, introduced to those whose work it shows."""

from __future__ import annotations

from collections.abc import Mapping

from timmy import tasks
from timmy.app import world_store
from timmy.app.people import People
from timmy.clock import Clock
from timmy.db import Database, Tx
from timmy.ids import RandomBytes
from timmy.jobs import machine
from timmy.jobs.estimate import Estimates
from timmy.lightning import payouts
from timmy.models import Provider
from timmy.settings import Settings
from timmy.tasks import Bell
from timmy.web import people_views
from timmy.world import FreeWords, Terms, UnderWay, World
from timmy.world.demo import Demo

JUDGING, WORKING = frozenset({machine.EVALUATE, machine.OFFER}), frozenset({machine.EXECUTE})


def world(
    settings: Settings,
    db: Database,
    clock: Clock,
    bell: Bell,
    random_bytes: RandomBytes,
    provider: Provider,
    estimates: Estimates,
    people: People,
) -> World:
    async def pool() -> Mapping[str, object]:
        status, daily = await estimates.pool()
        return people_views.pool(status, daily, frozen=await people.pool_frozen())

    terms = Terms(settings.chat_per_minute, settings.chat_per_day, settings.viewers_max, settings.viewers_per_address)
    return World(db, clock, bell, random_bytes, FreeWords(provider, settings.eval_model), terms, under_way, pool)


def under_way(tx: Tx) -> UnderWay:
    """What is parked waits for the operator: nobody works on it."""
    waiting: dict[str, int] = {}
    for row in tasks.waiting(tx):
        if not row["parked"]:
            waiting[row["kind"]] = row["n"]
    return UnderWay(
        judging=sum(waiting.get(kind, 0) for kind in JUDGING),
        working=sum(waiting.get(kind, 0) for kind in WORKING) + world_store.running(tx),
        paying=waiting.get(payouts.PAY, 0),
    )


def demo(settings: Settings, db: Database, clock: Clock, provider: Provider) -> Demo:
    return Demo(db, clock, FreeWords(provider, settings.eval_model), per_hour=settings.demo_per_hour, per_day=settings.demo_per_day)
