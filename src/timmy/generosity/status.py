"""How the pool stands, for everybody to see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from timmy.db import Tx
from timmy.generosity import store
from timmy.ledger import Check, chart
from timmy.ledger.store import accounts_like
from timmy.money import Msats


@dataclass(frozen=True, slots=True)
class Given:
    """What went to a tier: how often, and how much."""

    times: int
    absorbed: Msats


@dataclass(frozen=True, slots=True)
class PoolStatus:
    available: Msats
    reserved: Msats
    earned: Msats  # from paid charges, ever
    given: Mapping[str, Given]  # by tier, ever
    given_today: Mapping[str, Given]


@dataclass(frozen=True, slots=True)
class PoolBalance:
    available: Msats
    reserved: Msats


def balance(tx: Tx) -> PoolBalance:
    """What is there now: one row, however long the history."""
    row = accounts_like(tx, [chart.POOL]).get(chart.POOL, {"balance_msat": 0, "reserved_msat": 0})
    return PoolBalance(Msats(row["balance_msat"] - row["reserved_msat"]), Msats(row["reserved_msat"]))


def status(tx: Tx, day: str) -> PoolStatus:
    row = accounts_like(tx, [chart.POOL]).get(chart.POOL, {"balance_msat": 0, "reserved_msat": 0})
    reserved = row["reserved_msat"]
    return PoolStatus(
        available=Msats(row["balance_msat"] - reserved),
        reserved=Msats(reserved),
        earned=Msats(store.credited(tx)),
        given=_by_tier(tx, None),
        given_today=_by_tier(tx, day),
    )


def audit(tx: Tx) -> list[Check]:
    strange = [row["id"] for row in store.unexplained_grants(tx)]
    return [Check("what was given is what left the pool, gift by gift", not strange, "none" if not strange else ", ".join(strange[:5]))]


def _by_tier(tx: Tx, day: str | None) -> dict[str, Given]:
    return {row["tier"]: Given(row["n"], Msats(row["absorbed_msat"])) for row in store.given_by_tier(tx, day)}
