"""The one door of the ledger: all of a unit's entries are applied, or none; each once, whatever is repeated.

Every step is one statement for the whole group: lock the accounts, see what is known already, decide in memory in the order of the units,
insert, update. A lone unit is a group of one, so there is no second path whose money could behave differently.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from timmy.db import Answer, Row, Tx
from timmy.errors import Breach, Refusal
from timmy.ledger import store
from timmy.ledger.chart import is_guarded, is_money
from timmy.ledger.entries import Entry, Move, MoveAll, Post, Reserve, Void, resolution_id
from timmy.money import MSATS_MAX, MSATS_PER_SAT, Msats


class InsufficientFunds(Refusal):
    """`account` has less available than the unit takes. Nothing of the unit was applied."""

    status = 402
    code = "insufficient_funds"
    title = "There is not enough in that account"

    def __init__(self, account: str) -> None:
        super().__init__(f"not enough available in {account}")
        self.account = account


class TransferConflict(Breach):
    """The id was used before, for something else: two parts of the code mean different things by one name."""

    code = "transfer_conflict"


class UnknownReservation(Breach):
    code = "unknown_reservation"


@dataclass(slots=True)
class _Account:
    guarded: bool
    balance_msat: int = 0
    reserved_msat: int = 0
    balance_change: int = 0
    reserved_change: int = 0

    @property
    def available_msat(self) -> int:
        return self.balance_msat + self.balance_change - self.reserved_msat - self.reserved_change

    def settle(self) -> None:
        """What was decided has been written."""
        self.balance_msat, self.balance_change = self.balance_msat + self.balance_change, 0
        self.reserved_msat, self.reserved_change = self.reserved_msat + self.reserved_change, 0

    @property
    def beyond_all_coins(self) -> bool:
        """Without this bound a sum could leave 64 bits, and SQLite would go on with a float instead of saying so."""
        return abs(self.balance_msat + self.balance_change) > MSATS_MAX or self.reserved_msat + self.reserved_change > MSATS_MAX


class Still:
    """What does not move while this transaction lasts: the accounts that it has locked, as they are after all that it has applied to them
    so far, and the transfers that it has found. Each is asked for once, however often it is decided from: hand the same one to
    `commit_all`. It means nothing once its transaction has ended."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._asked: list[tuple[set[str], Answer]] = []
        self._transfers: dict[str, Row] = {}
        self._sought: list[tuple[set[str], Answer]] = []

    def ask(self, tx: Tx, accounts: Collection[str]) -> None:
        """Lock them, and go on: what is asked before anybody looks at them goes to the database with it."""
        if missing := set(accounts).difference(self._accounts, *(names for names, _ in self._asked)):
            self._asked.append((missing, store.lock_accounts(tx, missing)))

    def seek(self, tx: Tx, transfers: Collection[str]) -> None:
        """Look for them, and go on. A transfer never changes, so it may be looked for before anything is locked."""
        if missing := set(transfers).difference(self._transfers, *(ids for ids, _ in self._sought)):
            self._sought.append((missing, store.ask_transfers(tx, missing)))

    def hold(self, tx: Tx, accounts: Collection[str]) -> dict[str, Msats]:
        """What the accounts have available, locked until the transaction ends: for amounts that are decided from it."""
        return {name: Msats(max(0, account.available_msat)) for name, account in self._lock(tx, accounts).items()}

    def standing(self, accounts: Collection[str]) -> dict[str, tuple[int, int]]:
        """The balance of each, and how much of it is reserved, in millisats; of those among them that are held."""
        held = {name: self._accounts[name] for name in accounts if name in self._accounts}
        return {name: (account.balance_msat, account.reserved_msat) for name, account in held.items()}

    def _lock(self, tx: Tx, accounts: Collection[str]) -> dict[str, _Account]:
        self.ask(tx, accounts)
        for names, answer in self._asked:
            self._accounts |= _locked(tx, names, answer)
        self._asked.clear()
        return {name: self._accounts[name] for name in accounts}

    def _found(self, tx: Tx, transfers: Collection[str]) -> dict[str, Row]:
        """Those of them that there are."""
        self.seek(tx, transfers)
        for _, answer in self._sought:
            self._transfers |= {row["id"]: row for row in answer.rows}
        self._sought.clear()
        return {id: self._transfers[id] for id in transfers if id in self._transfers}


