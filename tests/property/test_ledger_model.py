"""The ledger against a model of it that fits on a page, on both engines, through the group commit.

Whatever is asked (units of several entries, groups of units, replays, contradictions, resolutions of what never was), the
ledger must answer what the model answers, keep the balances that the model keeps, and pass its own audit after every step.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from timmy.db import Database, Tx, open_database
from timmy.errors import Breach
from timmy.ledger import Code, Entry, InsufficientFunds, Move, MoveAll, Post, Reserve, Void, audit, commit, commit_all
from timmy.ledger.audit import accounts
from timmy.money import Msats

AT_MS = 1_700_000_000_000
HEAVY = bool(os.environ.get("TIMMY_HEAVY"))
EXAMPLES = 120 if HEAVY else 30
STEPS = 25 if HEAVY else 12
WHY = Code.OPERATOR_CORRECTION
examples = itertools.count()


@dataclass
class Model:
    """The whole of what the ledger promises. `operator` may go below zero, nobody else."""

    balance: dict[str, int] = field(default_factory=dict)
    open: dict[str, tuple[str, str, int]] = field(default_factory=dict)  # reservations that hold something
    said: dict[str, tuple[object, ...]] = field(default_factory=dict)  # what each id means

    def free(self, account: str) -> int:
        return self.balance.get(account, 0) - sum(amount for debit, _, amount in self.open.values() if debit == account)

    def decide(self, unit: Sequence[Entry]) -> tuple[str, Model]:
        after = deepcopy(self)
        if not all(after.apply(entry) for entry in unit):
            return "breach", self
        short = [account for account in after.balance if account != "operator" and after.free(account) < 0]
        return ("short", self) if short else ("done", after)

    def apply(self, entry: Entry) -> bool:
        """False: the entry contradicts what was said before."""
        if isinstance(entry, Post | Void):
            content: tuple[object, ...] = self.said.get(entry.reservation, ("nothing",))
            if content[0] != "reserve":
                return False
            debit, credit, held = str(content[1]), str(content[2]), int(str(content[3]))
            part = 0 if isinstance(entry, Void) else held if entry.amount is None else entry.amount.value
            id, kind = entry.reservation + "!", type(entry).__name__
            if part > held:
                return False
        else:
            id, debit, credit, kind = entry.id, entry.debit, entry.credit, "reserve" if isinstance(entry, Reserve) else "move"
            whole_sats = max(0, self.free(debit)) // 1000 * 1000
            earlier = self.said.get(id, (kind, debit, credit, whole_sats))[3]
            part = int(str(earlier)) if isinstance(entry, MoveAll) else entry.amount.value
            if debit == credit:
                return False
        if id in self.said:
            return self.said[id] == (kind, debit, credit, part)
        self.said[id] = (kind, debit, credit, part)
        if kind == "reserve":
            self.open[id] = (debit, credit, part)
            part = 0
        self.open.pop(id.removesuffix("!") if id.endswith("!") else "", None)
        self.balance[debit] = self.balance.get(debit, 0) - part
        self.balance[credit] = self.balance.get(credit, 0) + part
        return True


def apply_all(tx: Tx, units: Sequence[Sequence[Entry]]) -> list[InsufficientFunds | None]:
    return commit_all(tx, AT_MS, units)


class Books(RuleBasedStateMachine):
    """Run with `db` and `runner` set; every example has accounts and ids of its own, so that one database serves them all."""

    db: Database
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.mark = f"{next(examples)}"
        self.model = Model()
        self.asked: list[Sequence[Entry]] = []
        self.ids: list[str] = []
        before = {line.account: line for line in self.runner.run(self.db.read(accounts))}
        self.operator = (before["operator"].balance_msat, before["operator"].reserved_msat) if "operator" in before else (0, 0)

    def account(self, name: str) -> str:
        return name if name == "operator" else f"{name}/{self.mark}"

    def entry(self, verb: str, which: int, debit: str, credit: str, msat: int) -> Entry:
        """`which` names an id that was used before, if there is one of that number, and else a new one."""
        if which < len(self.ids):
            id = self.ids[which]
        else:
            id = f"{self.mark}-{len(self.ids)}"
            self.ids.append(id)
        match verb:
            case "move":
                return Move(id, self.account(debit), self.account(credit), Msats(msat), WHY)
            case "all":
                return MoveAll(id, self.account(debit), self.account(credit), WHY)
            case "reserve":
                return Reserve(id, self.account(debit), self.account(credit), Msats(msat), WHY)
            case "post":
                return Post(id, Msats(msat))
            case "post it all":
                return Post(id)
            case _:
                return Void(id)

    names = st.sampled_from(["operator", "job", "session", "owed"])
    verbs = st.sampled_from(["move", "move", "all", "reserve", "reserve", "post", "post it all", "void"])
    wanted = st.tuples(verbs, st.integers(0, 40), names, names, st.integers(0, 5000))
    wanted_unit = st.lists(wanted, min_size=1, max_size=3)

    @rule(name=st.sampled_from(["job", "session"]), msat=st.integers(1, 9000))
    def fund(self, name: str, msat: int) -> None:
        self.commit_together([[self.entry("move", len(self.ids), "operator", name, msat)]])

    @rule(
        name=names, other=names, msat=st.integers(0, 3000), part=st.integers(0, 3000), end=st.sampled_from(["post", "post it all", "void"])
    )
    def reserve_and_resolve(self, name: str, other: str, msat: int, part: int, end: str) -> None:
        first = len(self.ids)
        self.commit_together([[self.entry("reserve", first, name, other, msat)]])
        self.commit_together([[self.entry(end, first, name, other, part)]])

    @rule(group=st.lists(wanted_unit, min_size=1, max_size=5))
    def a_group(self, group: list[Any]) -> None:
        self.commit_together([[self.entry(*wanted) for wanted in unit] for unit in group])

    @rule(wanted=wanted_unit)
    def a_unit_alone(self, wanted: Any) -> None:
        unit = [self.entry(*one) for one in wanted]
        expected, self.model = self.model.decide(unit)
        outcome = self.runner.run(outcome_of(self.db.write(commit, AT_MS, *unit)))
        assert outcome == expected, unit
        self.asked.append(unit)

    @rule(data=st.data())
    def say_it_again(self, data: st.DataObject) -> None:
        if self.asked:
            self.commit_together(data.draw(st.lists(st.sampled_from(self.asked), max_size=4)))

    def commit_together(self, group: Sequence[Sequence[Entry]]) -> None:
        expected = []
        for unit in group:
            outcome, self.model = self.model.decide(unit)
            expected.append(outcome)
        assert self.runner.run(self.ask(group)) == expected, group
        self.asked += group

    async def ask(self, group: Sequence[Sequence[Entry]]) -> list[str]:
        return list(await asyncio.gather(*(outcome_of(self.db.write_grouped(apply_all, unit)) for unit in group)))

    @invariant()
    def the_books_agree(self) -> None:
        async def look() -> tuple[list[Any], list[Any]]:
            return await self.db.read(audit), await self.db.read(accounts)

        checks, lines = self.runner.run(look())
        assert [check for check in checks if not check.holds] == []
        kept = {line.account: (line.balance_msat, line.reserved_msat) for line in lines}
        for account, balance in self.model.balance.items():
            start = self.operator if account == "operator" else (0, 0)
            assert (kept[account][0] - start[0], kept[account][1] - start[1]) == (balance, balance - self.model.free(account)), account

    def teardown(self) -> None:
        """Everything that was ever done is asked for again: nothing moves."""
        if self.asked:
            model = self.model
            self.commit_together([unit for unit in self.asked if model.decide(unit)[0] == "done" and model.decide(unit)[1] == model])
            self.the_books_agree()


async def outcome_of(asked: Any) -> str:
    try:
        await asked
    except InsufficientFunds:
        return "short"
    except Breach:
        return "breach"
    return "done"


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_the_ledger_does_what_the_model_does(database_url: str, runner: asyncio.Runner) -> None:
    db = open_database(database_url)

    class OnThisEngine(Books):
        pass

    OnThisEngine.db, OnThisEngine.runner = db, runner
    try:
        run_state_machine_as_test(
            OnThisEngine,
            settings=settings(
                max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, database=None, suppress_health_check=list(HealthCheck)
            ),
        )
    finally:
        runner.run(db.aclose())
