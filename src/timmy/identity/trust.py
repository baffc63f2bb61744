"""Trust: a score that paid work earns, that setbacks and absence cost, and the tier that it makes.

A score fades while its owner is away, a little per day, and the fading is applied before anything else happens to it: whoever was away for
a year starts from what a year has left, and not from where they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from timmy.identity import store
from timmy.money import Msats

if TYPE_CHECKING:  # as in login.py
    from timmy.db import Row, Tx

DAY_MS = 86_400_000
REASONS_SHOWN = 10
WHOLE_AT = Msats(10_000)


class Tier(StrEnum):
    """In order: what a key has earned."""

    ANONYMOUS = "anonymous"  # no key at all
    NEW = "new"
    ESTABLISHED = "established"
    TRUSTED = "trusted"
    ELITE = "elite"


@dataclass(frozen=True, slots=True)
class Terms:
    """Thresholds and steps, in points. `whole_at`: a success for which the customer has paid this much counts whole, a cheaper one in
    proportion; nothing: every one that was paid for counts whole."""

    established: int
    trusted: int
    elite: int
    success: int
    setback: int
    decay_after_days: int
    decay_per_day: int
    whole_at: Msats = WHOLE_AT

    def tier(self, score: int) -> Tier:
        for least, tier in ((self.elite, Tier.ELITE), (self.trusted, Tier.TRUSTED), (self.established, Tier.ESTABLISHED)):
            if score >= least:
                return tier
        return Tier.NEW

    def next_tier(self, score: int) -> tuple[Tier, int] | None:
        """The next tier, and the score that it needs; None at the top."""
        for least, tier in ((self.established, Tier.ESTABLISHED), (self.trusted, Tier.TRUSTED), (self.elite, Tier.ELITE)):
            if score < least:
                return tier, least
        return None

    def earned(self, weighed_msat: int, paid: Msats) -> tuple[int, int]:
        """What a success for which `paid` was paid adds to a score, and to what the key has paid so far, as it is weighed. Fractions are
        kept, so that many tiny jobs earn no more than a few large ones; but the first success shows, however cheap."""
        if not paid:
            return 0, 0
        if not self.whole_at:
            return self.success, 0
        weight_msat = min(paid, self.whole_at).value
        return self._points(weighed_msat + weight_msat) - self._points(weighed_msat), weight_msat

    def _points(self, weighed_msat: int) -> int:
        return max(weighed_msat * self.success // self.whole_at.value, min(weighed_msat, self.success, 1))

    def faded(self, score: int, scored_at_ms: int, now_ms: int) -> int:
        """What absence has left of a score. A clock that went backwards takes nothing."""
        days_away = max(0, now_ms - scored_at_ms) // DAY_MS
        return max(0, score - max(0, days_away - self.decay_after_days) * self.decay_per_day)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a key stands now, the fading applied."""

    pubkey: str
    score: int
    tier: Tier
    kept_score: int  # before the fading
    successes: int
    setbacks: int
    paid: Msats
    first_seen_ms: int | None  # None: never seen before


@dataclass(frozen=True, slots=True)
class Change:
    """Something that a score learns from. `id` makes it count once. `paid` is what the customer paid for it themselves."""

    id: str
    pubkey: str
    why: str  # "work_paid", "rejected", "failed"
    is_success: bool
    paid: Msats


def standings(tx: Tx, pubkeys: Sequence[str], terms: Terms, now_ms: int) -> dict[str, Standing]:
    """How each key stands. Reads only: a key that was never seen is new, and stays unwritten."""
    rows = store.identities(tx, set(pubkeys)) if pubkeys else {}
    return {pubkey: _standing(pubkey, rows.get(pubkey), terms, now_ms) for pubkey in pubkeys}


def change_all(tx: Tx, changes: Sequence[Change], terms: Terms, now_ms: int) -> None:
    """Let scores learn, each change once: first the fading, then the change. Only work that was paid for raises a score."""
    if not changes:
        return
    pubkeys = {change.pubkey for change in changes}
    store.open_identities(tx, pubkeys, now_ms)
    rows = {pubkey: dict(row) for pubkey, row in store.lock_identities(tx, pubkeys).items()}
    # Looked up after the lock: whoever told the same a moment ago held it, so by now it shows. Before, both would write it, and one break.
    known = store.known_changes(tx, [change.id for change in changes])
    fresh = {change.id: change for change in changes if change.id not in known}
    if not fresh:
        return
    reasons: list[Row] = []
    for change in fresh.values():
        row = rows[change.pubkey]
        faded = terms.faded(row["score"], row["scored_at_ms"], now_ms)
        step, weight_msat = terms.earned(row["weighed_msat"], change.paid) if change.is_success else (-terms.setback, 0)
        row["score"] = max(0, faded + step)
        row["weighed_msat"] += weight_msat
        row["scored_at_ms"] = max(now_ms, row["scored_at_ms"])
        row["successes"] += int(change.is_success)
        row["setbacks"] += int(not change.is_success)
        row["paid_msat"] += change.paid.value
        reasons.append(
            {"id": change.id, "pubkey": change.pubkey, "why": change.why, "change": step, "score": row["score"], "at_ms": now_ms}
        )
    store.insert_changes(tx, reasons)
    store.set_identities(tx, list(rows.values()))


def reasons(tx: Tx, pubkey: str) -> list[Row]:
    """The latest changes of a score: why, change, score, at_ms."""
    return store.recent_changes(tx, pubkey, REASONS_SHOWN)


def _standing(pubkey: str, row: Row | None, terms: Terms, now_ms: int) -> Standing:
    if row is None:
        return Standing(pubkey, 0, Tier.NEW, 0, 0, 0, Msats(0), None)
    score = terms.faded(row["score"], row["scored_at_ms"], now_ms)
    return Standing(
        pubkey, score, terms.tier(score), row["score"], row["successes"], row["setbacks"], Msats(row["paid_msat"]), row["first_seen_ms"]
    )
