"""Real server processes, and streams that are cut: by whoever reads, by the model, and by the death of the server."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.chaos.cutting import PIECES_MAX, CuttingServer, Heard, Plan, listen
from tests.chaos.grid import HEAVY
from tests.chaos.serve import AGAIN_SECONDS, PATIENCE_SECONDS, Server
from tests.chaos.test_kill9 import running
from tests.contract.completion_house import CHAT_TERMS, Talker
from tests.contract.model_servers.script import API_KEY, MODEL
from tests.contract.session_house import RATES
from timmy.app.books import all_checks
from timmy.clock import ManualClock, SystemClock
from timmy.completions import Completions
from timmy.completions.running import UNHEARD_MS
from timmy.db import Database, Row, Tx, open_database
from timmy.ids import system_random
from timmy.models.usage import count_tokens
from timmy.pricing import BtcOracle, Quote
from timmy.tasks import Bell

CUTS = 500 if HEAVY else 20
AT_ONCE = 50
PROCESSES = 4
DEPOSITS_SATS = (4_000, 4_000, 4_000, 100)  # the last one will not do for all who would spend from it
KILL_AFTER_SECONDS = (0.3, 3.0)  # from the first piece of a stream that waits for it
DEAD = ("died", "failed")


class Crowd:
    """Whoever reads. Streams that are to be killed go to one server, which is killed with all that it is at."""

    def __init__(self, servers: Sequence[Server], sessions: Sequence[tuple[str, str]], chance: random.Random) -> None:
        self._servers, self._sessions, self._chance = servers, sessions, chance
        self._numbers = itertools.count()
        self._victim = servers[0]
        self._doomed: asyncio.Queue[Heard] = asyncio.Queue()
        self.heard: list[Heard] = []
        self.kills = 0

    async def live(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS * (5 if HEAVY else 1)), asyncio.TaskGroup() as group:
            killing = group.create_task(self._kill())
            await asyncio.gather(*(group.create_task(self._reader()) for _ in range(AT_ONCE)))
            killing.cancel()

    async def _reader(self) -> None:
        while (number := next(self._numbers)) < CUTS:
            plan = Plan(number, ("client", "upstream", "kill")[number % 3], self._chance.randint(1, PIECES_MAX))
            while not await self._is_cut(plan):
                plan = Plan(next(_fresh), plan.cut_by, plan.count)  # with another number, and so another body
                await asyncio.sleep(AGAIN_SECONDS)

    async def _is_cut(self, plan: Plan) -> bool:
        session_id, macaroon = self._chance.choice(self._sessions)
        server = self._victim if plan.cut_by == "kill" else self._chance.choice(self._servers)
        heard = Heard(plan, session_id)
        if plan.cut_by == "kill":
            self._doomed.put_nowait(heard)
        try:
            await listen(heard, server.port, macaroon)
        except ConnectionError:
            return False  # it is dead, or not there yet, or died as we came
        finally:
            heard.begun.set()  # whoever waits for it to have begun need not wait any more
        self.heard.append(heard)
        assert heard.end != "refused" or heard.status in (402, 502, 503), heard
        return heard.end != "refused"

    async def _kill(self) -> None:
        for victim in itertools.cycle(self._servers):
            self._victim = victim
            await victim.until_open()
            while not (await self._next_doomed()).batches:
                pass
            await asyncio.sleep(self._chance.uniform(*KILL_AFTER_SECONDS))
            self._victim = self._servers[(self._servers.index(victim) + 1) % len(self._servers)]
            await victim.kill()
            self.kills += 1
            await victim.start(wait=False)

    async def _next_doomed(self) -> Heard:
        doomed = await self._doomed.get()
        await doomed.begun.wait()
        return doomed


_fresh = itertools.count(1_000_000)


@pytest.mark.fault("B02", "C09", "D25")
async def test_streams_that_are_cut_anywhere_by_anybody_cost_what_was_handed_over(postgres_url: str, tmp_path: Path) -> None:
    async with CuttingServer().running() as upstream, running(_environ(postgres_url, upstream.url), tmp_path, PROCESSES) as servers:
        async with aiohttp.ClientSession() as http:
            sessions = [await _session(http, servers[0], sats) for sats in DEPOSITS_SATS]
        crowd = Crowd(servers, sessions, random.Random(25))
        await crowd.live()
        db = open_database(postgres_url)
        try:
            await _until_only_the_dead_run(db, crowd.heard)
            for server in servers:
                await server.kill()
            await _sweep(db)
            await _check(db, crowd.heard, {id: sats for (id, _), sats in zip(sessions, DEPOSITS_SATS, strict=True)})
        finally:
            await db.aclose()
    ends = Counter(heard.end for heard in crowd.heard)
    print(f"{CUTS} cuts: {dict(ends)}, {crowd.kills} kills")
    assert ends["left"] + ends["told"] + ends["gone"] >= CUTS
    assert min(ends["left"], ends["told"], ends["gone"]) > 0


def _environ(url: str, upstream: str) -> dict[str, str]:
    return {
        "DATABASE_URL": url,
        "TIMMY_TOKEN_SECRET": "one-secret-for-4-processes",
        "PROVIDER": "openai",
        "OPENAI_BASE_URL": f"{upstream}/v1",
        "OPENAI_API_KEY": API_KEY,
        "EVAL_MODEL": MODEL,
        "WORK_MODEL": MODEL,
        "MODEL_RATES": json.dumps({MODEL: {"input": "3.00", "output": "15.00"}}),
        "MODEL_TIMEOUT_SECONDS": "600",
    }


async def _session(http: aiohttp.ClientSession, server: Server, sats: int) -> tuple[str, str]:
    """Its id and its macaroon."""
    async with http.post(f"{server.url}/api/sessions", json={"amountSats": sats}) as answer:
        opened = await answer.json()
    async with http.post(f"{server.url}/api/dev/stub/pay/{opened['invoice']['paymentHash']}", json={}) as paid:
        assert paid.status == 200, await paid.text()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            async with http.get(f"{server.url}/api/sessions/{opened['sessionId']}") as answer:
                if macaroon := (await answer.json())["macaroon"]:
                    return opened["sessionId"], macaroon
            await asyncio.sleep(AGAIN_SECONDS)


# what must be true at the end ------------------------------------------------------------------------


async def _until_only_the_dead_run(db: Database, heard: Sequence[Heard]) -> None:
    """A server that lives ends its calls by itself, whether anybody still reads them or not. One whose reader left may have died since."""
    may_be_dead = {each.plan.body_sha256 for each in heard if each.end in ("gone", "left")}
    must_end = {each.plan.body_sha256 for each in heard} - may_be_dead
    async with asyncio.timeout(PATIENCE_SECONDS):
        while must_end & {row["body_sha256"] for row in await db.read(_calls) if row["state"] == "running"}:
            await asyncio.sleep(AGAIN_SECONDS)


async def _sweep(db: Database) -> None:
    """As any server does, when it has not heard of a call for so long."""
    clock = ManualClock(SystemClock().now_ms() + UNHEARD_MS + 1)
    oracle = BtcOracle((), fallback_cents=100_000_00, max_age_seconds=3_600, clock=clock, fetch=_no_fetch)
    survivor = Completions(db, clock, Bell(), system_random, Talker(), RATES, oracle, CHAT_TERMS)
    while await survivor.running.sweep_once():
        pass


async def _check(db: Database, heard: Sequence[Heard], deposits: Mapping[str, int]) -> None:
    calls = await db.read(_calls)
    by_body = {row["body_sha256"]: row for row in calls}
    assert len(by_body) == len(calls), "a call was made twice"
    for each in heard:
        row = by_body.pop(each.plan.body_sha256, None)
        if row is None:
            assert not each.text, f"{each} is in no books"
        else:
            _check_call(each, row)
    assert not by_body, "there are calls that nobody made"
    for id, sats in deposits.items():
        charged = sum(row["charged_msat"] for row in calls if row["session_id"] == id)
        assert await db.read(_account, f"session/{id}") == (sats * 1_000 - charged, 0)
        assert charged <= sats * 1_000
    assert await db.read(_reserved) == 0
    assert [check for check in await db.read(all_checks) if not check.holds] == []


def _check_call(heard: Heard, row: Row) -> None:
    """Kept and charged is what was handed over: to the last word by a server that lives, and by one that died but for the last batch."""
    assert row["state"] == "ended", row
    kept = (json.loads(row["output"])["message"]["content"] or "") if row["output"] else ""
    assert "".join(heard.plan.pieces).startswith(heard.text), "something else was said than the model said"
    if row["ending"] in DEAD:
        assert heard.text.startswith(kept), "charged is what nobody has had"
        assert kept.startswith("".join(heard.batches[:-1])), "more than the last batch was lost"
    else:
        assert kept == heard.text, (heard, row)
    if heard.end == "told":
        assert row["ending"] in ("broken", "budget"), (heard, row)  # the smallest session may have no more to set aside
    quote = Quote.from_json(row["quote"])
    owed = quote.charge(row["input_tokens"], count_tokens(kept)).value if row["ending"] != "failed" else 0
    assert row["charged_msat"] == owed, (heard, row)
    assert (row["ending"] == "failed") == (not kept), row


def _calls(tx: Tx) -> list[Row]:
    return tx.all("SELECT * FROM completions")


def _account(tx: Tx, id: str) -> tuple[int, int]:
    row = tx.one("SELECT balance_msat, reserved_msat FROM accounts WHERE id = :id", id=id)
    assert row is not None
    return row["balance_msat"], row["reserved_msat"]


def _reserved(tx: Tx) -> int:
    row = tx.one("SELECT CAST(COALESCE(SUM(reserved_msat), 0) AS BIGINT) AS n FROM accounts")
    assert row is not None
    return int(row["n"])


async def _no_fetch(_: str) -> Any:
    raise AssertionError("there are no price sources")
