"""All rows of a diagnosis, in the order in which somebody would look."""

from __future__ import annotations

from collections.abc import Callable

from timmy.lightning.diagnosis import node, purse
from timmy.lightning.diagnosis.rows import Row, Situation

CHECKS: tuple[Callable[[Situation], Row], ...] = (
    node.wallet,
    node.node,
    node.version,
    node.chain,
    node.channels,
    purse.liquidity_in,
    purse.liquidity_out,
    purse.fees,
    node.certificate,
    node.clock,
    purse.balance,
    purse.push,
    purse.payouts,
    purse.tasks,
    purse.audit,
)


def diagnosed(here: Situation) -> tuple[Row, ...]:
    return tuple(check(here) for check in CHECKS)