@dataclass(slots=True)
class _Books:
    """What the group touches, as it is in memory while the group is decided."""

    accounts: dict[str, _Account]
    known: dict[str, Row]  # transfers in the database, and those decided on so far
    fresh: list[Row] = field(default_factory=list)


def commit(tx: Tx, at_ms: int, *entries: Entry) -> None:
    """Apply all the entries or none. Entries that were applied before are skipped, so it is safe to repeat.

    Raises InsufficientFunds (nothing was applied), TransferConflict, UnknownReservation."""
    outcome = commit_all(tx, at_ms, [entries])[0]
    if outcome is not None:
        raise outcome


def commit_all(
    tx: Tx, at_ms: int, units: Sequence[Iterable[Entry]], *, still: Still | None = None, fresh: bool = False
) -> list[InsufficientFunds | None]:
    """Apply many units, each all or nothing, in their order; one that lacks funds leaves no trace and harms no other.

    `still`: what the transaction has locked already; it is told of what changes. `fresh`: nothing of this can have been applied before
    (ids made in this moment; a reservation whose owner is locked, and has not ended), so it is not looked for. If it was all the same,
    the insertion finds out, and raises TransferConflict."""
    lists = [tuple(unit) for unit in units]
    entries = [entry for unit in lists for entry in unit]
    if not entries:
        return [None] * len(lists)
    books = _open(tx, entries, still or Still(), fresh=fresh)
    outcomes = [_decide(books, unit, at_ms) for unit in lists]
    if books.fresh:
        _write(tx, books)
    return outcomes


def available(tx: Tx, account: str) -> Msats:
    """What the account could give right now. For showing and planning: only `commit` decides."""
    return available_all(tx, [account])[account]


def available_all(tx: Tx, accounts: Collection[str]) -> dict[str, Msats]:
    rows = store.accounts_like(tx, accounts)
    return {name: Msats(rows[name]["balance_msat"] - rows[name]["reserved_msat"] if name in rows else 0) for name in accounts}


def hold_still(tx: Tx, accounts: Collection[str]) -> dict[str, Msats]:
    """What the accounts have available, locked until the transaction ends: for amounts that are decided from it."""
    return Still().hold(tx, accounts)


def _open(tx: Tx, entries: Sequence[Entry], still: Still, *, fresh: bool) -> _Books:
    resolved = {entry.reservation for entry in entries if isinstance(entry, Post | Void)}
    stored = still._found(tx, resolved)
    reservations = dict(stored)
    for entry in entries:
        if isinstance(entry, Reserve) and entry.id in resolved:
            reservations.setdefault(entry.id, _row(entry.id, "reserve", entry.debit, entry.credit, entry.amount.value, entry.code, None, 0))
    touched: set[str] = set()
    for entry in entries:
        if isinstance(entry, Post | Void):
            row = reservations.get(entry.reservation)
            if row is None or row["kind"] != "reserve":
                raise UnknownReservation(f"{entry.reservation} is not a reservation")
            touched |= {row["debit"], row["credit"]}
        elif entry.debit == entry.credit:
            raise Breach(f"{entry.id} would move from {entry.debit} to itself")
        elif is_money(entry.debit) != is_money(entry.credit):
            raise Breach(f"{entry.id} would turn allowance into money, or money into allowance")
        else:
            touched |= {entry.debit, entry.credit}
    accounts = still._lock(tx, touched)
    # Looked up after the locks: whoever applied the same entries a moment ago held the same accounts, so by now it shows.
    # What was found before them needs no second look: a transfer never changes.
    unseen = set() if fresh else ({_id(entry) for entry in entries} | resolved) - stored.keys()
    known = still._found(tx, unseen)
    return _Books(accounts, known | stored)


def _locked(tx: Tx, ids: set[str], answer: Answer) -> dict[str, _Account]:
    rows = {row["id"]: row for row in answer.rows}
    missing = sorted(ids - rows.keys())
    if missing:
        store.open_accounts(tx, [{"id": account, "guarded": int(is_guarded(account))} for account in missing])
        rows |= {row["id"]: row for row in store.lock_accounts(tx, missing).rows}
    return {id: _Account(bool(row["guarded"]), row["balance_msat"], row["reserved_msat"]) for id, row in rows.items()}


