"""Every promise about money that can be checked, from every room that keeps one."""

from __future__ import annotations

from collections.abc import Sequence

from timmy import completions, generosity, sessions
from timmy.bootstrap import store as bootstrap_store
from timmy.db import Row, Tx
from timmy.jobs import store as jobs_store
from timmy.ledger import Check, audit
from timmy.lightning import store as lightning_store

NAMED_MAX = 5


def all_checks(tx: Tx) -> list[Check]:
    """The whole audit, in one snapshot. Reads every transfer: for now and then, not for every minute."""
    return [*audit(tx), *promises_of_rooms(tx)]


def promises_of_rooms(tx: Tx) -> list[Check]:
    """What the rooms promise about money, beyond what the ledger itself can know."""
    return [
        none_of("every settled invoice is credited with what arrived", lightning_store.uncredited(tx)),
        none_of("at most one payout is on its way per obligation, its sats set aside", lightning_store.live_and_owed(tx)),
        *generosity.audit(tx),
        *sessions.audit(tx),
        *completions.audit(tx),
        none_of("every node was paid for, and every order without one has let go of its fee", bootstrap_store.unfair(tx)),
        none_of("every ended job has let go of what it held, and was charged at most its price", jobs_store.unfair(tx)),
    ]


def none_of(name: str, rows: Sequence[Row]) -> Check:
    ids = [str(row["id"]) for row in rows]
    more = f" and {len(ids) - NAMED_MAX} more" if len(ids) > NAMED_MAX else ""
    return Check(name, not ids, ", ".join(ids[:NAMED_MAX]) + more if ids else "none")
