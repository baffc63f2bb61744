"""Stopping a node that was sold and is abused: its power goes off, its customer is told why, and what is on it stays."""

from __future__ import annotations

from timmy import events
from timmy.bootstrap import store
from timmy.bootstrap.cloud import Cloud
from timmy.bootstrap.model import State
from timmy.db import Database, Row, Tx
from timmy.errors import Refusal
from timmy.events import NewEvent

WORDS = "The operator has stopped this machine: "


class NotStanding(Refusal):
    status = 409
    code = "node_not_standing"
    title = "There is no node of this order"


def is_stopped(row: Row) -> bool:
    return (row["trouble"] or "").startswith(WORDS)


async def stop(db: Database, cloud: Cloud, order_id: str, reason: str, at_ms: int) -> None:
    """Safe to repeat. Raises NotStanding, CloudDown, CloudRefused."""
    row = await db.write(_told, order_id, reason, at_ms)
    if row["cloud"] != cloud.name:
        raise NotStanding(f"The node of {order_id} stands at another cloud ({row['cloud']}).")
    await cloud.stop_machine(row["machine"])


def _told(tx: Tx, order_id: str, reason: str, at_ms: int) -> Row:
    """Before it is done: the customer of a machine that stands still can read why."""
    row = store.lock(tx, [order_id]).get(order_id)
    if row is None or State(row["state"]) is not State.READY:
        raise NotStanding(f"{order_id} is no order whose node was handed over. The machine's name at the cloud has its id.")
    if store.note_trouble(tx, order_id, WORDS + reason):
        events.append(tx, at_ms, [NewEvent(order_id, "trouble", {"trouble": WORDS + reason})])
    return row