def _decide(books: _Books, unit: Sequence[Entry], at_ms: int) -> InsufficientFunds | None:
    rows: list[Row] = []
    before: dict[str, tuple[int, int]] = {}
    for entry in unit:
        row = _transfer(books, entry, at_ms)
        if row is None:
            continue
        for name in (row["debit"], row["credit"]):
            account = books.accounts[name]
            before.setdefault(name, (account.balance_change, account.reserved_change))
        _apply(books, row)
        books.known[row["id"]] = row
        rows.append(row)
    for name in sorted(before):
        account = books.accounts[name]
        if account.beyond_all_coins:
            raise Breach(f"{name} would hold, owe or reserve more bitcoin than there will ever be")
        if account.guarded and account.available_msat < 0:
            for touched, (balance_change, reserved_change) in before.items():
                books.accounts[touched].balance_change, books.accounts[touched].reserved_change = balance_change, reserved_change
            for row in rows:
                del books.known[row["id"]]
            return InsufficientFunds(name)
    books.fresh += rows
    return None


def _transfer(books: _Books, entry: Entry, at_ms: int) -> Row | None:
    """The row that the entry becomes; None if it was applied before. Raises TransferConflict if its id means something else."""
    match entry:
        case Move(id, debit, credit, amount, code):
            row = _row(id, "move", debit, credit, amount.value, code, None, at_ms)
        case Reserve(id, debit, credit, amount, code):
            row = _row(id, "reserve", debit, credit, amount.value, code, None, at_ms)
        case MoveAll(id, debit, credit, code):
            if id in books.known:
                amount_msat = books.known[id]["amount_msat"]
            else:
                amount_msat = max(0, books.accounts[debit].available_msat) // MSATS_PER_SAT * MSATS_PER_SAT
            row = _row(id, "move", debit, credit, amount_msat, code, None, at_ms)
        case Post(reservation, part):
            held = _reservation(books, reservation)
            amount_msat = held["amount_msat"] if part is None else part.value
            if amount_msat > held["amount_msat"]:
                raise Breach(f"{reservation} holds {held['amount_msat']} msat; {amount_msat} cannot be posted from it")
            row = _row(resolution_id(reservation), "post", held["debit"], held["credit"], amount_msat, held["code"], reservation, at_ms)
        case Void(reservation):
            held = _reservation(books, reservation)
            row = _row(resolution_id(reservation), "void", held["debit"], held["credit"], 0, held["code"], reservation, at_ms)
        case _:
            assert_never(entry)
    known = books.known.get(row["id"])
    if known is None:
        return row
    if any(known[column] != row[column] for column in ("kind", "debit", "credit", "amount_msat", "code", "reservation")):
        raise TransferConflict(f"{row['id']} was applied before with other content")
    return None


def _reservation(books: _Books, reservation: str) -> Row:
    held = books.known.get(reservation)
    if held is None:
        raise UnknownReservation(f"{reservation} is not a reservation")
    return held


def _apply(books: _Books, row: Row) -> None:
    debit, credit, amount_msat = books.accounts[row["debit"]], books.accounts[row["credit"]], row["amount_msat"]
    match row["kind"]:
        case "move":
            debit.balance_change -= amount_msat
            credit.balance_change += amount_msat
        case "reserve":
            debit.reserved_change += amount_msat
        case "post" | "void":
            debit.reserved_change -= books.known[row["reservation"]]["amount_msat"]
            debit.balance_change -= amount_msat
            credit.balance_change += amount_msat


def _write(tx: Tx, books: _Books) -> None:
    conflict = TransferConflict("another process used one of these ids for something else, just now")
    store.insert_transfers(tx, books.fresh).must_touch(len(books.fresh), conflict)
    changes: list[Row] = [
        {"id": name, "balance_change": account.balance_change, "reserved_change": account.reserved_change}
        for name, account in sorted(books.accounts.items())
        if account.balance_change or account.reserved_change
    ]
    if changes:
        refused = Breach("an account refused a change that was decided for it: the books in memory were wrong")
        store.change_accounts(tx, changes).must_touch(len(changes), refused)
    for account in books.accounts.values():
        account.settle()


def _id(entry: Entry) -> str:
    return resolution_id(entry.reservation) if isinstance(entry, Post | Void) else entry.id


def _row(id: str, kind: str, debit: str, credit: str, amount_msat: int, code: str, reservation: str | None, at_ms: int) -> Row:
    return {
        "id": id,
        "kind": kind,
        "debit": debit,
        "credit": credit,
        "amount_msat": amount_msat,
        "code": str(code),
        "reservation": reservation,
        "at_ms": at_ms,
    }
