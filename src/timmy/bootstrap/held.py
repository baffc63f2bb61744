"""Orders that are held after a restore from a backup.

What was under way when the backup was taken may have ended since: its machine may be a customer's by now, with their sats on it, and these
books do not know. So nothing is made, adopted or taken away for such an order until the operator has compared them with the cloud.
"""

from __future__ import annotations

from timmy.bootstrap import store
from timmy.bootstrap.flow import advance
from timmy.bootstrap.machine import CameUp
from timmy.bootstrap.model import State
from timmy.db import Row, Tx
from timmy.errors import Refusal
from timmy.lightning import store as lightning_store

HELD = "nodes"  # the breaker: what was ordered before it was tripped, and has not ended, is held
WORDS = "This server was restored from a backup. Its operator compares the order with the cloud before anything is done."


class NotHeld(Refusal):
    status = 409
    code = "order_not_held"
    title = "This order is not held"


def is_held(tx: Tx, row: Row) -> bool:
    breaker = lightning_store.breaker(tx, HELD)
    return breaker is not None and row["created_at_ms"] < breaker["at_ms"] and not State(row["state"]).is_final


def held(tx: Tx) -> list[Row]:
    """The oldest first."""
    waiting = [row for state in (State.AWAITING_PAYMENT, State.PROVISIONING) for row in store.in_state(tx, state.value)]
    return sorted((row for row in waiting if is_held(tx, row)), key=lambda row: (row["created_at_ms"], row["id"]))


def is_theirs(tx: Tx, order_id: str, machine: str, address: str, lnbits_url: str, at_ms: int) -> None:
    """The operator has seen that the node stands and is its customer's: the order ends as it had ended. Raises NotHeld."""
    row = store.lock(tx, [order_id]).get(order_id)
    if row is None or State(row["state"]) is not State.PROVISIONING or not is_held(tx, row):
        raise NotHeld(f"{order_id} is none of the paid orders that are held; timmy nodes lists them.")
    store.note(tx, order_id, machine=machine, address=address, lnbits_url=lnbits_url, progress="The node stands.")
    advance(tx, order_id, CameUp(), at_ms)
