"""What can be asked of the ledger: five kinds of entry, each named by its caller so that asking again is asking once."""

from __future__ import annotations

from dataclasses import dataclass

from timmy.ledger.chart import Code
from timmy.money import Msats


@dataclass(frozen=True, slots=True)
class Move:
    """Take `amount` from `debit`, give it to `credit`, now."""

    id: str
    debit: str
    credit: str
    amount: Msats
    code: Code


@dataclass(frozen=True, slots=True)
class MoveAll:
    """Move every whole sat that `debit` has available. How much that is, is decided when it is applied; a replay moves nothing more."""

    id: str
    debit: str
    credit: str
    code: Code


@dataclass(frozen=True, slots=True)
class Reserve:
    """Put `amount` of `debit` out of its reach at once, for `credit`, until a Post or a Void. No clock ever frees it."""

    id: str
    debit: str
    credit: str
    amount: Msats
    code: Code


@dataclass(frozen=True, slots=True)
class Post:
    """Resolve a reservation: move `amount` of it (None: all of it) and release the rest."""

    reservation: str
    amount: Msats | None = None


@dataclass(frozen=True, slots=True)
class Void:
    """Resolve a reservation: move nothing, release all."""

    reservation: str


Entry = Move | MoveAll | Reserve | Post | Void


def resolution_id(reservation: str) -> str:
    """One id for both ways out, so that the primary key alone forbids a second resolution."""
    return f"{reservation}!"
