"""The ledger's rules on a sheet of paper: what the entries of one decision do to balances, without a database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from timmy.ledger import Entry, Move, MoveAll, Post, Reserve, Void
from timmy.ledger.chart import is_guarded


@dataclass(slots=True)
class PaperBooks:
    balance: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    reserved: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    held: dict[str, Reserve] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)

    def apply(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._one(entry)
        for account in (*self.balance, *self.reserved):
            if is_guarded(account):
                assert self.balance[account] >= self.reserved[account] >= 0, f"{account} gives what it does not have"
        assert sum(self.balance.values()) == 0, "an msat came from nowhere, or went there"

    def _one(self, entry: Entry) -> None:
        match entry:
            case Move(id, debit, credit, amount, _):
                self._once(id)
                self._move(debit, credit, amount.value)
            case MoveAll(id, debit, credit, _):
                self._once(id)
                self._move(debit, credit, self.available(debit) // 1_000 * 1_000)
            case Reserve(id, debit, _, amount, _):
                self._once(id)
                self.held[id] = entry
                self.reserved[debit] += amount.value
            case Post(reservation, amount):
                held = self.held.pop(reservation)
                self.reserved[held.debit] -= held.amount.value
                part = held.amount if amount is None else amount
                assert part <= held.amount
                self._move(held.debit, held.credit, part.value)
            case Void(reservation):
                held = self.held.pop(reservation)
                self.reserved[held.debit] -= held.amount.value

    def available(self, account: str) -> int:
        return self.balance[account] - self.reserved[account]

    def _move(self, debit: str, credit: str, msat: int) -> None:
        self.balance[debit] -= msat
        self.balance[credit] += msat

    def _once(self, id: str) -> None:
        assert id not in self.done, f"{id} was used before"
        self.done.add(id)
