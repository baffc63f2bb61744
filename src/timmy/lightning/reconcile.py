"""Does the wallet hold what the books say it holds?

Nothing is repaired silently. What the wallet held before Timmy came is written down once, as the operator's. After that, a wallet that
holds less than the books say, twice in a row, stops payouts until a person has looked; one that holds more is the operator's business, and
is only told.
"""

from __future__ import annotations

from dataclasses import dataclass

from timmy.clock import Clock
from timmy.db import Database, Tx
from timmy.ledger import Code, Move, chart, commit
from timmy.lightning import payouts, store
from timmy.lightning.wallets.protocol import Wallet
from timmy.money import Msats, Sats

OPENING = "reconcile/opening"
ROUNDING = Sats(10).msats  # some wallets tell whole sats only, LND some of them for each channel
LOOKS = 5  # on a busy server money moves while we look
ROUNDS_BEFORE_STOPPING = 2


@dataclass(frozen=True, slots=True)
class Standing:
    """What the books say: how much the wallet holds, and how much of it may have left already."""

    holds: Msats
    leaving: Msats  # planned payouts with the most that their fees may be, and the fees that the wallet has not told
    opened: bool  # whether the operator's own part has been written down


@dataclass(frozen=True, slots=True)
class Comparison:
    standing: Standing
    wallet: Msats
    opened_now: Msats | None = None  # what was just written down as the operator's own

    @property
    def missing(self) -> Msats:
        """How much less the wallet holds than it must, payments on their way and rounding allowed for."""
        must = self.standing.holds.value - self.standing.leaving.value - ROUNDING.value
        return Msats(max(0, must - self.wallet.value))

    @property
    def surplus(self) -> Msats:
        return Msats(max(0, self.wallet.value - self.standing.holds.value))


class Reconciler:
    """Compares, every now and then. `compare` raises WalletDown."""

    def __init__(self, db: Database, clock: Clock, wallet: Wallet) -> None:
        self._db = db
        self._clock = clock
        self._wallet = wallet
        self._missing_in_a_row = 0

    async def compare(self) -> Comparison | None:
        """None: money moved while we looked, so the two cannot be compared; look again."""
        for _ in range(LOOKS):
            before = await self._db.read(standing)
            wallet = await self._wallet.balance()
            if before == await self._db.read(standing):
                break
        else:
            return None
        if before.opened:
            return Comparison(before, wallet)
        return await self._db.write(_open, before, wallet, self._clock.now_ms())

    async def watch_once(self) -> Comparison | None:
        """Compare, and stop payouts when the wallet holds too little for the second time in a row."""
        found = await self.compare()
        if found is None:
            return None
        self._missing_in_a_row = self._missing_in_a_row + 1 if found.missing else 0
        if self._missing_in_a_row >= ROUNDS_BEFORE_STOPPING:
            reason = f"the wallet holds {found.missing.ceil_sats().value} sats less than the books say; see `timmy reconcile`"
            await self._db.write(store.trip, payouts.BREAKER, reason, self._clock.now_ms())
        return found

    async def accept(self, id: str) -> Comparison | None:
        """The operator explains the difference (sats taken out, or put in): one keyed entry makes the books agree with the wallet."""
        found = await self.compare()
        if found is not None:
            await self._db.write(_correct, id, found, self._clock.now_ms())
        return found


def standing(tx: Tx) -> Standing:
    row = store.lightning_account(tx)
    leaving = store.leaving(tx) + store.fees_not_told(tx)
    return Standing(Msats(max(0, -row["balance_msat"])), Msats(leaving), bool(row["opened"]))


def _open(tx: Tx, before: Standing, wallet: Msats, at_ms: int) -> Comparison:
    # What customers have been asked for may be in the wallet already and not yet in the books. Taken for the operator's, it would be
    # missing as soon as it is credited; the other way round, some of the operator's is a surplus, which stops nothing.
    own = Msats(max(0, wallet.value - before.holds.value - store.awaited(tx)))
    if not own or standing(tx) != before:
        return Comparison(before, wallet)
    commit(tx, at_ms, Move(OPENING, chart.LIGHTNING, chart.OPERATOR, own, Code.OPERATOR_CORRECTION))
    return Comparison(standing(tx), wallet, own)


def _correct(tx: Tx, id: str, found: Comparison, at_ms: int) -> None:
    more = found.wallet.value - found.standing.holds.value
    debit, credit = (chart.LIGHTNING, chart.OPERATOR) if more > 0 else (chart.OPERATOR, chart.LIGHTNING)
    if more:
        commit(tx, at_ms, Move(f"reconcile/{id}", debit, credit, Msats(abs(more)), Code.OPERATOR_CORRECTION))
