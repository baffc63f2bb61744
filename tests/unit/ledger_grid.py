"""The ledger, row by row: what is asked, what is answered, and what the books say afterwards.

A row is a few lines of a small language, the same for every engine:

    give pool 100                           the operator puts 100 msat there
    move m pool > owed/1 30 => done         a unit of one entry, and its outcome
    reserve r pool > owed/1 9 + void q => short pool     one unit of two entries: both or neither
    post r ; void r => done, done           two units of one group, committed together
    pool is 70 9                            balance and what is reserved of it

After every line the audit must hold, and after the last one every unit that was done is asked for again: nothing may move.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from timmy.db import Tx
from timmy.errors import TimmyError
from timmy.ledger import Code, Entry, InsufficientFunds, Move, MoveAll, Post, Reserve, Void, audit, commit_all
from timmy.ledger.audit import accounts
from timmy.money import MSATS_MAX, Msats

AT_MS = 1_700_000_000_000
_ENTRY = re.compile(r"(move|all|reserve) (\S+) (\S+) > (\S+)(?: (\S+))?(?: as (\S+))?")
_RESOLUTION = re.compile(r"(post|void) (\S+)(?: (\S+))?")

Unit = tuple[Entry, ...]


class Books(Protocol):
    """What a row needs of an engine: a transaction that can go back to where it was."""

    tx: Tx

    def savepoint(self) -> None: ...
    def rollback(self) -> None: ...


def amount(text: str) -> Msats:
    return Msats(MSATS_MAX if text == "max" else int(text))


def entry(text: str) -> Entry:
    if found := _RESOLUTION.fullmatch(text):
        verb, reservation, part = found.groups()
        if verb == "void":
            return Void(reservation)
        return Post(reservation, amount(part) if part else None)
    found = _ENTRY.fullmatch(text)
    assert found, f"not an entry: {text!r}"
    verb, id, debit, credit, msat, why = found.groups()
    code = Code(why or Code.OPERATOR_CORRECTION)
    if verb == "all":
        return MoveAll(id, debit, credit, code)
    kinds: dict[str, type[Move] | type[Reserve]] = {"move": Move, "reserve": Reserve}
    return kinds[verb](id, debit, credit, amount(msat), code)


def units(text: str) -> list[Unit]:
    return [tuple(entry(part.strip()) for part in unit.split(" + ")) for unit in text.split(";")]


def said(outcome: InsufficientFunds | None) -> str:
    return "done" if outcome is None else f"short {outcome.account}"


@contextmanager
def undone_if_refused(books: Books) -> Iterator[None]:
    books.savepoint()
    try:
        yield
    except TimmyError:
        books.rollback()
        raise


def ask(books: Books, group: list[Unit]) -> str:
    try:
        with undone_if_refused(books):
            return ", ".join(said(outcome) for outcome in commit_all(books.tx, AT_MS, group))
    except TimmyError as refusal:
        return refusal.code


def state(tx: Tx) -> dict[str, tuple[int, int]]:
    return {line.account: (line.balance_msat, line.reserved_msat) for line in accounts(tx)}


def check(tx: Tx) -> None:
    assert [test for test in audit(tx) if not test.holds] == []


def play(books: Books, script: str) -> None:
    done: list[Unit] = []
    lines = [line.strip() for line in script.strip().splitlines()]
    for number, line in enumerate(lines):
        if found := re.fullmatch(r"give (\S+) (\S+)", line):
            line = f"move given-{number} operator > {found[1]} {found[2]} => done"
        if found := re.fullmatch(r"(\S+) is (\S+)(?: (\S+))?", line):
            assert state(books.tx).get(found[1], (0, 0)) == (number_of(found[2]), number_of(found[3] or "0")), f"line {number}: {line}"
            continue
        asked, _, expected = line.partition(" => ")
        group = units(asked)
        answer = ask(books, group)
        assert answer == expected, f"line {number}: {line}, not {answer}"
        check(books.tx)
        outcomes = answer.split(", ")
        if len(outcomes) == len(group):
            done += [unit for unit, outcome in zip(group, outcomes, strict=True) if outcome == "done"]
    settled = state(books.tx)
    for unit in done:
        assert ask(books, [unit]) == "done", f"asked again: {unit}"
    assert ask(books, done) == ", ".join("done" for _ in done), "all of it asked again, together"
    assert state(books.tx) == settled, "asking again moved something"


def number_of(text: str) -> int:
    return int(text.replace("max", str(MSATS_MAX)))
