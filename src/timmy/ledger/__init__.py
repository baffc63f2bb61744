"""The books. Whoever holds a balance, holds it here.

This room promises that nothing is created or lost: every movement is one immutable transfer between two accounts, applied once however
often it is asked for; that a guarded account never gives what it does not have; that what is reserved is out of everybody's reach until
it is posted or voided; and that every balance can be recomputed from the transfers alone.
"""

from timmy.ledger.audit import Check, audit
from timmy.ledger.chart import Code
from timmy.ledger.commit import InsufficientFunds, commit, commit_all
from timmy.ledger.entries import Entry, Move, MoveAll, Post, Reserve, Void

__all__ = [
    "Check", "Code", "Entry", "InsufficientFunds", "Move", "MoveAll", "Post", "Reserve", "Void", "audit", "commit", "commit_all",
]  # fmt: skip
